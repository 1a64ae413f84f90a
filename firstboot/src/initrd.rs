//! `firstboot initrd`: what has to be so before PID 1 of the real system reads its first unit.
//!
//! Before: the read-only root is at `/sysroot`. After: `/sysroot/etc` and `/sysroot/var` are the image's with
//! memory over them, `/sysroot/etc/machine-id` is this machine's, STATE is mounted if the booted disk has one,
//! and the clock is not before the image. It makes no partition and changes nothing on any disk.

use anyhow::{Context, Result};
use contract::partition::{Arch, Role};

use crate::host::{Host, Mount};
use crate::ledger::{self, Identity};
use crate::machine::{disk, identity};

const SYSROOT: &str = "/sysroot";
const MEMORY: &str = "/run/seedbed/overlay";

/// Does all of it. What concerns STATE alone may fail: then the machine-id comes from the hardware.
pub fn prepare(host: &dyn Host, say: &dyn Fn(&str)) -> Result<()> {
    for name in ["etc", "var"] {
        overlay(host, name)?;
    }
    if let Err(error) = mount_state(host) {
        say(&format!("STATE is not used in the initrd: {error:#}"));
    }
    let manifest = host
        .read_text(&format!("{SYSROOT}{}", contract::paths::MANIFEST))?
        .context("the image has no manifest")?;
    let manifest: contract::manifest::Manifest =
        serde_json::from_str(&manifest).context("reading the image's manifest")?;
    let least = crate::phases::clock::least(host, manifest.epoch)?;
    if host.now() < least {
        host.set_clock(least)?;
        say(&format!("the clock was behind and stands at {least} now"));
    }
    let id = machine_id(host)?;
    host.write(
        &format!("{SYSROOT}/etc/machine-id"),
        0o444,
        format!("{id}\n").as_bytes(),
    )
}

fn overlay(host: &dyn Host, name: &str) -> Result<()> {
    let target = format!("{SYSROOT}/{name}");
    if crate::host::mounts::at(host, &target)?.is_some_and(|m| m.fstype == "overlay") {
        return Ok(());
    }
    let (upper, work) = (
        format!("{MEMORY}/{name}/upper"),
        format!("{MEMORY}/{name}/work"),
    );
    host.create_dir(&upper, 0o755)?;
    host.create_dir(&work, 0o755)?;
    let options = format!("lowerdir={target},upperdir={upper},workdir={work}");
    host.mount(&Mount {
        options: &options,
        ..Mount::of("overlay", "seedbed", &target)
    })
}

fn mount_state(host: &dyn Host) -> Result<()> {
    if crate::host::mounts::at(host, contract::paths::STATE)?.is_some() {
        return Ok(());
    }
    // STATE's type is the same on every architecture.
    let Some(device) = disk::booted(host)?.partition(host, Role::State, Arch::Amd64)? else {
        return Ok(());
    };
    host.create_dir(contract::paths::STATE, 0o700)?;
    host.mount(&Mount::of("ext4", &device, contract::paths::STATE))
}

/// From the ledger, else from the hardware, else drawn: systemd must never take this for a first boot.
fn machine_id(host: &dyn Host) -> Result<String> {
    if let Ok(Some(identity)) = ledger::read::<Identity>(host) {
        return Ok(identity.machine_id);
    }
    let identity = match identity::digest(&identity::facts(host)?) {
        Some(identity) => identity,
        None => identity::hex(&host.random()?),
    };
    Ok(identity::machine_id(&identity))
}
