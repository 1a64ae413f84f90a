//! Sticks that are no good do no harm, and a good one may come at any moment.

use anyhow::ensure;
use contract::journal::Step;
use qemu_tests::disk::Stick;
use qemu_tests::environment;
use qemu_tests::machine::Machine;
use qemu_tests::report::say;
use qemu_tests::stand::{BOOT, Stand};

fn seed_done(machine: &mut Machine, what: &str) -> anyhow::Result<()> {
    machine.wait_for(what, BOOT, |seen| {
        seen.transition("seed", Step::Done).map(drop)
    })
}

/// One stick holds noise, one cannot be read, and the seed is on the SEED partition.
#[test]
fn bad_stick() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("bad_stick")? else {
        return Ok(());
    };
    let number = environment::draw("bad_stick")?;
    stand.seed_on_disk()?;
    let garbage = Stick::garbage(&stand.path("garbage.img"), number)?;
    stand.spec.sticks = vec![garbage, Stick::unreadable(&stand.path("unreadable.img"))?];

    let mut machine = Machine::start(&stand.spec, "boot")?;
    seed_done(&mut machine, "the seed to be found on the SEED partition")?;
    stand.report.boot("boot", &machine);
    stand.report.finish()
}

/// At first there is no seed at all: the machine says that it waits. Then somebody plugs the stick in.
#[test]
fn late_stick() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("late_stick")? else {
        return Ok(());
    };
    let sticks = std::mem::take(&mut stand.spec.sticks);
    let mut machine = Machine::start(&stand.spec, "boot")?;
    let why = machine.wait_for("the machine to say that it has no seed", BOOT, |seen| {
        seen.transition("seed", Step::Waiting)
            .map(|line| line.why.clone())
    })?;
    ensure!(
        !why.is_empty(),
        "the machine waits and does not say for what"
    );
    say(&format!("late_stick: {why}"));
    machine.insert(&sticks[0], "late")?;
    seed_done(&mut machine, "the seed to be found on the stick")?;
    machine.remove("late")?;
    stand.report.boot("boot", &machine);
    stand.report.finish()
}
