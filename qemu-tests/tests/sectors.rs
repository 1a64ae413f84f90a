//! Disks with sectors of 4096 bytes: baked for them, and installed to.

use contract::journal::Step;
use formats::gpt::SectorSize;
use qemu_tests::bake::Bakery;
use qemu_tests::disk::Disk;
use qemu_tests::environment;
use qemu_tests::machine::Machine;
use qemu_tests::stand::{BOOT, Stand};
use std::fs;

/// GiB of the disks.
const DISK: u32 = 20;

/// The machine starts from its disk, grows it, and finds its own partitions on it.
fn grows(stand: &mut Stand, boot: &str) -> anyhow::Result<()> {
    let mut machine = Machine::start(&stand.spec, boot)?;
    machine.wait_for("disks to be done", BOOT, |seen| {
        seen.transition("disks", Step::Done).map(drop)
    })?;
    stand.report.boot(boot, &machine);
    machine.quit().map(drop)
}

/// Baked with `--sector-size 4096`.
#[test]
fn disk_4k() -> anyhow::Result<()> {
    let Some(mut stand) = Stand::for_test("disk_4k")? else {
        return Ok(());
    };
    let out = stand.path("baked");
    fs::create_dir(&out)?;
    let options = ["--sector-size", "4096", "--format", "raw"];
    let image = Bakery::read()?.bake(&out, &options, ".raw")?;
    let mut disk = Disk::over(&image, &stand.path("4k.qcow2"), DISK)?;
    disk.sectors = SectorSize::B4096;
    stand.spec.disks = vec![disk];
    grows(&mut stand, "baked")?;
    stand.report.finish()
}

/// The CD's partition table counts in sectors of 512 bytes, the disk's in sectors of 4096.
#[test]
fn cd_installs_to_4k() -> anyhow::Result<()> {
    if environment::long("cd_installs_to_4k")?.is_none() {
        return Ok(());
    }
    let Some(mut stand) = Stand::for_test("cd_installs_to_4k")? else {
        return Ok(());
    };
    stand.seed_with("install: {}\n")?;
    let mut disk = Disk::blank(&stand.path("blank.qcow2"), DISK)?;
    disk.sectors = SectorSize::B4096;
    stand.spec.disks = vec![disk];
    stand.spec.cds = vec![environment::iso()?];
    grows(&mut stand, "install")?;
    stand.report.finish()
}
