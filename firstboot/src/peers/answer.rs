//! What a machine or an operator is told.
//!
//! Before the cluster is founded, only the seats that were named are told anything that they could build on.

use std::sync::Mutex;

use anyhow::{Context, Result};
use contract::datagram::MachineId;
use contract::peer::channel::Caller;
use contract::peer::keys::PublicKey;
use contract::peer::{Admission, EtcdMember, Join, Removal, Request, Response};
use contract::seed::Seed;

use crate::api;
use crate::birth::{self, Birth};
use crate::etcd::{Client, membership};
use crate::facts;
use crate::host::Host;
use crate::ledger;
use crate::neighbours::{self, Neighbour};
use crate::phases::authorities;
use crate::pki::{self, Subject};
use crate::register::{self, Register, Verdict};
use crate::removal;
use crate::render::etcd::peer_url;
use crate::status;

/// The administrator's kubeconfig, which kubeadm writes.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Changes of etcd's membership go one after another.
static ETCD: Mutex<()> = Mutex::new(());

/// Answers one question. Those about etcd's membership, joining and removal change something.
pub(crate) fn answer(host: &dyn Host, caller: Caller, request: &Request) -> Response {
    let answered = match (request, caller) {
        (Request::Kubeconfig, _) => kubeconfig(host),
        (Request::Status, _) => tell_status(host),
        (Request::Remove(removal), Caller::Operator) => remove(host, removal),
        (_, Caller::Operator) => Ok(Response::Refused("only a machine may ask this".into())),
        (_, Caller::Machine(key)) => machine(host, key, request),
    };
    answered.unwrap_or_else(|error| Response::NotYet(format!("{error:#}")))
}

/// Answers a machine that wants to become a part of the cluster.
fn machine(host: &dyn Host, key: PublicKey, request: &Request) -> Result<Response> {
    if let Some(second) = host.read_text(birth::SECOND)? {
        return Ok(Response::Refused(second.trim().to_owned()));
    }
    let Some(birth) = birth::read(host)? else {
        return Ok(Response::NotYet("the machines have not agreed yet".into()));
    };
    if !birth.is_worked_on(host)? {
        return Ok(Response::NotYet(
            "it begins another attempt to found the cluster".into(),
        ));
    }
    match request {
        Request::Authorities => seated(host, &birth, key, |_| {
            Ok(match authorities::read(host)? {
                Some(authorities) => Response::Authorities(Box::new(authorities)),
                None => Response::NotYet("it has no authorities yet".into()),
            })
        }),
        Request::EtcdMember(wanted) => {
            seated(host, &birth, key, |name| match *name == wanted.name {
                true => member(host, &birth, wanted),
                false => Ok(Response::Refused(format!("{name} is the name of its seat"))),
            })
        }
        Request::EtcdVote(wanted) => seated(host, &birth, key, |_| {
            let _turn = ETCD.lock();
            membership::promote(&Client::own(host), wanted)
        }),
        Request::Join(join) => admit(host, &birth, key, join),
        Request::Standing => standing(host, &birth, key),
        Request::Kubeconfig | Request::Status | Request::Remove(_) => {
            Ok(Response::Refused("only an operator asks this".into()))
        }
    }
}

fn kubeconfig(host: &dyn Host) -> Result<Response> {
    let Some(text) = host.read_text(ADMIN)? else {
        return Ok(Response::NotYet("the control plane is being made".into()));
    };
    if ledger::read::<ledger::Membership>(host)?.is_none() {
        return Ok(Response::NotYet("the cluster is being founded".into()));
    }
    Ok(match api::ready(host) {
        Ok(()) => Response::Document(text),
        Err(trouble) => Response::NotYet(trouble.to_string()),
    })
}

fn tell_status(host: &dyn Host) -> Result<Response> {
    Ok(match status::answer(host)? {
        Some(status) => Response::Document(
            serde_json::to_string(&status).context("composing this machine's status")?,
        ),
        None => Response::NotYet("the machine has just been started".into()),
    })
}

