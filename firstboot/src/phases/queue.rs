//! Queue: of a control plane, one machine after another brings its API server up, when the one before it is ready.
//!
//! An API server takes much of a machine to start and gives up if it is slow, and machines may share processors. So
//! the founding machine goes first, then the others of those that are there; and nobody waits for ever.

use std::time::Duration;

use anyhow::Context;

use crate::birth::{self, Birth};
use crate::etcd::Client;
use crate::host::Host;
use crate::neighbours;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::register::Register;
use crate::units;
use contract::datagram::MachineId;

/// When this machine began to wait, in seconds of uptime.
const SINCE: &str = "/run/seedbed/queue-since";
/// How long each machine waits for each one before it that is there and does not get it done.
const TURN: Duration = Duration::from_secs(600);

/// The phase.
#[derive(Debug)]
pub struct Queue;

impl Phase for Queue {
    fn name(&self) -> &'static str {
        "queue"
    }

    fn after(&self) -> &'static [&'static str] {
        &["api-servers", "authorities", "etcd"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        if units::is_running(host, super::kubelet::UNIT)? {
            return Ok(State::Done);
        }
        let birth = birth::decided(host)?;
        let waited_for: Vec<MachineId> = neighbours::read(host)?
            .iter()
            .filter(|one| !one.ready)
            .map(|one| one.machine)
            .collect();
        let mut before = place(&birth, &waited_for);
        if before > 0 {
            before = place(&birth, &still_there(host, waited_for));
        }
        if before == 0 {
            return Ok(State::Done);
        }
        let since = host.read_text(SINCE)?.unwrap_or_default();
        let Ok(since) = since.trim().parse::<u64>() else {
            return Ok(State::Absent);
        };
        let waited = host.uptime().saturating_sub(Duration::from_secs(since));
        match waited >= TURN.saturating_mul(before) {
            true => Ok(State::Done),
            false => Err(Trouble::Waiting(String::from(
                "another machine of the control plane goes first",
            ))),
        }
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let now = host.uptime().as_secs();
        host.write(SINCE, 0o644, format!("{now}\n").as_bytes())
            .context("noting when the wait began")?;
        Err(Trouble::Waiting(String::from(
            "another machine of the control plane goes first",
        )))
    }
}

/// Those of some machines that were not removed from the cluster, as far as etcd can tell.
fn still_there(host: &dyn Host, machines: Vec<MachineId>) -> Vec<MachineId> {
    // Before the cluster is founded there is nobody to remove.
    let register = Register::read(&Client::own(host)).unwrap_or_default();
    let there = |machine: &MachineId| register.removed(*machine).is_none();
    machines.into_iter().filter(there).collect()
}

/// How many machines of the control plane go before this one, of those that are there and not ready.
fn place(birth: &Birth, waited_for: &[MachineId]) -> u32 {
    let rank = |machine: MachineId| (machine != birth.initialiser, machine);
    let mine = rank(birth.me.machine);
    let seats = birth.seats.iter().map(|seat| seat.machine);
    let before = seats.filter(|machine| waited_for.contains(machine) && rank(*machine) < mine);
    u32::try_from(before.count()).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::{Entry, Seat};

    #[test]
    fn the_founder_goes_first_and_then_those_that_are_there() {
        let seats: Vec<Seat> = (1..=3)
            .map(|number| Seat {
                machine: MachineId([number; 16]),
                key: [number; 32],
            })
            .collect();
        let entry = Entry::Named {
            epoch: 1,
            cluster: [0; 16],
            seats: seats.clone(),
            initialiser: MachineId([2; 16]),
        };
        let check = |me: usize, present: &[u8], expected| {
            let birth = Birth::new(&entry, seats[me - 1]);
            let present: Vec<MachineId> = present.iter().map(|n| MachineId([*n; 16])).collect();
            assert_eq!(place(&birth, &present), expected, "{me} {present:?}");
        };
        check(2, &[1, 3, 9], 0);
        check(1, &[2, 3], 1);
        check(3, &[1, 2], 2);
        check(3, &[1], 1);
        check(1, &[3], 0);
        check(3, &[], 0);
    }
}
