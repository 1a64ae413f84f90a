//! Acceptor, proposer and roster together, with timers: what one machine does.
//!
//! A core is always in one of these states, which follow from its [`Memory`]:
//!
//! | state | does |
//! |---|---|
//! | nothing decided | votes; proposes a `Named` when enough machines are there |
//! | `Named`, another initialiser | votes; proposes another `Named` when the initialiser was silent for long |
//! | `Named`, this initialiser | votes; proposes `Founded` once its authority is made, or another `Named` once that is lost |
//! | `Founded` | tells it to whoever asks |
//!
//! Any of the [`Trouble`]s stops voting and proposing until it is gone.

mod clock;
mod propose;
mod stopped;

use std::time::Duration;

use clock::Clock;

use contract::datagram::MachineId;

use super::config::{Config, ConfigError};
use super::entry::Entry;
use super::memory::{Learnt, Memory, Vote};
use super::message::{Ballot, Beacon, Message};
use super::proposal::Proposal;
use super::random::Random;
use super::roster::Roster;
use super::trouble::Trouble;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A beacon came in. It is authentic and not a replay.
    Heard(Beacon),
    /// A message came in. It is authentic: a machine with the seed's secret sent it, as `from`.
    Message {
        /// Who sent it.
        from: MachineId,
        /// What it says.
        message: Message,
    },
    /// Time passed, as asked for by [`Action::WakeAt`] or not.
    Tick,
    /// This machine made the authority of the cluster that it was named to initialise, and has it on disk.
    /// Told again after a restart.
    MadeAuthority {
        /// Of which attempt.
        epoch: u32,
        /// SHA-256 fingerprint of its certificate.
        fingerprint: [u8; 32],
    },
    /// This machine lost, or cannot make, what it was named to make. Told again after a restart.
    Lost {
        /// Of which attempt.
        epoch: u32,
    },
}

/// What to do. A list of them is done in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put this on disk, durably, before any later action of the list. If that fails, drop the rest of the list and
    /// the core, and start again from what is on disk.
    Persist(Memory),
    /// Send this to one machine. It may be lost.
    Send {
        /// To whom.
        to: MachineId,
        /// What.
        message: Message,
    },
    /// Send this to all machines. It may be lost, and may come back to this one.
    Broadcast(Message),
    /// Call [`Core::step`] with [`Event::Tick`] at this time or a little later, never before it. Of several, the newest counts.
    WakeAt(Duration),
    /// This was decided. It is on disk.
    Decided(Entry),
    /// This stops the birth, from now on until [`Core::troubles`] no longer has it.
    Trouble(Trouble),
}

/// One machine's part in the agreement.
#[derive(Clone, Debug)]
pub struct Core {
    config: Config,
    memory: Memory,
    roster: Roster,
    random: Random,
    clock: Clock,
    attempt: Option<Attempt>,
    /// No attempt begins before.
    hold: Duration,
    /// How many attempts in a row were refused.
    refusals: u32,
    /// The random part of the wait before the next attempt.
    jitter: Duration,
    /// The highest round that any machine told of.
    round: u32,
    /// When the slot began, as far as this machine knows.
    began: Duration,
    /// No question is asked before.
    ask: Duration,
    authority: Option<(u32, [u8; 32])>,
    lost: Option<u32>,
    second_birth: Option<Trouble>,
    troubles: Vec<Trouble>,
    actions: Vec<Action>,
    /// Whether the memory changed since it was last persisted.
    changed: bool,
}

/// A proposal and when to ask again.
#[derive(Clone, Debug)]
struct Attempt {
    proposal: Proposal,
    again: Duration,
    pause: Duration,
}

