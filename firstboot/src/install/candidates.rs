//! The machine's disks, as the kernel and udev know them.

use std::collections::BTreeMap;

use anyhow::Result;
use contract::guid::Guid;
use contract::partition::{Arch, Role};
use contract::seed::install::{Bus, Disk};
use formats::gpt::{self, SectorSize};
use formats::read_at::ReadAt;

use super::choose::{Candidate, Holds};
use crate::host::Host;
use crate::machine::disk::Device;

const CLASS: &str = "/sys/class/block";
const BY_PATH: &str = "/dev/disk/by-path";
/// Devices that are no disks, or are made of others.
const NO_DISKS: [&str; 9] = ["dm-", "fd", "loop", "md", "mtd", "nbd", "ram", "sr", "zram"];
/// How much at either end of a disk must be zeros: every common table, volume manager and file system has
/// something there.
const EDGE: usize = 1 << 20;

/// Every disk of the machine; `booted` is the name of the one that it was started from.
pub fn candidates(host: &dyn Host, booted: &str) -> Result<Vec<Candidate>> {
    let by_path = by_path(host)?;
    let mut candidates = Vec::new();
    for name in host.list(CLASS)? {
        let attribute = |file: &str| attribute(host, &name, file);
        if NO_DISKS.iter().any(|prefix| name.starts_with(prefix))
            || attribute("partition").is_some()
        {
            continue;
        }
        let sectors: u64 = attribute("size").unwrap_or_default().parse().unwrap_or(0);
        if sectors == 0 {
            continue;
        }
        let device = Device {
            host,
            path: format!("/dev/{name}"),
            // The kernel counts in units of 512 bytes whatever the sectors are.
            size: sectors.saturating_mul(512),
        };
        let udev = udev(host, &name);
        let link = host.read_link(&format!("{CLASS}/{name}"))?;
        let known = |key: &str| udev.get(key).cloned();
        candidates.push(Candidate {
            disk: Disk {
                serial: known("ID_SERIAL_SHORT")
                    .or_else(|| known("ID_SERIAL"))
                    .or_else(|| attribute("serial")),
                wwn: known("ID_WWN"),
                model: attribute("device/model").or_else(|| known("ID_MODEL")),
                paths: by_path.get(&name).cloned().unwrap_or_default(),
                bus: bus(&name, &link.unwrap_or_default(), &udev),
                size: device.size,
                rotational: attribute("queue/rotational").as_deref() == Some("1"),
            },
            booted: name == booted,
            read_only: attribute("ro").as_deref() == Some("1"),
            holds: holds(&device, &udev),
            name,
        });
    }
    Ok(candidates)
}

