//! The plug is pulled while a machine becomes a node for the first time; it comes back and gets there.

use contract::journal::Step;
use qemu_tests::environment;
use qemu_tests::events::Observed;
use qemu_tests::long::Good;
use qemu_tests::machine::{Machine, Spec};
use qemu_tests::report::say;
use qemu_tests::stand::{BOOT, Stand};
use std::time::Duration;

/// As many phases, at least, are applied at a first boot.
const PHASES: u64 = 20;
/// A cut falls within this time after its phase began.
const WITHIN_MS: u64 = 3000;

/// The phases that were applied, in the order in which they began.
fn applied(seen: &Observed) -> Vec<&str> {
    let mut phases: Vec<&str> = Vec::new();
    for line in &seen.transitions {
        if line.event == Step::Apply && !phases.contains(&line.phase.as_str()) {
            phases.push(&line.phase);
        }
    }
    phases
}

#[test]
fn power_cut_one_phase() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("power_cut_one_phase")? else {
        return Ok(());
    };
    let number = environment::draw("power_cut_one_phase")?;
    let index = usize::try_from(number % PHASES)?;
    let delay = Duration::from_millis(number / PHASES % WITHIN_MS);
    let spec = stand.spec.clone();

    let mut machine = Machine::start(&spec, "cut")?;
    let phase = machine.wait_for(
        &format!("phase {} to be applied", index + 1),
        BOOT,
        |seen| applied(seen).get(index).map(|phase| (*phase).to_owned()),
    )?;
    machine.watch(delay);
    say(&format!(
        "power_cut_one_phase: cut {} ms into phase {phase}",
        delay.as_millis()
    ));
    stand.report.boot(&format!("cut in {phase}"), &machine);
    machine.cut()?;

    let mut machine = stand.boot(&spec, "after")?;
    stand.cluster(&mut machine)?;
    stand.report.finish()
}

/// Disks as a cut at the beginning of each phase leaves them, from one boot; then a boot from each. What was
/// found good before, with the same image, is not tried again.
#[test]
fn power_cut_every_phase() -> anyhow::Result<()> {
    let test = "power_cut_every_phase";
    if environment::long(test)?.is_none() {
        return Ok(());
    }
    let Some(mut stand) = Stand::for_test(test)? else {
        return Ok(());
    };
    let Some(good) = Good::for_test(test, &stand.environment.image)? else {
        return Ok(());
    };
    let mut failures = Vec::new();
    for (phase, spec) in snapshots(&mut stand)? {
        if good.has(&phase) {
            say(&format!("{test}: {phase}: found good before"));
            continue;
        }
        let result = stand
            .boot(&spec, &phase)
            .and_then(|mut machine| stand.cluster(&mut machine));
        match result {
            Ok(_) => {
                good.add(&phase)?;
                say(&format!("{test}: {phase}: good"));
            }
            Err(error) => failures.push(format!("{phase}: {error:#}")),
        }
    }
    stand.report.finish()?;
    anyhow::ensure!(
        failures.is_empty(),
        "machines did not come back:\n{}",
        failures.join("\n")
    );
    Ok(())
}

/// Boots once and copies the disk whenever a phase is applied for the first time.
fn snapshots(stand: &mut Stand) -> anyhow::Result<Vec<(String, Spec)>> {
    let mut machine = Machine::start(&stand.spec, "whole")?;
    let mut taken: Vec<(String, Spec)> = Vec::new();
    loop {
        let count = taken.len();
        let next = machine.wait_for("the next phase", BOOT, |seen| {
            let next = applied(seen)
                .get(count)
                .map(|phase| Some((*phase).to_owned()));
            next.or_else(|| seen.ready().map(|_| None))
        })?;
        let Some(phase) = next else { break };
        let spec = machine.snapshot(&phase)?;
        taken.push((phase, spec));
    }
    stand.report.boot("whole", &machine);
    machine.quit()?;
    Ok(taken)
}
