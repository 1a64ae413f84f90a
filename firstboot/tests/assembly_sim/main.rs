//! Self-assembly as a whole: sites of machines in virtual time, on a network and disks that do everything wrong.
//!
//! A run follows from its size and seed alone. One that fails prints both, and
//! `SEEDBED_ASSEMBLY_REPLAY=size:seed cargo test -p seedbed-firstboot --test assembly_sim replay` runs it again.
//! `make test-assembly-sim` runs all of it; `cargo test` a share.

mod judge;
mod network;
mod random;
mod scenario;
mod thousand;
mod world;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use random::Random;
use scenario::{Departure, Outcome};
use world::Site;

/// The site of a run: its control plane follows from the seed.
fn site(machines: u32, seed: u64) -> Site {
    let seats = *[1, 3, 5, 7][..]
        .get(Random::new(seed ^ 7).below(4) as usize)
        .unwrap_or(&1);
    Site {
        machines,
        seats: seats.min(machines),
        beacon: if machines > 100 { 20_000 } else { 10_000 },
    }
}

/// Runs so many histories of sites of this size, on all processors, and returns the longest birth and log.
fn runs(machines: u32, seeds: std::ops::Range<u64>) -> Outcome {
    let next = AtomicU64::new(seeds.start);
    let worker = || {
        let mut worst = Outcome::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return worst;
            }
            match scenario::run(site(machines, seed), seed, Departure::None) {
                Ok(Outcome { took, slots }) => {
                    worst = Outcome {
                        took: worst.took.max(took),
                        slots: worst.slots.max(slots),
                    };
                }
                Err(fault) => panic!("SEEDBED_ASSEMBLY_REPLAY={machines}:{seed}: {fault}"),
            }
        }
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(worker)).collect();
        workers
            .into_iter()
            .fold(Outcome::default(), |worst, worker| match worker.join() {
                Ok(one) => Outcome {
                    took: worst.took.max(one.took),
                    slots: worst.slots.max(one.slots),
                },
                Err(panic) => std::panic::resume_unwind(panic),
            })
    })
}

/// Runs these numbers of histories of these sizes, and prints what they came to.
fn tell(sizes: impl IntoIterator<Item = (u32, u64)>) {
    println!("| machines | runs | longest birth after the faults | longest log | took |");
    println!("|---|---|---|---|---|");
    let (begin, mut total) = (Instant::now(), 0);
    for (machines, count) in sizes {
        let start = Instant::now();
        let worst = runs(machines, 0..count);
        let (birth, took) = (worst.took / 1000, start.elapsed().as_secs_f32());
        println!(
            "| {machines} | {count} | {birth} s | {} | {took:.1} s |",
            worst.slots
        );
        total += count;
    }
    println!(
        "{total} runs in {:.0} s: at most one birth in each, and one in the end",
        begin.elapsed().as_secs_f32()
    );
}

#[test]
fn a_share_of_the_runs() {
    tell([
        (1, 50),
        (2, 100),
        (3, 250),
        (4, 150),
        (5, 250),
        (7, 100),
        (9, 50),
    ]);
}

#[test]
#[ignore = "100,000 runs; make test-assembly-sim"]
fn all_runs() {
    tell([
        (1, 1_000),
        (2, 4_000),
        (3, 30_000),
        (4, 15_000),
        (5, 25_000),
        (6, 10_000),
        (7, 10_000),
        (8, 4_000),
        (9, 4_000),
    ]);
    tell([(50, 100), (1000, 4)]);
}

#[test]
fn replay() {
    let Ok(run) = std::env::var("SEEDBED_ASSEMBLY_REPLAY") else {
        return;
    };
    let (machines, seed) = run.split_once(':').expect("the run is machines:seed");
    let (machines, seed) = (
        machines.parse().expect("a number of machines"),
        seed.parse().expect("a seed"),
    );
    println!(
        "{:?}",
        scenario::run(site(machines, seed), seed, Departure::None)
    );
}

/// How many runs it takes until there is a second birth.
fn found_after(machines: u32, departure: Departure) -> Option<u64> {
    (0..20_000).find(|&seed| {
        let outcome = scenario::run(site(machines, seed), seed, departure);
        outcome.is_err_and(|fault| fault.starts_with("SECOND BIRTH"))
    })
}

#[test]
fn one_forgetful_machine_beyond_the_bound_and_a_second_birth_is_found() {
    for machines in [3, 5, 7] {
        let found = found_after(machines, Departure::OneForgetsTooMany);
        println!("{machines} machines, one forgetful too many: a second birth in run {found:?}");
        assert!(found.is_some());
    }
}

#[test]
fn disks_that_keep_nothing_and_a_second_birth_is_found() {
    let found = found_after(3, Departure::LyingDisks);
    println!("3 machines, disks that keep nothing: a second birth in run {found:?}");
    assert!(found.is_some());
}
