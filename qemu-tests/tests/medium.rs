//! The ISO: as a CD and as a stick, it starts machines and installs them.

use anyhow::{Context, ensure};
use contract::journal::Step;
use qemu_tests::disk::{Disk, Stick};
use qemu_tests::environment;
use qemu_tests::firmware::Firmware;
use qemu_tests::machine::{First, Machine};
use qemu_tests::report::say;
use qemu_tests::stand::{BOOT, Stand};

/// GiB of the disk to install to.
const DISK: u32 = 20;

/// A stand with the ISO as a CD, a blank disk, and a stick whose seed goes on with `more`.
fn stand(test: &str, more: &str) -> anyhow::Result<Option<Stand>> {
    let Some(mut stand) = Stand::for_test(test)? else {
        return Ok(None);
    };
    stand.seed_with(more)?;
    stand.spec.disks = vec![Disk::blank(&stand.path("blank.qcow2"), DISK)?];
    stand.spec.cds = vec![environment::iso()?];
    Ok(Some(stand))
}

/// What a phase last waited for.
fn wait_to_wait(machine: &mut Machine, phase: &str) -> anyhow::Result<String> {
    machine.wait_for(&format!("{phase} to wait"), BOOT, |seen| {
        seen.transition(phase, Step::Waiting)
            .map(|line| line.why.clone())
    })
}

fn done(machine: &mut Machine, phase: &str) -> anyhow::Result<()> {
    machine.wait_for(&format!("{phase} to be done"), BOOT, |seen| {
        seen.transition(phase, Step::Done).map(drop)
    })
}

/// From a CD to a blank disk, without a hand: the machine restarts from its disk, and becomes a node. With the
/// CD in front of the disk, and a stick with the same image, it goes on with what is installed.
fn installs(test: &str, firmware: Firmware) -> anyhow::Result<()> {
    let more = "install:\n  disk: {bus: virtio, minSize: 10 GB}\n";
    let Some(mut stand) = stand(test, more)? else {
        return Ok(());
    };
    stand.spec.firmware = firmware;
    let mut machine = Machine::start(&stand.spec, "install")?;
    // STATE and DATA are made on the disk that was started from, which is the installed one.
    done(&mut machine, "identity")?;
    stand.report.boot("install", &machine);
    let installed = machine
        .seen()
        .transition("install", Step::Apply)
        .context("the machine did not install itself")?;
    say(&format!(
        "{test}: the installation began after {} s",
        installed.at
    ));
    if environment::long(&format!("{test}, to Ready"))?.is_some() {
        machine.wait_ready(BOOT)?;
        stand.cluster(&mut machine)?;
    }
    machine.quit()?;

    // The CD starts the machine once more. GRUB tells that it came from there, and the machine says what to do.
    stand.spec.first = First::Cds;
    match firmware {
        Firmware::Uefi => runs_from_disk(&mut stand, "CD first")?,
        Firmware::Bios => {
            let mut machine = Machine::start(&stand.spec, "CD-first")?;
            let why = wait_to_wait(&mut machine, "install")?;
            ensure!(why.contains("vda has Seedbed installed"), "{why}");
        }
    }
    // A stick with the same image is still in.
    stand.spec.cds.clear();
    let medium = Stick::written(&environment::iso()?, &stand.path("medium.img"), 16)?;
    stand.spec.sticks.push(medium);
    runs_from_disk(&mut stand, "stick in")?;
    stand.report.finish()
}

/// An installed machine finds its own STATE, and installs nothing.
fn runs_from_disk(stand: &mut Stand, boot: &str) -> anyhow::Result<()> {
    let mut machine = Machine::start(&stand.spec, &boot.replace(' ', "-"))?;
    done(&mut machine, "disks")?;
    let why = |phase| Some(machine.seen().transition(phase, Step::Apply)?.why.clone());
    ensure!(
        why("install").is_none(),
        "{boot}: the machine installs itself once more"
    );
    // STATE was mounted in the initrd, so it was on the disk that was booted.
    ensure!(
        why("disks").as_deref() == Some("DATA is not mounted"),
        "{boot}: the machine does not find its STATE"
    );
    stand.report.boot(boot, &machine);
    machine.quit().map(drop)
}

/// Without an instruction to install, a CD starts a machine, and says what it needs.
fn cd_without_install(test: &str, firmware: Firmware) -> anyhow::Result<()> {
    let Some(mut stand) = stand(test, "")? else {
        return Ok(());
    };
    stand.spec.firmware = firmware;
    let mut machine = Machine::start(&stand.spec, "live")?;
    let why = wait_to_wait(&mut machine, "install")?;
    ensure!(why.contains("`install:`"), "{why}");
    stand.report.boot("live", &machine);
    stand.report.finish()
}

/// The ISO on a stick, and no disk: the machine runs from the stick.
fn stick_runs(test: &str, firmware: Firmware) -> anyhow::Result<()> {
    let Some(mut stand) = stand(test, "")? else {
        return Ok(());
    };
    stand.spec.firmware = firmware;
    stand.spec.disks.clear();
    stand.spec.cds.clear();
    let medium = Stick::written(&environment::iso()?, &stand.path("medium.img"), 16)?;
    stand.spec.sticks.insert(0, medium);
    let mut machine = Machine::start(&stand.spec, "stick")?;
    done(&mut machine, "disks")?;
    stand.report.boot("stick", &machine);
    stand.report.finish()
}

#[test]
fn cd_installs() -> anyhow::Result<()> {
    installs("cd_installs", Firmware::Uefi)
}

#[test]
fn cd_installs_bios() -> anyhow::Result<()> {
    match environment::long("cd_installs_bios")? {
        Some(_) => installs("cd_installs_bios", Firmware::Bios),
        None => Ok(()),
    }
}

#[test]
fn cd_uefi() -> anyhow::Result<()> {
    cd_without_install("cd_uefi", Firmware::Uefi)
}

#[test]
fn cd_bios() -> anyhow::Result<()> {
    cd_without_install("cd_bios", Firmware::Bios)
}

#[test]
fn stick_uefi() -> anyhow::Result<()> {
    stick_runs("stick_uefi", Firmware::Uefi)
}

#[test]
fn stick_bios() -> anyhow::Result<()> {
    stick_runs("stick_bios", Firmware::Bios)
}

/// A BIOS starts the image on a disk as well.
#[test]
fn disk_bios() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("disk_bios")? else {
        return Ok(());
    };
    stand.spec.firmware = Firmware::Bios;
    let mut machine = Machine::start(&stand.spec, "disk")?;
    done(&mut machine, "disks")?;
    stand.report.boot("disk", &machine);
    stand.report.finish()
}
