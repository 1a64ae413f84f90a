//! The ISO from a web server: firmware fetches it into memory, and the machine installs itself.

use contract::journal::Step;
use qemu_tests::disk::Disk;
use qemu_tests::environment;
use qemu_tests::events::Observed;
use qemu_tests::machine::{First, Machine};
use qemu_tests::network::{Network, Nic};
use qemu_tests::report::say;
use qemu_tests::site::Site;
use qemu_tests::stand::Stand;
use std::time::Duration;

/// Firmware's own network stack takes its time under emulation.
const LIMIT: Duration = Duration::from_secs(2400);
/// MiB of memory: the ISO, twice for a moment, and the machine.
const MEMORY: u32 = 8192;

/// UEFI HTTP Boot (UEFI 2.10, section 24.7). The stick holds the seed alone, the disk is blank.
#[test]
fn http_installs() -> anyhow::Result<()> {
    if environment::long("http_installs")?.is_none() {
        return Ok(());
    }
    let Some(mut stand) = Stand::for_test("http_installs")? else {
        return Ok(());
    };
    stand.seed_with("install: {}\n")?;
    stand.spec.disks = vec![Disk::blank(&stand.path("blank.qcow2"), 20)?];
    stand.spec.nics = vec![Nic::new(1, Network::Served)];
    stand.spec.first = First::Network;
    stand.spec.memory_mib = MEMORY;
    let file = environment::iso()?;
    stand.spec.site = Some(Site { file });

    let mut machine = Machine::start(&stand.spec, "install")?;
    machine.wait_for("the installation", LIMIT, |seen| {
        seen.transition("install", Step::Apply).map(drop)
    })?;
    say(&format!(
        "http_installs: the installation began after {:.0} s",
        machine.uptime().as_secs_f64()
    ));
    stand.report.boot("install", &machine);
    // The partition table is written last, and the restart follows it.
    let resets = |seen: &Observed| {
        let events = seen.qmp.iter();
        events.filter(|event| event["event"] == "RESET").count()
    };
    let before = resets(machine.seen());
    machine.wait_for("a restart", LIMIT, |seen| {
        (resets(seen) > before).then_some(())
    })?;
    machine.quit()?;

    stand.spec.first = First::Disks;
    let mut machine = Machine::start(&stand.spec, "installed")?;
    machine.wait_for("disks to be done", LIMIT, |seen| {
        seen.transition("disks", Step::Done).map(drop)
    })?;
    stand.report.boot("installed", &machine);
    stand.report.finish()
}
