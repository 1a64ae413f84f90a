//! Which disk the firmware started this machine from, as its boot loader says.
//!
//! A medium and what was installed from it hold the same root and store, which are found by their hashes. Their
//! ESPs have GUIDs of their own, and the boot loader tells which one it came from: systemd-boot in a variable of
//! the firmware (systemd, "The Boot Loader Interface"), GRUB on the kernel's command line. Of a CD neither can
//! say anything.

use anyhow::{Context, Result};
use contract::guid::Guid;
use contract::partition::BOOTED_ESP;

use super::disk;
use crate::host::{Cmd, Host};

const VARIABLE: &str =
    "/sys/firmware/efi/efivars/LoaderDevicePartUUID-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// Attributes in front of a variable's value (Linux, efivarfs).
const ATTRIBUTES: usize = 4;

/// The GUID of the ESP that this machine was started from, if that is known.
pub fn esp(host: &dyn Host) -> Result<Option<Guid>> {
    let line = host.read_text("/proc/cmdline")?.unwrap_or_default();
    let mut words = line.split_whitespace();
    let argument = words.find_map(|word| word.strip_prefix(BOOTED_ESP)?.strip_prefix('='));
    if let Some(text) = argument.filter(|text| !text.is_empty()) {
        let guid = text.parse();
        return guid
            .with_context(|| format!("reading {BOOTED_ESP}={text}"))
            .map(Some);
    }
    let Some(bytes) = host.read(VARIABLE)? else {
        return Ok(None);
    };
    let units = bytes.get(ATTRIBUTES..).unwrap_or_default().chunks_exact(2);
    let units: Vec<u16> = units
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .collect();
    let text = String::from_utf16_lossy(&units);
    let guid = text.parse().with_context(|| format!("reading {VARIABLE}"));
    guid.map(Some)
}

/// Whether the machine may have been started from the disk of this name: its boot loader says so, or nothing.
pub fn is_booted(host: &dyn Host, name: &str) -> Result<bool> {
    let Some(esp) = esp(host)? else {
        return Ok(true);
    };
    let table = disk::table(host, name)?;
    let mut entries = table.entries.values();
    Ok(entries.any(|entry| entry.guid == *esp.as_bytes()))
}

/// Shows the partitions of the CD `device`, unless a disk has the root that this kernel wants: then the machine
/// is installed, and the CD is merely still there.
pub fn attach_cd(host: &dyn Host, device: &str) -> Result<()> {
    // What the kernel found so far has its names after this.
    host.run(&Cmd::new("/usr/bin/udevadm").args(["settle", "--timeout=30"]))?;
    let root = root(host)?;
    if root.is_some_and(|guid| host.exists(&format!("/dev/disk/by-partuuid/{guid}"))) {
        return Ok(());
    }
    let losetup = Cmd::new("/usr/sbin/losetup").args([
        "--find",
        "--read-only",
        "--partscan",
        "--sector-size=512",
        device,
    ]);
    host.run(&losetup).map(drop)
}

/// The GUID of the partition whose data the kernel was started with: the first half of the root hash (UAPI.2).
pub fn root(host: &dyn Host) -> Result<Option<Guid>> {
    let line = host.read_text("/proc/cmdline")?.unwrap_or_default();
    let mut words = line.split_whitespace();
    let hash = words.find_map(|word| word.strip_prefix("roothash="));
    Ok(hash.and_then(partition).and_then(|text| text.parse().ok()))
}

fn partition(hash: &str) -> Option<String> {
    let part = |range: std::ops::Range<usize>| hash.get(range);
    Some(format!(
        "{}-{}-{}-{}-{}",
        part(0..8)?,
        part(8..12)?,
        part(12..16)?,
        part(16..20)?,
        part(20..32)?
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;
    use crate::phases::tests::machine;

    const GUID: &str = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";

    fn variable(text: &str) -> Vec<u8> {
        let units = text.encode_utf16().chain([0]);
        [6_u8, 0, 0, 0]
            .into_iter()
            .chain(units.flat_map(u16::to_le_bytes))
            .collect()
    }

    #[test]
    fn the_boot_loader_is_believed() {
        let host = Fake::default();
        assert_eq!(esp(&host).unwrap(), None);
        host.put(VARIABLE, variable(&GUID.to_uppercase()));
        assert_eq!(esp(&host).unwrap(), Some(GUID.parse().unwrap()));
        host.put(
            "/proc/cmdline",
            "ro seedbed.esp=01234567-89ab-8def-8123-456789abcdef quiet\n",
        );
        assert_eq!(
            esp(&host).unwrap().unwrap().to_string(),
            "01234567-89ab-8def-8123-456789abcdef"
        );
        host.put("/proc/cmdline", "quiet seedbed.esp=\n");
        assert_eq!(esp(&host).unwrap(), Some(GUID.parse().unwrap()));
        host.put("/proc/cmdline", "seedbed.esp=x\n");
        assert!(esp(&host).is_err());
    }

    #[test]
    fn a_disk_with_another_esp_was_not_booted() {
        let host = machine();
        assert!(is_booted(&host, "vda").unwrap(), "nobody said otherwise");
        host.put(VARIABLE, variable(GUID));
        assert!(!is_booted(&host, "vda").unwrap());
    }

    #[test]
    fn a_cd_is_attached_unless_a_disk_has_the_root() {
        let host = Fake::default();
        host.rule("/usr/bin/udevadm", |_, _| Ok(String::new()));
        host.rule("/usr/sbin/losetup", |_, _| Ok(String::new()));
        host.put(
            "/proc/cmdline",
            format!("roothash={} ro", "0123456789abcdef".repeat(4)),
        );
        attach_cd(&host, "/dev/sr0").unwrap();
        let attached = |host: &Fake| {
            host.effects()
                .iter()
                .any(|effect| effect.contains("losetup"))
        };
        assert!(attached(&host));
        host.put(
            "/dev/disk/by-partuuid/01234567-89ab-cdef-0123-456789abcdef",
            "",
        );
        attach_cd(&host, "/dev/sr0").unwrap();
        assert!(!attached(&host));
    }
}
