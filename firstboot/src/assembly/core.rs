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

use std::time::Duration;

use super::config::{Config, ConfigError};
use super::entry::{Entry, MachineId};
use super::memory::{Learnt, Memory, Vote};
use super::message::{Ballot, Beacon, Message};
use super::proposal::Proposal;
use super::quorum::quorum;
use super::random::Random;
use super::roster::Roster;
use super::trouble::Trouble;

/// The most machines that wait one after the other before they propose; all others wait as long as the last of them.
const MOST_STAGGERED: u32 = 16;

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
    /// Call [`Core::step`] with [`Event::Tick`] at this time, unless something else happens before. Of several, the newest counts.
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

/// What a machine wants decided.
enum Wish {
    Named,
    Founded([u8; 32]),
}

/// Time that only goes forward, whatever the caller's clock does.
#[derive(Clone, Copy, Debug, Default)]
struct Clock {
    last: Option<Duration>,
    now: Duration,
}

impl Clock {
    fn advance(&mut self, now: Duration) {
        self.now += now.saturating_sub(self.last.unwrap_or(now));
        self.last = Some(now);
    }

    /// The caller's time at `at`.
    fn outside(&self, at: Duration) -> Duration {
        self.last.unwrap_or_default() + at.saturating_sub(self.now)
    }
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

    /// Tells of troubles that are new.
    fn report(&mut self) {
        let now = self.current_troubles();
        for trouble in &now {
            if !self.troubles.iter().any(|told| told.is_same(trouble)) {
                self.actions.push(Action::Trouble(trouble.clone()));
            }
        }
        self.troubles = now;
    }

    fn current_troubles(&self) -> Vec<Trouble> {
        let mut troubles: Vec<_> = self
            .roster
            .twice()
            .map(|(machine, incarnations)| Trouble::Cloned {
                machine,
                incarnations,
            })
            .chain(self.second_birth.clone())
            .collect();
        if self.are_too_many() {
            let mut machines = self.roster.by_arrival();
            let extra = machines.split_off(machines.len().min(self.config.machines as usize));
            troubles.push(Trouble::TooMany {
                expected: self.config.machines,
                machines,
                extra,
            });
        }
        troubles
    }

    fn are_too_many(&self) -> bool {
        self.roster.live().len() > self.config.machines as usize
    }

    /// Whether this machine neither votes nor proposes.
    fn is_stopped(&self) -> bool {
        self.second_birth.is_some() || self.are_too_many() || self.roster.is_twice(self.config.me)
    }

    /// Begins an attempt, or goes on with the one there is, if it is time.
    fn propose(&mut self) {
        let Some(slot) = self.memory.slot().filter(|_| !self.is_stopped()) else {
            self.attempt = None;
            return;
        };
        if self.attempt.is_some() {
            return self.ask_again();
        }
        let Some((at, wish)) = self.wish() else {
            return;
        };
        if self.clock.now < at {
            return;
        }
        let wish = match wish {
            Wish::Named => self.named(slot),
            Wish::Founded(authority) => self.decided().map(|named| named.founded(authority)),
        };
        let Some(wish) = wish else { return };
        let round = self
            .round
            .max(self.memory.promised.map_or(0, |promised| promised.round))
            .saturating_add(1);
        let ballot = Ballot {
            round,
            machine: self.config.me,
            nonce: self.random.number(),
        };
        let quorum = quorum(self.config.machines) as usize;
        let pause = self.config.timing.resend;
        self.jitter = self.random.below(self.config.timing.stagger);
        self.round = round;
        self.changed |= self.memory.promise(ballot);
        let proposal = Proposal::new(slot, ballot, wish, quorum);
        let request = proposal.request();
        self.attempt = Some(Attempt {
            proposal,
            again: self.clock.now + pause,
            pause,
        });
        if self.config.machines > 1 {
            self.broadcast(request);
        }
        let accepted = self.memory.accepted.clone();
        self.promised(self.config.me, slot, ballot, accepted);
    }

    /// Asks those that have not answered, with a pause that doubles each time.
    fn ask_again(&mut self) {
        let Some(attempt) = self
            .attempt
            .as_mut()
            .filter(|attempt| self.clock.now >= attempt.again)
        else {
            return;
        };
        attempt.pause = (attempt.pause * 2).min(self.config.timing.longest);
        attempt.again = self.clock.now + attempt.pause;
        let proposal = &attempt.proposal;
        let silent: Vec<_> = self
            .roster
            .live()
            .iter()
            .copied()
            .filter(|machine| !proposal.has_answered(*machine))
            .collect();
        let request = proposal.request();
        for machine in silent {
            self.send(machine, request.clone());
        }
    }

    /// What this machine wants decided in the current slot, and from when on it proposes that.
    fn wish(&self) -> Option<(Duration, Wish)> {
        let timing = &self.config.timing;
        let live = u32::try_from(self.present()).unwrap_or(u32::MAX);
        let enough = live >= quorum(self.config.machines).max(self.config.seats);
        let from = match self.decided() {
            None if live >= self.config.machines => self.roster.newcomer(),
            None => self.roster.newcomer() + timing.grace,
            Some(named) if named.initialiser() == self.config.me => {
                let epoch = named.epoch();
                let lost =
                    self.lost == Some(epoch) || named.initialiser_key() != Some(&self.config.key);
                let made = self.authority.filter(|(made, _)| *made == epoch && !lost);
                return match made {
                    Some((_, fingerprint)) => Some((self.hold, Wish::Founded(fingerprint))),
                    None => (lost && enough).then_some((self.hold, Wish::Named)),
                };
            }
            Some(named) => {
                let seat = named
                    .seats()
                    .iter()
                    .find(|seat| seat.machine == named.initialiser())?;
                self.roster
                    .last_heard(seat)
                    .unwrap_or_default()
                    .max(self.began)
                    + timing.initialiser
            }
        };
        let before = self
            .roster
            .live()
            .iter()
            .take(MOST_STAGGERED as usize)
            .take_while(|one| **one < self.config.me);
        let wait = match u32::try_from(before.count()).unwrap_or(MOST_STAGGERED) {
            0 => Duration::ZERO,
            rank => timing.stagger * rank + self.jitter,
        };
        enough.then_some(((from + wait).max(self.hold), Wish::Named))
    }

    /// The machines that found the cluster: the first of those that are there. Of these the first initialises it, or
    /// on another attempt the first that did not fail before.
    fn named(&mut self, slot: u32) -> Option<Entry> {
        let seats = self.roster.seats(self.seats());
        let failed = self.decided().map(Entry::initialiser);
        let initialiser = seats
            .iter()
            .find(|seat| Some(seat.machine) != failed)
            .or(seats.first())?
            .machine;
        Some(Entry::Named {
            epoch: slot.checked_add(1)?,
            cluster: self.random.bytes(),
            seats,
            initialiser,
        })
    }

    fn seats(&self) -> usize {
        self.config.seats as usize
    }

    /// When time alone has something to do next.
    fn wake(&self) -> Option<Duration> {
        let attempt = match &self.attempt {
            Some(attempt) => Some(attempt.again),
            None if self.memory.slot().is_some() && !self.is_stopped() => {
                self.wish().map(|(at, _)| at)
            }
            None => None,
        };
        let sweep = (!self.roster.is_alone()).then(|| self.roster.next_sweep());
        attempt.into_iter().chain(sweep).min()
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
