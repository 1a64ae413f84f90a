//! A few machines on a network that loses nothing; `tests/assembly_sim.rs` has all others.

use contract::datagram::MachineId;
use std::collections::VecDeque;
use std::time::Duration;

use super::{Action, Core, Event};
use crate::assembly::message::{MOST_BYTES, Message};
use crate::assembly::{Ballot, Beacon, Config, ConfigError, Entry, Memory, Seat, Timing, Trouble};

fn id(number: u8) -> MachineId {
    MachineId([number; 16])
}

fn config(number: u8, machines: u32, seats: u32) -> Config {
    let key = [number; 32];
    Config {
        machines,
        seats,
        me: id(number),
        incarnation: [number; 16],
        key,
        timing: Timing::default(),
    }
}

fn core(number: u8, machines: u32, seats: u32) -> Core {
    Core::new(
        config(number, machines, seats),
        Memory::default(),
        [number; 32],
    )
    .expect("the configuration is valid")
}

/// Machines whose messages and beacons arrive at once, on one clock.
struct Site {
    cores: Vec<Core>,
    now: Duration,
    queue: VecDeque<(usize, Event)>,
    sent: usize,
    troubles: Vec<Trouble>,
}

impl Site {
    fn new(cores: Vec<Core>) -> Self {
        Self {
            cores,
            now: Duration::ZERO,
            queue: VecDeque::new(),
            sent: 0,
            troubles: Vec::new(),
        }
    }

    fn run(&mut self, event: impl Fn(usize) -> Event) {
        self.queue
            .extend((0..self.cores.len()).map(|machine| (machine, event(machine))));
        while let Some((machine, event)) = self.queue.pop_front() {
            let from = self.cores[machine].beacon().machine;
            let mut changed = None;
            for action in self.cores[machine].step(event, self.now) {
                match action {
                    Action::Persist(memory) => changed = Some(memory),
                    Action::Send { to, message } => {
                        self.sent += 1;
                        let to = self
                            .cores
                            .iter()
                            .position(|core| core.beacon().machine == to)
                            .expect("it is there");
                        self.queue.push_back((to, Event::Message { from, message }));
                    }
                    Action::Broadcast(message) => {
                        self.sent += 1;
                        for to in 0..self.cores.len() {
                            self.queue.push_back((
                                to,
                                Event::Message {
                                    from,
                                    message: message.clone(),
                                },
                            ));
                        }
                    }
                    Action::Decided(entry) => {
                        let memory = changed.as_ref().expect("it is on disk before it is told");
                        assert_eq!(memory.entry(), Some(&entry));
                    }
                    Action::Trouble(trouble) => self.troubles.push(trouble),
                    Action::WakeAt(at) => {
                        assert!(at > self.now, "to be woken at {at:?} at {:?}", self.now)
                    }
                }
            }
        }
    }

    fn beacons(&mut self) {
        let beacons: Vec<_> = self.cores.iter().map(Core::beacon).collect();
        for beacon in beacons {
            self.run(|_| Event::Heard(beacon));
        }
    }

    fn pass(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += Duration::from_secs(1);
            self.run(|_| Event::Tick);
            self.beacons();
        }
    }

    fn agreed(&self) -> &Entry {
        let entry = self.cores[0].decided().expect("something was decided");
        assert!(self.cores.iter().all(|core| core.decided() == Some(entry)));
        entry
    }
}

#[test]
fn one_machine_decides_at_once_and_says_nothing() {
    let mut site = Site::new(vec![core(1, 1, 1)]);
    site.run(|_| Event::Tick);
    assert!(matches!(site.agreed(), Entry::Named { epoch: 1, .. }));
    site.run(|_| Event::MadeAuthority {
        epoch: 1,
        fingerprint: [9; 32],
    });
    assert!(
        matches!(site.agreed(), Entry::Founded { epoch: 1, authority, .. } if *authority == [9; 32])
    );
    assert_eq!(site.sent, 0);
}

#[test]
fn three_machines_decide_as_soon_as_they_know_each_other() {
    let mut site = Site::new((1..=3).map(|number| core(number, 3, 3)).collect());
    site.beacons();
    let Entry::Named {
        epoch: 1,
        seats,
        initialiser,
        ..
    } = site.agreed()
    else {
        panic!("nobody is named")
    };
    assert_eq!((seats.len(), *initialiser), (3, id(1)));
    site.run(|_| Event::MadeAuthority {
        epoch: 1,
        fingerprint: [9; 32],
    });
    assert!(matches!(site.agreed(), Entry::Founded { epoch: 1, .. }));
    // Twice: Prepare, Accept and Decided to all, and the answers of two.
    assert_eq!(site.sent, 2 * (3 + 4));
}

