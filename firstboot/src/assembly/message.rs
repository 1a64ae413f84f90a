//! What machines say to each other. Whoever drives the core encodes it, with `postcard`, and says who sent it.

use contract::datagram::MachineId;
use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::memory::Vote;

/// The most bytes that a message takes when it is encoded with `postcard`, so that with its envelope it fits one
/// datagram on any network. [`super::config::MOST_SEATS`] follows from it.
pub const MOST_BYTES: usize = 1200;

/// The number of an attempt, compared by round first. No two attempts have the same one, even if a machine forgot
/// what it tried, or is there twice: part of it is drawn at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Ballot {
    /// Higher than every round that the proposer had heard of.
    pub round: u32,
    /// The proposer.
    pub machine: MachineId,
    /// Drawn at random for each attempt.
    pub nonce: u64,
}

/// How far a machine's log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Standing {
    /// The newest slot that it knows decided.
    pub slot: u32,
    /// [`Entry::digest`] of what was decided there.
    pub digest: [u8; 16],
}

/// What a machine says about itself, again and again, to all. It decides nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Beacon {
    /// Who it is.
    pub machine: MachineId,
    /// Drawn each time its program starts.
    pub incarnation: [u8; 16],
    /// The public key of its channel.
    pub key: [u8; 32],
    /// How far its log goes; `None` before anything is decided.
    pub decided: Option<Standing>,
}

/// One message of the protocol. `slot` is the slot of the log that it is about, `ballot` the attempt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Message {
    /// To all: what have you voted for? And vote for nothing below this ballot any more.
    Prepare {
        /// Slot.
        slot: u32,
        /// Attempt.
        ballot: Ballot,
    },
    /// To the proposer: I shall not, and this was my last vote.
    Promise {
        /// Slot.
        slot: u32,
        /// Attempt.
        ballot: Ballot,
        /// The newest vote of the sender.
        accepted: Option<Vote>,
    },
    /// To all: vote for this.
    Accept {
        /// Slot.
        slot: u32,
        /// Attempt.
        ballot: Ballot,
        /// What to vote for.
        entry: Entry,
    },
    /// To the proposer: I voted for it.
    Accepted {
        /// Slot.
        slot: u32,
        /// Attempt.
        ballot: Ballot,
    },
    /// To the proposer: too late, I have promised another.
    Refused {
        /// Slot.
        slot: u32,
        /// The attempt that is refused.
        ballot: Ballot,
        /// The attempt that the sender has promised.
        promised: Ballot,
    },
    /// To all, or to who is behind: this was decided.
    Decided {
        /// Slot.
        slot: u32,
        /// What was decided.
        entry: Entry,
    },
    /// To one who is ahead: the sender knows nothing decided from this slot on.
    Ask {
        /// Slot.
        slot: u32,
    },
}
