//! The proposer: one attempt to have an entry decided.
//!
//! Nothing here knows of time or of who is there; the exhaustive model in `tests/assembly_model.rs` runs this very code.

use std::collections::BTreeSet;

use contract::datagram::MachineId;

use super::entry::Entry;
use super::memory::Vote;
use super::message::{Ballot, Message};

/// One attempt, from its `Prepare` until it is decided or given up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Proposal {
    /// The slot that it is for.
    pub slot: u32,
    /// Its number.
    pub ballot: Ballot,
    /// What is proposed: the proposer's wish, until a quorum of promises shows that it must be an earlier vote.
    entry: Entry,
    /// The newest vote that promises told of.
    newest: Option<Vote>,
    stage: Stage,
    /// Who has answered in this stage.
    answered: BTreeSet<MachineId>,
    quorum: usize,
}

/// What is being counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Stage {
    Promises,
    Votes,
}

impl Proposal {
    /// An attempt to have `wish` decided in `slot` by a quorum of `quorum` machines.
    pub fn new(slot: u32, ballot: Ballot, wish: Entry, quorum: usize) -> Self {
        Self {
            slot,
            ballot,
            entry: wish,
            newest: None,
            stage: Stage::Promises,
            answered: BTreeSet::new(),
            quorum,
        }
    }

    /// What to ask those who have not answered.
    pub fn request(&self) -> Message {
        let (slot, ballot) = (self.slot, self.ballot);
        match self.stage {
            Stage::Promises => Message::Prepare { slot, ballot },
            Stage::Votes => Message::Accept {
                slot,
                ballot,
                entry: self.entry.clone(),
            },
        }
    }

    /// Whether this machine has answered what is being asked now.
    pub fn has_answered(&self, machine: MachineId) -> bool {
        self.answered.contains(&machine)
    }

    /// Counts a promise. Returns the vote to ask for once a quorum has promised: that of the newest vote that
    /// any of them told of, or else what the proposer wished.
    pub fn promised(
        &mut self,
        machine: MachineId,
        slot: u32,
        ballot: Ballot,
        accepted: Option<Vote>,
    ) -> Option<Vote> {
        if (slot, ballot, Stage::Promises) != (self.slot, self.ballot, self.stage) {
            return None;
        }
        self.newest = self.newest.take().max(accepted);
        self.answered.insert(machine);
        if self.answered.len() < self.quorum {
            return None;
        }
        self.stage = Stage::Votes;
        self.answered.clear();
        if let Some(vote) = self.newest.take() {
            self.entry = vote.entry;
        }
        Some(Vote {
            ballot,
            entry: self.entry.clone(),
        })
    }

    /// Counts a vote. Returns what is decided once a quorum has voted.
    pub fn voted(&mut self, machine: MachineId, slot: u32, ballot: Ballot) -> Option<Entry> {
        if (slot, ballot, Stage::Votes) != (self.slot, self.ballot, self.stage) {
            return None;
        }
        self.answered.insert(machine);
        (self.answered.len() >= self.quorum).then(|| self.entry.clone())
    }
}
