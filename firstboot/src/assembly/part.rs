//! What a machine does in the agreement, by its seed: with the founding seed it takes part in a birth, with a join seed it
//! learns of one.

use std::time::Duration;

use anyhow::Result;
use contract::seed::Seed;

use crate::assembly::quorum::quorum;
use crate::assembly::{Action, Beacon, Config, Core, Entry, Event, Follower, Memory, Trouble};
use crate::host::Host;

/// What this machine does in the agreement, by its seed.
pub(super) enum Part {
    Core(Box<Core>),
    Follower(Box<Follower>),
}

impl Part {
    pub(super) fn new(
        host: &dyn Host,
        seed: &Seed,
        config: &Config,
        memory: Memory,
    ) -> Result<Self> {
        if let Some(cluster) = seed.cluster.id {
            let me = Beacon {
                machine: config.me,
                incarnation: config.incarnation,
                key: config.key,
                decided: None,
            };
            let pause = config.timing.resend;
            let follower = Follower::new(me, cluster, config.seats, pause, memory);
            return Ok(Part::Follower(Box::new(follower)));
        }
        let mut drawn = [0; 32];
        drawn[..16].copy_from_slice(&host.random()?);
        drawn[16..].copy_from_slice(&host.random()?);
        Ok(Part::Core(Box::new(Core::new(
            config.clone(),
            memory,
            drawn,
        )?)))
    }

    pub(super) fn beacon(&self) -> Beacon {
        match self {
            Part::Core(core) => core.beacon(),
            Part::Follower(follower) => follower.beacon(),
        }
    }

    pub(super) fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        match self {
            Part::Core(core) => core.step(event, now),
            Part::Follower(follower) => follower.step(event, now),
        }
    }

    pub(super) fn decided(&self) -> Option<&Entry> {
        match self {
            Part::Core(core) => core.decided(),
            Part::Follower(follower) => follower.decided(),
        }
    }

    pub(super) fn troubles(&self) -> &[Trouble] {
        match self {
            Part::Core(core) => core.troubles(),
            Part::Follower(_) => &[],
        }
    }

    /// What is missing for a birth, for people.
    pub(super) fn waits_for(&self, expected: u32) -> String {
        match self {
            Part::Core(core) => format!(
                "{} of {expected} machines are here; {} are needed to found the cluster",
                core.present(),
                quorum(expected)
            ),
            Part::Follower(follower) => follower.waits_for(),
        }
    }
}