/// Answers a machine that has a seat, by the name of its node, and refuses any other.
fn seated(
    host: &dyn Host,
    birth: &Birth,
    key: PublicKey,
    answer: impl FnOnce(&String) -> Result<Response>,
) -> Result<Response> {
    let Some(seat) = seat(host, birth, key)? else {
        return Ok(Response::Refused(
            "the machine that asks has no seat in the control plane, or another machine with its identity is there"
                .into(),
        ));
    };
    if birth.authority.is_none() && !birth.initialises() {
        return Ok(Response::NotYet(
            "another machine founds the cluster".into(),
        ));
    }
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    if birth.authority.is_some() && Register::read(&Client::own(host))?.removed(seat).is_some() {
        return Ok(Response::Barred(removed(birth, seat, &seed.cluster.name)));
    }
    answer(&seed.hostname(&seat.to_string()))
}

/// Whether a machine that is a member still is one. Who asks proves its key; who it is, its beacon tells.
fn standing(host: &dyn Host, birth: &Birth, key: PublicKey) -> Result<Response> {
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let register = Register::read(&Client::own(host))?;
    let mut entries = register.machines.iter();
    let entry = entries.find(|(_, entry)| entry.key == Some(key));
    let seated = seat(host, birth, key)?;
    let neighbours = neighbours::read(host)?;
    let heard = neighbours.iter().find(|one| one.key == key);
    let machine = entry.map(|(machine, _)| *machine);
    let machine = machine.or(seated).or(heard.map(|one| one.machine));
    Ok(match machine {
        None => Response::NotYet("it has not heard of the machine that asks".into()),
        Some(machine) if register.removed(machine).is_some() => {
            Response::Barred(removed(birth, machine, &seed.cluster.name))
        }
        Some(_) => Response::Done,
    })
}

fn remove(host: &dyn Host, removal: &Removal) -> Result<Response> {
    let birth = birth::decided(host)?;
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let _turn = ETCD.lock();
    removal::remove(host, &birth, &seed, removal)
}

/// The seat of the machine with this key, which proves it. Once the cluster is founded, a machine that came back with
/// a new key has its seat, too, unless another machine of the same identity is heard of.
fn seat(host: &dyn Host, birth: &Birth, key: PublicKey) -> Result<Option<MachineId>> {
    let mut seats = birth.seats.iter();
    if let Some(seat) = seats.find(|seat| seat.key == *key.as_bytes()) {
        return Ok(Some(seat.machine));
    }
    let neighbours = neighbours::read(host)?;
    let Some(caller) = neighbours.iter().find(|one| one.key == key) else {
        return Ok(None);
    };
    let same = neighbours
        .iter()
        .filter(|one| one.machine == caller.machine);
    let named = birth
        .seats
        .iter()
        .any(|seat| seat.machine == caller.machine);
    let alone = same.count() == 1;
    Ok((named && alone && birth.authority.is_some()).then_some(caller.machine))
}

fn member(host: &dyn Host, birth: &Birth, wanted: &EtcdMember) -> Result<Response> {
    if birth.authority.is_none() {
        return Ok(match ledger::read::<ledger::EtcdMember>(host)? {
            Some(own) => Response::EtcdMembers {
                members: own.initial_cluster,
                founds: true,
            },
            None => Response::NotYet("etcd's members are not all known yet".into()),
        });
    }
    let _turn = ETCD.lock();
    let own: ledger::Address = ledger::decided(host)?;
    let there: Vec<String> = neighbours::read(host)?
        .iter()
        .map(|one| one.address)
        .chain([own.address])
        .map(peer_url)
        .collect();
    membership::admit(&Client::own(host), wanted, &|url| {
        there.iter().any(|one| one == url)
    })
}

