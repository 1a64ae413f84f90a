//! What a build takes from a remote store: the one thing that it may ask over a network, and only where it is told to.

use super::outputs::{data_extents, file_name, publish};
use super::stamp::shared_key;
use super::{Built, Request, store};
use crate::cache::Key;
use crate::fetch::{Item, Named};
use crate::lock::{ArchLock, PulledImage};
use crate::output::Unfinished;
use crate::remote::results::{Found, Output};
use crate::remote::{RemoteStore, Sharing};
use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Brings the blobs that are missing of `items` and of the images, if these are still to be read. What does not come is
/// named when it is opened.
pub(super) fn take_blobs(
    remote: &RemoteStore,
    request: &Request<'_>,
    items: &[Item],
    lock_digest: &str,
) {
    let mut wanted: Vec<Named> = items.iter().map(Item::named).collect();
    let kept = request
        .cache
        .has(&store::key(request.cache, lock_digest, request.arch));
    if let Some(locked) = request.lock.arch.get(&request.arch).filter(|_| !kept) {
        wanted.extend(blobs_of_images(locked));
    }
    wanted.sort_by(|a, b| a.sha256.cmp(&b.sha256));
    wanted.dedup_by(|a, b| a.sha256 == b.sha256);
    let taken = remote.take(&wanted, request.store);
    if taken.blobs < taken.missing {
        tracing::warn!("{}", taken.told(remote.place()));
    }
}

fn blobs_of_images(locked: &ArchLock) -> impl Iterator<Item = Named> {
    let pulled = locked
        .images
        .iter()
        .filter_map(|image| Some((&image.name, image.pulled.as_ref()?)));
    pulled.flat_map(|(name, pulled): (&String, &PulledImage)| {
        pulled.all_blobs().map(move |blob| Named {
            name: format!("blob of {name}"),
            size: blob.size,
            sha256: blob.sha256.clone(),
        })
    })
}

/// What is told of shared outputs: the build, its outputs by name alone, and their sizes.
#[derive(Serialize, Deserialize)]
struct Told {
    built: Built,
    /// Bytes of each output.
    sizes: BTreeMap<PathBuf, u64>,
}

/// Outputs that hosts share.
pub(super) struct Outputs<'a> {
    remote: &'a RemoteStore,
    key: Key,
    lock_digest: &'a str,
    scratch: &'a Path,
}

impl<'a> Outputs<'a> {
    /// Those of `request`, if it shares any: a seed holds a secret, and who keeps no results shares none.
    pub(super) fn of(
        request: &Request<'a>,
        lock_digest: &'a str,
        scratch: &'a Path,
    ) -> anyhow::Result<Option<Self>> {
        let shares = |remote: &&RemoteStore| remote.results() != Sharing::Off;
        let Some(remote) = request.remote.filter(shares) else {
            return Ok(None);
        };
        if request.seed.is_some() || !request.cache.keeps() {
            return Ok(None);
        }
        Ok(Some(Outputs {
            remote,
            key: shared_key(request, lock_digest)?,
            lock_digest,
            scratch,
        }))
    }

    /// The build, if somebody shared it and it is whole: all its outputs are in their place then.
    pub(super) fn take(&self, request: &Request<'_>) -> Option<Built> {
        let found = self.remote.find(&self.key, self.scratch)?;
        match self.place(request, &found) {
            Ok(built) => Some(built),
            Err(error) => {
                self.remote.refuse_result(&self.key, &error);
                None
            }
        }
    }

    fn place(&self, request: &Request<'_>, found: &Found) -> anyhow::Result<Built> {
        let told = serde_json::from_slice(&found.told);
        let Told { mut built, sizes } = told.context("reading what tells of it")?;
        self.check(request, &built)?;
        let mut results = Vec::new();
        let mut digests = BTreeMap::new();
        for (name, sha256) in &built.report.outputs {
            let path = request.out.join(name);
            let out = Unfinished::create(&path)?;
            let size = sizes.get(name).copied();
            let shown = name.display().to_string();
            let size = size.with_context(|| format!("the size of {shown} is not in it"))?;
            let wanted = (shown.as_str(), size, sha256.as_str());
            self.remote.take_output(found, wanted, &out, self.scratch)?;
            digests.insert(path, sha256.clone());
            results.push(out);
        }
        publish(results, &digests)?;
        built.report.outputs = digests;
        built.report.taken_from = Some(self.remote.place().to_string());
        Ok(built)
    }

    /// Whether it says that it is of these inputs. Its writer may lie; but a mistake is found, and no file gets another
    /// name than those of the build.
    fn check(&self, request: &Request<'_>, built: &Built) -> anyhow::Result<()> {
        let (contents, report) = (&built.contents, &built.report);
        let names: BTreeSet<PathBuf> = request
            .formats
            .iter()
            .map(|format| {
                let profile = &request.profile.name;
                file_name(profile, request.arch, request.sector_size, *format).into()
            })
            .collect();
        let told: BTreeSet<PathBuf> = report.outputs.keys().cloned().collect();
        ensure!(
            contents.lock == self.lock_digest && contents.arch == request.arch && told == names,
            "it is of lock {} for {}, with {told:?}",
            contents.lock,
            contents.arch
        );
        Ok(())
    }

    /// Gives others what was built here.
    pub(super) fn share(&self, built: &Built) -> anyhow::Result<()> {
        if self.remote.results() != Sharing::ReadWrite {
            return Ok(());
        }
        let mut told = Told {
            built: built.clone(),
            sizes: BTreeMap::new(),
        };
        let report = &mut told.built.report;
        report.seconds.clear();
        report.outputs.clear();
        let mut files = Vec::new();
        for (path, sha256) in &built.report.outputs {
            let reading = || format!("reading {}", path.display());
            let name = path.file_name().context("an output has no name")?;
            let file = File::open(path).with_context(reading)?;
            let size = file.metadata().with_context(reading)?.len();
            let extents = data_extents(&file).with_context(reading)?;
            report.outputs.insert(name.into(), sha256.clone());
            told.sizes.insert(name.into(), size);
            files.push((name.to_string_lossy().into_owned(), file, extents));
        }
        let outputs: Vec<Output<'_>> = files
            .iter()
            .map(|(name, file, extents)| Output {
                name,
                file,
                extents: extents.clone(),
            })
            .collect();
        let told = serde_json::to_vec(&told).context("telling of the outputs")?;
        self.remote.share(&self.key, &told, &outputs, self.scratch);
        Ok(())
    }
}
