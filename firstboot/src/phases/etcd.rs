//! etcd: membership, the unit, and its health.
//!
//! Before: certificates are there and `/var/lib/etcd` is on DATA. After: `etcd.service` runs and answers.
//!
//! The seats that are named found etcd together, with the same list of members; whoever comes later, or comes back
//! without its data, is added by the members that are there: first as a learner, then with a vote.
//!
//! **The point of no return.** The ledger says "member" before etcd is asked to found the cluster; a data
//! directory that lost its member after that is never started again as if it were new.

use anyhow::{Context, anyhow};
use contract::paths::DATA;
use contract::peer::{self, Request, Response};

use crate::birth::Birth;
use crate::etcd::Client;
use crate::facts::{self, Facts};
use crate::host::{Cmd, Host};
use crate::ledger::{self, EtcdMember};
use crate::neighbours;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::etcd;
use crate::units;

const UNIT: &str = "etcd.service";
/// Says that etcd was healthy once: from then on an empty directory is a loss, not a beginning.
pub const FOUNDED: &str = "/run/seedbed/state/etcd-founded";
/// Says that etcd was started once. Among several members, it may have voted from then on.
pub const STARTED: &str = "/run/seedbed/state/etcd-started";

/// It is decided which members etcd is started with.
#[derive(Debug)]
pub struct Membership;

