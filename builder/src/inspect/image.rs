//! An image file, open for reading: a disk, its partitions, and the file systems on them.

use super::disk::{self, Disk};
use anyhow::{Context, bail};
use formats::erofs::read::{Error as ErofsError, Image as Erofs};
use formats::fat::read::Volume;
use formats::gpt::{self, Entry, SectorSize};
use formats::read_at::{ReadAt, Window};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

/// A disk image with its partition table.
pub struct Image {
    pub(super) path: PathBuf,
    pub(super) disk: Disk,
    /// Bytes of a sector.
    pub(super) sector: u64,
    pub(super) entries: BTreeMap<u32, Entry>,
}

/// A file system that can be read here.
pub(super) enum FileSystem<'a> {
    Erofs(Erofs<Window<&'a Disk>>),
    Fat(Volume<Window<&'a Disk>>),
}

impl Image {
    /// Opens the image file at `path`, of whatever format.
    ///
    /// # Errors
    /// It cannot be read, or holds no partition table.
    pub fn open(path: &Path) -> anyhow::Result<Self> {
        let disk = disk::open(path)?;
        let table = match gpt::read(&disk, SectorSize::B512) {
            Ok(table) => table,
            Err(error) => match gpt::read(&disk, SectorSize::B4096) {
                Ok(table) => table,
                Err(_) => {
                    return Err(error)
                        .with_context(|| format!("reading the partitions of {}", path.display()));
                }
            },
        };
        Ok(Image {
            path: path.to_owned(),
            disk,
            sector: table.sector_size.bytes(),
            entries: table.entries,
        })
    }

    /// The disk's size in bytes.
    pub fn bytes(&self) -> anyhow::Result<u64> {
        let reading = || format!("reading {}", self.path.display());
        self.disk.size().with_context(reading)
    }

    /// The file's format, such as `raw`.
    pub fn format(&self) -> &'static str {
        self.disk.format
    }

    /// The bytes of the disk.
    pub fn disk(&self) -> &dyn ReadAt {
        &self.disk
    }

    /// The disk's logical sectors.
    pub fn sector_size(&self) -> SectorSize {
        match self.sector {
            512 => SectorSize::B512,
            _ => SectorSize::B4096,
        }
    }

    /// The name of the partition that the byte at `offset` of the disk belongs to.
    pub fn partition_at(&self, offset: u64) -> Option<&str> {
        let lba = offset / self.sector;
        let mut entries = self.entries.values();
        let entry = entries.find(|entry| (entry.first_lba..=entry.last_lba).contains(&lba))?;
        Some(&entry.name)
    }

    /// The first partition of a name; case does not matter.
    pub(super) fn volume(&self, label: &str) -> anyhow::Result<Window<&Disk>> {
        let mut entries = self.entries.values();
        let Some(entry) = entries.find(|entry| entry.name.eq_ignore_ascii_case(label)) else {
            let names: Vec<&str> = self.entries.values().map(|e| e.name.as_str()).collect();
            bail!(
                "there is no partition {label} (there are {})",
                names.join(", ")
            );
        };
        let offset = entry.first_lba.checked_mul(self.sector);
        let len = entry.sectors().checked_mul(self.sector);
        let (Some(offset), Some(len)) = (offset, len) else {
            bail!("partition {label} ends behind the disk");
        };
        Window::new(&self.disk, offset, len)
            .with_context(|| format!("partition {label} ends behind the disk"))
    }

    /// The file system of a partition.
    pub(super) fn file_system(&self, label: &str) -> anyhow::Result<FileSystem<'_>> {
        match Erofs::open(self.volume(label)?) {
            Ok(image) => return Ok(FileSystem::Erofs(image)),
            Err(ErofsError::NotErofs) => {}
            Err(error) => return Err(error).with_context(|| format!("opening partition {label}")),
        }
        let volume = Volume::open(self.volume(label)?);
        let volume =
            volume.with_context(|| format!("partition {label} holds neither erofs nor FAT"))?;
        Ok(FileSystem::Fat(volume))
    }

    /// A file of at most `limit` bytes; symbolic links on the way are followed.
    pub(super) fn read(&self, label: &str, path: &str, limit: u64) -> anyhow::Result<Vec<u8>> {
        let reading = || format!("reading {path} of partition {label}");
        match self.file_system(label)? {
            FileSystem::Fat(volume) => {
                let path = path.trim_matches('/');
                volume.read_file(path, limit).with_context(reading)
            }
            FileSystem::Erofs(image) => {
                let inode = image.resolve(path).with_context(reading)?;
                let len = inode.size();
                if len > limit {
                    bail!("{path} of partition {label} has {len} bytes, more than {limit}");
                }
                let mut bytes = Vec::new();
                image
                    .reader(&inode)
                    .read_to_end(&mut bytes)
                    .with_context(reading)?;
                Ok(bytes)
            }
        }
    }
}
