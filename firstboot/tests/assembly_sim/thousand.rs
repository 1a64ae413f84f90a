//! What a birth of a large site costs each machine.

use crate::network::Network;
use crate::scenario::all_know;
use crate::world::{Site, World};

/// Prints one row: a site whose machines are switched on within half a minute, with beacons every ten seconds.
fn row(machines: u32, loss: f64) {
    let mut world = World::new(
        Site {
            machines,
            seats: 3,
            beacon: 10_000,
        },
        u64::from(machines),
    );
    world.network = Network {
        loss,
        delay: 20,
        ..Network::good()
    };
    for machine in 0..machines as usize {
        let delay = world.random.below(30_000);
        world.boot_after(machine, delay);
    }
    world.run(3_600_000, all_know);
    assert_eq!(world.verdict, Ok(()));
    assert!(
        all_know(&world),
        "{machines} machines with loss {loss} have no birth"
    );
    let founded = world.now / 1000;
    let mut traffic: Vec<_> = world
        .machines
        .iter()
        .map(|machine| machine.traffic)
        .collect();
    traffic.sort_by_key(|one| one.sent);
    let median = traffic[traffic.len() / 2];
    let Some(most) = traffic.last() else { return };
    println!(
        "| {machines} | {:.0} % | {founded} s | {} / {} | {} / {} | {} / {} | {} / {} |",
        loss * 100.0,
        median.sent,
        median.sent_bytes,
        median.received,
        median.received_bytes,
        most.sent,
        most.sent_bytes,
        most.received,
        most.received_bytes,
    );
}

/// Prints the table, for sites of these sizes.
fn table(sizes: &[u32]) {
    println!(
        "| machines | loss | until all know | median: sent / bytes | received / bytes | busiest: sent / bytes | received / bytes |"
    );
    println!("|---|---|---|---|---|---|---|");
    for &machines in sizes {
        for loss in [0.0, 0.1, 0.4] {
            row(machines, loss);
        }
    }
}

#[test]
fn traffic_of_small_sites() {
    table(&[3, 5, 50]);
}

#[test]
#[ignore = "1,000 machines; make test-assembly-sim"]
fn traffic_of_a_thousand_machines() {
    table(&[3, 5, 50, 1000]);
}
