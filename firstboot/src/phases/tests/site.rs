//! Several machines in memory, who ask each other over channels that are function calls.

mod change;
mod keys;

use super::*;
use crate::host::Call;
use crate::neighbours::{NEIGHBOURS, Neighbour};
use crate::peers::answer::answer;
use crate::render::encryption;
use contract::peer::channel::Caller;
use contract::peer::keys::EncryptionKey;
use contract::peer::{EtcdMember, Join, Request, Response};
use keys::Keys;
use serde_json::Value;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// It is there while a machine runs etcd.
const ETCD: &str = "/run/systemd/system/etcd.service";

/// The machines; what each is asked, it answers itself.
struct Site {
    hosts: Vec<Arc<Fake>>,
    /// How many of them found the cluster.
    expect: usize,
    keys: Arc<Mutex<Keys>>,
    /// The members of etcd that were removed.
    gone: Arc<Mutex<Vec<usize>>>,
    /// As the machines' driver would tell.
    decided: Mutex<Option<Decision>>,
    /// Whether the founding is held up.
    held: AtomicBool,
    seats: usize,
}

impl Site {
    fn new(machines: u8, seats: usize) -> Self {
        Site::with_others(machines, seats, &[])
    }

    /// A site to which other machines come later, with these seeds.
    fn with_others(machines: u8, seats: usize, others: &[String]) -> Self {
        let seed = founding(machines, seats);
        let seeds = std::iter::repeat_n(&seed, usize::from(machines)).chain(others);
        let hosts: Vec<Arc<Fake>> = (0..)
            .zip(seeds)
            .map(|(number, seed)| Arc::new(numbered(seed, number)))
            .collect();
        let keys = Arc::new(Mutex::new(Keys::default()));
        let gone = Arc::new(Mutex::new(Vec::new()));
        for (own, host) in hosts.iter().enumerate() {
            // Weak, since each would otherwise hold all others and itself.
            let others: Vec<_> = hosts.iter().map(Arc::downgrade).collect();
            host.peers(move |call: &Call| {
                let IpAddr::V4(address) = call.address.ip() else {
                    anyhow::bail!("no machine is at {}", call.address);
                };
                let number = usize::from(address.octets()[3]) - 15;
                assert_ne!(number, own, "a machine asks itself");
                let asked = others[number].upgrade().unwrap();
                let keys: ChannelKey = ledger::decided(&*asked)?;
                anyhow::ensure!(keys.public == call.theirs, "it has another key");
                let asking = others[own].upgrade().unwrap();
                let caller = ledger::decided::<ChannelKey>(&*asking)?.public;
                Ok(answer(&*asked, Caller::Machine(caller), &call.request))
            });
            let all: Vec<_> = hosts.iter().map(Arc::downgrade).collect();
            let (keys, gone) = (Arc::clone(&keys), Arc::clone(&gone));
            let quorum = move |all: &[std::sync::Weak<Fake>]| {
                let runs = |number: usize| all[number].upgrade().unwrap().exists(ETCD);
                let running = (0..seats).filter(|number| runs(*number)).count();
                running > seats / 2
            };
            host.web(move |host, url, body| match url {
                "2381/health" => quorum(&all).then(|| (200, String::new())),
                "2379/v3/kv/range" | "2379/v3/kv/txn" => quorum(&all).then(|| {
                    let path = url.rsplit('/').next().unwrap();
                    (200, keys.lock().unwrap().answer(path, body).to_string())
                }),
                "2379/v3/cluster/member/remove" => quorum(&all).then(|| {
                    let id: Value = serde_json::from_str(body).unwrap();
                    let number: usize = id["ID"].as_str().unwrap().parse().unwrap();
                    gone.lock().unwrap().push(number);
                    (200, String::from("{}"))
                }),
                "2379/v3/cluster/member/list" => {
                    let gone = gone.lock().unwrap();
                    let members: Vec<_> = (0..seats)
                        .filter(|number| !gone.contains(number))
                        .map(|number| {
                            let began = all[number]
                                .upgrade()
                                .unwrap()
                                .exists("/var/lib/etcd/member");
                            let url = format!("https://10.0.2.{}:2380", 15 + number);
                            serde_json::json!({
                                "ID": number.to_string(), "peerURLs": [url],
                                "clientURLs": [url.replace("2380", "2379")],
                                "name": if began { name(&all[number]) } else { String::new() },
                            })
                        })
                        .collect();
                    Some((200, serde_json::json!({ "members": members }).to_string()))
                }
                _ if url.ends_with(":2379/v3/maintenance/status") => {
                    let (address, _) = url.split_once(':').unwrap();
                    let number: usize = address.rsplit('.').next().unwrap().parse().unwrap();
                    let runs = all[number - 15].upgrade().unwrap().exists(ETCD);
                    runs.then(|| (200, String::from("{}")))
                }
                _ if url.starts_with("6443/api/v1/nodes/")
                    && Some(&url[18..]) != host.text("/etc/hostname").as_deref().map(str::trim) =>
                {
                    Some((200, String::from("{}")))
                }
                // A worker asks through the load balancer.
                _ => web(host, &url.replacen("7443/", "6443/", 1)),
            });
            // What is mounted elsewhere is erased there.
            host.rule("/usr/bin/find ", |host, line| {
                for (on, at) in [
                    ("state/kubernetes", "/etc/kubernetes"),
                    ("data/etcd", "/var/lib/etcd"),
                    ("data/kubelet", "/var/lib/kubelet"),
                ] {
                    if line.contains(on) {
                        host.erase(at);
                    }
                }
                Ok(String::new())
            });
            host.rule("/usr/bin/systemctl --no-block reboot", |_, _| {
                Ok(String::new())
            });
            host.rule(
                "/usr/bin/kubectl --kubeconfig /etc/kubernetes/admin.conf delete node ",
                |_, _| Ok(String::new()),
            );
            // The controller manager gives ranges by itself.
            host.put("/api/ranges", format!("[\"10.244.{own}.0/24\"]"));
        }
        Site {
            hosts,
            expect: usize::from(machines),
            keys,
            gone,
            decided: Mutex::default(),
            held: AtomicBool::new(false),
            seats,
        }
    }

