//! Writes an installation: every partition, then all of it read back and compared, and only then the table that
//! makes the disk one that starts.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::mpsc;

use anyhow::{Context, Result, bail};
use contract::partition::{ALIGNMENT, Arch, Partition, Role};
use formats::fat::read::Volume;
use formats::fat::{self, Kind};
use formats::gpt::{self, Entry, SectorSize, Table};
use formats::read_at::{ReadAt, Window};
use formats::tree::{Content, Kind as Node, Tree};
use formats::verity;

/// How much is read ahead of what is written, in pieces of this many bytes.
const PIECE: usize = 4 << 20;
const AHEAD: usize = 4;
/// The boot code of an MBR, in front of the disk's signature (UEFI Specification, "Legacy Master Boot Record").
const BOOT_CODE: usize = 440;

/// What the machine was started from.
#[derive(Debug)]
pub struct Medium {
    /// All of it.
    pub disk: File,
    /// Its partitions.
    pub table: Table,
    /// The root file system as dm-verity gives it, so that damage is an error.
    pub root: File,
    /// The image store, likewise.
    pub store: File,
    /// What root's hash tree leads to.
    pub root_hash: [u8; 32],
    /// What the store's hash tree leads to.
    pub store_hash: [u8; 32],
}

/// The disk to install to.
#[derive(Debug)]
pub struct Target {
    /// Open for reading and writing, and by nobody else.
    pub disk: File,
    /// Its logical sectors.
    pub sector_size: SectorSize,
}

/// What the installed disk is to be.
#[derive(Clone, Debug)]
pub struct Installation<'a> {
    /// Its partitions, in order.
    pub partitions: &'a [Partition],
    /// What it is for.
    pub arch: Arch,
    /// The seed that the machine is to find.
    pub seed: &'a str,
    /// The time, in seconds since 1970.
    pub time: u64,
    /// New GUIDs of the disk, the ESP and SEED: a medium and a disk of one image can be told apart.
    pub guids: [[u8; 16]; 3],
}

/// Installs. `say` is told what is going on.
pub fn install(
    medium: &Medium,
    target: &Target,
    installation: &Installation<'_>,
    say: &dyn Fn(&str),
) -> Result<()> {
    let size = target.disk.size().context("asking the disk's size")?;
    let places = places(installation.partitions);
    let end = places.last().map_or(0, |place| place.offset + place.bytes);
    if end + ALIGNMENT > size {
        bail!(
            "the disk has {size} bytes, and {} are needed",
            end + ALIGNMENT
        );
    }
    let writing = Writing {
        medium,
        target,
        installation,
    };
    writing.erase(0)?;
    writing.erase(size - ALIGNMENT)?;
    writing.flush()?;
    for place in &places {
        let label = place.role.label();
        say(&format!("writing {label}"));
        writing
            .write(place)
            .with_context(|| format!("writing the {label} partition"))?;
    }
    writing.flush()?;
    for place in &places {
        let label = place.role.label();
        say(&format!("reading {label} back"));
        writing
            .check(place, &places)
            .with_context(|| format!("reading the {label} partition back"))?;
    }
    writing.write_table(&places, size / target.sector_size.bytes())
}

/// Where a partition is on the target.
#[derive(Clone, Copy, Debug)]
struct Place {
    role: Role,
    offset: u64,
    bytes: u64,
}

fn places(partitions: &[Partition]) -> Vec<Place> {
    let mut offset = ALIGNMENT;
    let place = |partition: &Partition| {
        let at = offset;
        offset += partition.bytes;
        Place {
            role: partition.role,
            offset: at,
            bytes: partition.bytes,
        }
    };
    partitions.iter().map(place).collect()
}

struct Writing<'a> {
    medium: &'a Medium,
    target: &'a Target,
    installation: &'a Installation<'a>,
}

