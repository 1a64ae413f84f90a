//! Install: from a medium to a disk of the machine, if the seed says so.
//!
//! Before: the machine was started from a stick, a CD or virtual media. After: it was started from its own disk.
//! In between it restarts, so `apply` ends by waiting for that. What `apply` left when it was interrupted is a
//! disk without a table, which is written anew.

use std::time::Duration;

use anyhow::{Context, Result};
use contract::manifest::Manifest;
use contract::partition::{Partition, Role};
use formats::gpt::SectorSize;

use crate::facts;
use crate::host::{Cmd, Host};
use crate::install::candidates::candidates;
use crate::install::choose::{Candidate, choose};
use crate::install::write::{self, Installation, Medium, Target};
use crate::machine::disk::{self, Disk};
use crate::phase::{Outcome, Phase, State, Trouble};

const CONSOLE: &str = "/dev/console";
/// The least room for STATE and DATA, in bytes.
const OWN: u64 = 2 << 30;

/// The phase.
#[derive(Debug)]
pub struct Install;

impl Phase for Install {
    fn name(&self) -> &'static str {
        "install"
    }

    fn after(&self) -> &'static [&'static str] {
        &["seed", "store"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let seed = facts::seed(host)?.context("there is no seed yet")?;
        let manifest = facts::manifest(host)?;
        let booted = disk::booted(host)?;
        let medium = is_medium(host, &booted, &manifest)?;
        match seed.install {
            _ if !medium => Ok(State::Done),
            Some(_) => Ok(State::Absent),
            None if keeps_nothing(host, &booted.name)? => Err(Trouble::Waiting(format!(
                "{} keeps nothing: this machine can be installed to a disk, which takes `install:` in the seed",
                booted.name
            ))),
            None => Ok(State::Done),
        }
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let seed = facts::seed(host)?.context("there is no seed yet")?;
        let manifest = facts::manifest(host)?;
        let install = seed.install.context("the seed says nothing of install")?;
        let booted = disk::booted(host)?;
        let disks = candidates(host, &backing(host, &booted.name)?)?;
        let shipped: u64 = manifest.partitions.iter().map(|part| part.bytes).sum();
        let chosen = choose(&install, &disks, 2 * shipped + OWN).map_err(Trouble::Waiting)?;
        let text = facts::seed_text(host)?.context("there is no seed yet")?;
        let installation = Installation {
            partitions: &manifest.partitions,
            arch: manifest.arch,
            seed: &text,
            time: host.now(),
            guids: [guid(host)?, guid(host)?, guid(host)?],
        };
        let say = |what: &str| {
            host.announce(CONSOLE, format!("seedbed: install: {what}\n").as_bytes());
        };
        say(&format!("to {}", chosen.name));
        write::install(
            &medium(host, booted)?,
            &target(host, chosen)?,
            &installation,
            &say,
        )
        .with_context(|| format!("installing to {}", chosen.name))?;
        host.run(&Cmd::new("/usr/bin/systemctl").args(["reboot", "--no-block"]))?;
        // The restart ends this program. If it does not come, the next look tells why nothing happens.
        host.sleep(Duration::from_secs(300));
        Err(Trouble::Waiting(format!(
            "{} is installed; the machine restarts",
            chosen.name
        )))
    }
}

/// Whether the machine was started from something to install from: what keeps nothing, or what has no room to grow
/// and is not this machine's yet. A machine keeps its disk, whatever sizes a later image wants.
fn is_medium(host: &dyn Host, booted: &Disk, manifest: &Manifest) -> Result<bool> {
    let entry = |role: Role| {
        let kind = role.type_guid(manifest.arch);
        let mut entries = booted.table.entries.values();
        entries.find(|entry| entry.type_guid == *kind.as_bytes())
    };
    let sector = booted.table.sector_size.bytes();
    let small = |part: &Partition| {
        entry(part.role).is_some_and(|entry| entry.sectors().saturating_mul(sector) < part.bytes)
    };
    let own = entry(Role::State).is_some();
    let small = !own && manifest.partitions.iter().any(small);
    Ok(small || keeps_nothing(host, &booted.name)?)
}

/// Whether what is written to the disk `name` is lost: it is read-only, or memory that firmware fetched a medium into,
/// which the kernel calls a volatile region (Linux, `libnvdimm`).
fn keeps_nothing(host: &dyn Host, name: &str) -> Result<bool> {
    let says = |file: &str, wanted: &str| -> Result<bool> {
        let text = host.read_text(&format!("/sys/class/block/{name}/{file}"))?;
        Ok(text.is_some_and(|text| text.trim() == wanted))
    };
    Ok(says("ro", "1")? || says("device/../devtype", "nd_volatile")?)
}