impl Phase for Membership {
    fn name(&self) -> &'static str {
        "etcd-member"
    }

    fn after(&self) -> &'static [&'static str] {
        &["authorities"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let seats = Facts::read(host)?.birth.seats.len();
        if is_lost(host, seats) {
            return match seats {
                1 => Err(Trouble::Permanent(anyhow!(
                    "{} is empty, and this machine's ledger says that it is the member of etcd; restore DATA, or \
                     restore etcd from a snapshot",
                    etcd::DATA_DIR
                ))),
                _ => Ok(State::Partial(String::from(
                    "etcd's data is gone; the other members are to take this one in anew",
                ))),
            };
        }
        Ok(match ledger::read::<EtcdMember>(host)? {
            Some(_) => State::Done,
            None => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let facts = Facts::read(host)?;
        let lost = is_lost(host, facts.birth.seats.len());
        if lost && facts.birth.authority.is_none() {
            return Err(Trouble::Waiting(String::from(
                "etcd's data is gone before the cluster was founded; the others found it, or begin anew",
            )));
        }
        let member = peer::EtcdMember {
            name: facts.identity.host_name.clone(),
            url: etcd::peer_url(facts.address.address),
        };
        let (initial_cluster, founds) = match facts.birth.initialises()
            && facts.birth.authority.is_none()
        {
            true => (founders(host, &facts.birth, &member)?, true),
            false => {
                match neighbours::ask_control_plane(
                    host,
                    &facts.birth,
                    &Request::EtcdMember(member.clone()),
                )? {
                    Response::EtcdMembers { members, founds } => (members, founds),
                    other => {
                        return Err(Trouble::Transient(anyhow!(
                            "the control plane answers the question for etcd's members with {other:?}"
                        )));
                    }
                }
            }
        };
        if lost {
            ledger::forget::<EtcdMember>(host)?;
            host.remove(FOUNDED)?;
            host.remove(STARTED)?;
        }
        let member = EtcdMember {
            version: 1,
            name: member.name,
            token: etcd::token(&facts),
            initial_cluster,
            founds,
        };
        Ok(ledger::decide(host, &member)?)
    }
}

/// etcd has no data any more. A member that is alone has lost something only if it served once; one of several may
/// have voted as soon as it was started.
pub fn is_lost(host: &dyn Host, seats: usize) -> bool {
    let began = host.exists(FOUNDED) || seats > 1 && host.exists(STARTED);
    // Once it is started in this boot, it makes its data in its own time.
    began && !host.exists(&unit_path()) && !host.exists(&format!("{}/member", etcd::DATA_DIR))
}

/// The members that found etcd: every seat, once the addresses of all are known.
fn founders(host: &dyn Host, birth: &Birth, own: &peer::EtcdMember) -> Outcome<String> {
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let neighbours = neighbours::read(host)?;
    let mut members = Vec::new();
    let mut missing = Vec::new();
    for seat in &birth.seats {
        if *seat == birth.me {
            members.push(format!("{}={}", own.name, own.url));
            continue;
        }
        let name = seed.hostname(&seat.machine.to_string());
        let mut those = neighbours.iter();
        match those.find(|one| one.machine == seat.machine && *one.key.as_bytes() == seat.key) {
            Some(one) => members.push(format!("{name}={}", etcd::peer_url(one.address))),
            None => missing.push(name),
        }
    }
    match missing.is_empty() {
        true => Ok(members.join(",")),
        false => Err(Trouble::Waiting(format!(
            "not heard of yet: {}",
            missing.join(", ")
        ))),
    }
}

/// The unit is rendered and started.
#[derive(Debug)]
pub struct Etcd;

impl Phase for Etcd {
    fn name(&self) -> &'static str {
        "etcd"
    }

    fn after(&self) -> &'static [&'static str] {
        &["etcd-certificates", "etcd-member"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let rendered = host.read_text(&unit_path())?.as_ref() == Some(&unit(host)?);
        // Its start ends when it serves; that is the next phase's to wait for.
        Ok(match rendered && units::is_running(host, UNIT)? {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        host.create_dir(units::RUNTIME, 0o755)?;
        // systemd finds a unit that it has not loaded by itself; only another text of a known one needs a reload.
        let known = host.exists(&unit_path());
        if host.write_if_changed(&unit_path(), 0o644, unit(host)?.as_bytes())? && known {
            units::reload(host)?;
        }
        host.write_if_changed(STARTED, 0o600, b"1\n")?;
        Ok(units::start(host, UNIT)?)
    }
}

fn unit(host: &dyn Host) -> Outcome<String> {
    let (facts, member) = (Facts::read(host)?, ledger::decided(host)?);
    Ok(etcd::unit(&facts, &member))
}

fn unit_path() -> String {
    format!("{}/{UNIT}", units::RUNTIME)
}

/// It answers its health probe, and so has a vote.
#[derive(Debug)]
pub struct Healthy;

impl Phase for Healthy {
    fn name(&self) -> &'static str {
        "etcd-health"
    }

    fn after(&self) -> &'static [&'static str] {
        &["etcd"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(
            match (Client::own(host).is_healthy(), host.exists(FOUNDED)) {
                (true, true) => State::Done,
                (true, false) => State::Partial(String::from("its founding is not recorded")),
                (false, _) => State::Absent,
            },
        )
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let member: EtcdMember = ledger::decided(host)?;
        // A learner answers the health probe like any other, and serves nobody.
        if !member.founds && !host.exists(FOUNDED) {
            vote(host, member)?;
        }
        match Client::own(host).is_healthy() {
            true => Ok(host.write(FOUNDED, 0o600, b"1\n")?),
            false => Err(Trouble::Waiting(String::from("etcd is not healthy yet"))),
        }
    }
}

/// Asks for a vote, and comes back when there is one.
fn vote(host: &dyn Host, member: EtcdMember) -> Outcome<()> {
    let facts = Facts::read(host)?;
    let request = Request::EtcdVote(peer::EtcdMember {
        name: member.name.clone(),
        url: etcd::peer_url(facts.address.address),
    });
    match neighbours::ask_control_plane(host, &facts.birth, &request)? {
        Response::Done => Ok(()),
        Response::NoMember => begin_anew(
            host,
            "the other members have taken this one out while it was joining",
        ),
        Response::EtcdMembers { members, .. } if members != member.initial_cluster => begin_anew(
            host,
            "etcd's members have changed while this one was joining",
        ),
        Response::EtcdMembers { .. } => Err(Trouble::Waiting(String::from(
            "etcd has not found the other members yet",
        ))),
        other => Err(Trouble::Transient(anyhow!(
            "the control plane answers the question for a vote with {other:?}"
        ))),
    }
}

/// Gives up a membership in etcd that never came to a vote, so that nothing is lost with its data. After a start of the
/// machine the data is missed, and the machine asks to be taken in once more.
fn begin_anew(host: &dyn Host, why: &str) -> Outcome<()> {
    let systemctl = || Cmd::new("/usr/bin/systemctl");
    host.run(&systemctl().args(["stop", UNIT]))?;
    super::assembly::erase(host, &format!("{DATA}/etcd"))?;
    host.run(&systemctl().args(["--no-block", "reboot"]))?;
    Err(Trouble::Waiting(format!(
        "{why}; the machine restarts to join anew"
    )))
}
