//! What a machine or an operator is told.
//!
//! Before the cluster is founded, only the seats that were named are told anything that they could build on.

use std::sync::Mutex;

use anyhow::Result;
use contract::paths::STATUS;
use contract::peer::channel::Caller;
use contract::peer::keys::PublicKey;
use contract::peer::{Admission, EtcdMember, Join, Request, Response};

use crate::api;
use crate::assembly::Seat;
use crate::birth::{self, Birth};
use crate::host::Host;
use crate::ledger;
use crate::neighbours::{self, Neighbour};
use crate::phases::{authorities, etcd};
use crate::pki::{self, Subject};

/// The administrator's kubeconfig, which kubeadm writes.
const ADMIN: &str = "/etc/kubernetes/admin.conf";

/// Changes of etcd's membership go one after another.
static ETCD: Mutex<()> = Mutex::new(());

/// Answers one question. Only those about etcd's membership change anything.
pub(crate) fn answer(host: &dyn Host, caller: Caller, request: &Request) -> Response {
    let answered = match (request, caller) {
        (Request::Kubeconfig, _) => kubeconfig(host),
        (Request::Status, _) => status(host),
        (_, Caller::Operator) => Ok(Response::Refused("only a machine may ask this".into())),
        (Request::Authorities, Caller::Machine(key)) => seated(host, key, |_| {
            Ok(match authorities::read(host)? {
                Some(authorities) => Response::Authorities(Box::new(authorities)),
                None => Response::NotYet("it has no authorities yet".into()),
            })
        }),
        (Request::EtcdMember(wanted), Caller::Machine(key)) => {
            seated(host, key, |birth| member(host, birth, wanted))
        }
        (Request::EtcdVote(wanted), Caller::Machine(key)) => seated(host, key, |_| {
            let _turn = ETCD.lock();
            etcd::promote(host, wanted)
        }),
        (Request::Join(join), Caller::Machine(key)) => admit(host, key, join),
    };
    answered.unwrap_or_else(|error| Response::NotYet(format!("{error:#}")))
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

fn status(host: &dyn Host) -> Result<Response> {
    Ok(match host.read_text(STATUS)? {
        Some(text) => Response::Document(text),
        None => Response::NotYet("the machine has just been started".into()),
    })
}

/// Answers a machine that has a seat, and refuses any other.
fn seated(
    host: &dyn Host,
    key: PublicKey,
    answer: impl FnOnce(&Birth) -> Result<Response>,
) -> Result<Response> {
    let Some(birth) = birth::read(host)? else {
        return Ok(Response::NotYet("the machines have not agreed yet".into()));
    };
    if !has_seat(host, &birth, key)? {
        return Ok(Response::Refused(
            "the machine that asks has no seat in the control plane".into(),
        ));
    }
    if birth.authority.is_none() && !birth.initialises() {
        return Ok(Response::NotYet("another machine founds the cluster".into()));
    }
    answer(&birth)
}

/// The seat's key proves it. Once the cluster is founded, a machine that came back with a new key has its seat, too,
/// unless the machine with the old key is still heard of.
fn has_seat(host: &dyn Host, birth: &Birth, key: PublicKey) -> Result<bool> {
    let is = |seat: &Seat, key: &PublicKey| seat.key == *key.as_bytes();
    if birth.seats.iter().any(|seat| is(seat, &key)) {
        return Ok(true);
    }
    let neighbours = neighbours::read(host)?;
    let machine = neighbours.iter().find(|one| one.key == key);
    let seat = machine.and_then(|one| birth.seats.iter().find(|seat| seat.machine == one.machine));
    let Some(seat) = seat.filter(|_| birth.authority.is_some()) else {
        return Ok(false);
    };
    Ok(!neighbours.iter().any(|one| is(seat, &one.key)))
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
    etcd::admit(host, wanted)
}

/// A certificate for a worker's kubelet. Its key stays with the worker, and nobody gets one for a node that is
/// another machine's.
fn admit(host: &dyn Host, key: PublicKey, join: &Join) -> Result<Response> {
    let birth = birth::read(host)?.filter(|birth| birth.authority.is_some());
    let Some(birth) = birth else {
        return Ok(Response::NotYet("the cluster is not founded yet".into()));
    };
    let Some(authorities) = authorities::read(host)? else {
        return Ok(Response::NotYet("it has no authorities yet".into()));
    };
    let is_label = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if join.host_name.is_empty() || join.host_name.len() > 63 || !join.host_name.chars().all(is_label) {
        return Ok(Response::Refused("its host name is no DNS label".into()));
    }
    let own: ledger::Identity = ledger::decided(host)?;
    let others = neighbours::read(host)?;
    let is_other = |one: &Neighbour| one.host_name == join.host_name && one.key != key;
    if own.host_name == join.host_name || others.iter().any(is_other) {
        return Ok(Response::Refused(format!(
            "{} is the name of another machine",
            join.host_name
        )));
    }
    let subject = Subject {
        name: &format!("system:node:{}", join.host_name),
        group: Some("system:nodes"),
        serves: None,
    };
    let certificate = pki::sign(&authorities.kubernetes, &join.request, &subject, pki::now(host)?)?;
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
