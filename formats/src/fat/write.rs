//! Writes a tree as a FAT16 or FAT32 volume.
//!
//! [`plan`] decides where everything goes and whether it fits; [`Plan::write`] then hands out the bytes in
//! ascending order, and none of the zeros between them: the target is a fresh sparse file. Every file and
//! directory is one run of clusters, in the order of the tree. Owners and modes have no place in FAT and are
//! left out; all times are the one that [`Format`] gives.

use super::boot::{BACKUP_SECTOR, BOOT_SECTOR, Boot, FS_INFO_SECTOR};
use super::directory::{directories, directory, directory_size};
use super::time::Stamp;
use super::{FAT12_CLUSTERS, FAT16_CLUSTERS, FAT32_CLUSTERS, FIRST_CLUSTER, Kind};
use crate::bytes::put;
use crate::gpt::SectorSize;
use crate::tree::{self, Content, Tree};
use std::collections::BTreeMap;
use std::io;

/// Entries of FAT16's root directory.
pub(super) const ROOT_ENTRIES: u64 = 512;
/// How far from the limits between the kinds a volume has to stay: some readers are off by a few clusters.
const MARGIN: u64 = 16;
static ZEROS: [u8; 1 << 16] = [0; 1 << 16];

/// What the volume is to be.
#[derive(Clone, Debug)]
pub struct Format {
    /// FAT16 or FAT32.
    pub kind: Kind,
    /// Its size in bytes, a multiple of the sector size.
    pub size: u64,
    /// The disk's logical sectors.
    pub sector_size: SectorSize,
    /// Its label: at most 11 upper-case letters, digits, `-` and `_`.
    pub label: String,
    /// Its serial number.
    pub id: u32,
    /// The time of every entry, seconds since 1970 (UTC); FAT's range is 1980 to 2107, others are clamped.
    pub time: i64,
}

/// Why a tree cannot be written as such a volume.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// FAT12 is only read.
    #[error("a FAT12 volume cannot be written: choose FAT16 or FAT32")]
    Fat12,
    /// A size that the kind of volume cannot have.
    #[error(
        "a volume of {size} bytes would have {clusters} clusters, but {kind:?} has {least} to {most}"
    )]
    Size {
        /// The size wanted.
        size: u64,
        /// The kind wanted.
        kind: Kind,
        /// The clusters that this gives.
        clusters: u64,
        /// The least that are possible.
        least: u64,
        /// The most.
        most: u64,
    },
    /// A label that a volume cannot have.
    #[error("the volume label {0:?} is not of 1 to 11 upper-case letters, digits, - or _")]
    Label(String),
    /// A name that FAT cannot hold.
    #[error("{path:?} has no place in a FAT volume: {why}")]
    Name {
        /// The path whose last name it is.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Two names that differ only in case.
    #[error(
        "{0:?} and {1:?} are the same name in a FAT volume, which does not tell upper from lower case"
    )]
    SameName(String, String),
    /// Neither a file nor a directory.
    #[error("{0:?} has no place in a FAT volume, which holds files and directories only")]
    NodeKind(String),
    /// A file of 4 GiB or more.
    #[error("{path:?} of {size} bytes is larger than a FAT volume can hold, 4 GiB")]
    FileTooLarge {
        /// The file.
        path: String,
        /// Its size.
        size: u64,
    },
    /// Not enough clusters.
    #[error("{path:?} of {size} bytes does not fit in the FAT volume: {free} bytes are free")]
    NoSpace {
        /// The file or directory.
        path: String,
        /// Its size.
        size: u64,
        /// Bytes that are free for it.
        free: u64,
    },
    /// Too many entries in one directory.
    #[error(
        "the directory /{path} would have {entries} entries, more than {most}: long names take several"
    )]
    DirectoryFull {
        /// The directory.
        path: String,
        /// The entries it needs.
        entries: usize,
        /// The most it can have.
        most: usize,
    },
    /// The bytes of a file cannot be read.
    #[error("reading the bytes of {path} failed")]
    Read {
        /// The file.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The volume cannot be written.
    #[error("writing the FAT volume failed")]
    Write(#[source] io::Error),
}

/// A volume with the place of every byte decided, ready to be written.
#[derive(Debug)]
pub struct Plan {
    boot: Boot,
    /// The clusters of each file and directory, in ascending order and without gaps.
    runs: Vec<Run>,
    pieces: Vec<Piece>,
}

/// Clusters in a row; none of an empty file, whose `first` is 0.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub(super) first: u32,
    count: u32,
}