#[test]
fn four_of_five_wait_for_the_fifth_and_then_go_without_it() {
    let mut site = Site::new((1..=4).map(|number| core(number, 5, 3)).collect());
    site.beacons();
    site.pass(29);
    assert_eq!(site.cores[0].decided(), None);
    site.pass(2);
    site.agreed();
}

#[test]
fn an_initialiser_that_failed_is_replaced_by_another() {
    let mut site = Site::new((1..=3).map(|number| core(number, 3, 3)).collect());
    site.beacons();
    let first = site.agreed().clone();
    let event = |machine| {
        if machine == 0 {
            Event::Lost { epoch: 1 }
        } else {
            Event::Tick
        }
    };
    site.run(event);
    assert_eq!(
        (site.agreed().epoch(), site.agreed().initialiser()),
        (2, id(2))
    );
    assert_ne!(site.agreed().cluster(), first.cluster());
    // What the first one makes after all is of no use.
    site.run(|_| Event::MadeAuthority {
        epoch: 1,
        fingerprint: [9; 32],
    });
    assert!(matches!(site.agreed(), Entry::Named { epoch: 2, .. }));
    site.run(|_| Event::MadeAuthority {
        epoch: 2,
        fingerprint: [8; 32],
    });
    assert!(matches!(site.agreed(), Entry::Founded { epoch: 2, .. }));
}

#[test]
fn an_authority_of_an_earlier_attempt_that_comes_late_changes_nothing() {
    let mut site = Site::new(vec![core(1, 1, 1)]);
    site.run(|_| Event::Tick);
    site.run(|_| Event::Lost { epoch: 1 });
    assert_eq!(site.agreed().epoch(), 2);
    // Both are told before either can be proposed.
    site.cores[0].authority = Some((2, [8; 32]));
    site.run(|_| Event::MadeAuthority {
        epoch: 1,
        fingerprint: [9; 32],
    });
    assert!(
        matches!(site.agreed(), Entry::Founded { epoch: 2, authority, .. } if *authority == [8; 32])
    );
}

#[test]
fn an_initialiser_that_is_silent_is_replaced() {
    let mut site = Site::new((1..=5).map(|number| core(number, 5, 3)).collect());
    site.beacons();
    assert_eq!(site.agreed().initialiser(), id(1));
    site.cores.remove(0);
    site.pass(599);
    assert_eq!(site.agreed().epoch(), 1);
    site.pass(5);
    assert_eq!(
        (site.agreed().epoch(), site.agreed().initialiser()),
        (2, id(2))
    );
    assert!(
        site.agreed()
            .seats()
            .iter()
            .all(|seat| seat.machine != id(1))
    );
}

#[test]
fn one_machine_too_many_stops_the_birth_until_it_is_gone() {
    let mut site = Site::new((1..=4).map(|number| core(number, 3, 3)).collect());
    let beacons: Vec<_> = site.cores.iter().map(Core::beacon).collect();
    for machine in 0..4 {
        for beacon in &beacons {
            let event = Event::Heard(*beacon);
            assert!(
                site.cores[machine]
                    .step(event, Duration::ZERO)
                    .iter()
                    .all(|action| { !matches!(action, Action::Decided(_)) })
            );
        }
    }
    site.pass(100);
    assert!(site.cores.iter().all(|core| core.decided().is_none()));
    let [
        Trouble::TooMany {
            expected: 3,
            machines,
            extra,
        },
    ] = site.cores[0].troubles()
    else {
        panic!("no trouble")
    };
    assert_eq!(
        (machines.as_slice(), extra.as_slice()),
        ([id(1), id(2), id(3)].as_slice(), [id(4)].as_slice())
    );
    site.cores.pop();
    site.pass(80);
    site.agreed();
    assert_eq!(site.cores[0].troubles(), []);
}

