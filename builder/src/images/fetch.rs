//! Brings the locked images into the store: all blobs that are missing, each once, several at a time from each
//! registry. The order in which they come changes nothing.

use crate::images::local;
use crate::images::pull;
use crate::images::reference::Reference;
use crate::images::registries::Registries;
use crate::lock::{LockedBlob, LockedChart, LockedImage, PulledImage};
use crate::progress::Progress;
use crate::store::Store;
use anyhow::{Context, anyhow, bail};
use contract::partition::Arch;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many blobs come from one registry at once.
const PARALLEL: usize = 6;

/// An image that is not composed, for one architecture.
#[derive(Clone, Copy, Debug)]
pub struct Pulled<'a> {
    /// The architecture.
    pub arch: Arch,
    /// Its entry in the lock.
    pub image: &'a LockedImage,
    /// What the lock says of its manifest and blobs.
    pub pulled: &'a PulledImage,
}

impl Pulled<'_> {
    /// Bytes of all its blobs.
    pub fn bytes(&self) -> u64 {
        self.pulled.all_blobs().map(|blob| blob.size).sum()
    }

    fn is_whole(&self, store: &Store) -> bool {
        self.pulled
            .all_blobs()
            .all(|blob| store.has(&blob.sha256, blob.size))
    }
}

/// One blob to have.
struct Item<'a> {
    /// The image that it is fetched for, and its place in the list.
    image: usize,
    name: Reference,
    blob: &'a LockedBlob,
    document: bool,
}

/// Fetches what the store lacks. Goes on after a failure, and reports all of them at the end. Local images are
/// read from where the lock says, below `profile`.
pub fn fetch(
    images: &[Pulled<'_>],
    profile: &Path,
    registries: &Registries,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut failures = Vec::new();
    let mut seen = BTreeSet::new();
    let mut hosts: BTreeMap<String, Vec<Item<'_>>> = BTreeMap::new();
    let mut left: Vec<AtomicUsize> = Vec::new();
    for (at, wanted) in images.iter().enumerate() {
        left.push(AtomicUsize::new(0));
        let (name, pulled) = (&wanted.image.name, wanted.pulled);
        if wanted.is_whole(store) {
            progress.finished(name, wanted.bytes());
            continue;
        }
        if pulled.layout.is_some() || pulled.archive.is_some() {
            match take_again(wanted, profile, store) {
                Ok(()) => progress.finished(name, wanted.bytes()),
                Err(error) => failures.push(format!("{name}: {error:#}")),
            }
            continue;
        }
        let reference = Reference::parse(pulled.name.as_ref().unwrap_or(name))?;
        let documents = usize::from(pulled.index.is_some()) + 1;
        let items: Vec<_> = pulled
            .all_blobs()
            .enumerate()
            .filter(|(_, blob)| !store.has(&blob.sha256, blob.size))
            .filter(|(_, blob)| seen.insert(blob.sha256.clone()))
            .map(|(i, blob)| Item {
                image: at,
                name: reference.clone(),
                blob,
                document: i < documents,
            })
            .collect();
        match items.len() {
            0 => progress.finished(name, wanted.bytes()),
            n => left[at].store(n, Ordering::Relaxed),
        }
        hosts.entry(reference.registry).or_default().extend(items);
    }
    let failed = Mutex::new(failures);
    std::thread::scope(|scope| {
        for items in hosts.values() {
            let next = std::sync::Arc::new(AtomicUsize::new(0));
            for _ in 0..PARALLEL.min(items.len()) {
                let (next, left, failed) = (next.clone(), &left, &failed);
                scope.spawn(move || {
                    while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let wanted = &images[item.image];
                        match fetch_one(item, registries, store, progress) {
                            Ok(()) if left[item.image].fetch_sub(1, Ordering::Relaxed) == 1 => {
                                progress.finished(&wanted.image.name, wanted.bytes());
                            }
                            Ok(()) => {}
                            Err(error) => {
                                let mut failed = failed
                                    .lock()
                                    .unwrap_or_else(|poisoned| poisoned.into_inner());
                                failed.push(format!("{}: {error:#}", wanted.image.name));
                            }
                        }
                    }
                });
            }
        }
    });
    let mut failures = failed
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    failures.sort();
    match failures.as_slice() {
        [] => Ok(()),
        _ => Err(anyhow!("{}", failures.join("\n"))
            .context(format!("fetching {} blobs of images", failures.len()))),
    }
}

fn fetch_one(
    item: &Item<'_>,
    registries: &Registries,
    store: &Store,
    progress: &Progress,
) -> anyhow::Result<()> {
    let blob = item.blob;
    let what = format!("blob {} of {}", blob.sha256, item.name);
    registries.try_each(&item.name, |registry, there| {
        let repository = &there.repository;
        if !item.document {
            return registry.fetch_blob(repository, blob, store, &what, Some(progress));
        }
        let digest = format!("sha256:{}", blob.sha256);
        let document = registry.manifest(repository, &digest)?;
        let document = document
            .with_context(|| format!("registry {} no longer has {what} (404)", registry.host()))?;
        progress.advance(blob.size);
        pull::save(store, &document, &what)
    })
}

/// Brings a chart of a registry into the store, by its digest.
pub fn chart(chart: &LockedChart, registries: &Registries, store: &Store) -> anyhow::Result<()> {
    let (name, blob) = (&chart.name, chart.blob());
    if store.has(&blob.sha256, blob.size) {
        return Ok(());
    }
    let reference = Reference::parse(name)?;
    let fetched = registries.try_each(&reference, |registry, there| {
        registry.fetch_blob(&there.repository, &blob, store, name, None)
    });
    fetched.with_context(|| format!("fetching chart {name}"))
}

/// Takes a local image into the store once more, as for a store that is new.
fn take_again(wanted: &Pulled<'_>, profile: &Path, store: &Store) -> anyhow::Result<()> {
    let reference = Reference::parse(&wanted.image.name)?;
    let arch = wanted.arch;
    let (taken, path) = match (&wanted.pulled.layout, &wanted.pulled.archive) {
        (Some(path), _) => (
            local::from_layout(&profile.join(path), &reference, arch, store)?,
            path,
        ),
        (None, Some(path)) => (
            local::from_archive(&profile.join(path), &reference, arch, store)?,
            path,
        ),
        (None, None) => bail!("the lock does not say where it is"),
    };
    if taken.manifest != wanted.pulled.manifest {
        bail!(
            "{path} is not what was locked: expected manifest sha256 {}, got {}; run `seedbed lock`",
            wanted.pulled.manifest.sha256,
            taken.manifest.sha256
        );
    }
    Ok(())
}
