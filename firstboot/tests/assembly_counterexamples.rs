//! Histories by which other rules, and this one beyond its bound, lead to a second birth. Acceptors and proposers are the
//! very code that machines run.

use std::collections::{BTreeMap, BTreeSet};

use contract::datagram::MachineId;
use firstboot::assembly::memory::{Learnt, Vote};
use firstboot::assembly::proposal::Proposal;
use firstboot::assembly::{Ballot, Entry, Memory, Message, Seat};

const SEATS: usize = 1;

/// A site whose messages arrive when the test says so.
struct Site {
    quorum: usize,
    memories: Vec<Memory>,
    votes: BTreeMap<(Ballot, Entry), BTreeSet<usize>>,
}

/// An attempt for which a machine gathers promises.
struct Attempt {
    proposal: Proposal,
    vote: Option<Vote>,
}

impl Attempt {
    /// What the promises lead to.
    fn entry(&self) -> &Entry {
        &self.vote.as_ref().expect("a quorum has promised").entry
    }
}

fn entry(proposer: usize, attempt: u64) -> Entry {
    let machine = MachineId([proposer as u8; 16]);
    let cluster = [(16 * attempt) as u8 + proposer as u8; 16];
    Entry::Named {
        epoch: 1,
        cluster,
        seats: vec![Seat {
            machine,
            key: [0; 32],
        }],
        initialiser: machine,
    }
}

impl Site {
    fn new(machines: usize, quorum: usize) -> Self {
        Self {
            quorum,
            memories: vec![Memory::default(); machines],
            votes: BTreeMap::new(),
        }
    }

    fn attempt(&self, proposer: usize, round: u32, nonce: u64, wish: Entry) -> Attempt {
        let ballot = Ballot {
            round,
            machine: MachineId([proposer as u8; 16]),
            nonce,
        };
        Attempt {
            proposal: Proposal::new(0, ballot, wish, self.quorum),
            vote: None,
        }
    }

    /// These machines get the attempt's `Prepare`, and their promises arrive.
    fn promise(&mut self, attempt: &mut Attempt, machines: &[usize]) {
        for &machine in machines {
            let ballot = attempt.proposal.ballot;
            let answer =
                self.memories[machine].answer(&Message::Prepare { slot: 0, ballot }, SEATS);
            if let Some(Message::Promise {
                slot,
                ballot,
                accepted,
            }) = answer.reply
            {
                let vote = attempt.proposal.promised(
                    MachineId([machine as u8; 16]),
                    slot,
                    ballot,
                    accepted,
                );
                attempt.vote = attempt.vote.take().or(vote);
            }
        }
    }

    /// These machines get the attempt's `Accept`.
    fn vote(&mut self, attempt: &Attempt, machines: &[usize]) {
        let Vote { ballot, entry } = attempt.vote.clone().expect("a quorum has promised");
        for &machine in machines {
            let request = Message::Accept {
                slot: 0,
                ballot,
                entry: entry.clone(),
            };
            if let Some(Message::Accepted { .. }) =
                self.memories[machine].answer(&request, SEATS).reply
            {
                self.votes
                    .entry((ballot, entry.clone()))
                    .or_default()
                    .insert(machine);
            }
        }
    }

    fn wipe(&mut self, machine: usize) {
        self.memories[machine] = Memory::default();
    }

    fn births(&self) -> usize {
        let chosen = self
            .votes
            .iter()
            .filter(|(_, voters)| voters.len() >= self.quorum);
        chosen
            .map(|((_, entry), _)| entry)
            .collect::<BTreeSet<_>>()
            .len()
    }
}