impl Core {
    /// A core that goes on from `memory`, which is what [`Action::Persist`] last made durable, or the default on a new machine.
    /// `seed` comes from the operating system's generator, anew at each start: cluster identifiers and ballots are drawn from it.
    ///
    /// # Errors
    /// If no birth can come of the configuration.
    pub fn new(config: Config, memory: Memory, seed: [u8; 32]) -> Result<Self, ConfigError> {
        config.validate()?;
        let me = Beacon {
            machine: config.me,
            incarnation: config.incarnation,
            key: config.key,
            decided: None,
        };
        let mut random = Random::new(seed);
        Ok(Self {
            roster: Roster::new(me, config.timing.silence, Duration::ZERO),
            jitter: random.below(config.timing.stagger),
            config,
            memory,
            random,
            clock: Clock::default(),
            attempt: None,
            hold: Duration::ZERO,
            refusals: 0,
            round: 0,
            began: Duration::ZERO,
            ask: Duration::ZERO,
            authority: None,
            lost: None,
            second_birth: None,
            troubles: Vec::new(),
            actions: Vec::new(),
            changed: false,
        })
    }

    /// The newest entry that is known to be decided.
    pub fn decided(&self) -> Option<&Entry> {
        self.memory.entry()
    }

    /// What stops the birth now.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// How many machines are there, this one included, of those that are expected.
    pub fn present(&self) -> usize {
        self.roster.live().len()
    }

    /// What to send out as a beacon: at once after each [`Action::Decided`], and several times in [`super::Timing::silence`].
    pub fn beacon(&self) -> Beacon {
        Beacon {
            machine: self.config.me,
            incarnation: self.config.incarnation,
            key: self.config.key,
            decided: self.memory.standing(),
        }
    }

