//! Disks: the second slot, STATE and DATA on the booted disk.
//!
//! Before: the disk as the image ships it, or any state that an interrupted run left. After: systemd-repart has
//! made the missing partitions, kept every existing one, STATE and DATA are mounted, and both carry the same
//! incarnation. A DATA of another STATE is refused.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contract::partition::{Arch, Role};
use contract::paths::{DATA, REPART, STATE};

use crate::facts;
use crate::host::{Cmd, Host, Mount, mounts};
use crate::machine::disk::{self, Disk};
use crate::machine::identity::hex;
use crate::phase::{Outcome, Phase, State, Trouble};

const PARTITIONS: [(Role, &str); 2] = [(Role::State, STATE), (Role::Data, DATA)];

/// The phase.
#[derive(Debug)]
pub struct Disks;

impl Phase for Disks {
    fn name(&self) -> &'static str {
        "disks"
    }

    fn after(&self) -> &'static [&'static str] {
        &["install"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let mut mounted = 0;
        for (role, target) in PARTITIONS {
            match mounts::at(host, target)? {
                Some(_) => mounted += 1,
                None if mounted == 0 => {}
                None => return Ok(State::Partial(format!("{} is not mounted", role.label()))),
            }
        }
        if mounted == 0 {
            return Ok(State::Absent);
        }
        let (state, data) = (incarnation(host, STATE)?, incarnation(host, DATA)?);
        match (state, data) {
            (Some(state), Some(data)) if state == data => Ok(crate::phase::done_if(
                host.exists(crate::ledger::FOLDER),
                "the ledger's folder is missing",
            )),
            (Some(state), Some(data)) => Err(mismatch(&state, &data)),
            (None, Some(data)) => Err(mismatch("none", &data)),
            (_, None) => Ok(State::Partial(String::from(
                "DATA carries no incarnation yet",
            ))),
        }
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let arch = facts::manifest(host)?.arch;
        let disk = complete(host, arch)?;
        for (role, target) in PARTITIONS {
            if mounts::at(host, target)?.is_none() {
                let device = disk.partition(host, role, arch)?.ok_or_else(|| {
                    Trouble::Waiting(format!(
                        "{} waits for the kernel to show {}",
                        disk.name,
                        role.label()
                    ))
                })?;
                host.create_dir(target, 0o700)?;
                host.mount(&Mount::of("ext4", &device, target))?;
            }
        }
        let state = match (incarnation(host, STATE)?, incarnation(host, DATA)?) {
            (Some(state), _) => state,
            (None, Some(data)) => return Err(mismatch("none", &data)),
            (None, None) => {
                let drawn = hex(&host.random()?);
                write_incarnation(host, STATE, &drawn)?;
                drawn
            }
        };
        if incarnation(host, DATA)?.is_none() {
            write_incarnation(host, DATA, &state)?;
        }
        Ok(host.create_dir(crate::ledger::FOLDER, 0o700)?)
    }
}

/// The booted disk with all its partitions: made where they are missing.
fn complete(host: &dyn Host, arch: Arch) -> Outcome<Disk> {
    let before = disk::booted(host)?;
    let missing = |disk: &Disk| {
        let has = |role: Role| {
            let mut entries = disk.table.entries.values();
            entries.any(|entry| entry.type_guid == *role.type_guid(arch).as_bytes())
        };
        PARTITIONS.into_iter().find(|(role, _)| !has(*role))
    };
    if missing(&before).is_none() {
        return Ok(before);
    }
    let repart = Cmd::new("/usr/bin/systemd-repart")
        .args([
            "--dry-run=no",
            "--empty=refuse",
            "--discard=no",
            "--no-pager",
            "--no-legend",
        ])
        .arg(format!("--definitions={REPART}"))
        .arg(before.device())
        .env(
            "SYSTEMD_REPART_MKFS_OPTIONS_EXT4",
            "-E nodiscard,lazy_itable_init=1,lazy_journal_init=1",
        )
        .timeout(Duration::from_secs(300));
    host.run(&repart)?;
    let after = disk::booted(host)?;
    kept(&before, &after).map_err(Trouble::Permanent)?;
    match missing(&after) {
        None => Ok(after),
        Some((role, _)) => Err(Trouble::Transient(anyhow!(
            "systemd-repart ended well, and {} has no {}",
            after.name,
            role.label()
        ))),
    }
}

/// Every partition that was there is there unchanged.
fn kept(before: &Disk, after: &Disk) -> Result<()> {
    for (number, entry) in &before.table.entries {
        let now = after.table.entries.get(number);
        let place = now.map(|now| (now.type_guid, now.first_lba, now.last_lba));
        if place != Some((entry.type_guid, entry.first_lba, entry.last_lba)) {
            return Err(anyhow!(
                "systemd-repart moved or changed partition {number} ({}) of {}",
                entry.name,
                before.name
            ));
        }
    }
    Ok(())
}

fn incarnation(host: &dyn Host, on: &str) -> Result<Option<String>> {
    let text = host.read_text(&format!("{on}/incarnation"))?;
    Ok(text
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty()))
}

fn write_incarnation(host: &dyn Host, on: &str, incarnation: &str) -> Result<()> {
    let path = format!("{on}/incarnation");
    host.write(&path, 0o600, format!("{incarnation}\n").as_bytes())
}

fn mismatch(state: &str, data: &str) -> Trouble {
    Trouble::Permanent(anyhow!(
        "DATA belongs to another STATE: DATA carries incarnation {data}, STATE {state}; \
         put the disk back that belongs here, or erase both partitions"
    ))
}

/// The incarnation of STATE.
pub fn drawn(host: &dyn Host) -> Result<String> {
    incarnation(host, STATE)?.context("STATE carries no incarnation")
}