impl Writing<'_> {
    /// Nothing of what was there is a table or a file system any more.
    fn erase(&self, offset: u64) -> Result<()> {
        let zeros = vec![0; ALIGNMENT as usize];
        let written = self.target.disk.write_all_at(&zeros, offset);
        written.with_context(|| format!("erasing {ALIGNMENT} bytes at {offset}"))
    }

    /// Brings everything to the disk, and forgets it, so that what is read afterwards comes from there.
    fn flush(&self) -> Result<()> {
        let disk = &self.target.disk;
        disk.sync_all().context("writing to the disk")?;
        rustix::fs::fadvise(disk, 0, None, rustix::fs::Advice::DontNeed)
            .context("dropping what is cached of the disk")
    }

    fn write(&self, place: &Place) -> Result<()> {
        match self.source(place.role)? {
            Source::Bytes(from) => copy(&from, &self.target.disk, place),
            Source::Fat(tree) => {
                let plan = fat::write::plan(&self.fat(place)?, &tree)?;
                let disk = &self.target.disk;
                plan.write(&mut |offset, bytes| disk.write_all_at(bytes, place.offset + offset))?;
                Ok(())
            }
        }
    }

    fn check(&self, place: &Place, places: &[Place]) -> Result<()> {
        let window = self.window(place)?;
        let expected = match place.role {
            Role::Root => Some((Role::RootVerity, &self.medium.root_hash)),
            Role::Store => Some((Role::StoreVerity, &self.medium.store_hash)),
            _ => None,
        };
        if let Some((beside, hash)) = expected {
            let beside = places.iter().find(|place| place.role == beside);
            let hashes = self.window(beside.context("it has no hash tree")?)?;
            verity::verify(&window, &hashes, hash)?;
            return Ok(());
        }
        match self.source(place.role)? {
            Source::Bytes(from) => same(&from, &window),
            Source::Fat(tree) => {
                let volume = Volume::open(window)?;
                for (path, node) in tree.iter() {
                    if let Node::File(content) = &node.kind
                        && volume.read_file(&path, content.len())? != content.to_vec()?
                    {
                        bail!("{path} is not what was written");
                    }
                }
                Ok(())
            }
        }
    }

    fn window(&self, place: &Place) -> io::Result<Window<&File>> {
        Window::new(&self.target.disk, place.offset, place.bytes)
    }

    /// What goes into a partition. Volumes of FAT are made anew: the disk's sectors and sizes may be others.
    fn source(&self, role: Role) -> Result<Source<'_>> {
        let medium = self.medium;
        let whole = |file| -> Result<Source<'_>> {
            let len = ReadAt::size(file)?;
            Ok(Source::Bytes(Window::new(file, 0, len)?))
        };
        match role {
            Role::Root => whole(&medium.root),
            Role::Store => whole(&medium.store),
            Role::Esp => Ok(Source::Fat(read_fat(&Volume::open(
                self.on_medium(role)?,
            )?)?)),
            Role::Seed => {
                let mut tree = read_fat(&Volume::open(self.on_medium(role)?)?)?;
                let seed = self.installation.seed.as_bytes().to_vec();
                tree.insert_file(contract::paths::SEED_FILE, 0o644, seed)?;
                Ok(Source::Fat(tree))
            }
            _ => Ok(Source::Bytes(self.on_medium(role)?)),
        }
    }

    fn on_medium(&self, role: Role) -> Result<Window<&File>> {
        let wanted = role.type_guid(self.installation.arch);
        let table = &self.medium.table;
        let mut entries = table.entries.values();
        let entry = entries
            .find(|entry| entry.type_guid == *wanted.as_bytes())
            .with_context(|| format!("the medium has no partition {}", role.label()))?;
        let sector = table.sector_size.bytes();
        let (offset, len) = (
            entry.first_lba.checked_mul(sector),
            entry.sectors().checked_mul(sector),
        );
        let (Some(offset), Some(len)) = (offset, len) else {
            bail!("the medium's partition {} ends behind it", role.label());
        };
        Ok(Window::new(&self.medium.disk, offset, len)?)
    }

    fn fat(&self, place: &Place) -> Result<fat::write::Format> {
        let (kind, guid) = match place.role {
            Role::Esp => (Kind::Fat32, self.installation.guids[1]),
            _ => (Kind::Fat16, self.installation.guids[2]),
        };
        Ok(fat::write::Format {
            kind,
            size: place.bytes,
            sector_size: self.target.sector_size,
            label: place.role.label().to_owned(),
            id: u32::from_be_bytes([guid[0], guid[1], guid[2], guid[3]]),
            time: i64::try_from(self.installation.time)?,
        })
    }

    /// The last step: the table, and in front of it what a BIOS starts.
    fn write_table(&self, places: &[Place], sectors: u64) -> Result<()> {
        let [disk, esp, seed] = self.installation.guids;
        let sector = self.target.sector_size.bytes();
        let mut entries = Vec::with_capacity(places.len());
        for place in places {
            let own = self.medium_entry(place.role)?;
            let guid = match place.role {
                Role::Esp => esp,
                Role::Seed => seed,
                _ => own.guid,
            };
            entries.push(Entry {
                guid,
                first_lba: place.offset / sector,
                last_lba: (place.offset + place.bytes) / sector - 1,
                ..own.clone()
            });
        }
        let table = Table::new(disk, self.target.sector_size, sectors, entries);
        let writing = "writing the partition table";
        for (offset, bytes) in table.write()? {
            let written = self.target.disk.write_all_at(&bytes, offset);
            written.context(writing)?;
        }
        let code = self.medium.disk.read_vec_at(0, BOOT_CODE)?;
        self.target.disk.write_all_at(&code, 0).context(writing)?;
        self.target.disk.sync_all().context(writing)?;
        let read = gpt::read(&self.target.disk, self.target.sector_size);
        let read = read.context("reading the partition table back")?;
        if read.entries.len() != places.len() {
            bail!("the partition table is not what was written");
        }
        Ok(())
    }

    fn medium_entry(&self, role: Role) -> Result<&Entry> {
        let wanted = role.type_guid(self.installation.arch);
        let mut entries = self.medium.table.entries.values();
        let found = entries.find(|entry| entry.type_guid == *wanted.as_bytes());
        found.with_context(|| format!("the medium has no partition {}", role.label()))
    }
}