#[test]
fn a_cloned_identity_stops_both_until_one_is_gone() {
    let clone = Core::new(
        Config {
            incarnation: [77; 16],
            ..config(3, 4, 3)
        },
        Memory::default(),
        [77; 32],
    );
    let mut site = Site::new(
        (1..=4)
            .map(|number| core(number, 4, 3))
            .chain(clone)
            .collect(),
    );
    // All hear the clones before the fourth machine.
    let beacons: Vec<_> = [2, 4, 2, 0, 1, 3]
        .map(|machine: usize| site.cores[machine].beacon())
        .to_vec();
    for beacon in beacons {
        site.run(|_| Event::Heard(beacon));
    }
    site.pass(100);
    assert!(site.cores.iter().all(|core| core.decided().is_none()));
    let both = Trouble::Cloned {
        machine: id(3),
        incarnations: [[3; 16], [77; 16]],
    };
    for core in &site.cores {
        assert_eq!(core.troubles(), std::slice::from_ref(&both));
    }
    site.cores.pop();
    site.pass(90);
    site.agreed();
    assert_eq!(site.cores[0].troubles(), []);
}

#[test]
fn a_second_birth_is_found_by_both_and_named() {
    let mut site = Site::new(vec![core(1, 1, 1), core(2, 1, 1)]);
    site.run(|_| Event::Tick);
    site.run(|machine| Event::MadeAuthority {
        epoch: 1,
        fingerprint: [machine as u8; 32],
    });
    let [one, other] = [0, 1].map(|machine: usize| {
        site.cores[machine]
            .decided()
            .cloned()
            .expect("it is founded")
    });
    assert_ne!(one.cluster(), other.cluster());
    site.beacons();
    site.pass(5);
    let found = |machine: usize| site.cores[machine].troubles().first().cloned();
    let trouble = |ours: &Entry, theirs: &Entry, from| {
        Some(Trouble::SecondBirth {
            ours: Some(ours.clone()),
            theirs: theirs.clone(),
            from,
        })
    };
    assert_eq!(found(0), trouble(&one, &other, id(2)));
    assert_eq!(found(1), trouble(&other, &one, id(1)));
    assert_eq!(
        [site.cores[0].decided(), site.cores[1].decided()],
        [Some(&one), Some(&other)]
    );
}

#[test]
fn every_message_fits_a_datagram() {
    let seats = (0..7)
        .map(|number| Seat {
            machine: id(number),
            key: [255; 32],
        })
        .collect();
    let ballot = Ballot {
        round: u32::MAX,
        machine: id(255),
        nonce: u64::MAX,
    };
    let named = Entry::Named {
        epoch: u32::MAX,
        cluster: [255; 16],
        seats,
        initialiser: id(6),
    };
    let entry = named.founded([255; 32]);
    let accepted = Some(crate::assembly::memory::Vote {
        ballot,
        entry: entry.clone(),
    });
    let slot = u32::MAX;
    for message in [
        Message::Promise {
            slot,
            ballot,
            accepted,
        },
        Message::Accept {
            slot,
            ballot,
            entry: entry.clone(),
        },
        Message::Decided { slot, entry },
        Message::Refused {
            slot,
            ballot,
            promised: ballot,
        },
    ] {
        let bytes = postcard::to_stdvec(&message).expect("it can be encoded");
        assert!(
            bytes.len() <= MOST_BYTES,
            "{} bytes: {message:?}",
            bytes.len()
        );
        assert_eq!(
            postcard::from_bytes::<Message>(&bytes).expect("it can be decoded"),
            message
        );
    }
}

#[test]
fn nonsense_is_refused() {
    let refused =
        |machines, seats| Core::new(config(1, machines, seats), Memory::default(), [0; 32]).err();
    assert_eq!(refused(0, 1), Some(ConfigError::NoMachines));
    for (machines, seats) in [(3, 0), (3, 4), (9, 8)] {
        assert_eq!(
            refused(machines, seats),
            Some(ConfigError::Seats { seats, machines })
        );
    }
}

#[test]
fn a_clock_that_jumps_back_delays_nothing() {
    let mut one = core(1, 5, 3);
    for number in 2..=4 {
        let beacon: Beacon = core(number, 5, 3).beacon();
        one.step(Event::Heard(beacon), Duration::from_secs(5000));
    }
    let actions = one.step(Event::Tick, Duration::from_secs(10));
    assert!(
        actions.contains(&Action::WakeAt(Duration::from_secs(40))),
        "{actions:?}"
    );
    let actions = one.step(Event::Tick, Duration::from_secs(40));
    assert!(
        matches!(
            actions[..],
            [
                Action::Persist(_),
                Action::Broadcast(Message::Prepare { .. }),
                ..
            ]
        ),
        "{actions:?}"
    );
}
