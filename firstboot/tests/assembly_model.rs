//! Every history of a small site, one by one: acceptors and proposers are the very code that machines run, time is left
//! out, and the network may lose, repeat and reorder whatever was ever sent.
//!
//! Nobody learns what was decided here, which would only keep machines from voting again.

use std::collections::{BTreeMap, BTreeSet};

use contract::datagram::MachineId;
use firstboot::assembly::memory::Vote;
use firstboot::assembly::proposal::Proposal;
use firstboot::assembly::quorum::{quorum, tolerated};
use firstboot::assembly::{Ballot, Entry, Memory, Message, Seat};
use stateright::{Checker, Model, Property};

/// A site, and how much may happen there.
#[derive(Clone, Debug)]
struct Site {
    machines: u8,
    quorum: usize,
    /// How many attempts each of the first machines makes.
    attempts: Vec<u8>,
    /// How many machines may forget, and how often in all.
    forgetful: usize,
    wipes: u8,
}

impl Site {
    /// A site as it should be, with as many forgetful machines as it tolerates.
    fn sound(machines: u8, attempts: &[u8], wipes: u8) -> Self {
        let (quorum, forgetful) = (
            quorum(machines.into()) as usize,
            tolerated(machines.into()) as usize,
        );
        Self {
            machines,
            quorum,
            attempts: attempts.to_vec(),
            forgetful,
            wipes,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct State {
    memories: Vec<Memory>,
    proposals: Vec<Option<Proposal>>,
    tried: Vec<u8>,
    /// All that was ever sent, from whom and to whom; to all if to nobody.
    network: BTreeSet<(u8, Option<u8>, Message)>,
    forgot: BTreeSet<u8>,
    wipes: u8,
    /// All votes that were ever cast.
    votes: BTreeSet<(Vote, u8)>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Propose(u8),
    Deliver { from: u8, to: u8, message: Message },
    Wipe(u8),
}

fn id(machine: u8) -> MachineId {
    MachineId([machine; 16])
}

impl State {
    fn vote(&mut self, machine: u8, vote: Vote) {
        self.votes.insert((vote.clone(), machine));
        self.memories[usize::from(machine)].vote(vote);
    }

    /// Takes in the answer of a machine, the proposer itself among them, and goes on to the votes.
    fn count(&mut self, proposer: u8, from: u8, answer: &Message) {
        let Some(proposal) = &mut self.proposals[usize::from(proposer)] else {
            return;
        };
        let Message::Promise {
            slot,
            ballot,
            accepted,
        } = answer
        else {
            return;
        };
        if let Some(vote) = proposal.promised(id(from), *slot, *ballot, accepted.clone()) {
            let request = proposal.request();
            self.network.insert((proposer, None, request));
            self.vote(proposer, vote);
        }
    }

    fn propose(&mut self, machine: u8, quorum: usize) {
        let place = usize::from(machine);
        let memory = &mut self.memories[place];
        let nonce = self.tried[place];
        self.tried[place] += 1;
        let round = memory.promised.map_or(0, |promised| promised.round) + 1;
        let ballot = Ballot {
            round,
            machine: id(machine),
            nonce: nonce.into(),
        };
        let seats = vec![Seat {
            machine: id(machine),
            key: [0; 32],
        }];
        let wish = Entry::Named {
            epoch: 1,
            cluster: [16 * nonce + machine; 16],
            seats,
            initialiser: id(machine),
        };
        memory.promise(ballot);
        let own = Message::Promise {
            slot: 0,
            ballot,
            accepted: memory.accepted.clone(),
        };
        let proposal = Proposal::new(0, ballot, wish, quorum);
        self.network.insert((machine, None, proposal.request()));
        self.proposals[place] = Some(proposal);
        self.count(machine, machine, &own);
    }

    fn deliver(&mut self, from: u8, to: u8, message: &Message) {
        let place = usize::from(to);
        let answer = self.memories[place].answer(message, 1);
        match (&answer.reply, message) {
            (Some(Message::Accepted { ballot, .. }), Message::Accept { entry, .. }) => {
                self.votes.insert((
                    Vote {
                        ballot: *ballot,
                        entry: entry.clone(),
                    },
                    to,
                ));
            }
            (Some(promise @ Message::Promise { .. }), _) => {
                self.network.insert((to, Some(from), promise.clone()));
            }
            _ => {}
        }
        // A machine that promised another attempt gives up its own.
        let promised = self.memories[place].promised;
        if self.proposals[place]
            .as_ref()
            .is_some_and(|proposal| promised > Some(proposal.ballot))
        {
            self.proposals[place] = None;
        }
        self.count(to, from, message);
    }

    /// What quorums voted for.
    fn chosen(&self, quorum: usize) -> BTreeSet<&Entry> {
        let mut counts = BTreeMap::new();
        for (vote, _) in &self.votes {
            *counts.entry(vote).or_insert(0) += 1;
        }
        counts
            .into_iter()
            .filter(|(_, count)| *count >= quorum)
            .map(|(vote, _)| &vote.entry)
            .collect()
    }
}

impl Model for Site {
    type State = State;
    type Action = Step;

    fn init_states(&self) -> Vec<State> {
        let machines = usize::from(self.machines);
        vec![State {
            memories: vec![Memory::default(); machines],
            proposals: vec![None; machines],
            tried: vec![0; machines],
            network: BTreeSet::new(),
            forgot: BTreeSet::new(),
            wipes: 0,
            votes: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &State, steps: &mut Vec<Step>) {
        for (machine, attempts) in (0..).zip(&self.attempts) {
            if state.tried[usize::from(machine)] < *attempts {
                steps.push(Step::Propose(machine));
            }
        }
        for machine in 0..self.machines {
            let may = state.forgot.contains(&machine) || state.forgot.len() < self.forgetful;
            if may
                && state.wipes < self.wipes
                && state.memories[usize::from(machine)] != Memory::default()
            {
                steps.push(Step::Wipe(machine));
            }
        }
        for (from, to, message) in &state.network {
            let to = to.map_or(0..self.machines, |to| to..to + 1);
            steps.extend(to.filter(|to| to != from).map(|to| Step::Deliver {
                from: *from,
                to,
                message: message.clone(),
            }));
        }
    }

    fn next_state(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        match step {
            Step::Propose(machine) => next.propose(machine, self.quorum),
            Step::Deliver { from, to, message } => next.deliver(from, to, &message),
            Step::Wipe(machine) => {
                next.memories[usize::from(machine)] = Memory::default();
                next.proposals[usize::from(machine)] = None;
                next.forgot.insert(machine);
                next.wipes += 1;
            }
        }
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("one birth", |site: &Self, state: &State| {
                state.chosen(site.quorum).len() <= 1
            }),
            Property::sometimes("a birth", |site: &Self, state: &State| {
                !state.chosen(site.quorum).is_empty()
            }),
        ]
    }
}

/// Visits all states of a site, and says whether a second birth is among them.
fn second_birth(name: &str, site: Site) -> bool {
    let checker = site.clone().checker().threads(2).spawn_bfs().join();
    let found = checker.discovery("one birth").is_some();
    println!(
        "{name}: {} states, a second birth: {found}; {site:?}",
        checker.unique_state_count()
    );
    // A model in which nothing is ever chosen proves nothing.
    assert!(
        found || checker.discovery("a birth").is_some(),
        "{name}: no birth"
    );
    found
}

#[test]
fn no_history_has_a_second_birth() {
    assert!(!second_birth("2 machines", Site::sound(2, &[2, 1], 1)));
    assert!(!second_birth("3 machines", Site::sound(3, &[1, 1], 2)));
}

#[test]
#[ignore = "minutes; make test-assembly-sim"]
fn no_longer_history_has_a_second_birth() {
    assert!(!second_birth("2 machines", Site::sound(2, &[2, 2], 2)));
    assert!(!second_birth("3 machines", Site::sound(3, &[1, 1], 3)));
}

#[test]
fn smaller_quorums_or_more_forgetful_machines_have_one() {
    let sound = Site::sound(3, &[1, 1], 1);
    assert!(second_birth(
        "a majority",
        Site {
            quorum: 2,
            ..sound.clone()
        }
    ));
    assert!(second_birth(
        "all forget",
        Site {
            forgetful: 3,
            wipes: 3,
            ..sound
        }
    ));
}
