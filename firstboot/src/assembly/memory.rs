//! The acceptor: what a machine has promised, voted for and learnt, and the rules by which that changes.
//!
//! Only the slot that is being decided is kept. A machine that learns what was decided in a slot never votes there
//! again, so its votes there may go.
//! Nothing here knows of time; the exhaustive model in `tests/assembly_model.rs` runs this very code.

use serde::{Deserialize, Serialize};

use super::entry::Entry;
use super::message::{Ballot, Message, Standing};

/// What must be on disk before anything that follows from it is said.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Memory {
    /// The newest entry that is known to be decided.
    pub decided: Option<Decision>,
    /// In the slot after it: nothing below this is promised or voted for.
    pub promised: Option<Ballot>,
    /// In the slot after it: the newest vote.
    pub accepted: Option<Vote>,
}

/// A decided entry and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Decision {
    /// The slot.
    pub slot: u32,
    /// What was decided.
    pub entry: Entry,
}

/// A vote.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Vote {
    /// The attempt that it was asked for in.
    pub ballot: Ballot,
    /// What it is for.
    pub entry: Entry,
}

/// What came of a request to the acceptor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether the memory changed, and must be durable before the reply is sent.
    pub changed: bool,
    /// What to reply to the sender, if anything.
    pub reply: Option<Message>,
}

/// What came of the news that something was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// It was new. The memory changed.
    New,
    /// It was known, or older than what is known.
    Known,
    /// It cannot be of the same log.
    Contradiction,
}

impl Memory {
    /// The slot that is being decided; `None` once the cluster is founded.
    pub fn slot(&self) -> Option<u32> {
        match &self.decided {
            None => Some(0),
            Some(decision) if decision.entry.is_founded() => None,
            Some(decision) => decision.slot.checked_add(1),
        }
    }

    /// The newest decided entry.
    pub fn entry(&self) -> Option<&Entry> {
        self.decided.as_ref().map(|decision| &decision.entry)
    }

    /// How far the log goes.
    pub fn standing(&self) -> Option<Standing> {
        self.decided.as_ref().map(|decision| Standing {
            slot: decision.slot,
            digest: decision.entry.digest(),
        })
    }

    /// Answers one of the requests `Prepare`, `Accept` and `Ask`; other messages have no answer.
    /// `seats` is the size of the control plane.
    ///
    /// A request about a slot that is decided gets the newest decided entry. One about a slot ahead gets an `Ask`,
    /// and so waits until this machine knows what came before. An entry that cannot follow gets what it does not
    /// follow from, so that its proposer finds the contradiction.
    pub fn answer(&mut self, message: &Message, seats: usize) -> Answer {
        let (slot, ballot) = match message {
            Message::Prepare { slot, ballot } | Message::Accept { slot, ballot, .. } => {
                (*slot, Some(*ballot))
            }
            Message::Ask { slot } => (*slot, None),
            _ => {
                return Answer {
                    changed: false,
                    reply: None,
                };
            }
        };
        let reply = |reply| Answer {
            changed: false,
            reply,
        };
        match self.slot() {
            Some(current) if slot > current => {
                return reply(ballot.map(|_| Message::Ask { slot: current }));
            }
            Some(current) if slot == current => {}
            _ => return reply(self.tell()),
        }
        let Some(ballot) = ballot else {
            return reply(None);
        };
        if let Some(promised) = self.promised.filter(|promised| *promised > ballot) {
            return reply(Some(Message::Refused {
                slot,
                ballot,
                promised,
            }));
        }
        match message {
            Message::Accept { entry, .. } => {
                if !entry.fits(slot, seats) || !entry.follows(self.entry()) {
                    return reply(self.tell());
                }
                let changed = self.vote(Vote {
                    ballot,
                    entry: entry.clone(),
                });
                Answer {
                    changed,
                    reply: Some(Message::Accepted { slot, ballot }),
                }
            }
            _ => {
                let changed = self.promise(ballot);
                Answer {
                    changed,
                    reply: Some(Message::Promise {
                        slot,
                        ballot,
                        accepted: self.accepted.clone(),
                    }),
                }
            }
        }
    }

    /// Promises `ballot`, which must not be below what is promised. Returns whether that changed anything.
    pub fn promise(&mut self, ballot: Ballot) -> bool {
        let before = self.promised.replace(ballot);
        before != self.promised
    }

    /// Votes; its ballot must not be below what is promised. Returns whether that changed anything.
    pub fn vote(&mut self, vote: Vote) -> bool {
        let promised = self.promise(vote.ballot);
        let before = self.accepted.replace(vote);
        promised || before != self.accepted
    }

    /// Takes in that `entry` was decided in `slot`. Votes of that slot and those before it are forgotten.
    pub fn learn(&mut self, slot: u32, entry: &Entry, seats: usize) -> Learnt {
        if !entry.fits(slot, seats) {
            return Learnt::Contradiction;
        }
        if let Some(decision) = &self.decided {
            let ended =
                |early: &Entry, early_slot, late_slot| early.is_founded() && early_slot < late_slot;
            if ended(&decision.entry, decision.slot, slot) || ended(entry, slot, decision.slot) {
                return Learnt::Contradiction;
            }
            if slot == decision.slot {
                return if *entry == decision.entry {
                    Learnt::Known
                } else {
                    Learnt::Contradiction
                };
            }
            if slot < decision.slot {
                return Learnt::Known;
            }
        }
        if self.slot() == Some(slot) && !entry.follows(self.entry()) {
            return Learnt::Contradiction;
        }
        *self = Self {
            decided: Some(Decision {
                slot,
                entry: entry.clone(),
            }),
            promised: None,
            accepted: None,
        };
        Learnt::New
    }

    /// The message that tells the newest decided entry.
    pub fn tell(&self) -> Option<Message> {
        let decision = self.decided.as_ref()?;
        Some(Message::Decided {
            slot: decision.slot,
            entry: decision.entry.clone(),
        })
    }
}
