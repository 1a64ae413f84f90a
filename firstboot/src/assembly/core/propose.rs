//! When a machine proposes, what, and when it asks again.

use std::time::Duration;

use super::{Attempt, Core};
use crate::assembly::Entry;
use crate::assembly::message::Ballot;
use crate::assembly::proposal::Proposal;
use crate::assembly::quorum::quorum;

/// The most machines that wait one after the other before they propose; all others wait as long as the last of them.
const MOST_STAGGERED: u32 = 16;

/// What a machine wants decided.
enum Wish {
    Named,
    Founded([u8; 32]),
}

impl Core {
    /// Begins an attempt, or goes on with the one there is, if it is time.
    pub(super) fn propose(&mut self) {
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

    /// When time alone has something to do next.
    pub(super) fn wake(&self) -> Option<Duration> {
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
}