    /// What the machines tell each other, and agree on.
    fn talk(&self) {
        let heard: Vec<Neighbour> = self.hosts.iter().filter_map(|host| heard(host)).collect();
        self.decide(&heard);
        let decided = self.decided.lock().unwrap().clone();
        for host in &self.hosts {
            let own = ledger::read::<Address>(&**host).ok().flatten();
            let own = own.map(|address| address.address);
            let others: Vec<_> = heard
                .iter()
                .filter(|one| Some(one.address) != own)
                .collect();
            host.put(NEIGHBOURS, serde_json::to_vec(&others).unwrap());
            if let (Some(_), Some(decision)) = (own, &decided) {
                let memory = Memory {
                    decided: Some(decision.clone()),
                    ..Memory::default()
                };
                host.put(birth::MEMORY, serde_json::to_vec(&memory).unwrap());
            }
        }
    }

    fn decide(&self, heard: &[Neighbour]) {
        let mut decided = self.decided.lock().unwrap();
        match &*decided {
            None if heard.len() >= self.expect => {
                let seat = |one: &Neighbour| Seat {
                    machine: one.machine,
                    key: *one.key.as_bytes(),
                };
                let mut seats: Vec<Seat> = heard[..self.seats].iter().map(seat).collect();
                seats.sort();
                *decided = Some(Decision {
                    slot: 0,
                    entry: assembly::Entry::Named {
                        epoch: 1,
                        cluster: [3; 16],
                        initialiser: heard[0].machine,
                        seats,
                    },
                });
            }
            Some(Decision { slot, entry })
                if !entry.is_founded() && !self.held.load(Ordering::Relaxed) =>
            {
                let initialiser = heard.iter().find(|one| one.machine == entry.initialiser());
                let initialiser = &*self.hosts[number(initialiser.unwrap())];
                let epoch = ledger::read::<ledger::Epoch>(initialiser).unwrap();
                let works = epoch.is_some_and(|epoch| epoch.epoch == entry.epoch());
                if works && initialiser.exists(crate::phases::etcd::FOUNDED) {
                    let pair = crate::pki::read(initialiser, "/etc/kubernetes/pki/ca");
                    let authority = pair.unwrap().unwrap().public;
                    let entry = entry.founded(crate::pki::fingerprint(&authority).unwrap());
                    let slot = slot + 1;
                    *decided = Some(Decision { slot, entry });
                }
            }
            _ => {}
        }
    }

