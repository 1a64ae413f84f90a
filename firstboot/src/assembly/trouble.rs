//! What stops a birth until somebody does something about it.

use std::fmt;

use contract::datagram::MachineId;

use super::entry::Entry;
use crate::machine::identity::hex;

/// A trouble, with both parties to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// More machines carry the seed than it expects. None of them proposes or votes.
    TooMany {
        /// How many the seed expects.
        expected: u32,
        /// Those heard of first.
        machines: Vec<MachineId>,
        /// Those heard of after them.
        extra: Vec<MachineId>,
    },
    /// Two machines say that they are the same one. Both stop voting, and nobody counts their votes.
    Cloned {
        /// Who both say they are.
        machine: MachineId,
        /// The incarnations that are heard of in turn.
        incarnations: [[u8; 16]; 2],
    },
    /// Another cluster was born of the same seed. This machine keeps its own, and does nothing else.
    SecondBirth {
        /// What this machine knows to be decided; `None` if what it was told cannot be of its own seed.
        ours: Option<Entry>,
        /// What the other one told.
        theirs: Entry,
        /// Who told.
        from: MachineId,
    },
}

impl Trouble {
    /// Whether this is the trouble that `other` was, whoever joined it since.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Cloned { machine: one, .. }, Self::Cloned { machine: other, .. }) => {
                one == other
            }
            _ => std::mem::discriminant(self) == std::mem::discriminant(other),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooMany {
                expected,
                machines,
                extra,
            } => write!(
                f,
                "the seed expects {expected} machines and {} are there, {} beyond it: power off those that do not \
                 belong here, or give machines that come later a join seed",
                machines.len() + extra.len(),
                list(extra),
            ),
            Self::Cloned {
                machine,
                incarnations: [one, other],
            } => write!(
                f,
                "two machines say that they are {machine}, as incarnations {} and {}: power one off, \
                 and give it a serial number or UUID of its own",
                hex(one),
                hex(other),
            ),
            Self::SecondBirth {
                ours: Some(ours),
                theirs,
                from,
            } => write!(
                f,
                "two clusters were born of one seed: this machine knows cluster {}, and machine {from} cluster {}: \
                 keep one, and reset the machines of the other with a new seed",
                hex(ours.cluster()),
                hex(theirs.cluster()),
            ),
            Self::SecondBirth {
                ours: None,
                theirs,
                from,
            } => write!(
                f,
                "machine {from} knows cluster {}, which has {} control planes and so is not of this machine's seed: \
                 give all machines the same seed",
                hex(theirs.cluster()),
                theirs.seats().len(),
            ),
        }
    }
}

/// At most three machines by name, and how many more.
fn list(machines: &[MachineId]) -> String {
    let mut names: Vec<_> = machines.iter().take(3).map(ToString::to_string).collect();
    if machines.len() > 3 {
        names.push(format!("{} more", machines.len() - 3));
    }
    names.join(", ")
}
