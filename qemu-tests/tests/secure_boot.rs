//! Secure Boot on firmware that enforces it: the machine enrols the image's keys and starts what they signed; one
//! changed byte anywhere below the signature stops it, and the console says why.

use anyhow::{Context, bail, ensure};
use contract::journal::Step;
use contract::partition::Role;
use formats::gpt::{self, SectorSize};
use qemu_tests::bake::Bakery;
use qemu_tests::command::Tool;
use qemu_tests::disk::Disk;
use qemu_tests::events::Observed;
use qemu_tests::firmware::Firmware;
use qemu_tests::machine::Machine;
use qemu_tests::report::say;
use qemu_tests::stand::{BOOT, Stand};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// GiB of the machine's disk.
const DISK: u32 = 20;
/// An argument of a site that shows the kernel's messages, and one that stands for any other.
const SITE: &str = "loglevel=7 seedbed.site=plant-7";
/// What is read of a disk at a time, in bytes.
const CHUNK: usize = 1 << 20;
/// A byte of the superblock of erofs, which is read first of all: its checksum.
const SUPERBLOCK: u64 = 1024 + 4;

/// Bakes the demo with keys drawn for it, and puts an add-on of the site onto its ESP; gives the image.
fn bake(stand: &Stand) -> anyhow::Result<PathBuf> {
    let keys = stand.path("keys");
    let bakery = Bakery::read()?;
    let seedbed = || Tool::new(&bakery.seedbed);
    let new = seedbed().args(["keys", "new", "--secure-boot"]);
    new.arg(keys.as_path()).run()?;
    let options = ["--format", "raw", "--secure-boot", &keys.to_string_lossy()];
    let image = bakery.bake(&stand.path("out"), &options, ".raw")?;

    let addon = stand.path("site.addon.efi");
    let write = seedbed().args(["addon", "--cmdline", SITE, "--out"]);
    let write = write.arg(addon.as_path()).arg("--secure-boot");
    write.arg(keys.as_path()).run()?;
    let esp = partition(&image, Role::Esp)?;
    let volume = format!("{}@@{}", image.display(), esp.start);
    let folder = Tool::new("mmd").args(["-i", &volume, "::/loader/addons"]);
    folder.run()?;
    let copy = Tool::new("mcopy")
        .args(["-i", &volume])
        .arg(addon.as_path());
    copy.arg("::/loader/addons/").run()?;
    Ok(image)
}

/// The bytes of the disk that a partition has.
fn partition(image: &Path, role: Role) -> anyhow::Result<Range<u64>> {
    let disk = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let table = gpt::read(&disk, SectorSize::B512)?;
    let mut entries = table.entries.values();
    let entry = entries.find(|entry| entry.name == role.label());
    let entry = entry.with_context(|| format!("the image has no partition {}", role.label()))?;
    let sector = table.sector_size.bytes();
    Ok(entry.first_lba * sector..(entry.last_lba + 1) * sector)
}

/// Where `text` is first in a part of a disk.
fn find(disk: &File, part: Range<u64>, text: &[u8]) -> anyhow::Result<u64> {
    let mut chunk = vec![0; CHUNK];
    let mut at = part.start;
    while at < part.end {
        let length = usize::try_from(part.end - at).unwrap_or(CHUNK).min(CHUNK);
        disk.read_exact_at(&mut chunk[..length], at)?;
        let mut windows = chunk[..length].windows(text.len());
        if let Some(found) = windows.position(|window| window == text) {
            return Ok(at + found as u64);
        }
        // What begins in this chunk may end in the next one.
        at += (length - (text.len() - 1).min(length - 1)) as u64;
    }
    bail!("{:?} is not on the disk", String::from_utf8_lossy(text))
}

/// Starts the machine from a fresh disk over the image.
fn start(stand: &mut Stand, image: &Path, boot: &str) -> anyhow::Result<Machine> {
    let disk = stand.path(&format!("{boot}.qcow2"));
    stand.spec.disks = vec![Disk::over(image, &disk, DISK)?];
    Machine::start(&stand.spec, boot)
}

/// Waits for a line of the console that holds `text`, in any case.
fn console(machine: &mut Machine, text: &str) -> anyhow::Result<String> {
    machine.wait_for(&format!("the console to say {text:?}"), BOOT, |seen| {
        let mut lines = seen.console.iter();
        let found = lines.find(|line| line.to_ascii_lowercase().contains(text));
        found.cloned()
    })
}

/// Whether anything of the real root file system has run.
fn runs(seen: &Observed) -> bool {
    !seen.transitions.is_empty()
}

/// Changes one bit of the image, starts a machine from it, looks, and changes the bit back.
fn with_flipped_bit(
    stand: &mut Stand,
    image: &Path,
    (boot, at): (&str, u64),
    look: impl FnOnce(&mut Machine) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let disk = File::options().read(true).write(true).open(image)?;
    let flip = || -> anyhow::Result<()> {
        let mut byte = [0];
        disk.read_exact_at(&mut byte, at)?;
        disk.write_all_at(&[byte[0] ^ 1], at)?;
        Ok(())
    };
    flip()?;
    let mut machine = start(stand, image, boot)?;
    let looked = look(&mut machine);
    stand.report.boot(boot, &machine);
    machine.cut()?;
    flip()?;
    looked.with_context(|| format!("a bit of {boot} was changed"))
}

#[test]
fn secure_boot() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("secure_boot")? else {
        return Ok(());
    };
    stand.spec.firmware = Firmware::SecureBoot;
    let image = bake(&stand)?;

    // The firmware comes from the factory in Setup Mode, so systemd-boot enrols the keys and restarts the machine.
    let mut machine = start(&mut stand, &image, "signed")?;
    console(&mut machine, "secure boot keys successfully enrolled")?;
    let line = console(&mut machine, "command line: ")?;
    ensure!(line.ends_with(SITE), "the add-on was not taken: {line}");
    console(&mut machine, "secure boot enabled")?;
    machine.wait_for("firstboot to find the store", BOOT, |seen| {
        seen.transition("store", Step::Done).map(drop)
    })?;
    stand.report.boot("signed", &machine);
    machine.cut()?;

    // From here on the firmware trusts these keys alone. The kernel image would vouch for another root.
    let disk = File::open(&image)?;
    let hash = b"rootfstype=erofs ro roothash=";
    let esp = partition(&image, Role::Esp)?;
    let at = find(&disk, esp, hash)? + hash.len() as u64;
    with_flipped_bit(&mut stand, &image, ("uki", at), |machine| {
        let line = console(machine, "access denied")?;
        say(&format!("secure_boot: {line}"));
        console(machine, "failed to start boot")?;
        ensure!(!runs(machine.seen()), "the machine runs all the same");
        Ok(())
    })?;

    let at = partition(&image, Role::Root)?.start + SUPERBLOCK;
    with_flipped_bit(&mut stand, &image, ("root", at), |machine| {
        let line = console(machine, "data block 0 is corrupted")?;
        say(&format!("secure_boot: {line}"));
        // It tries for as long as the initrd has patience.
        machine.watch(Duration::from_secs(5));
        ensure!(!runs(machine.seen()), "the machine runs all the same");
        Ok(())
    })?;

    let at = partition(&image, Role::Store)?.start + SUPERBLOCK;
    with_flipped_bit(&mut stand, &image, ("store", at), |machine| {
        let line = console(machine, "data block 0 is corrupted")?;
        say(&format!("secure_boot: {line}"));
        let line = console(machine, "dm-verity found a block of the partition store")?;
        say(&format!("secure_boot: {line}"));
        Ok(())
    })?;
    stand.report.finish()
}