    /// Brings every machine as far as it comes, again and again, until all have done everything.
    fn bring(&self) -> Result<(), String> {
        let mut why = Vec::new();
        for _ in 0..12 {
            why.clear();
            for (number, host) in self.hosts.iter().enumerate() {
                self.talk();
                if let Err((phase, trouble)) = bring_one(host) {
                    why.push(format!("machine {number}: {phase}: {trouble}"));
                }
            }
            if why.is_empty() {
                return Ok(());
            }
        }
        Err(why.join("\n"))
    }
}

/// The host name of a machine that has one.
fn name(host: &std::sync::Weak<Fake>) -> String {
    let host = host.upgrade().unwrap();
    ledger::decided::<Identity>(&*host).unwrap().host_name
}

/// The founding seed.
fn founding(machines: u8, seats: usize) -> String {
    format!("{SEED}machines: {{expect: {machines}}}\ncontrolPlane: {{count: {seats}}}\n")
}

/// Which machine it is, by its address.
fn number(one: &Neighbour) -> usize {
    let IpAddr::V4(address) = one.address else {
        panic!("{} is no address of this site", one.address);
    };
    usize::from(address.octets()[3]) - 15
}

/// What others hear of a machine once it knows who and where it is.
fn heard(host: &Fake) -> Option<Neighbour> {
    let identity = ledger::read::<Identity>(host).ok()??;
    Some(Neighbour {
        machine: identity.machine_id().unwrap(),
        key: ledger::read::<ChannelKey>(host).ok()??.public,
        host_name: identity.host_name,
        address: ledger::read::<Address>(host).ok()??.address,
        ready: host.exists(crate::phases::ready::READY),
    })
}

fn bring_one(host: &Fake) -> Result<(), (&'static str, Trouble)> {
    let all = |plan: &[&'static dyn Phase]| {
        for phase in plan {
            bring(host, *phase).map_err(|trouble| (phase.name(), trouble))?;
        }
        Ok(())
    };
    all(crate::phases::COMMON)?;
    let role = crate::phases::assembly::role(host).unwrap().unwrap();
    all(crate::phases::plan(role))?;
    host.put(crate::phases::ready::READY, "");
    Ok(())
}

#[test]
fn three_control_planes_and_two_workers() {
    let site = Site::new(5, 3);
    site.bring().unwrap();
    let text = |number: usize, path: &str| site.hosts[number].text(path);
    let authority = text(0, "/etc/kubernetes/pki/ca.crt");
    let members = text(0, "/run/seedbed/state/ledger/etcd.json").unwrap();
    assert_eq!(members.matches("https://10.0.2.").count(), 3, "{members}");
    for number in 0..5 {
        assert_eq!(text(number, "/etc/kubernetes/pki/ca.crt"), authority);
        let seated = number < 3;
        let has = |path: &str| text(number, path).is_some();
        // Only control planes have the authority's key.
        assert_eq!(has("/etc/kubernetes/pki/ca.key"), seated);
        assert_eq!(has("/etc/kubernetes/admin.conf"), seated);
        assert_eq!(
            has("/var/lib/kubelet/pki/kubelet-client-joined.pem"),
            !seated
        );
        let unit = text(number, "/run/systemd/system/etcd.service");
        assert_eq!(unit.is_some(), seated);
        let table = text(number, "/run/seedbed/host.nft").unwrap();
        assert_eq!(table.contains("tcp dport 6443 accept"), seated);
    }
}

