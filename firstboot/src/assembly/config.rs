//! What the core is told about its site and itself.

use std::time::Duration;

use contract::datagram::MachineId;
use thiserror::Error;

/// The largest control plane. More seats do not fit [`super::message::MOST_BYTES`], and etcd wants no more.
pub const MOST_SEATS: u32 = 7;

/// The site, and this machine.
#[derive(Clone, Debug)]
pub struct Config {
    /// How many machines are ever powered on with this seed.
    pub machines: u32,
    /// How many of them are the control plane.
    pub seats: u32,
    /// This machine.
    pub me: MachineId,
    /// Drawn each time this program starts. Two that are heard of in turn are two machines.
    pub incarnation: [u8; 16],
    /// The public key of this machine's channel.
    pub key: [u8; 32],
    /// How long to wait for what.
    pub timing: Timing,
}

/// How long to wait for what. No safety rests on it.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long after the last newcomer a birth begins without those that are missing.
    pub grace: Duration,
    /// How much later than the machine before it each machine proposes.
    pub stagger: Duration,
    /// The pause before those that have not answered are asked again; it doubles each time.
    pub resend: Duration,
    /// The longest such pause, and the longest after a refusal.
    pub longest: Duration,
    /// How long another machine's attempt is given.
    pub patience: Duration,
    /// A machine that was not heard of for so long counts as off. Several times the pause between its beacons.
    pub silence: Duration,
    /// After so long without the initialiser, another is named.
    pub initialiser: Duration,
}

impl Default for Timing {
    /// For beacons every two seconds.
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(30),
            stagger: Duration::from_secs(2),
            resend: Duration::from_secs(1),
            longest: Duration::from_secs(30),
            patience: Duration::from_secs(10),
            silence: Duration::from_secs(60),
            initialiser: Duration::from_secs(600),
        }
    }
}

/// Why a configuration makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ConfigError {
    /// There is no machine.
    #[error("the seed expects 0 machines: say in machines.expect how many are powered on with it")]
    NoMachines,
    /// Too few or too many seats.
    #[error(
        "a control plane of {seats} among {machines} machines cannot be: set controlPlane.count to at least 1, \
         at most {MOST_SEATS}, and at most machines.expect"
    )]
    Seats {
        /// Seats asked for.
        seats: u32,
        /// Machines expected.
        machines: u32,
    },
}

impl Config {
    /// Refuses numbers that no birth can come of.
    ///
    /// # Errors
    /// If there are no machines, no seats, more seats than machines, or more than [`MOST_SEATS`].
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self {
            machines, seats, ..
        } = *self;
        if machines == 0 {
            return Err(ConfigError::NoMachines);
        }
        if seats == 0 || seats > machines || seats > MOST_SEATS {
            return Err(ConfigError::Seats { seats, machines });
        }
        Ok(())
    }
}
