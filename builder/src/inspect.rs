//! What a disk image holds, read back from its bytes: partitions, what the firmware starts, the image's manifest,
//! and, if asked, every block against the hashes that the unified kernel image vouches for.
//!
//! Nothing is mounted, and no root is needed. Damage is collected, so that one look shows all of it.

mod disk;

use anyhow::{Context, bail};
use contract::guid::Guid;
use contract::manifest::Manifest;
use contract::partition::{Arch, Role};
use contract::paths;
use formats::erofs::read::Image as Erofs;
use formats::fat::read::Volume;
use formats::gpt::{self, Entry, SectorSize};
use formats::read_at::{ReadAt, Window};
use formats::tree::Content;
use formats::{uki, verity};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;

/// Where unified kernel images are on the ESP.
const UKIS: &str = "EFI/Linux";
/// No unified kernel image is larger.
const MAX_UKI: u64 = 1 << 30;
/// No text of the root file system that is read here is longer.
const MAX_TEXT: u64 = 1 << 20;
/// What makes a hash a root hash on the kernel's command line.
const ROOT_HASH: &str = "roothash=";

/// What an image file holds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// As `build --format` calls it, `qcow2` with either compression.
    pub format: &'static str,
    /// The disk's size in bytes.
    pub bytes: u64,
    /// Its partitions in order of their numbers.
    pub partitions: Vec<Partition>,
    /// What the firmware can start.
    pub boot: Vec<BootEntry>,
    /// What the image says of itself.
    pub manifest: Option<Manifest>,
    /// Partitions of which every block was checked against its root hash.
    pub verified: Vec<&'static str>,
    /// What is wrong, each with the part that it is about.
    pub damage: Vec<String>,
}

/// A row of the partition table.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Partition {
    /// Its number, from 1.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Its type.
    pub type_guid: String,
    /// Its own identity.
    pub guid: String,
    /// Where it begins on the disk, in bytes.
    pub offset: u64,
    /// Its size in bytes.
    pub bytes: u64,
    /// How many of them its file system takes, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub used: Option<u64>,
}

/// A unified kernel image on the ESP.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BootEntry {
    /// Its path on the ESP.
    pub path: String,
    /// Its size in bytes.
    pub bytes: u64,
    /// The kernel's version.
    pub kernel: String,
    /// The kernel's command line.
    pub command_line: String,
}

/// Looks into the image file at `path`; with `verify`, at every block of root and store. Fails only if it is no
/// disk at all: what is wrong inside is in [`Report::damage`].
pub fn inspect(path: &Path, verify: bool) -> anyhow::Result<Report> {
    let disk = disk::open(path)?;
    let (format, disk) = (disk.format, &*disk.bytes);
    let bytes = disk
        .size()
        .with_context(|| format!("reading {}", path.display()))?;
    let table = match gpt::read(disk, SectorSize::B512) {
        Ok(table) => table,
        Err(error) => match gpt::read(disk, SectorSize::B4096) {
            Ok(table) => table,
            Err(_) => {
                return Err(error)
                    .with_context(|| format!("reading the partitions of {}", path.display()));
            }
        },
    };
    let mut look = Look {
        disk,
        sector: table.sector_size.bytes(),
        entries: &table.entries,
        damage: Vec::new(),
    };
    let boot = look.part("ESP", Look::boot_entries).unwrap_or_default();
    let manifest = look.part("ROOT", |look| {
        let text = look.root_file(paths::MANIFEST)?;
        serde_json::from_slice(&text).with_context(|| format!("reading {}", paths::MANIFEST))
    });
    let verified = if verify {
        look.verify(&boot)
    } else {
        Vec::new()
    };
    Ok(Report {
        format,
        bytes,
        partitions: look.partitions(),
        boot,
        manifest,
        verified,
        damage: look.damage,
    })
}

/// A look at one disk.
struct Look<'a> {
    disk: &'a dyn ReadAt,
    sector: u64,
    entries: &'a BTreeMap<u32, Entry>,
    damage: Vec<String>,
}

impl<'a> Look<'a> {
    /// The result of `read`, or a line of damage about `part`.
    fn part<T>(
        &mut self,
        part: &str,
        read: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> Option<T> {
        read(self)
            .map_err(|error| self.damage.push(format!("{part}: {error:#}")))
            .ok()
    }

    /// The first partition with a role's name.
    fn volume(&self, role: Role) -> anyhow::Result<Window<&'a dyn ReadAt>> {
        let entry = self
            .entries
            .values()
            .find(|entry| entry.name == role.label());
        let entry = entry.with_context(|| format!("there is no partition {}", role.label()))?;
        Window::new(
            self.disk,
            entry.first_lba * self.sector,
            entry.sectors() * self.sector,
        )
        .with_context(|| format!("partition {} ends behind the disk", role.label()))
    }