#[test]
fn the_control_plane_encrypts_with_one_key_that_no_worker_has() {
    let site = Site::new(4, 3);
    // The founding machine had drawn this one before its power was cut.
    let drawn = EncryptionKey::new([42; 32]);
    site.hosts[0].put(encryption::CONFIG, encryption::configuration(&drawn));
    site.bring().unwrap();
    for (number, host) in site.hosts.iter().enumerate() {
        let text = host.text(encryption::CONFIG);
        let key = text.and_then(|text| encryption::key(&text));
        assert_eq!(key, (number < 3).then(|| drawn.clone()), "{number}");
        for effect in host.effects() {
            assert!(!effect.contains("KioqKioq"), "{effect}");
        }
    }
    let told = answer(
        &*site.hosts[0],
        Caller::Machine(
            ledger::decided::<ChannelKey>(&*site.hosts[1])
                .unwrap()
                .public,
        ),
        &Request::Authorities,
    );
    assert!(matches!(&told, Response::Authorities(all) if all.encryption == drawn));
    assert_eq!(format!("{told:?}"), "Authorities([redacted])");
    site.hosts[1].put(encryption::CONFIG, "{}");
    let lost = crate::phases::authorities::AuthoritiesPhase.observe(&*site.hosts[1]);
    assert!(matches!(lost, Err(Trouble::Permanent(_))), "{lost:?}");
}

#[test]
fn a_second_start_of_all_makes_nothing_again() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    for host in &site.hosts {
        host.effects();
        host.reboot();
    }
    site.bring().unwrap();
    for host in &site.hosts {
        let effects = host.effects();
        let again = |effect: &&String| {
            effect.contains("kubeadm init")
                || effect.contains("/ledger/")
                || effect.contains("write /etc/kubernetes")
        };
        assert_eq!(effects.iter().find(again), None, "{effects:?}");
    }
}

#[test]
fn the_power_of_one_machine_may_be_cut_after_any_effect() {
    // The machine that founds, another control plane, a worker.
    for (number, seats) in [(0, 3), (1, 3), (2, 1)] {
        let whole = Site::new(3, seats);
        whole.bring().unwrap();
        for cut in (0..whole.hosts[number].effects().len()).step_by(17) {
            let site = Site::new(3, seats);
            site.hosts[number].cut_after(Some(cut));
            let missed = format!("cut {cut} of machine {number} hit nothing");
            assert!(site.bring().is_err(), "{missed}");
            site.hosts[number].reboot();
            site.bring()
                .unwrap_or_else(|why| panic!("cut {cut} of machine {number}: {why}"));
        }
    }
}

#[test]
fn a_stranger_to_the_control_plane_is_told_nothing() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    let worker: ChannelKey = ledger::decided(&*site.hosts[3]).unwrap();
    let member = EtcdMember {
        name: String::from("plant-x"),
        url: String::from("https://10.0.2.99:2380"),
    };
    for request in [
        Request::Authorities,
        Request::EtcdMember(member.clone()),
        Request::EtcdVote(member),
    ] {
        for caller in [Caller::Machine(worker.public), Caller::Operator] {
            let told = answer(&*site.hosts[0], caller, &request);
            assert!(matches!(told, Response::Refused(_)), "{told:?}");
        }
    }
}

#[test]
fn nobody_gets_a_certificate_for_another_machines_node() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    let keys: ChannelKey = ledger::decided(&*site.hosts[3]).unwrap();
    for other in 0..3 {
        let identity: Identity = ledger::decided(&*site.hosts[other]).unwrap();
        let join = Request::Join(Join {
            host_name: identity.host_name,
            request: crate::pki::request().unwrap().public,
            joins: false,
        });
        let told = answer(&*site.hosts[0], Caller::Machine(keys.public), &join);
        assert!(matches!(told, Response::Refused(_)), "{told:?}");
    }
}