/// Bytes at an offset of the volume.
#[derive(Debug)]
struct Piece {
    offset: u64,
    path: String,
    content: Content,
}

/// Decides where everything in `tree` goes.
pub fn plan(format: &Format, tree: &Tree) -> Result<Plan, Error> {
    let boot = geometry(format)?;
    let stamp = Stamp::at(format.time);
    let directories = directories(tree)?;
    let mut free = FIRST_CLUSTER..last_cluster(&boot);
    let mut runs: BTreeMap<String, Run> = BTreeMap::new();
    let mut order = Vec::new();
    for (path, node) in tree.iter() {
        let size = match &node.kind {
            tree::Kind::File(content) => content.len(),
            _ => directory_size(&boot, &path, &directories[&path])?,
        };
        if u32::try_from(size).is_err() {
            return Err(Error::FileTooLarge { path, size });
        }
        let run = match path.is_empty() && boot.kind != Kind::Fat32 {
            true => Run::default(),
            false => allocate(&boot, &mut free, &path, size)?,
        };
        order.push(run);
        runs.insert(path, run);
    }
    let mut pieces = Vec::new();
    for (path, node) in tree.iter() {
        let content = match &node.kind {
            tree::Kind::File(content) => content.clone(),
            _ => directory(&boot, tree, &path, &directories[&path], &runs, stamp).into(),
        };
        let offset = match runs[&path].first {
            0 => boot.root_offset(),
            first => boot.cluster_offset(first),
        };
        pieces.push(Piece {
            offset,
            path,
            content,
        });
    }
    Ok(Plan {
        boot,
        runs: order,
        pieces,
    })
}

/// Sizes of all parts of the volume. Clusters are aligned to their own size within it.
fn geometry(format: &Format) -> Result<Boot, Error> {
    let sector = format.sector_size.bytes();
    let (least, limit, entry, root_entries, smallest) = match format.kind {
        Kind::Fat12 => return Err(Error::Fat12),
        Kind::Fat16 => (FAT12_CLUSTERS, FAT16_CLUSTERS, 2, ROOT_ENTRIES, 2048),
        Kind::Fat32 => (FAT16_CLUSTERS, FAT32_CLUSTERS, 4, 0, 4096),
    };
    let (least, most) = (least + MARGIN, limit - MARGIN);
    let mut cluster = sector.max(smallest);
    // As other formatters have it: FAT32 of up to 8 GiB has clusters of 4 KiB, and then they grow with it.
    let wanted = match format.kind {
        Kind::Fat32 => (8 << 30) / 4096,
        _ => most,
    };
    while format.size / cluster > wanted && cluster < 32768 {
        cluster *= 2;
    }
    let per_cluster = cluster / sector;
    let sectors = format.size / sector;
    // Entries for all of the volume, though its own tables need none.
    let sectors_per_fat = ((sectors / per_cluster + 2) * entry).div_ceil(sector);
    let mut boot = Boot {
        kind: format.kind,
        sector,
        sectors_per_cluster: per_cluster,
        reserved: if root_entries == 0 { 32 } else { 1 },
        fats: 2,
        root_entries,
        sectors,
        sectors_per_fat,
        root_cluster: if root_entries == 0 { FIRST_CLUSTER } else { 0 },
        id: format.id,
        label: label(&format.label)?,
    };
    let data = boot.data_offset() / sector;
    boot.reserved += data.next_multiple_of(per_cluster) - data;
    let clusters = boot.clusters();
    if !(least..=most).contains(&clusters) || u32::try_from(sectors).is_err() {
        return Err(Error::Size {
            size: format.size,
            kind: format.kind,
            clusters,
            least,
            most,
        });
    }
    Ok(boot)
}

