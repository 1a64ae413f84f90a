//! What a phase is: something that can be looked at, and brought about.
//!
//! A phase holds no state of its own. What it needs it reads: the manifest, the ledger, files that earlier
//! phases left. `observe` alone decides whether there is work; `apply` accepts whatever an `apply` that was
//! interrupted at any point has left behind.

use std::fmt;

use crate::host::Host;

/// How far a phase's work has come, as seen on the machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing of it is there.
    Absent,
    /// Some of it is there; the text says what is missing.
    Partial(String),
    /// Everything is there.
    Done,
}

/// Why a phase does not come further now.
#[derive(Debug)]
pub enum Trouble {
    /// Something else has to happen first, and will show by itself: a seed, a lease, a service that starts.
    Waiting(String),
    /// It failed, and trying again may help.
    Transient(anyhow::Error),
    /// Trying again without a change from outside does not help.
    Permanent(anyhow::Error),
}

impl From<anyhow::Error> for Trouble {
    fn from(error: anyhow::Error) -> Self {
        Trouble::Transient(error)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Waiting(why) => f.write_str(why),
            Trouble::Transient(error) | Trouble::Permanent(error) => write!(f, "{error:#}"),
        }
    }
}

/// The result of looking or applying.
pub type Outcome<T> = Result<T, Trouble>;

/// One step of a machine's way to Ready.
pub trait Phase: Sync {
    /// A short name, unique in its plan.
    fn name(&self) -> &'static str;

    /// The phases that must be done before this one is looked at.
    fn after(&self) -> &'static [&'static str];

    /// Looks, and changes nothing.
    fn observe(&self, host: &dyn Host) -> Outcome<State>;

    /// Brings it about, or says what it waits for.
    fn apply(&self, host: &dyn Host) -> Outcome<()>;
}

/// `Done`, or `Partial` with the reason.
pub fn done_if(done: bool, otherwise: &str) -> State {
    match done {
        true => State::Done,
        false => State::Partial(otherwise.to_owned()),
    }
}
