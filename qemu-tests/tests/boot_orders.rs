//! Three machines with one seed become one cluster, whenever each is powered on: in the laboratory.

use anyhow::{Context, ensure};
use qemu_tests::environment;
use qemu_tests::fleet::Plan;
use qemu_tests::lab::{Lab, Machine};
use qemu_tests::long::Good;
use qemu_tests::report::say;
use qemu_tests::seed;
use serde_json::Value;
use std::collections::BTreeSet;
use std::thread;
use std::time::{Duration, Instant};

/// How many orders are tried, and how many of them until all machines are Ready.
const ORDERS: u64 = 50;
const UNTIL_READY: u64 = 3;
/// When the last machine is powered on, at the latest.
const LATEST: Duration = Duration::from_secs(120);
/// For machines that share this host's processors with whatever else it does.
const FOUNDED: Duration = Duration::from_secs(300);
const READY: Duration = Duration::from_secs(600);
/// What each machine keeps of its cluster.
const MEMBERSHIP: &str = "ledger/membership.json";

/// Fifty orders and delays, as far as the founding, and three of them until all are Ready. What was found good before
/// is not tried again.
#[test]
fn any_order_founds_one_cluster() -> anyhow::Result<()> {
    let test = "any_order_founds_one_cluster";
    let plan = Plan {
        machines: 3,
        control_planes: 3,
        memory_mib: 0,
    };
    for number in 0..ORDERS {
        if environment::long(test)?.is_none() {
            return Ok(());
        }
        let Some(mut lab) = Lab::for_test(test, plan.machines, seed::in_lab("orders", &plan)?)?
        else {
            return Ok(());
        };
        let Some(good) = Good::for_test(test, &lab.environment.image)? else {
            return Ok(());
        };
        let what = format!("order {number}");
        if good.has(&what) {
            say(&format!("{test}: {what}: found good before"));
            continue;
        }
        let order = order(number, lab.machines.len());
        let since = Instant::now();
        for (delay, machine) in &order {
            thread::sleep((since + *delay).saturating_duration_since(Instant::now()));
            lab.power_on(*machine)?;
        }
        let last = since + order.last().map_or(Duration::ZERO, |(delay, _)| *delay);
        let one = lab.until("the founding on all machines", FOUNDED, |lab| {
            Ok(clusters(lab))
        })?;
        let took = last.elapsed();
        if number < UNTIL_READY {
            lab.ready(&[0, 1, 2], READY)?;
        }
        let now = clusters(&lab).context("a machine is no member any more")?;
        ensure!(
            one.len() == 1 && now == one,
            "{order:?} led to {one:?}, then {now:?}"
        );
        good.add(&what)?;
        say(&format!(
            "{test}: {what}: good; founded {:.1} s after the last of {order:?}",
            took.as_secs_f64()
        ));
    }
    Ok(())
}

/// When each machine is powered on, in the order of time: the same for the same number.
fn order(number: u64, machines: usize) -> Vec<(Duration, usize)> {
    // SplitMix64 (Steele, Lea and Flood, 2014).
    let mut state = number;
    let mut draw = || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let mut order: Vec<_> = (0..machines)
        .map(|machine| (Duration::from_secs(draw() % LATEST.as_secs()), machine))
        .collect();
    order.sort_unstable();
    order
}

/// The clusters that the machines are members of, with their authorities, once every machine is a member of one.
fn clusters(lab: &Lab) -> Option<BTreeSet<String>> {
    let membership = |machine: &Machine| machine.kept(MEMBERSHIP);
    let memberships: Option<Vec<Value>> = lab.machines.iter().map(membership).collect();
    let named = |one: &Value| format!("{} of {}", one["cluster"], one["authority"]);
    Some(memberships?.iter().map(named).collect())
}