/// The disk that a loop device shows: a CD. Others are themselves.
fn backing(host: &dyn Host, name: &str) -> Result<String> {
    let path = format!("/sys/class/block/{name}/loop/backing_file");
    let backing = host.read_text(&path)?;
    let backing = backing.as_deref().unwrap_or(name).trim();
    Ok(backing.strip_prefix("/dev/").unwrap_or(backing).to_owned())
}

fn guid(host: &dyn Host) -> Result<[u8; 16]> {
    let mut bytes = host.random()?;
    // Version 4, variant 1 (RFC 9562), in the order of the text form.
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    Ok(bytes)
}

fn medium(host: &dyn Host, booted: Disk) -> Result<Medium> {
    let open = |path: &str| host.open_disk(path, false);
    let line = host.read_text("/proc/cmdline")?.unwrap_or_default();
    let root_hash = line
        .split_whitespace()
        .find_map(|word| word.strip_prefix("roothash="));
    let table = host.read_text("/etc/veritytab")?.unwrap_or_default();
    let store_hash =
        table.lines().find_map(
            |line| match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["store", _, _, hash, ..] => Some(hash.to_owned()),
                _ => None,
            },
        );
    Ok(Medium {
        disk: open(&booted.device())?,
        table: booted.table,
        root: open("/dev/mapper/root")?,
        store: open("/dev/mapper/store")?,
        root_hash: hash(root_hash.context("the kernel's command line has no roothash")?)?,
        store_hash: hash(&store_hash.context("/etc/veritytab says nothing of the store")?)?,
    })
}

fn hash(text: &str) -> Result<[u8; 32]> {
    let byte = |i: usize| {
        let digits = text.get(2 * i..2 * i + 2).context("it is too short")?;
        u8::from_str_radix(digits, 16).context("it is not hexadecimal")
    };
    let bytes: Vec<u8> = (0..32)
        .map(byte)
        .collect::<Result<_>>()
        .with_context(|| format!("reading the root hash {text:?}"))?;
    <[u8; 32]>::try_from(bytes.as_slice()).context("a root hash has 32 bytes")
}

fn target(host: &dyn Host, chosen: &Candidate) -> Result<Target> {
    let path = format!("/sys/class/block/{}/queue/logical_block_size", chosen.name);
    let sector_size = match host.read_text(&path)?.unwrap_or_default().trim() {
        "512" => SectorSize::B512,
        "4096" => SectorSize::B4096,
        other => anyhow::bail!("{} has sectors of {other} bytes", chosen.name),
    };
    Ok(Target {
        disk: host.open_disk(&format!("/dev/{}", chosen.name), true)?,
        sector_size,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    use crate::phases::tests::{SEED, machine};

    fn with_install() -> String {
        format!("{SEED}install: {{}}\n")
    }

    #[test]
    fn a_machine_on_its_own_disk_is_installed_whatever_the_seed_says() {
        let host = machine();
        host.put(facts::FOUND_SEED, with_install());
        assert_eq!(Install.observe(&host).unwrap(), State::Done);
    }

    /// What a later image wants makes no medium of a disk that is in use.
    #[test]
    fn a_small_disk_is_a_medium_until_it_is_a_machines_own() {
        let host = machine();
        host.put(facts::FOUND_SEED, with_install());
        let text = host.text(contract::paths::MANIFEST).unwrap();
        let mut manifest: Manifest = serde_json::from_str(&text).unwrap();
        manifest.partitions = vec![Partition {
            role: Role::Root,
            bytes: 1 << 30,
        }];
        host.put(
            contract::paths::MANIFEST,
            serde_json::to_string(&manifest).unwrap(),
        );
        assert_eq!(Install.observe(&host).unwrap(), State::Absent);
        host.run(&Cmd::new("/usr/bin/systemd-repart").args(["--dry-run=no", "/dev/vda"]))
            .unwrap();
        assert_eq!(Install.observe(&host).unwrap(), State::Done);
    }

    #[test]
    fn what_cannot_be_written_waits_for_a_seed_that_names_a_disk() {
        let host = machine();
        read_only(&host);
        host.put(facts::FOUND_SEED, SEED);
        let Err(Trouble::Waiting(why)) = Install.observe(&host) else {
            panic!("it went on");
        };
        assert!(why.contains("install:"), "{why}");
        host.put(facts::FOUND_SEED, with_install());
        assert_eq!(Install.observe(&host).unwrap(), State::Absent);
        let Err(Trouble::Waiting(why)) = Install.apply(&host) else {
            panic!("it installed to something");
        };
        assert!(why.contains("no disk fits"), "{why}");
        assert!(host.effects().is_empty());
    }

    fn read_only(host: &Fake) {
        host.put("/sys/devices/pci0/block/vda/ro", "1\n");
    }

    #[test]
    fn hashes_are_read_whole_or_refused() {
        assert_eq!(hash(&"0a".repeat(32)).unwrap(), [10; 32]);
        assert!(hash("0a").is_err() && hash(&"é".repeat(32)).is_err());
    }
}