fn attribute(host: &dyn Host, name: &str, file: &str) -> Option<String> {
    let text = host.read_text(&format!("{CLASS}/{name}/{file}")).ok()??;
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// What udev found out about a device, from its database.
fn udev(host: &dyn Host, name: &str) -> BTreeMap<String, String> {
    let number = attribute(host, name, "dev").unwrap_or_default();
    let text = host.read_text(&format!("/run/udev/data/b{number}"));
    let text = text.ok().flatten().unwrap_or_default();
    let properties = text.lines().filter_map(|line| line.strip_prefix("E:"));
    properties
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
}

/// The names below `/dev/disk/by-path`, by the kernel's name.
fn by_path(host: &dyn Host) -> Result<BTreeMap<String, Vec<String>>> {
    let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in host.list(BY_PATH)? {
        if let Some(target) = host.read_link(&format!("{BY_PATH}/{path}"))? {
            let name = target.rsplit('/').next().unwrap_or_default();
            names.entry(name.to_owned()).or_default().push(path);
        }
    }
    Ok(names)
}

/// A disk in a USB case says of itself what it is inside, so its place in the device tree goes first.
fn bus(name: &str, link: &str, udev: &BTreeMap<String, String>) -> Option<Bus> {
    let usb = |part: &str| {
        part.strip_prefix("usb")
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
    };
    if link.split('/').any(usb) {
        return Some(Bus::Usb);
    }
    let prefixes = [
        ("nvme", Bus::Nvme),
        ("vd", Bus::Virtio),
        ("mmcblk", Bus::Mmc),
    ];
    let by_name = prefixes.iter().find(|(prefix, _)| name.starts_with(prefix));
    if let Some((_, bus)) = by_name {
        return Some(*bus);
    }
    match udev.get("ID_BUS").map(String::as_str) {
        Some("ata") => Some(Bus::Ata),
        Some("usb") => Some(Bus::Usb),
        _ => name.starts_with("sd").then_some(Bus::Scsi),
    }
}

fn holds(device: &Device<'_>, udev: &BTreeMap<String, String>) -> Holds {
    for sector in [SectorSize::B512, SectorSize::B4096] {
        if let Ok(table) = gpt::read(device, sector) {
            // The store's type is Seedbed's own.
            let store = *Role::Store.type_guid(Arch::Amd64).as_bytes();
            let mut entries = table.entries.values();
            return match entries.any(|entry| entry.type_guid == store) {
                true => Holds::Seedbed(Guid::from_bytes(table.disk_guid)),
                false => Holds::Other("partitions".to_owned()),
            };
        }
    }
    if let Some(table) = udev.get("ID_PART_TABLE_TYPE") {
        return Holds::Other(format!("a partition table ({table})"));
    }
    if let Some(kind) = udev.get("ID_FS_TYPE") {
        return Holds::Other(format!("data ({kind})"));
    }
    match is_blank(device) {
        Ok(true) => Holds::Nothing,
        Ok(false) => Holds::Other("something unknown".to_owned()),
        Err(error) => Holds::Other(format!("what cannot be read ({error})")),
    }
}

fn is_blank(device: &Device<'_>) -> std::io::Result<bool> {
    let edge = EDGE.min(usize::try_from(device.size).unwrap_or(EDGE));
    for offset in [0, device.size - edge as u64] {
        if device
            .read_vec_at(offset, edge)?
            .iter()
            .any(|byte| *byte != 0)
        {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    /// A disk of 4 MiB.
    fn disk(host: &Fake, name: &str, place: &str, bytes: &[u8]) {
        let mut content = bytes.to_vec();
        content.resize(4 << 20, 0);
        host.put(&format!("/dev/{name}"), content);
        let folder = format!("/sys/devices/{place}/{name}");
        host.put(&format!("{folder}/size"), "8192\n");
        host.put(&format!("{folder}/ro"), "0\n");
        host.put(&format!("{folder}/dev"), format!("8:{}\n", name.len()));
        host.link(
            &format!("{CLASS}/{name}"),
            &format!("../../devices/{place}/{name}"),
        );
    }

    #[test]
    fn disks_are_what_kernel_and_udev_say() {
        let host = Fake::default();
        disk(&host, "sda", "pci/ata1", &[]);
        disk(&host, "sdbb", "pci/usb2/2-1", b"something");
        disk(&host, "loop0", "virtual/block", &[]);
        host.put(
            "/run/udev/data/b8:3",
            "S:disk/by-id/x\nE:ID_BUS=ata\nE:ID_SERIAL_SHORT=S1\nE:ID_SERIAL=M_S1\nE:ID_WWN=0x5\nE:ID_MODEL=M\n",
        );
        host.link("/dev/disk/by-path/pci-ata-1", "../../sda");
        let found = candidates(&host, "sdbb").unwrap();
        let names: Vec<&str> = found.iter().map(|disk| disk.name.as_str()).collect();
        assert_eq!(names, ["sda", "sdbb"]);
        let expected = Disk {
            serial: Some("S1".into()),
            wwn: Some("0x5".into()),
            model: Some("M".into()),
            paths: vec!["pci-ata-1".into()],
            bus: Some(Bus::Ata),
            size: 4 << 20,
            rotational: false,
        };
        assert_eq!(found[0].disk, expected);
        assert_eq!((found[0].booted, &found[0].holds), (false, &Holds::Nothing));
        assert_eq!(found[1].disk.bus, Some(Bus::Usb));
        assert!(found[1].booted && matches!(found[1].holds, Holds::Other(_)));
    }

    #[test]
    fn data_at_the_end_counts_too() {
        let host = Fake::default();
        let mut bytes = vec![0; 4 << 20];
        bytes[(4 << 20) - 5] = 1;
        disk(&host, "vda", "virtio0", &bytes);
        let found = candidates(&host, "sda").unwrap();
        assert_eq!(found[0].holds, Holds::Other("something unknown".into()));
    }
}
