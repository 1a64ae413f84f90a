//! The part of a machine with a join seed: it learns of the founding of one cluster, and takes no part in any.
//!
//! It never promises, votes or proposes, and answers nothing. What it sends is a question, to a machine whose beacon tells
//! of a log. It believes in the founding of the cluster that its seed names and in nothing else, so a site that is
//! about to be born beside it, or another cluster of the same secret, does not concern it.

use std::time::Duration;

use contract::guid::Guid;

use super::core::{Action, Event};
use super::entry::Entry;
use super::memory::{Learnt, Memory};
use super::message::{Beacon, Message};

/// One machine's part.
#[derive(Clone, Debug)]
pub struct Follower {
    me: Beacon,
    cluster: Guid,
    /// The size of the control plane, by the seed.
    seats: usize,
    /// The pause before another question.
    pause: Duration,
    memory: Memory,
    /// No question is asked before.
    ask: Duration,
    /// Another founding that was told of.
    other: Option<Guid>,
}

impl Follower {
    /// A machine that is to join `cluster`, which has `seats` in its control plane, and goes on from `memory`.
    pub fn new(me: Beacon, cluster: Guid, seats: u32, pause: Duration, memory: Memory) -> Self {
        Follower {
            me,
            cluster,
            seats: seats as usize,
            pause,
            memory,
            ask: Duration::ZERO,
            other: None,
        }
    }

    /// The founding of the cluster, once it is known.
    pub fn decided(&self) -> Option<&Entry> {
        self.memory.entry().filter(|entry| self.is_wanted(entry))
    }

    /// What this machine waits for, for people.
    pub fn waits_for(&self) -> String {
        match self.other {
            None => format!(
                "no machine of cluster {}, which the join seed names, is heard of yet",
                self.cluster
            ),
            Some(other) => format!(
                "the join seed names cluster {}, and the machines here are of cluster {other}: write a join seed for \
                 that one, or bring this machine to its own",
                self.cluster
            ),
        }
    }

    /// What to send out as a beacon.
    pub fn beacon(&self) -> Beacon {
        Beacon {
            decided: self.decided().and(self.memory.standing()),
            ..self.me
        }
    }

    /// Takes in what happened at `now`, and says what to do, as [`super::Core::step`] does.
    pub fn step(&mut self, event: Event, now: Duration) -> Vec<Action> {
        if self.decided().is_some() {
            return Vec::new();
        }
        match event {
            Event::Heard(beacon) => self.hear(&beacon, now),
            Event::Message {
                message: Message::Decided { slot, entry },
                ..
            } => self.learn(slot, entry),
            Event::Message { .. } | Event::Tick => Vec::new(),
            // It makes nothing that could be lost.
            Event::MadeAuthority { .. } | Event::Lost { .. } => Vec::new(),
        }
    }

    fn hear(&mut self, beacon: &Beacon, now: Duration) -> Vec<Action> {
        let Some(standing) = beacon.decided.filter(|_| now >= self.ask) else {
            return Vec::new();
        };
        self.ask = now + self.pause;
        let message = Message::Ask {
            slot: standing.slot,
        };
        vec![Action::Send {
            to: beacon.machine,
            message,
        }]
    }

    fn learn(&mut self, slot: u32, entry: Entry) -> Vec<Action> {
        if !self.is_wanted(&entry) {
            if entry.is_founded() {
                self.other = Some(Guid::derived(*entry.cluster()));
            }
            return Vec::new();
        }
        // What the machine knew of a log counts no more: the seed names the cluster.
        let mut memory = Memory::default();
        if memory.learn(slot, &entry, self.seats) != Learnt::New {
            return Vec::new();
        }
        self.memory = memory;
        vec![Action::Persist(self.memory.clone()), Action::Decided(entry)]
    }

