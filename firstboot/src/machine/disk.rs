//! The disk that was booted, and its partitions.
//!
//! Images are reproducible, so an installer stick and an installed disk look alike. Partitions are therefore
//! looked up on one disk only: the one that `/dev/mapper/root` rests on.

use std::io;

use anyhow::{Context, Result, anyhow, bail};
use contract::partition::{Arch, Role};
use formats::gpt::{self, SectorSize};
use formats::read_at::ReadAt;

use crate::host::Host;

const ROOT: &str = "/dev/mapper/root";

/// The booted disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The kernel's name, such as `vda`.
    pub name: String,
    /// Its partition table, read from the disk itself.
    pub table: gpt::Table,
}

/// The disk that the root file system rests on.
pub fn booted(host: &dyn Host) -> Result<Disk> {
    let (major, minor) = host.device_number(ROOT)?;
    let slaves = host.list(&format!("/sys/dev/block/{major}:{minor}/slaves"))?;
    let slave = slaves
        .first()
        .with_context(|| format!("{ROOT} ({major}:{minor}) rests on no device"))?;
    let name = whole(host, slave)?;
    let table = table(host, &name)?;
    Ok(Disk { name, table })
}

impl Disk {
    /// The device node of the disk.
    pub fn device(&self) -> String {
        format!("/dev/{}", self.name)
    }

    /// The device node of the first partition of this role, once the kernel has it.
    pub fn partition(&self, host: &dyn Host, role: Role, arch: Arch) -> Result<Option<String>> {
        let wanted = role.type_guid(arch);
        let mut entries = self.table.entries.iter();
        let Some((number, _)) = entries.find(|(_, e)| e.type_guid == *wanted.as_bytes()) else {
            return Ok(None);
        };
        for name in host.list(&format!("/sys/class/block/{}", self.name))? {
            let path = format!("/sys/class/block/{}/{name}/partition", self.name);
            let text = host.read_text(&path)?.unwrap_or_default();
            // Both count from 1.
            if text.trim().parse() == Ok(*number) {
                return Ok(Some(format!("/dev/{name}")));
            }
        }
        Ok(None)
    }
}

/// The whole disk that a partition is on; the name itself if it is no partition.
fn whole(host: &dyn Host, name: &str) -> Result<String> {
    if !host.exists(&format!("/sys/class/block/{name}/partition")) {
        return Ok(name.to_owned());
    }
    let link = host
        .read_link(&format!("/sys/class/block/{name}"))?
        .with_context(|| format!("/sys/class/block/{name} is no link"))?;
    let mut parts = link.rsplit('/').skip(1);
    let disk = parts.next().filter(|disk| !disk.is_empty());
    Ok(disk
        .with_context(|| format!("/sys/class/block/{name} leads to {link}, which names no disk"))?
        .to_owned())
}

/// The partition table of the disk of this name.
pub fn table(host: &dyn Host, name: &str) -> Result<gpt::Table> {
    let number = |file: &str| -> Result<u64> {
        let path = format!("/sys/class/block/{name}/{file}");
        let text = host
            .read_text(&path)?
            .with_context(|| format!("{path} is missing"))?;
        text.trim()
            .parse()
            .with_context(|| format!("reading {path}"))
    };
    let sector = match number("queue/logical_block_size")? {
        512 => SectorSize::B512,
        4096 => SectorSize::B4096,
        other => bail!("{name} has sectors of {other} bytes, which no partition table here has"),
    };
    // The kernel counts in units of 512 bytes whatever the sectors are.
    let size = number("size")?.saturating_mul(512);
    let device = Device {
        host,
        path: format!("/dev/{name}"),
        size,
    };
    gpt::read(&device, sector).map_err(|error| {
        anyhow!(error).context(format!("reading the partition table of /dev/{name}"))
    })
}

/// A block device, read through the host.
pub(crate) struct Device<'a> {
    pub(crate) host: &'a dyn Host,
    pub(crate) path: String,
    /// In bytes.
    pub(crate) size: u64,
}

impl ReadAt for Device<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let bytes = self
            .host
            .read_at(&self.path, offset, buf.len())
            .map_err(io::Error::other)?;
        buf.copy_from_slice(&bytes);
        Ok(())
    }
}