/// A certificate for a worker's kubelet. Its key stays with the worker, and nobody gets one for a node that is
/// another machine's.
fn admit(host: &dyn Host, birth: &Birth, key: PublicKey, join: &Join) -> Result<Response> {
    if birth.authority.is_none() {
        return Ok(Response::NotYet("the cluster is not founded yet".into()));
    }
    let Some(authorities) = authorities::read(host)? else {
        return Ok(Response::NotYet("it has no authorities yet".into()));
    };
    let others = neighbours::read(host)?;
    let Some(caller) = others.iter().find(|one| one.key == key) else {
        return Ok(Response::NotYet(
            "it has not heard of the machine that asks".into(),
        ));
    };
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let own_name = |machine: MachineId| seed.hostname(&machine.to_string());
    let twice = others
        .iter()
        .any(|one| one.machine == caller.machine && one.key != key);
    let seated = birth
        .seats
        .iter()
        .any(|seat| seat.machine == caller.machine);
    // With a join seed a machine may have a name of another form, but not that of a seat.
    let named = match join.joins {
        true => {
            let mut seats = birth.seats.iter();
            join.host_name == caller.host_name
                && !seats.any(|seat| own_name(seat.machine) == join.host_name)
        }
        false => join.host_name == own_name(caller.machine),
    };
    if !named || twice || seated {
        return Ok(Response::Refused(format!(
            "{} is not, or not only, the name of the machine that asks",
            join.host_name
        )));
    }
    let etcd = Client::own(host);
    let verdict = register::change(&etcd, caller.machine, |register| {
        enter(register, caller, join.joins, birth, seed.expect)
    })?;
    if let Some(reason) = bar(verdict, birth, caller.machine, &seed) {
        return Ok(Response::Barred(reason));
    }
    let subject = Subject {
        name: &format!("system:node:{}", join.host_name),
        group: Some("system:nodes"),
        serves: None,
    };
    let certificate = pki::sign(
        &authorities.kubernetes,
        &join.request,
        &subject,
        pki::now(host)?,
    )?;
    let address: ledger::Address = ledger::decided(host)?;
    let seats = others
        .iter()
        .filter(|one| birth.seats.iter().any(|seat| seat.machine == one.machine))
        .map(|one| one.address);
    Ok(Response::Admission(Admission {
        authority: authorities.kubernetes.public,
        certificate,
        api_servers: [address.address].into_iter().chain(seats).collect(),
    }))
}

/// What is to be written about a worker that wants in, and what came of it.
fn enter(
    register: &Register,
    caller: &Neighbour,
    joins: bool,
    birth: &Birth,
    expect: u32,
) -> (Option<register::Entry>, Verdict) {
    let seats: Vec<MachineId> = birth.seats.iter().map(|seat| seat.machine).collect();
    let verdict = register.judge(caller, joins, &seats, expect);
    let known = register.machines.get(&caller.machine);
    let entry = match verdict {
        Verdict::Known => known.cloned().map(|known| register::Entry {
            key: Some(caller.key),
            ..known
        }),
        Verdict::Welcome => Some(register::Entry {
            version: 1,
            host_name: caller.host_name.clone(),
            key: Some(caller.key),
            joined: joins,
            removed: None,
        }),
        Verdict::TooMany | Verdict::Removed | Verdict::NameTaken => None,
    };
    (entry.filter(|entry| known != Some(entry)), verdict)
}

/// Why the cluster does not take a worker, and what can be done.
fn bar(verdict: Verdict, birth: &Birth, machine: MachineId, seed: &Seed) -> Option<String> {
    match verdict {
        Verdict::Known | Verdict::Welcome => None,
        Verdict::TooMany => Some(format!(
            "cluster {} exists and has all machines that its seed expects (machines.expect: {}): this machine is one \
             too many and stays out. To take it in as a worker, write a join seed with `seedbed seed join --seed \
             seed.yaml`, put that on this machine in place of its seed, and restart it",
            seed.cluster.name, seed.expect
        )),
        Verdict::Removed => Some(removed(birth, machine, &seed.cluster.name)),
        Verdict::NameTaken => Some(format!(
            "another machine of cluster {} has the host name of this one: give it another `hostname` in its seed, erase its \
             partitions STATE and DATA, and restart it",
            seed.cluster.name
        )),
    }
}

/// What a machine is told that was sent away.
fn removed(birth: &Birth, machine: MachineId, cluster: &str) -> String {
    let mut seats = birth.seats.iter();
    match seats.any(|seat| seat.machine == machine) {
        true => format!(
            "this machine was removed from the control plane of cluster {cluster} and stays out; its seat stays empty. To use \
             it for another cluster, erase its partitions STATE and DATA, and give it that one's seed"
        ),
        false => format!(
            "this machine was removed from cluster {cluster} and stays out. To use it anew, erase its partitions STATE and \
             DATA; for this cluster, give it a join seed of `seedbed seed join --seed seed.yaml` then"
        ),
    }
}
