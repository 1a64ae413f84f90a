//! Takes files out of a FAT12, FAT16 or FAT32 volume that may be damaged, or made to do damage.
//!
//! A [`Volume`] is a partition or a whole disk without partitions; nothing is mounted, cached or written.
//! Every chain of clusters is followed only as far as its owner's size, each cluster once, so that no volume
//! makes a reader loop or take more memory than it asked for. Whether two files share clusters is not looked
//! at: neither could be told to be the wrong one.

use super::boot::{BOOT_SECTOR, Boot};
use super::name::{self, LongName};
use super::{
    ATTRIBUTE_DIRECTORY, ATTRIBUTE_HIDDEN, ATTRIBUTE_LABEL, ATTRIBUTE_LONG_NAME, ATTRIBUTE_MASK,
    ENTRY, FIRST_CLUSTER, Kind, MAX_ENTRIES,
};
use crate::bytes::{u16_le, u32_le};
use crate::read_at::ReadAt;
use std::collections::BTreeSet;
use std::io;

const FREE: u8 = 0x00;
const DELETED: u8 = 0xe5;
/// Stands for a first byte of 0xe5, which would mean [`DELETED`].
const KANJI_E5: u8 = 0x05;

/// Why something cannot be read from a volume.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The device or file itself.
    #[error("reading the volume at byte {offset} failed")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The first sector is none of a FAT volume.
    #[error("it is no FAT volume: the field {0} of its boot sector has an impossible value")]
    NotFat(&'static str),
    /// No such file or directory.
    #[error("there is no {0} on the volume")]
    NotFound(String),
    /// Two entries of one name: whoever reads another of the two sees another file.
    #[error("the volume is damaged: {0} is there twice; check it with fsck.fat or chkdsk")]
    Twice(String),
    /// A directory where a file is wanted.
    #[error("{0} is a directory, not a file")]
    IsDirectory(String),
    /// A file where a directory is wanted.
    #[error("{0} is a file, not a directory")]
    NotDirectory(String),
    /// A file larger than the caller wants to read.
    #[error("the file {path} has {size} bytes, more than the {limit} that are read of such a file")]
    TooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
        /// The caller's limit.
        limit: u64,
    },
    /// The clusters of a file or directory cannot be followed.
    #[error(
        "the volume is damaged: cluster {cluster} in the chain of {path} {fault}; check it with fsck.fat or chkdsk"
    )]
    Chain {
        /// The file or directory.
        path: String,
        /// The cluster.
        cluster: u32,
        /// What is wrong with it.
        fault: &'static str,
    },
}

/// An entry of a directory.
#[derive(Clone, Debug)]
pub struct DirEntry {
    /// The long name if there is one, or else the 8.3 name. It may hold any character: quote it when printing.
    pub name: String,
    /// The 8.3 name.
    pub short_name: String,
    /// Whether it is a directory.
    pub directory: bool,
    /// Whether programs that list files leave it out.
    pub hidden: bool,
    /// The size of a file in bytes.
    pub size: u32,
    first: u32,
}

/// An open volume.
#[derive(Debug)]
pub struct Volume<R> {
    reader: R,
    boot: Boot,
    /// One more than the number of the last cluster that both the FAT and the data area have.
    end: u32,
}

impl<R: ReadAt> Volume<R> {
    /// Reads the boot sector.
    pub fn open(reader: R) -> Result<Self, Error> {
        let mut sector = [0; BOOT_SECTOR];
        let read = reader.read_exact_at(&mut sector, 0);
        read.map_err(|source| Error::Read { offset: 0, source })?;
        let boot = Boot::parse(&sector).map_err(Error::NotFat)?;
        let table = boot.sectors_per_fat * boot.sector;
        let entries = match boot.kind {
            Kind::Fat12 => table * 2 / 3,
            Kind::Fat16 => table / 2,
            Kind::Fat32 => (table / 4).min(super::FAT32_CLUSTERS),
        };
        let end = entries.min(boot.clusters() + u64::from(FIRST_CLUSTER));
        let end = u32::try_from(end).map_err(|_| Error::NotFat("TotSec"))?;
        Ok(Volume { reader, boot, end })
    }

    /// Which kind of volume it is.
    pub fn kind(&self) -> Kind {
        self.boot.kind
    }

    /// Its serial number.
    pub fn id(&self) -> u32 {
        self.boot.id
    }