    fn root_file(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let image = Erofs::open(self.volume(Role::Root)?)?;
        let inode = image
            .resolve(path)
            .with_context(|| format!("looking for {path}"))?;
        let len = inode.size();
        if len > MAX_TEXT {
            bail!("{path} has {len} bytes, more than {MAX_TEXT}");
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut image.reader(&inode), &mut bytes)
            .with_context(|| format!("reading {path}"))?;
        Ok(bytes)
    }

    fn boot_entries(&mut self) -> anyhow::Result<Vec<BootEntry>> {
        let esp = Volume::open(self.volume(Role::Esp)?)?;
        let mut entries = Vec::new();
        for file in esp.read_dir(UKIS)? {
            let path = format!("{UKIS}/{}", file.name);
            let image = Content::from(esp.read_file(&path, MAX_UKI)?);
            let sections = uki::read(&image).with_context(|| format!("reading {path}"))?;
            let text = |name: &str| -> anyhow::Result<String> {
                let section = sections.iter().find(|(section, _)| section.name == name);
                let (_, content) =
                    section.with_context(|| format!("{path} has no section {name}"))?;
                let bytes = content
                    .to_vec()
                    .with_context(|| format!("reading {path}"))?;
                let text = String::from_utf8_lossy(&bytes);
                Ok(text.trim_matches(['\0', '\n', ' ']).to_owned())
            };
            entries.push(BootEntry {
                bytes: image.len(),
                kernel: text(".uname")?,
                command_line: text(".cmdline")?,
                path,
            });
        }
        if entries.is_empty() {
            bail!("{UKIS} holds no unified kernel image");
        }
        Ok(entries)
    }

    /// Follows the hashes: the command line vouches for the root, the root's `/etc/veritytab` for the store.
    fn verify(&mut self, boot: &[BootEntry]) -> Vec<&'static str> {
        let root = self.part("ROOT", |look| {
            let words = || {
                boot.iter()
                    .flat_map(|entry| entry.command_line.split_whitespace())
            };
            let hash = words().find_map(|word| word.strip_prefix(ROOT_HASH));
            let hash = hash.context("no command line names its root hash")?;
            look.verify_one(Role::Root, Role::RootVerity, hash)
        });
        let store = self.part("STORE", |look| {
            let table = String::from_utf8(look.root_file("/etc/veritytab")?)
                .context("/etc/veritytab is no text")?;
            let hash = table.split_whitespace().nth(3);
            let hash = hash.context("/etc/veritytab names no root hash")?;
            look.verify_one(Role::Store, Role::StoreVerity, hash)
        });
        [root, store].into_iter().flatten().collect()
    }

    fn verify_one(&self, data: Role, hashes: Role, hash: &str) -> anyhow::Result<&'static str> {
        let hash = crate::digest::parse(hash).with_context(|| format!("{hash:?} is no SHA-256"))?;
        verity::verify(&self.volume(data)?, &self.volume(hashes)?, &hash)
            .with_context(|| format!("checking {} against its root hash", data.label()))?;
        Ok(data.label())
    }

    fn partitions(&self) -> Vec<Partition> {
        let row = |(number, entry): (&u32, &Entry)| Partition {
            number: *number,
            name: entry.name.clone(),
            type_guid: Guid::from_bytes(entry.type_guid).to_string(),
            guid: Guid::from_bytes(entry.guid).to_string(),
            offset: entry.first_lba * self.sector,
            bytes: entry.sectors() * self.sector,
            used: self.used(entry),
        };
        self.entries.iter().map(row).collect()
    }

    fn used(&self, entry: &Entry) -> Option<u64> {
        let is = |role: Role| {
            [Arch::Amd64, Arch::Arm64]
                .iter()
                .any(|arch| Guid::from_bytes(entry.type_guid) == role.type_guid(*arch))
        };
        if !is(Role::Root) && !is(Role::Store) {
            return None;
        }
        let volume = Window::new(
            self.disk,
            entry.first_lba * self.sector,
            entry.sectors() * self.sector,
        );
        Some(Erofs::open(volume.ok()?).ok()?.size())
    }
}
