//! Real members of etcd with TLS by our authorities, each a process at a loopback address of its own.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::etcd_program;
use contract::peer::{EtcdMember, Pair};
use firstboot::etcd::{Client, Member};
use firstboot::host::{Host, Linux};
use firstboot::pki::{self, Subject};

/// Longest time for anything to happen, on a host that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// A machine that may run a member.
pub(crate) struct Machine {
    pub(crate) name: String,
    folder: PathBuf,
    address: Ipv4Addr,
    client: u16,
    peer: u16,
    metrics: u16,
    process: Option<Child>,
}

/// Machines of one control plane; their processes end with it.
pub(crate) struct Stand {
    pub(crate) machines: Vec<Machine>,
    _dir: tempfile::TempDir,
}

impl Stand {
    /// Machines `a`, `b`, … with certificates, of which none runs.
    pub(crate) fn new(count: u8) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        let now = pki::now(&Linux).unwrap();
        let authority = pki::authority("etcd-ca", now).unwrap();
        // Loopback addresses that no other process of this host has, so that a free port stays free.
        let [one, two, ..] = Linux.random().unwrap();
        let machines = (0..count)
            .map(|number| {
                let name = char::from(b'a' + number).to_string();
                let folder = dir.path().join(&name);
                let address = Ipv4Addr::new(127, 1 + one % 254, two, 1 + number);
                certificates(&folder, &authority, &name, address);
                let [client, peer, metrics] = ports(address);
                Machine {
                    name,
                    folder,
                    address,
                    client,
                    peer,
                    metrics,
                    process: None,
                }
            })
            .collect();
        Stand {
            machines,
            _dir: dir,
        }
    }

    /// Starts the first machines as the founding members, and waits until they serve.
    pub(crate) fn found(&mut self, count: usize) {
        let members: Vec<String> = self.machines[..count]
            .iter()
            .map(|machine| format!("{}={}", machine.name, machine.url()))
            .collect();
        let members = members.join(",");
        for machine in &mut self.machines[..count] {
            machine.start(&members, "new");
        }
        for number in 0..count {
            let client = self.client(number);
            wait("a founding member is healthy", || client.is_healthy());
        }
        let client = self.client(0);
        wait("all members have told where they are", || {
            let members = client.members().unwrap_or_default();
            members.iter().all(|member| !member.client_urls.is_empty())
        });
    }

    pub(crate) fn client(&self, number: usize) -> Client<'static> {
        let machine = &self.machines[number];
        let at = |port| SocketAddr::from((machine.address, port));
        let pki = machine.path("pki").display().to_string();
        Client::new(&Linux, at(machine.client), at(machine.metrics), &pki)
    }

    /// The members by name, learners with a question mark, those that never started as `-`.
    pub(crate) fn members(&self, number: usize) -> String {
        let mut members = self.client(number).members().unwrap();
        members.sort_by(|one, other| one.name.cmp(&other.name));
        let shown = |member: &Member| {
            let name = match member.name.as_str() {
                "" => "-",
                name => name,
            };
            format!("{name}{}", if member.is_learner { "?" } else { "" })
        };
        members.iter().map(shown).collect::<Vec<_>>().join(" ")
    }
}

impl Machine {
    pub(crate) fn url(&self) -> String {
        format!("https://{}:{}", self.address, self.peer)
    }

    pub(crate) fn wanted(&self) -> EtcdMember {
        EtcdMember {
            name: self.name.clone(),
            url: self.url(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Starts etcd as the unit of a machine does.
    pub(crate) fn start(&mut self, members: &str, state: &str) {
        let Machine {
            name,
            address,
            client,
            peer,
            metrics,
            ..
        } = self;
        let pki = self.folder.join("pki");
        let file = |name: &str| pki.join(name).display().to_string();
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.folder.join("log"));
        let process = Command::new(etcd_program::path())
            .arg(format!("--name={name}"))
            .arg(format!("--data-dir={}", self.folder.join("data").display()))
            .arg(format!("--listen-client-urls=https://{address}:{client}"))
            .arg(format!(
                "--advertise-client-urls=https://{address}:{client}"
            ))
            .arg(format!("--listen-peer-urls=https://{address}:{peer}"))
            .arg(format!(
                "--initial-advertise-peer-urls=https://{address}:{peer}"
            ))
            .arg(format!("--initial-cluster={members}"))
            .args([
                "--initial-cluster-token=test",
                "--initial-cluster-state",
                state,
            ])
            .arg(format!("--listen-metrics-urls=http://{address}:{metrics}"))
            .arg(format!("--cert-file={}", file("server.crt")))
            .arg(format!("--key-file={}", file("server.key")))
            .arg(format!("--trusted-ca-file={}", file("ca.crt")))
            .arg("--client-cert-auth")
            .arg(format!("--peer-cert-file={}", file("peer.crt")))
            .arg(format!("--peer-key-file={}", file("peer.key")))
            .arg(format!("--peer-trusted-ca-file={}", file("ca.crt")))
            .args(["--peer-client-cert-auth", "--log-level=warn"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// Ends etcd as a power cut does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }

    /// Loses the disk.
    pub(crate) fn wipe(&mut self) {
        self.kill();
        fs::remove_dir_all(self.folder.join("data")).unwrap();
    }

    /// Whether etcd has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        let process = self.process.as_mut();
        process.is_none_or(|process| process.try_wait().unwrap().is_some())
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            let log = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let mut lines: Vec<&str> = log.lines().rev().take(8).collect();
            lines.reverse();
            eprintln!("etcd {}:\n{}", self.name, lines.join("\n"));
        }
    }
}

/// Free ports of an address.
fn ports(address: Ipv4Addr) -> [u16; 3] {
    let listeners = [0; 3].map(|port| TcpListener::bind((address, port)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

fn certificates(folder: &std::path::Path, authority: &Pair, name: &str, address: Ipv4Addr) {
    let pki_folder = folder.join("pki");
    fs::create_dir_all(&pki_folder).unwrap();
    let path = |name: &str| pki_folder.join(name).display().to_string();
    fs::write(path("ca.crt"), &authority.public).unwrap();
    let names = ["localhost", name];
    let addresses = [address.into()];
    for (file, serves) in [
        ("server", true),
        ("peer", true),
        ("healthcheck-client", false),
    ] {
        let subject = Subject {
            name: if serves {
                name
            } else {
                "kube-etcd-healthcheck-client"
            },
            group: None,
            serves: serves.then_some((&names[..], &addresses[..])),
        };
        let pair = pki::issue(authority, &subject, pki::now(&Linux).unwrap()).unwrap();
        pki::write(&Linux, &path(file), &pair).unwrap();
    }
}

/// Waits until something holds.
pub(crate) fn wait(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < end, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