    /// Its label: that of the root directory, or else of the boot sector.
    pub fn label(&self) -> Result<String, Error> {
        let bytes = self.directory("", self.boot.root_cluster)?;
        let is_label = |entry: &&[u8]| {
            let attributes = entry[11] & ATTRIBUTE_MASK;
            attributes != ATTRIBUTE_LONG_NAME && attributes & ATTRIBUTE_LABEL != 0
        };
        let entry = live(&bytes).find(is_label);
        let label = entry.map_or(&self.boot.label[..], |entry| &entry[..11]);
        Ok(String::from_utf8_lossy(label).trim_end().to_owned())
    }

    /// The entries of the root directory.
    pub fn read_root(&self) -> Result<Vec<DirEntry>, Error> {
        self.read_dir("")
    }

    /// The entries of a directory, without `.` and `..`. Names are found in any case; `""` is the root.
    pub fn read_dir(&self, path: &str) -> Result<Vec<DirEntry>, Error> {
        let mut entries = self.entries("", self.boot.root_cluster)?;
        let mut walked = String::new();
        for part in path.split('/').filter(|part| !part.is_empty()) {
            let entry = find(entries, part, path)?;
            walked = format!("{walked}/{part}");
            if !entry.directory {
                return Err(Error::NotDirectory(walked));
            }
            entries = self.entries(&walked, entry.first)?;
        }
        Ok(entries)
    }

    /// The bytes of a file of at most `limit` bytes. Names are found in any case.
    pub fn read_file(&self, path: &str, limit: u64) -> Result<Vec<u8>, Error> {
        let (directory, name) = path.rsplit_once('/').unwrap_or(("", path));
        let entry = find(self.read_dir(directory)?, name, path)?;
        if entry.directory {
            return Err(Error::IsDirectory(path.to_owned()));
        }
        let size = u64::from(entry.size);
        if size > limit {
            let path = path.to_owned();
            return Err(Error::TooLarge { path, size, limit });
        }
        let mut bytes = Vec::new();
        let mut chain = self.chain(path, entry.first);
        while (bytes.len() as u64) < size {
            let Some(cluster) = chain.next()? else {
                return Err(chain.damage("is the last, though the file goes on"));
            };
            let left = size - bytes.len() as u64;
            self.append(&mut bytes, cluster, left.min(self.boot.cluster()))?;
        }
        Ok(bytes)
    }

    fn entries(&self, path: &str, first: u32) -> Result<Vec<DirEntry>, Error> {
        let mut entries = parse_entries(&self.directory(path, first)?);
        if self.boot.kind != Kind::Fat32 {
            // The upper half means something else there.
            entries.iter_mut().for_each(|entry| entry.first &= 0xffff);
        }
        Ok(entries)
    }

    /// The bytes of a directory.
    fn directory(&self, path: &str, first: u32) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if path.is_empty() && self.boot.kind != Kind::Fat32 {
            bytes.resize(self.boot.root_entries as usize * ENTRY, 0);
            self.read(&mut bytes, self.boot.root_offset())?;
            return Ok(bytes);
        }
        let mut chain = self.chain(path, first);
        while let Some(cluster) = chain.next()? {
            if bytes.len() >= MAX_ENTRIES * ENTRY {
                return Err(chain.damage("makes the directory larger than one can be"));
            }
            let start = bytes.len();
            self.append(&mut bytes, cluster, self.boot.cluster())?;
            if bytes[start..]
                .chunks_exact(ENTRY)
                .any(|entry| entry[0] == FREE)
            {
                break;
            }
        }
        Ok(bytes)
    }

    fn append(&self, bytes: &mut Vec<u8>, cluster: u32, len: u64) -> Result<(), Error> {
        let start = bytes.len();
        // A cluster has at most 128 sectors of 4096 bytes.
        bytes.resize(start + len as usize, 0);
        self.read(&mut bytes[start..], self.boot.cluster_offset(cluster))
    }

    fn read(&self, buf: &mut [u8], offset: u64) -> Result<(), Error> {
        let read = self.reader.read_exact_at(buf, offset);
        read.map_err(|source| Error::Read { offset, source })
    }

    fn chain<'a>(&'a self, path: &'a str, first: u32) -> Chain<'a, R> {
        Chain {
            volume: self,
            path,
            last: first,
            next: Some(first),
            seen: BTreeSet::new(),
        }
    }

    /// What the FAT holds for `cluster`: the next one, or a value with a meaning.
    fn table_entry(&self, cluster: u32) -> Result<Link, Error> {
        let n = u64::from(cluster);
        let (at, width) = match self.boot.kind {
            Kind::Fat12 => (n + n / 2, 2),
            Kind::Fat16 => (n * 2, 2),
            Kind::Fat32 => (n * 4, 4),
        };
        let mut bytes = [0; 4];
        self.read(&mut bytes[..width], self.boot.fat_offset(0) + at)?;
        let (value, mask) = match self.boot.kind {
            Kind::Fat12 if cluster % 2 == 1 => (u32::from(u16_le(&bytes, 0)) >> 4, 0xfff),
            Kind::Fat12 => (u32::from(u16_le(&bytes, 0)), 0xfff),
            Kind::Fat16 => (u32::from(u16_le(&bytes, 0)), 0xffff),
            Kind::Fat32 => (u32_le(&bytes, 0), 0x0fff_ffff),
        };
        Ok(match value & mask {
            0 => Link::Free,
            value if value >= mask - 7 => Link::End,
            value if value == mask - 8 => Link::Bad,
            value => Link::To(value),
        })
    }
}