fn label(text: &str) -> Result<[u8; 11], Error> {
    let possible = |c: u8| c.is_ascii_uppercase() || c.is_ascii_digit() || b"-_".contains(&c);
    if text.is_empty() || text.len() > 11 || !text.bytes().all(possible) {
        return Err(Error::Label(text.to_owned()));
    }
    let mut label = [b' '; 11];
    put(&mut label, 0, text.as_bytes());
    Ok(label)
}

/// One more than the number of the last cluster.
fn last_cluster(boot: &Boot) -> u32 {
    let clusters =
        u32::try_from(boot.clusters()).expect("geometry() limits the clusters to 28 bits");
    FIRST_CLUSTER + clusters
}

fn allocate(
    boot: &Boot,
    free: &mut std::ops::Range<u32>,
    path: &str,
    size: u64,
) -> Result<Run, Error> {
    let wanted = size.div_ceil(boot.cluster());
    if wanted == 0 {
        return Ok(Run::default());
    }
    let left = free.end - free.start;
    let count = u32::try_from(wanted).ok().filter(|count| *count <= left);
    let count = count.ok_or_else(|| Error::NoSpace {
        path: path.to_owned(),
        size,
        free: u64::from(left) * boot.cluster(),
    })?;
    let first = free.start;
    free.start += count;
    Ok(Run { first, count })
}

impl Plan {
    /// Bytes of clusters that the volume has.
    pub fn capacity(&self) -> u64 {
        self.boot.clusters() * self.boot.cluster()
    }

    /// Bytes of clusters that are taken.
    pub fn used(&self) -> u64 {
        self.used_clusters() * self.boot.cluster()
    }

    fn used_clusters(&self) -> u64 {
        self.runs.iter().map(|run| u64::from(run.count)).sum()
    }

    /// Hands `out` the volume's bytes as (offset, bytes), in ascending order. Whatever is not handed out is
    /// zero: stretches of zeros in files, too.
    pub fn write(&self, out: &mut impl FnMut(u64, &[u8]) -> io::Result<()>) -> Result<(), Error> {
        let boot = self.boot.encode();
        let sector = self.boot.sector;
        out(0, &boot).map_err(Error::Write)?;
        if self.boot.kind == Kind::Fat32 {
            let info = self.fs_info();
            for (offset, bytes) in [
                (FS_INFO_SECTOR * sector, &info),
                (BACKUP_SECTOR * sector, &boot),
                ((BACKUP_SECTOR + FS_INFO_SECTOR) * sector, &info),
            ] {
                out(offset, bytes).map_err(Error::Write)?;
            }
        }
        let table = self.table();
        for n in 0..self.boot.fats {
            out(self.boot.fat_offset(n), &table).map_err(Error::Write)?;
        }
        for piece in &self.pieces {
            let unreadable = |source| Error::Read {
                path: piece.path.clone(),
                source,
            };
            piece.content.read_chunks(0, unreadable, |at, chunk| {
                if ZEROS.starts_with(chunk) {
                    return Ok(());
                }
                out(piece.offset + at, chunk).map_err(Error::Write)
            })?;
        }
        Ok(())
    }

    /// The used part of a FAT.
    fn table(&self) -> Vec<u8> {
        // The first two entries: the media byte, and that the volume was unmounted cleanly.
        let mut entries = vec![0x0fff_fff8, 0x0fff_ffff];
        for run in &self.runs {
            let last = run.first + run.count;
            entries.extend((run.first + 1..last).chain((run.count > 0).then_some(0x0fff_ffff)));
        }
        let encode = |entry: u32| entry.to_le_bytes();
        let width = if self.boot.kind == Kind::Fat32 { 4 } else { 2 };
        let bytes = entries.into_iter().map(encode);
        bytes
            .flat_map(|bytes| bytes.into_iter().take(width))
            .collect()
    }

    /// FAT32's hint where free clusters are.
    fn fs_info(&self) -> Vec<u8> {
        let mut info = vec![0; BOOT_SECTOR];
        let used = self.used_clusters();
        let free = (self.boot.clusters() - used) as u32;
        put(&mut info, 0, b"RRaA");
        put(&mut info, 484, b"rrAa");
        put(&mut info, 488, &free.to_le_bytes());
        put(&mut info, 492, &(FIRST_CLUSTER + used as u32).to_le_bytes());
        put(&mut info, 510, &[0x55, 0xaa]);
        info
    }
}