/// Five machines; a quorum votes for v while `wiped` lose their memory, the first of them before the others vote.
fn wiped_while_voting(quorum: usize, wiped: &[usize]) -> Site {
    let mut site = Site::new(5, quorum);
    let voters: Vec<_> = (0..quorum).collect();
    let mut attempt = site.attempt(quorum - 1, 1, 0, entry(quorum - 1, 0));
    site.promise(&mut attempt, &voters);
    site.vote(&attempt, &wiped[..1]);
    site.wipe(wiped[0]);
    let others: Vec<_> = voters
        .into_iter()
        .filter(|machine| *machine != wiped[0])
        .collect();
    site.vote(&attempt, &others);
    for &machine in &wiped[1..] {
        site.wipe(machine);
    }
    assert_eq!(site.births(), 1);
    site
}

/// The machine 4 tries for w with these machines.
fn second_attempt(site: &mut Site, machines: &[usize]) {
    let mut attempt = site.attempt(4, 2, 0, entry(4, 1));
    site.promise(&mut attempt, machines);
    site.vote(&attempt, machines);
}

#[test]
fn a_majority_does_not_bear_one_machine_that_is_wiped_while_its_vote_is_under_way() {
    let mut site = wiped_while_voting(3, &[0]);
    second_attempt(&mut site, &[0, 3, 4]);
    assert_eq!(site.births(), 2);
}

#[test]
fn a_majority_does_not_bear_two_that_are_wiped_at_overlapping_times() {
    // Each could be admitted by the other and by the two that never voted, who know of nothing.
    let mut site = wiped_while_voting(3, &[0, 1]);
    second_attempt(&mut site, &[0, 1, 3, 4]);
    assert_eq!(site.births(), 2);
}

#[test]
fn four_of_five_bear_any_two() {
    for (one, other) in [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)] {
        for absent in 0..5 {
            let mut site = wiped_while_voting(4, &[one, other]);
            let machines: Vec<_> = (0..5).filter(|&machine| machine != absent).collect();
            second_attempt(&mut site, &machines);
            assert_eq!(
                site.births(),
                1,
                "{one} and {other} are wiped, {absent} is off"
            );
        }
    }
}

#[test]
fn four_of_five_do_not_bear_three() {
    let mut site = wiped_while_voting(4, &[0, 1, 2]);
    second_attempt(&mut site, &[0, 1, 2, 4]);
    assert_eq!(site.births(), 2);
}

#[test]
fn the_bound_counts_all_who_ever_forgot_in_a_slot_not_those_at_one_time() {
    let mut site = Site::new(5, 4);
    let mut first = site.attempt(0, 1, 0, entry(0, 0));
    site.promise(&mut first, &[0, 1, 2, 3]);
    site.vote(&first, &[0, 1, 2, 3]);
    let v = first.entry().clone();
    let mut second = site.attempt(4, 2, 0, entry(4, 1));
    site.promise(&mut second, &[4]);
    // One after the other is wiped and promises; two of them then learn what was decided, and count no more.
    for machine in [0, 1] {
        site.wipe(machine);
        site.promise(&mut second, &[machine]);
        assert_eq!(site.memories[machine].learn(0, &v, SEATS), Learnt::New);
    }
    site.wipe(2);
    site.promise(&mut second, &[2]);
    // Now one of those two is wiped again: never more than two at a time have forgotten and not learnt.
    site.wipe(0);
    site.vote(&second, &[0, 2, 3, 4]);
    assert_eq!(site.births(), 2);
}

#[test]
fn a_ballot_of_round_and_machine_alone_is_used_twice_by_a_wiped_proposer() {
    let births = |nonce| {
        let mut site = Site::new(3, 3);
        let mut first = site.attempt(0, 1, 0, entry(0, 0));
        site.promise(&mut first, &[0, 1, 2]);
        site.wipe(0);
        let mut again = site.attempt(0, 1, nonce, entry(0, 1));
        site.promise(&mut again, &[0, 1, 2]);
        site.vote(&again, &[0, 1, 2]);
        // What it asked for before it was wiped arrives late.
        site.vote(&first, &[0, 1, 2]);
        site.births()
    };
    assert_eq!(births(0), 2);
    assert_eq!(births(1), 1);
}