enum Source<'a> {
    Bytes(Window<&'a File>),
    Fat(Tree),
}

/// All files of a volume. It is the medium's own, so it is not large.
fn read_fat(volume: &Volume<impl ReadAt>) -> Result<Tree> {
    let mut tree = Tree::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in volume.read_dir(&folder)? {
            let path = match folder.as_str() {
                "" => entry.name.clone(),
                folder => format!("{folder}/{}", entry.name),
            };
            if entry.directory {
                tree.insert_dir(&path, 0o755)?;
                folders.push(path);
            } else {
                let bytes = volume.read_file(&path, u64::from(entry.size))?;
                tree.insert_file(&path, 0o644, Content::from(bytes))?;
            }
        }
    }
    Ok(tree)
}

/// Copies all of `from` to the beginning of a place, reading ahead of the writing.
fn copy(from: &(impl ReadAt + Sync), to: &File, place: &Place) -> Result<()> {
    let len = from.size()?;
    if len > place.bytes {
        bail!("{len} bytes do not fit its {}", place.bytes);
    }
    let (sender, pieces) = mpsc::sync_channel::<io::Result<(u64, Vec<u8>)>>(AHEAD);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let mut offset = 0;
            while offset < len {
                let piece = PIECE.min(usize::try_from(len - offset).unwrap_or(PIECE));
                let read = from.read_vec_at(offset, piece).map(|bytes| (offset, bytes));
                let failed = read.is_err();
                // The other side stops listening when it fails.
                if sender.send(read).is_err() || failed {
                    return;
                }
                offset += piece as u64;
            }
        });
        for piece in pieces {
            let (offset, bytes) = piece.context("reading the medium")?;
            to.write_all_at(&bytes, place.offset + offset)?;
        }
        Ok(())
    })
}

/// Compares all of `from` with the beginning of `with`.
fn same(from: &impl ReadAt, with: &impl ReadAt) -> Result<()> {
    let len = from.size()?;
    let mut offset = 0;
    while offset < len {
        let piece = PIECE.min(usize::try_from(len - offset)?);
        if from.read_vec_at(offset, piece)? != with.read_vec_at(offset, piece)? {
            bail!("it is not what was written, from byte {offset} on");
        }
        offset += piece as u64;
    }
    Ok(())
}
