//! The library itself, on machines that need no image: a boot sector that says a word and halts.

use anyhow::ensure;
use formats::gpt::SectorSize;
use qemu_tests::command::Tool;
use qemu_tests::disk::{Disk, Format, Stick};
use qemu_tests::firmware::Firmware;
use qemu_tests::machine::{Machine, Spec};
use qemu_tests::network::{Network, Nic};
use qemu_tests::report::{Report, say};
use std::fs;
use std::path::Path;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// A machine whose disk says `HELLO` on the serial port. `None`, after a line that says so, without QEMU.
fn machine(test: &str, folder: &Path) -> anyhow::Result<Option<Spec>> {
    if let Err(error) = Tool::new("qemu-system-x86_64").arg("--version").run() {
        ensure!(
            std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
            "{error:#}"
        );
        say(&format!("SKIP {test}: qemu-system-x86_64 is not installed"));
        return Ok(None);
    }
    let mut sector = vec![0xba, 0xf8, 0x03]; // mov dx, 0x3f8
    for byte in *b"HELLO\n" {
        sector.extend([0xb0, byte, 0xee]); // mov al, byte; out dx, al
    }
    sector.extend([0xf4, 0xeb, 0xfd]); // hlt; jmp to hlt
    sector.resize(510, 0);
    sector.extend([0x55, 0xaa]);
    // SeaBIOS does not boot from disks that are much smaller.
    sector.resize(1 << 20, 0);
    let disk = folder.join("disk.raw");
    fs::write(&disk, sector)?;

    let report = Report::new(test)?;
    let mut spec = Spec::new("hello", folder, report.folder());
    spec.firmware = Firmware::Bios;
    spec.memory_mib = 64;
    spec.disks.push(Disk {
        path: disk,
        format: Format::Raw,
        sectors: SectorSize::B512,
    });
    Ok(Some(spec))
}

#[test]
fn what_a_machine_says_is_heard_and_kept() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut spec) = machine("what_a_machine_says_is_heard_and_kept", folder.path())? else {
        return Ok(());
    };
    spec.nics = vec![
        Nic::new(1, Network::Isolated(Vec::new())),
        Nic::new(2, Network::Unplugged),
    ];
    let mut machine = Machine::start(&spec, "boot")?;
    let said = |count: usize| {
        move |seen: &qemu_tests::events::Observed| {
            let lines = seen.console.iter().filter(|line| line.ends_with("HELLO"));
            (lines.count() >= count).then_some(())
        }
    };
    machine.wait_for("the first word", LIMIT, said(1))?;
    machine.reset()?;
    machine.wait_for("the same word after a reset", LIMIT, said(2))?;
    machine.quit()?;
    let log = fs::read_to_string(spec.logs.join("hello-boot.log"))?;
    ensure!(log.matches("HELLO").count() == 2, "the log says {log:?}");
    Ok(())
}

#[test]
fn a_wait_that_fails_shows_the_evidence() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(spec) = machine("a_wait_that_fails_shows_the_evidence", folder.path())? else {
        return Ok(());
    };
    let mut machine = Machine::start(&spec, "boot")?;
    machine.wait_for("a word", LIMIT, |seen| seen.console.last().map(drop))?;
    let error = machine.wait_for("a miracle", Duration::from_millis(100), |_| None::<()>);
    let text = format!("{:#}", error.unwrap_err());
    for expected in [
        "machine hello",
        "a miracle",
        "took too long",
        "console |",
        "HELLO",
    ] {
        ensure!(text.contains(expected), "{expected:?} is not in {text}");
    }
    let error = machine.until(
        "an answer",
        Duration::from_millis(100),
        || -> anyhow::Result<Option<()>> { anyhow::bail!("nobody is there") },
    );
    let text = format!("{:#}", error.unwrap_err());
    ensure!(
        text.contains("the last answer was: nobody is there"),
        "{text}"
    );
    machine.cut().map(drop)
}

#[test]
fn sticks_come_and_go_and_disks_are_copied() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut spec) = machine("sticks_come_and_go_and_disks_are_copied", folder.path())? else {
        return Ok(());
    };
    spec.sticks
        .push(Stick::unreadable(&folder.path().join("unreadable"))?);
    let mut machine = Machine::start(&spec, "boot")?;
    let stick = Stick::fat(
        &folder.path().join("stick"),
        &[("seed.yaml", "version: 1\n")],
    )?;
    machine.insert(&stick, "late")?;
    machine.remove("late")?;
    let copy = machine.snapshot("copy")?;
    ensure!(
        fs::read(&copy.disks[0].path)? == fs::read(&spec.disks[0].path)?,
        "the copy differs"
    );
    machine.wait_for("stop and go", LIMIT, |seen| {
        (seen.qmp_event("STOP") && seen.qmp_event("RESUME")).then_some(())
    })?;
    machine.cut().map(drop)
}

#[test]
fn a_machine_that_cannot_start_says_why() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let Some(mut spec) = machine("a_machine_that_cannot_start_says_why", folder.path())? else {
        return Ok(());
    };
    spec.disks[0].path = folder.path().join("missing.raw");
    let error = Machine::start(&spec, "boot").err();
    let text = error.map(|error| format!("{error:#}")).unwrap_or_default();
    ensure!(
        text.contains("hello") && text.contains("missing.raw"),
        "{text}"
    );
    Ok(())
}
