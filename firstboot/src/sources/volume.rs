//! The volumes of this machine: what the kernel lists below `/sys/class/block`, read as FAT without mounting.

use super::select::{Candidate, Rank};
use crate::facts;
use crate::host::Host;
use crate::machine::disk::{self, Device, Disk};
use contract::document::MAX_BYTES;
use contract::partition::Role;
use contract::paths::SEED_FILE;
use formats::fat::read::{Error, Volume};
use formats::read_at::ReadAt;

const CLASS: &str = "/sys/class/block";
/// The unit of `size` in sysfs, whatever the device's sectors are.
const SYSFS_SECTOR: u64 = 512;
/// Devices that are made of others, or hold no volume that someone could bring.
const VIRTUAL: [&str; 8] = ["dm-", "loop", "md", "nbd", "ram", "sr", "zram", "mtd"];

/// Every volume that has a seed, or should have one and cannot be read.
pub(super) fn candidates(host: &dyn Host) -> Vec<Candidate> {
    let booted = disk::booted(host).ok();
    let own = booted.as_ref().and_then(|disk| own_partition(host, disk));
    let names = host.list(CLASS).unwrap_or_default();
    let mut candidates = Vec::new();
    for name in names {
        if has_partitions(host, &name) {
            continue;
        }
        let device = format!("/dev/{name}");
        let link = host
            .read_link(&format!("{CLASS}/{name}"))
            .ok()
            .flatten()
            .unwrap_or_default();
        let on_booted = booted
            .as_ref()
            .is_some_and(|disk| on_disk(&link, &disk.name));
        // A CD that was booted is shown by a loop device.
        if !on_booted && VIRTUAL.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        let rank = match on_booted {
            true if own.as_ref() == Some(&device) => Rank::SeedPartition,
            true => continue,
            false if is_removable(host, &name, &link) => Rank::Stick,
            false => Rank::Disk,
        };
        let sectors = host
            .read_text(&format!("{CLASS}/{name}/size"))
            .ok()
            .flatten()
            .unwrap_or_default();
        let size = sectors
            .trim()
            .parse::<u64>()
            .unwrap_or(0)
            .saturating_mul(SYSFS_SECTOR);
        // A card reader without a card.
        if size == 0 {
            continue;
        }
        candidates.extend(candidate(
            &Device {
                host,
                path: device,
                size,
            },
            &name,
            rank,
        ));
    }
    candidates
}

fn own_partition(host: &dyn Host, disk: &Disk) -> Option<String> {
    let manifest = facts::manifest(host).ok()?;
    disk.partition(host, Role::Seed, manifest.arch)
        .ok()
        .flatten()
}

/// Whether a whole disk is divided, so that its first sectors belong to a partition table.
fn has_partitions(host: &dyn Host, name: &str) -> bool {
    let parts = host.list(&format!("{CLASS}/{name}")).unwrap_or_default();
    let is_partition = |part: &String| host.exists(&format!("{CLASS}/{name}/{part}/partition"));
    parts
        .iter()
        .filter(|part| part.starts_with(name))
        .any(is_partition)
}

/// `link` is the device's place in sysfs: the disk is its last component, or the one before.
fn on_disk(link: &str, disk: &str) -> bool {
    link.rsplit('/').take(2).any(|part| part == disk)
}

/// USB disks often say that they are not removable; their place in the device tree tells.
fn is_removable(host: &dyn Host, name: &str, link: &str) -> bool {
    let usb = |part: &str| {
        part.strip_prefix("usb")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    let flag = |path: String| {
        host.read_text(&path)
            .ok()
            .flatten()
            .is_some_and(|text| text.trim() == "1")
    };
    link.split('/').any(usb)
        || flag(format!("{CLASS}/{name}/removable"))
        || flag(format!("{CLASS}/{name}/../removable"))
}

/// Reads the seed of one volume; nothing if there is none to speak of.
fn candidate(device: &Device<'_>, name: &str, rank: Rank) -> Option<Candidate> {
    let place = |label: &str| match (rank, label) {
        (Rank::Stick, "") => format!("the stick {name}"),
        (Rank::Stick, label) => format!("the stick {name} ({label})"),
        (Rank::SeedPartition, _) => format!("the SEED partition {name}"),
        (Rank::Disk | Rank::Image, _) => format!("the disk {name}"),
    };
    let reject = |place: String, reason: String| {
        Some(Candidate {
            rank,
            origin: place,
            content: Err(reason),
        })
    };
    let volume = match Volume::open(device) {
        Ok(volume) => volume,
        // Other disks hold other things.
        Err(Error::NotFat(_)) if rank == Rank::Disk => return None,
        Err(error @ Error::NotFat(_)) => {
            return reject(
                place(""),
                unformatted(device).unwrap_or_else(|| chain(&error)),
            );
        }
        Err(error) => return reject(place(""), chain(&error)),
    };
    let label: String = volume
        .label()
        .unwrap_or_default()
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    let origin = place(&label);
    match volume.read_file(SEED_FILE, MAX_BYTES as u64) {
        Ok(bytes) => Some(Candidate {
            rank,
            origin: format!("{SEED_FILE} on {origin}"),
            content: Ok(bytes),
        }),
        Err(Error::NotFound(_)) => {
            let entries = volume.read_root().ok()?;
            let near = entries.iter().find(|entry| is_misnamed(&entry.name))?;
            reject(
                origin,
                format!("it holds {:?}, which must be called {SEED_FILE}", near.name),
            )
        }
        Err(error) => reject(origin, chain(&error)),
    }
}

/// What editors and file managers make of the name.
fn is_misnamed(name: &str) -> bool {
    let lower = name.to_lowercase();
    [
        "seed.yml",
        "seed.yaml.txt",
        "seed.yml.txt",
        "seed.txt",
        "seed",
    ]
    .contains(&lower.as_str())
}

/// The name of a common format that is not FAT, from the boot sector's second field.
fn unformatted(device: &Device<'_>) -> Option<String> {
    let mut sector = [0; 11];
    device.read_exact_at(&mut sector, 0).ok()?;
    let format = match &sector[3..] {
        b"NTFS    " => "NTFS",
        b"EXFAT   " => "exFAT",
        _ => return None,
    };
    Some(format!("it is formatted as {format}: format it as FAT32"))
}

fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