#[test]
fn nothing_is_served_before_the_founding() {
    let site = Site::new(3, 1);
    for host in &site.hosts {
        assert_eq!(bring_one(host).unwrap_err().0, crate::phases::CERTAIN);
    }
    site.talk();
    assert_eq!(bring_one(&site.hosts[0]).unwrap_err().0, "founded");
    let other: ChannelKey = ledger::decided(&*site.hosts[1]).unwrap();
    let join = Request::Join(Join {
        host_name: String::from("plant-worker"),
        request: crate::pki::request().unwrap().public,
        joins: false,
    });
    for request in [join, Request::Kubeconfig] {
        let told = answer(&*site.hosts[0], Caller::Machine(other.public), &request);
        assert!(matches!(told, Response::NotYet(_)), "{told:?}");
    }
}

#[test]
fn what_an_attempt_made_that_was_given_up_is_told_to_nobody_and_erased() {
    let site = Site::new(3, 3);
    site.held.store(true, Ordering::Relaxed);
    assert!(site.bring().is_err());
    let text = |number: usize, path: &str| site.hosts[number].text(path);
    let first = text(0, "/etc/kubernetes/pki/ca.crt").unwrap();
    assert_eq!(text(1, "/etc/kubernetes/pki/ca.crt"), Some(first.clone()));

    // Another machine is named to initialise.
    let heard: Vec<Neighbour> = site.hosts.iter().filter_map(|host| heard(host)).collect();
    let before = site.decided.lock().unwrap().clone().unwrap();
    *site.decided.lock().unwrap() = Some(Decision {
        slot: 1,
        entry: assembly::Entry::Named {
            epoch: 2,
            cluster: [4; 16],
            seats: before.entry.seats().to_vec(),
            initialiser: heard[1].machine,
        },
    });
    site.talk();
    let caller = Caller::Machine(heard[2].key);
    let told = answer(&*site.hosts[1], caller, &Request::Authorities);
    assert!(matches!(told, Response::NotYet(_)), "{told:?}");

    // Under running services nothing is erased.
    assert_eq!(
        bring_one(&site.hosts[1]).unwrap_err().0,
        crate::phases::CERTAIN
    );
    assert_eq!(text(1, "/etc/kubernetes/pki/ca.crt"), Some(first.clone()));
    for host in &site.hosts {
        host.reboot();
    }
    site.held.store(false, Ordering::Relaxed);
    site.bring().unwrap();
    let second = text(1, "/etc/kubernetes/pki/ca.crt").unwrap();
    assert_ne!(first, second);
    for number in [0, 2] {
        assert_eq!(
            text(number, "/etc/kubernetes/pki/ca.crt").as_ref(),
            Some(&second)
        );
    }
}

#[test]
fn a_seat_that_two_machines_claim_is_nobodys() {
    let site = Site::new(3, 3);
    site.bring().unwrap();
    let mut heard: Vec<Neighbour> = site.hosts.iter().filter_map(|host| heard(host)).collect();
    // A machine with the identity of another, and a key of its own.
    let stranger = contract::peer::keys::KeyPair::draw().unwrap().public;
    let claimed = Neighbour {
        key: stranger,
        ..heard[1].clone()
    };
    let host = &*site.hosts[0];
    let ask = |neighbours: &[Neighbour]| {
        host.put(NEIGHBOURS, serde_json::to_vec(neighbours).unwrap());
        answer(host, Caller::Machine(stranger), &Request::Authorities)
    };
    heard.push(claimed.clone());
    assert!(matches!(ask(&heard), Response::Refused(_)));
    // The machine came back without its memory, and the old one is gone.
    assert!(matches!(ask(&[claimed]), Response::Authorities(_)));
    assert!(matches!(ask(&[]), Response::Refused(_)));
}

#[test]
fn after_a_second_birth_nobody_is_let_in() {
    let site = Site::new(4, 3);
    site.bring().unwrap();
    let host = &*site.hosts[0];
    host.put(birth::SECOND, "two clusters were born of one seed");
    let keys: ChannelKey = ledger::decided(&*site.hosts[1]).unwrap();
    let told = answer(host, Caller::Machine(keys.public), &Request::Authorities);
    assert!(matches!(told, Response::Refused(why) if why.contains("two clusters")));
}