    fn is_wanted(&self, entry: &Entry) -> bool {
        entry.is_founded() && Guid::derived(*entry.cluster()) == self.cluster
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::assembly::message::{Ballot, Standing};
    use crate::assembly::{Config, Core, Seat, Timing};
    use contract::datagram::MachineId;

    const PAUSE: Duration = Duration::from_secs(1);

    fn founded(cluster: u8) -> Entry {
        let machine = MachineId([1; 16]);
        let seats = vec![Seat {
            machine,
            key: [1; 32],
        }];
        let named = Entry::Named {
            epoch: 1,
            cluster: [cluster; 16],
            seats,
            initialiser: machine,
        };
        named.founded([9; 32])
    }

    fn follower(memory: Memory) -> Follower {
        let me = Beacon {
            machine: MachineId([7; 16]),
            incarnation: [0; 16],
            key: [7; 32],
            decided: None,
        };
        Follower::new(me, Guid::derived([3; 16]), 1, PAUSE, memory)
    }

    fn told(entry: Entry) -> Event {
        Event::Message {
            from: MachineId([1; 16]),
            message: Message::Decided { slot: 1, entry },
        }
    }

    #[test]
    fn it_asks_whoever_knows_a_log_and_believes_in_its_own_cluster_alone() {
        let mut follower = follower(Memory::default());
        let beacon = |decided| {
            Event::Heard(Beacon {
                machine: MachineId([1; 16]),
                incarnation: [0; 16],
                key: [1; 32],
                decided,
            })
        };
        let standing = Standing {
            slot: 1,
            digest: [0; 16],
        };
        assert_eq!(follower.step(beacon(None), Duration::ZERO), []);
        let asked = follower.step(beacon(Some(standing)), Duration::ZERO);
        let ask = Action::Send {
            to: MachineId([1; 16]),
            message: Message::Ask { slot: 1 },
        };
        assert_eq!(asked, [ask]);
        assert_eq!(follower.step(beacon(Some(standing)), PAUSE / 2), []);

        assert_eq!(follower.step(told(founded(4)), PAUSE), []);
        assert_eq!(follower.decided(), None);
        let why = follower.waits_for();
        assert!(why.contains("are of cluster 04040404"), "{why}");

        let done = follower.step(told(founded(3)), PAUSE);
        let [Action::Persist(memory), Action::Decided(entry)] = &done[..] else {
            panic!("{done:?}");
        };
        assert_eq!((memory.entry(), entry), (Some(&founded(3)), &founded(3)));
        assert_eq!(follower.decided(), Some(&founded(3)));
        assert!(follower.beacon().decided.is_some());
        // From then on nothing changes its mind.
        assert_eq!(follower.step(told(founded(4)), PAUSE * 9), []);
    }

    #[test]
    fn it_neither_promises_nor_votes_nor_believes_in_what_is_not_founded() {
        let named = Entry::Named {
            epoch: 1,
            cluster: [3; 16],
            seats: founded(3).seats().to_vec(),
            initialiser: MachineId([1; 16]),
        };
        let ballot = Ballot {
            round: 1,
            machine: MachineId([1; 16]),
            nonce: 1,
        };
        // What it voted for with another seed does not make it speak.
        let mut memory = Memory::default();
        memory.promise(ballot);
        let mut follower = follower(memory);
        for message in [
            Message::Prepare { slot: 0, ballot },
            Message::Accept {
                slot: 0,
                ballot,
                entry: named.clone(),
            },
            Message::Ask { slot: 0 },
            Message::Decided {
                slot: 0,
                entry: named.clone(),
            },
        ] {
            let event = Event::Message {
                from: MachineId([1; 16]),
                message,
            };
            assert_eq!(follower.step(event, PAUSE), []);
        }
        assert_eq!(follower.step(Event::Tick, PAUSE * 1000), []);
        assert_eq!(
            (follower.decided(), follower.beacon().decided),
            (None, None)
        );
    }

    #[test]
    fn a_machine_of_the_cluster_answers_it() {
        let mut memory = Memory::default();
        memory.learn(1, &founded(3), 1);
        let config = Config {
            machines: 1,
            seats: 1,
            me: MachineId([1; 16]),
            incarnation: [1; 16],
            key: [1; 32],
            timing: Timing::default(),
        };
        let mut core = Core::new(config, memory, [0; 32]).unwrap();
        let mut follower = follower(Memory::default());
        let asked = follower.step(Event::Heard(core.beacon()), Duration::ZERO);
        let [Action::Send { message, .. }] = &asked[..] else {
            panic!("{asked:?}");
        };
        let event = Event::Message {
            from: follower.beacon().machine,
            message: message.clone(),
        };
        for action in core.step(event, Duration::ZERO) {
            if let Action::Send { message, .. } = action {
                let from = core.beacon().machine;
                follower.step(Event::Message { from, message }, Duration::ZERO);
            }
        }
        assert_eq!(follower.decided(), Some(&founded(3)));
        // The birth does not stop for it, nor is it counted.
        assert_eq!((core.troubles(), core.present()), (&[][..], 1));
    }
}
