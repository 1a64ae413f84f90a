//! Whether an image is what its lock and its profile give: its disk is built once more, from the store alone, and
//! compared byte for byte.
//!
//! A seed on the image's SEED partition is taken from there, and so are the signatures of boot programs: they hold
//! for the programs that are built again, or those are others.

use crate::build::{self, Format, Request};
use crate::cache::Cache;
use crate::digest;
use crate::inspect::image::Image;
use crate::inspect::list::{self, Place};
use crate::inspect::manifest;
use crate::inspect::secure_boot;
use crate::lock;
use crate::output::Unfinished;
use crate::profile;
use crate::store::Store;
use anyhow::{Context, bail};
use contract::manifest::Manifest;
use contract::paths;
use formats::read_at::ReadAt;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

/// How much is compared at a time, in bytes.
const CHUNK: usize = 1 << 20;

/// What an image is built again from.
#[derive(Clone, Debug)]
pub struct Sources<'a> {
    /// The profile's folder, with its lock.
    pub profile: &'a Path,
    /// Where the lock's blobs are.
    pub store: &'a Store,
    /// The firstboot program.
    pub firstboot: &'a Path,
}

/// Builds the image at `path` again, in a temporary folder, and compares.
///
/// # Errors
/// The sources are not those of the image, the build fails, or a byte differs: the error names the partition.
pub fn rebuild(path: &Path, sources: &Sources<'_>) -> anyhow::Result<()> {
    let image = Image::open(path)?;
    let manifest = manifest(&image)?;
    let profile = profile::read(sources.profile)?;
    let lock = lock::read(&profile)?;
    same_sources(path, &manifest, &lock::digest(&lock), sources)?;
    let scratch = tempfile::Builder::new()
        .prefix("seedbed-rebuild-")
        .tempdir()
        .context("creating a temporary folder (TMPDIR says where)")?;
    let seed = extract_seed(&image, scratch.path())?;
    let secure_boot = secure_boot::recorded(&image)?;
    let out = scratch.path().join("out");
    let built = build::build(&Request {
        profile: &profile,
        lock: &lock,
        arch: manifest.arch,
        store: sources.store,
        remote: None,
        cache: &Cache::none(),
        firstboot: sources.firstboot,
        seed: seed.as_deref(),
        secure_boot: secure_boot.as_ref(),
        formats: BTreeSet::from([Format::Raw]),
        sector_size: image.sector_size(),
        out: &out,
    })
    .context("building it again")?;
    let again = built
        .report
        .outputs
        .keys()
        .next()
        .context("the build made no image")?;
    let again = File::open(again).with_context(|| format!("reading {}", again.display()))?;
    match first_difference(image.disk(), &again)? {
        None => Ok(()),
        Some(at) => {
            let part = image.partition_at(at).map(|name| format!(", in {name}"));
            bail!("byte {at} of the disk differs{}", part.unwrap_or_default())
        }
    }
}

/// Whether profile, lock and firstboot are those that the image names.
fn same_sources(
    path: &Path,
    manifest: &Manifest,
    lock: &str,
    sources: &Sources<'_>,
) -> anyhow::Result<()> {
    if manifest.lock != lock {
        bail!(
            "{} was baked from lock {}, and that of {} is {lock}: take the lock of that time",
            path.display(),
            manifest.lock,
            sources.profile.display()
        );
    }
    let reading = || format!("reading {}", sources.firstboot.display());
    let found = File::open(sources.firstboot)
        .and_then(digest::sha256_of)
        .with_context(reading)?;
    let expected = manifest.programs.get(paths::FIRSTBOOT);
    if expected != Some(&found.0) {
        bail!(
            "{} holds another firstboot than {}: give the one of that time by --firstboot",
            path.display(),
            sources.firstboot.display()
        );
    }
    Ok(())
}

/// Writes the seed that is on the image's SEED partition, if there is one, to a private file.
fn extract_seed(image: &Image, folder: &Path) -> anyhow::Result<Option<PathBuf>> {
    let partition = "SEED".to_owned();
    let root = Place {
        partition: partition.clone(),
        path: "/".to_owned(),
    };
    let is_seed = |item: &list::Item| item.name.eq_ignore_ascii_case(paths::SEED_FILE);
    if !list::list(image, &root)?.iter().any(is_seed) {
        return Ok(None);
    }
    let to = folder.join(paths::SEED_FILE);
    let unfinished = Unfinished::create_private(&to)?;
    let place = Place {
        partition,
        path: paths::SEED_FILE.to_owned(),
    };
    list::cat(image, &place, &mut unfinished.file())?;
    unfinished.finish()?;
    Ok(Some(to))
}

/// The first byte in which two disks differ; the end of the shorter one counts.
fn first_difference(a: &dyn ReadAt, b: &dyn ReadAt) -> anyhow::Result<Option<u64>> {
    let len_a = a.size().context("reading the image")?;
    let len_b = b.size().context("reading the new image")?;
    let (mut of_a, mut of_b) = (vec![0; CHUNK], vec![0; CHUNK]);
    let end = len_a.min(len_b);
    let mut offset = 0;
    while offset < end {
        let left = usize::try_from(end - offset).unwrap_or(CHUNK).min(CHUNK);
        a.read_exact_at(&mut of_a[..left], offset)
            .context("reading the image")?;
        b.read_exact_at(&mut of_b[..left], offset)
            .context("reading the new image")?;
        if of_a[..left] != of_b[..left] {
            let mut pairs = of_a.iter().zip(&of_b);
            let at = pairs.position(|(x, y)| x != y).unwrap_or_default();
            return Ok(Some(offset + at as u64));
        }
        offset += left as u64;
    }
    Ok((len_a != len_b).then_some(end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    #[test]
    fn the_first_difference_is_told() {
        let disk = |bytes: &[u8]| {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(bytes, 0).unwrap();
            file
        };
        let check = |a: &[u8], b: &[u8], expected| {
            let found = first_difference(&disk(a), &disk(b)).unwrap();
            assert_eq!(found, expected);
        };
        let long = vec![7; CHUNK + 5];
        let mut other = long.clone();
        other[CHUNK + 2] = 8;
        check(&long, &long, None);
        check(&long, &other, Some(CHUNK as u64 + 2));
        check(&long, &long[..9], Some(9));
        check(b"", b"", None);
    }
}
