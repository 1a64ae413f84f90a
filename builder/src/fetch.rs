//! Fills the store with everything a lock names. Resumable and parallel; a finished fetch asks nothing.

use crate::debian::solve::LockedPackage;
use crate::lock::{ArchLock, Lock, LockedFile, PulledImage};
use crate::progress::{Mode, Progress};
use crate::source::Sources;
use crate::store::{Store, WrongBytes};
use crate::transport::{Transport, shown};
use anyhow::{Context, anyhow, bail};
use contract::partition::Arch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many downloads run at once.
const PARALLEL: usize = 6;

/// One blob to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// What it is, for messages.
    pub name: String,
    /// The source's name.
    pub source: String,
    /// Path below the source's URL.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

impl Item {
    /// The same without where it is.
    pub fn named(&self) -> Named {
        Named {
            name: self.name.clone(),
            size: self.size,
            sha256: self.sha256.clone(),
        }
    }
}

/// What a fetch did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blobs that the lock names.
    pub items: usize,
    /// Blobs that had to be fetched.
    pub fetched: usize,
    /// Bytes that had to be fetched.
    pub bytes: u64,
}

/// Every blob that `lock` names for `arch`, each once, in the order of their digests. Images pulled from
/// registries and charts are not among them: see [`crate::images::fetch`].
pub fn plan(lock: &Lock, arch: &[Arch]) -> Vec<Item> {
    let chosen = lock.arch.iter().filter(|(key, _)| arch.contains(key));
    let mut items = BTreeMap::new();
    for item in chosen.flat_map(|(_, part)| items_of(part)) {
        items.entry(item.sha256.clone()).or_insert(item);
    }
    items.into_values().collect()
}

fn items_of(part: &ArchLock) -> Vec<Item> {
    let composed = || {
        part.images
            .iter()
            .filter_map(|image| image.composed.as_ref())
    };
    let packages = part
        .packages
        .iter()
        .chain(composed().flat_map(|image| &image.packages));
    let files = part
        .files
        .iter()
        .chain(composed().flat_map(|image| &image.files));
    let file = |file: &LockedFile| Item {
        name: file
            .path
            .rsplit('/')
            .next()
            .unwrap_or(&file.path)
            .to_owned(),
        source: file.source.clone(),
        path: file.path.clone(),
        size: file.size,
        sha256: file.sha256.clone(),
    };
    packages.map(package).chain(files.map(file)).collect()
}

/// The blob of a package.
pub fn package(package: &LockedPackage) -> Item {
    Item {
        name: format!("{} {}", package.name, package.version),
        source: package.archive.clone(),
        path: package.path.clone(),
        size: package.size,
        sha256: package.sha256.clone(),
    }
}

/// Everything that `lock` names for `arch`, images that are not composed and charts included: name, size and digest, each
/// digest once, in the order of digests.
pub fn everything(lock: &Lock, arch: &[Arch]) -> Vec<Named> {
    let mut all = BTreeMap::new();
    for item in plan(lock, arch) {
        all.insert(item.sha256, (item.name, item.size));
    }
    let chosen = lock.arch.iter().filter(|(key, _)| arch.contains(key));
    for (_, part) in chosen {
        for chart in &part.charts {
            let named = all.entry(chart.sha256.clone());
            named.or_insert_with(|| (format!("chart {}", chart.name), chart.size));
        }
        for image in &part.images {
            for blob in image.pulled.iter().flat_map(PulledImage::all_blobs) {
                let named = all.entry(blob.sha256.clone());
                named.or_insert_with(|| (format!("blob of {}", image.name), blob.size));
            }
        }
    }
    let named = |(sha256, (name, size))| Named { name, size, sha256 };
    all.into_iter().map(named).collect()
}

/// A blob that a lock names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Named {
    /// What it is, for messages.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    #[serde(deserialize_with = "crate::digest::deserialize")]
    pub sha256: String,
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (sha256 {})", self.name, self.sha256)
    }
}

/// Whether the store has all of `items`, without asking anybody.
///
/// # Errors
/// It names every one that is missing.
pub fn offline(items: &[Named], store: &Store) -> anyhow::Result<()> {
    let missing = items.iter().filter(|i| !store.has(&i.sha256, i.size));
    let missing: Vec<String> = missing.map(Named::to_string).collect();
    match missing.len() {
        0 => Ok(()),
        n => bail!(
            "{n} of {} blobs are not in the store, and --offline forbids to fetch them:\n  {}",
            items.len(),
            missing.join("\n  ")
        ),
    }
}

/// Fetches what the store lacks of `items`. Goes on after a failure, and reports all of them at the end.
pub fn fetch(
    items: &[Item],
    sources: &Sources,
    transport: &Transport,
    store: &Store,
    mode: Mode,
) -> anyhow::Result<Summary> {
    let missing: Vec<&Item> = items
        .iter()
        .filter(|item| !store.has(&item.sha256, item.size))
        .collect();
    let bytes = missing.iter().map(|item| item.size).sum();
    let progress = Progress::new(mode, "fetch", missing.len(), bytes);
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..PARALLEL.min(missing.len()) {
            scope.spawn(|| {
                while let Some(item) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = fetch_one(item, sources, transport, store, &progress) {
                        let mut failures = failures
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner());
                        failures.push(format!("{}: {error:#}", item.name));
                    }
                }
            });
        }
    });
    progress.close();
    let mut failures = failures
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    failures.sort();
    match failures.as_slice() {
        [] => Ok(Summary {
            items: items.len(),
            fetched: missing.len(),
            bytes,
        }),
        _ => Err(anyhow!("{}", failures.join("\n"))
            .context(format!("fetching {} blobs", failures.len()))),
    }
}

fn fetch_one(
    item: &Item,
    sources: &Sources,
    transport: &Transport,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<()> {
    sources.try_each(&item.source, &item.path, |url| {
        match fetch_from(url, item, transport, store, progress) {
            // What was there came from another run or another mirror, and need not have been good.
            Err((error, true)) if error.is::<WrongBytes>() => {
                fetch_from(url, item, transport, store, progress).map_err(|(error, _)| error)
            }
            result => result.map_err(|(error, _)| error),
        }
    })
}

/// Brings one blob into the store; an error comes with whether some of its bytes had been there before.
fn fetch_from(
    url: &str,
    item: &Item,
    transport: &Transport,
    store: &Store,
    progress: &Progress,
) -> Result<(), (anyhow::Error, bool)> {
    let fresh = |error| (error, false);
    let mut partial = store.partial(&item.sha256).map_err(fresh)?;
    if store.has(&item.sha256, item.size) {
        // Another fetch finished it while this one waited for the lock.
        return partial.discard().map_err(fresh);
    }
    if partial.len > item.size {
        let again = partial.restart().context("starting the download again");
        again.map_err(fresh)?;
    }
    let offset = partial.len;
    let resumed = |error| (error, offset > 0);
    let mut seen = offset;
    progress.advance(seen);
    if offset < item.size || item.size == 0 {
        let out = (&mut partial.file, item.size);
        let download = transport.download(url, out, offset, &mut |now| {
            progress.advance(now.saturating_sub(seen));
            seen = now;
        });
        download.map_err(resumed)?;
    }
    partial.commit(item.size, &shown(url)).map_err(resumed)?;
    progress.finished(&item.name, item.size);
    Ok(())
}
