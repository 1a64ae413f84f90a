//! Writes the finished disk in every format asked for, and the digests of all results beside them.
//!
//! Every format is written from the raw disk's data in one pass. All results get their names together, when all
//! are whole: a build that fails on its way leaves those of the build before.

mod format;
pub(super) mod sums;

pub use format::Format;

use super::stages::Stages;
use crate::digest;
use crate::output::Unfinished;
use anyhow::{Context, bail};
use contract::partition::Arch;
use formats::disk::Disk;
use formats::gpt::SectorSize;
use rayon::prelude::*;
use rustix::fs::SeekFrom;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter};
use std::ops::Range;
use std::path::PathBuf;

/// What formats say of a disk beside its bytes.
pub(super) struct Identity {
    /// The disk's GUID.
    pub(super) guid: [u8; 16],
    /// The machine's name, where a format describes a whole machine.
    pub(super) name: String,
    /// When it was made, in seconds since 1970.
    pub(super) epoch: i64,
}

/// Refuses formats whose disks cannot have sectors of `sector_size`.
pub(super) fn check(formats: &BTreeSet<Format>, sector_size: SectorSize) -> anyhow::Result<()> {
    let fixed = formats.iter().find(|format| format.has_sectors_of_512());
    match (sector_size, fixed) {
        (SectorSize::B4096, Some(format)) => bail!(
            "a disk in the format {format} has sectors of 512 bytes: leave it out, or leave out --sector-size"
        ),
        _ => Ok(()),
    }
}

/// Writes the disk in `raw` in all of `formats`; gives the results, `medium` with them, with their SHA-256.
/// Each format is a stage.
pub(super) fn write(
    raw: Unfinished,
    medium: Option<Unfinished>,
    formats: &BTreeSet<Format>,
    identity: &Identity,
    stages: &mut Stages,
) -> anyhow::Result<BTreeMap<PathBuf, String>> {
    let extents = data_extents(raw.file()).context("finding the data of the disk image")?;
    let mut results: Vec<Unfinished> = medium.into_iter().collect();
    for format in formats.iter().filter(|format| format.is_converted()) {
        let out = Unfinished::create(&raw.path().with_extension(format.ending()))?;
        let writing = || format!("writing {}", out.path().display());
        let disk = Disk::with_extents(raw.file(), extents.clone()).with_context(writing)?;
        let buffer = BufWriter::with_capacity(1 << 20, out.file());
        format
            .write(&disk, identity, buffer)
            .with_context(writing)?;
        results.push(out);
        stages.done(format.ending());
    }
    if formats.contains(&Format::Raw) {
        results.push(raw);
    }
    // The disk works while the processors hash; what is synced by then needs no wait afterwards.
    let (digests, synced) = rayon::join(
        || {
            results
                .par_iter()
                .map(digest_of)
                .collect::<Result<Vec<_>, _>>()
        },
        || results.iter().try_for_each(Unfinished::sync),
    );
    let digests = digests?;
    synced?;
    let paths = results.iter().map(|out| out.path().to_owned());
    let digests: BTreeMap<PathBuf, String> = paths.zip(digests).collect();
    stages.done("digests");
    publish(results, &digests)?;
    stages.done("sync");
    Ok(digests)
}

/// Gives all results their names, with their digests beside them.
pub(super) fn publish(
    results: Vec<Unfinished>,
    digests: &BTreeMap<PathBuf, String>,
) -> anyhow::Result<()> {
    let sums = sums::Sums::open(digests.keys())?;
    sums.forget(digests)?;
    for out in results {
        out.finish()?;
    }
    sums.record(digests)
}

/// How the file of a disk in `format` is called.
pub(super) fn file_name(
    profile: &str,
    arch: Arch,
    sector_size: SectorSize,
    format: Format,
) -> String {
    // The two kinds do not boot in place of each other, and may well be in one folder.
    let kind = match sector_size {
        SectorSize::B512 => "",
        SectorSize::B4096 => "-4k",
    };
    format!("seedbed-{profile}-{arch}{kind}.{format}")
}

fn digest_of(out: &Unfinished) -> anyhow::Result<String> {
    let reading = || format!("reading {}", out.path().display());
    let file = out.file();
    let size = file.metadata().with_context(reading)?.len();
    let extents = data_extents(file).with_context(reading)?;
    digest::sha256_of_sparse(file, size, &extents).with_context(reading)
}

/// The ranges of a sparse file that hold data, ascending.
pub(super) fn data_extents(file: &File) -> io::Result<Vec<Range<u64>>> {
    let size = file.metadata()?.len();
    let seek = |whence| match rustix::fs::seek(file, whence) {
        Ok(offset) => Ok(Some(offset)),
        Err(rustix::io::Errno::NXIO) => Ok(None),
        Err(error) => Err(io::Error::from(error)),
    };
    let mut extents = Vec::new();
    let mut offset = 0;
    while let Some(start) = seek(SeekFrom::Data(offset))? {
        let end = seek(SeekFrom::Hole(start))?.unwrap_or(size);
        extents.push(start..end);
        offset = end;
    }
    Ok(extents)
}