/// What follows a cluster.
enum Link {
    To(u32),
    End,
    Free,
    Bad,
}

/// The clusters of a file or directory, one after the other.
struct Chain<'a, R> {
    volume: &'a Volume<R>,
    path: &'a str,
    last: u32,
    next: Option<u32>,
    seen: BTreeSet<u32>,
}

impl<R: ReadAt> Chain<'_, R> {
    fn next(&mut self) -> Result<Option<u32>, Error> {
        let Some(cluster) = self.next else {
            return Ok(None);
        };
        self.last = cluster;
        if !(FIRST_CLUSTER..self.volume.end).contains(&cluster) {
            return Err(self.damage("is not a cluster of the volume"));
        }
        if !self.seen.insert(cluster) {
            return Err(self.damage("comes a second time"));
        }
        self.next = match self.volume.table_entry(cluster)? {
            Link::To(next) => Some(next),
            Link::End => None,
            Link::Free => return Err(self.damage("is marked as free")),
            Link::Bad => return Err(self.damage("is marked as bad")),
        };
        Ok(Some(cluster))
    }

    fn damage(&self, fault: &'static str) -> Error {
        Error::Chain {
            path: match self.path {
                "" => "the root directory".to_owned(),
                path => path.to_owned(),
            },
            cluster: self.last,
            fault,
        }
    }
}

/// The entries up to the end of a directory that are not deleted.
fn live(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    let entries = bytes.chunks_exact(ENTRY);
    let entries = entries.take_while(|entry| entry[0] != FREE);
    entries.filter(|entry| entry[0] != DELETED)
}

fn parse_entries(bytes: &[u8]) -> Vec<DirEntry> {
    let mut entries = Vec::new();
    let mut long = LongName::default();
    for entry in live(bytes) {
        let attributes = entry[11] & ATTRIBUTE_MASK;
        if attributes == ATTRIBUTE_LONG_NAME {
            long.push(entry);
            continue;
        }
        let long_name = long.take(&entry[..11]);
        if attributes & ATTRIBUTE_LABEL != 0 || entry[0] == b'.' {
            continue;
        }
        let mut decoded = [0; ENTRY];
        decoded.copy_from_slice(entry);
        if decoded[0] == KANJI_E5 {
            decoded[0] = DELETED;
        }
        let short_name = name::decode_short(&decoded);
        entries.push(DirEntry {
            name: long_name.unwrap_or_else(|| short_name.clone()),
            short_name,
            directory: attributes & ATTRIBUTE_DIRECTORY != 0,
            hidden: attributes & ATTRIBUTE_HIDDEN != 0,
            size: u32_le(entry, 28),
            first: u32::from(u16_le(entry, 20)) << 16 | u32::from(u16_le(entry, 26)),
        });
    }
    entries
}

/// The entry called `name`, the last part of `path` so far.
fn find(entries: Vec<DirEntry>, name: &str, path: &str) -> Result<DirEntry, Error> {
    let wanted = name::fold(name);
    let is = |entry: &DirEntry| {
        name::fold(&entry.name) == wanted || name::fold(&entry.short_name) == wanted
    };
    let mut found = entries.into_iter().filter(is);
    match (found.next(), found.next()) {
        (Some(entry), None) => Ok(entry),
        (None, _) => Err(Error::NotFound(path.to_owned())),
        (Some(_), Some(_)) => Err(Error::Twice(path.to_owned())),
    }
}