    /// Takes in what happened at `now`, a time since any fixed moment, and says what to do.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        self.clock.advance(now);
        self.roster.sweep(self.clock.now);
        match event {
            Event::Heard(beacon) => self.hear(&beacon),
            Event::Message { from, message } if from != self.config.me => {
                self.receive(from, message)
            }
            Event::Message { .. } | Event::Tick => {}
            // What was begun for an earlier attempt may end late.
            Event::MadeAuthority { epoch, fingerprint } => {
                if self.authority.is_none_or(|(made, _)| made <= epoch) {
                    self.authority = Some((epoch, fingerprint));
                }
            }
            Event::Lost { epoch } => self.lost = self.lost.max(Some(epoch)),
        }
        self.report();
        self.propose();
        self.persist();
        if let Some(at) = self.wake() {
            self.actions.push(Action::WakeAt(self.clock.outside(at)));
        }
        std::mem::take(&mut self.actions)
    }

    fn hear(&mut self, beacon: &Beacon) {
        let machine = beacon.machine;
        let arrived = self.roster.hear(beacon, self.clock.now);
        if machine == self.config.me {
            return;
        }
        if arrived
            && let Some(attempt) = self
                .attempt
                .as_ref()
                .filter(|attempt| !attempt.proposal.has_answered(machine))
        {
            let request = attempt.proposal.request();
            self.send(machine, request);
        }
        // One that knows more is asked for it; so is one that knows something else, to find a second birth.
        let ours = self.memory.decided.as_ref().map(|decision| decision.slot);
        let Some(theirs) = beacon.decided else { return };
        let differs = ours.is_none_or(|ours| theirs.slot > ours)
            || self.memory.standing() != Some(theirs) && ours == Some(theirs.slot);
        if differs && self.second_birth.is_none() && self.clock.now >= self.ask {
            self.ask = self.clock.now + self.config.timing.resend;
            self.send(machine, Message::Ask { slot: theirs.slot });
        }
    }

    fn receive(&mut self, from: MachineId, message: Message) {
        let votes_count = !self.is_stopped() && !self.roster.is_twice(from);
        match message {
            Message::Prepare { slot, .. } | Message::Accept { slot, .. } if !votes_count => {
                self.answer(from, &Message::Ask { slot });
            }
            Message::Prepare { .. } | Message::Accept { .. } | Message::Ask { .. } => {
                self.answer(from, &message)
            }
            Message::Promise {
                slot,
                ballot,
                accepted,
            } if votes_count => self.promised(from, slot, ballot, accepted),
            Message::Accepted { slot, ballot } if votes_count => self.voted(from, slot, ballot),
            Message::Promise { .. } | Message::Accepted { .. } => {}
            Message::Refused {
                slot,
                ballot,
                promised,
            } => self.refused(slot, ballot, promised),
            Message::Decided { slot, entry } => self.learn(from, slot, entry),
        }
    }

    fn answer(&mut self, from: MachineId, message: &Message) {
        let answer = self.memory.answer(message, self.seats());
        self.changed |= answer.changed;
        let Some(reply) = answer.reply else { return };
        if let Message::Promise { ballot, .. } | Message::Accepted { ballot, .. } = &reply {
            self.give_way(*ballot);
        }
        self.send(from, reply);
    }

    /// Leaves the field to another machine's attempt for a while.
    fn give_way(&mut self, ballot: Ballot) {
        self.round = self.round.max(ballot.round);
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.proposal.ballot < ballot)
        {
            self.attempt = None;
        }
        self.hold = self
            .hold
            .max(self.clock.now + self.config.timing.patience + self.jitter);
    }

    fn promised(&mut self, from: MachineId, slot: u32, ballot: Ballot, accepted: Option<Vote>) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some(vote) = attempt.proposal.promised(from, slot, ballot, accepted) else {
            return;
        };
        attempt.pause = self.config.timing.resend;
        attempt.again = self.clock.now + attempt.pause;
        let request = attempt.proposal.request();
        // This machine has promised nothing higher, or the attempt would be gone.
        self.changed |= self.memory.vote(vote);
        if self.config.machines > 1 {
            self.broadcast(request);
        }
        self.voted(self.config.me, slot, ballot);
    }

    fn voted(&mut self, from: MachineId, slot: u32, ballot: Ballot) {
        let Some(attempt) = &mut self.attempt else {
            return;
        };
        let Some(entry) = attempt.proposal.voted(from, slot, ballot) else {
            return;
        };
        self.learn(self.config.me, slot, entry.clone());
        if self.config.machines > 1 {
            self.broadcast(Message::Decided { slot, entry });
        }
    }

    fn refused(&mut self, slot: u32, ballot: Ballot, promised: Ballot) {
        self.round = self.round.max(promised.round);
        let Some(attempt) = &self.attempt else { return };
        if (attempt.proposal.slot, attempt.proposal.ballot) != (slot, ballot) || promised <= ballot
        {
            return;
        }
        self.attempt = None;
        let timing = self.config.timing;
        let most = timing
            .resend
            .saturating_mul(1 << self.refusals.min(16))
            .min(timing.longest);
        self.refusals += 1;
        self.hold = self.clock.now + self.random.below(most);
    }

    fn learn(&mut self, from: MachineId, slot: u32, entry: Entry) {
        if self.second_birth.is_some() {
            return;
        }
        match self.memory.learn(slot, &entry, self.seats()) {
            Learnt::Known => {}
            Learnt::New => {
                self.changed = true;
                self.attempt = None;
                self.refusals = 0;
                self.hold = self.clock.now;
                self.began = self.clock.now;
                self.persist();
                self.actions.push(Action::Decided(entry));
            }
            Learnt::Contradiction => {
                self.second_birth = Some(Trouble::SecondBirth {
                    ours: self.decided().cloned(),
                    theirs: entry,
                    from,
                });
                // The other one must find it too.
                if let Some(ours) = self.memory.tell() {
                    self.send(from, ours);
                }
            }
        }
    }

    fn seats(&self) -> usize {
        self.config.seats as usize
    }

    fn send(&mut self, to: MachineId, message: Message) {
        self.persist();
        self.actions.push(Action::Send { to, message });
    }

    fn broadcast(&mut self, message: Message) {
        self.persist();
        self.actions.push(Action::Broadcast(message));
    }

    /// Has the memory put on disk before whatever comes next, if it changed.
    fn persist(&mut self) {
        if std::mem::take(&mut self.changed) {
            self.actions.push(Action::Persist(self.memory.clone()));
        }
    }
}

#[cfg(test)]
mod tests;
