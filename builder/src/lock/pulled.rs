//! The part of a lock that comes from registries and image files: what the list names is looked up, several images
//! at a time, and comes out in the order of the list.

use crate::images::fetch;
use crate::images::list::{self, Listed};
use crate::images::local;
use crate::images::pull::{self, Wanted};
use crate::images::reference::Reference;
use crate::images::registries::Registries;
use crate::images::registry::{DOCUMENT_LIMIT, Registry};
use crate::images::signature::Key;
use crate::lock::{CHART, LockedChart, LockedImage, PulledImage};
use crate::profile::{Profile, Signature};
use crate::store::Store;
use anyhow::{Context as _, anyhow, bail};
use contract::partition::Arch;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many images are looked up at once.
const PARALLEL: usize = 6;

/// What all images of a lock need.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) profile: &'a Profile,
    pub(super) registries: &'a Registries,
    pub(super) store: &'a Store,
}

impl Context<'_> {
    /// The list of images, and the charts that were fetched for it.
    pub(super) fn list(&self, arch: Arch) -> anyhow::Result<(Vec<Listed>, Vec<LockedChart>)> {
        let mut charts = Vec::new();
        let listed = list::list(self.profile, arch, &mut |name| {
            let (chart, bytes) = self.chart(name)?;
            charts.push(chart);
            Ok(bytes)
        })?;
        charts.sort_by(|a: &LockedChart, b| a.name.cmp(&b.name));
        Ok((listed, charts))
    }

    /// The list of images, with the charts that a lock has.
    pub(super) fn list_locked(
        &self,
        arch: Arch,
        charts: &[LockedChart],
    ) -> anyhow::Result<Vec<Listed>> {
        list::list(self.profile, arch, &mut |name| {
            let chart = charts.iter().find(|chart| chart.name == name);
            let chart = chart.context("it is not in the lock: run `seedbed lock`")?;
            fetch::chart(chart, self.registries, self.store)?;
            self.read(chart)
        })
    }

    fn chart(&self, name: &str) -> anyhow::Result<(LockedChart, Vec<u8>)> {
        let reference = Reference::parse(name)?;
        let chart = self.registries.try_each(&reference, |registry, there| {
            self.chart_at(name, registry, there)
        })?;
        let bytes = self.read(&chart)?;
        Ok((chart, bytes))
    }

    /// Brings the chart `name` into the store from a registry where it is called `there`.
    fn chart_at(
        &self,
        name: &str,
        registry: &Registry,
        there: &Reference,
    ) -> anyhow::Result<LockedChart> {
        let found = registry.manifest(&there.repository, &there.wanted())?;
        let found = found.with_context(|| format!("{} has no {name} (404)", registry.host()))?;
        let manifest: pull::Manifest =
            serde_json::from_slice(&found.bytes).context("reading its manifest")?;
        let layer = manifest
            .layers
            .iter()
            .find(|layer| layer.media_type == CHART);
        let blob = layer.context("it is an image and no chart")?.locked()?;
        if blob.size > 16 * DOCUMENT_LIMIT {
            bail!("the chart has {} bytes", blob.size);
        }
        registry.fetch_blob(&there.repository, &blob, self.store, name, None)?;
        Ok(LockedChart {
            name: name.to_owned(),
            size: blob.size,
            sha256: blob.sha256,
        })
    }

    fn read(&self, chart: &LockedChart) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut file = self.store.open_verified(&chart.sha256, &chart.name)?;
        std::io::Read::read_to_end(&mut file, &mut bytes).context("reading it from the store")?;
        Ok(bytes)
    }

    /// Looks up every image that is not composed. Goes on after a failure, and reports all of them.
    pub(super) fn lock(&self, listed: &[Listed], arch: Arch) -> anyhow::Result<Vec<LockedImage>> {
        let signatures = self.profile.parts(arch).signatures;
        let wanted: Vec<&Listed> = listed.iter().filter(|l| l.entry.from.is_none()).collect();
        let next = AtomicUsize::new(0);
        let done = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for _ in 0..PARALLEL.min(wanted.len()) {
                scope.spawn(|| {
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(listed) = wanted.get(at) else {
                            return;
                        };
                        let result = self.look_up(listed, arch, &signatures);
                        let mut done = done.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                        done.push((at, result));
                    }
                });
            }
        });
        let mut done = done
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        done.sort_by_key(|(at, _)| *at);
        let (mut images, mut faults) = (Vec::new(), Vec::new());
        for (_, result) in done {
            match result {
                Ok(image) => images.push(image),
                Err(error) => faults.push(format!("{error:#}")),
            }
        }
        match faults.as_slice() {
            [] => Ok(images),
            _ => Err(anyhow!("{}", faults.join("\n"))),
        }
    }

    /// Looks up one image that is not composed.
    pub(super) fn lock_one(&self, listed: &Listed, arch: Arch) -> anyhow::Result<LockedImage> {
        self.look_up(listed, arch, &self.profile.parts(arch).signatures)
    }

    fn look_up(
        &self,
        listed: &Listed,
        arch: Arch,
        signatures: &[Signature],
    ) -> anyhow::Result<LockedImage> {
        let name = &listed.entry.name;
        let pulled = self.pulled(listed, arch, signatures);
        let locking = || format!("locking image {name} ({})", listed.origins.join(", "));
        Ok(LockedImage {
            name: name.clone(),
            pulled: Some(pulled.with_context(locking)?),
            composed: None,
        })
    }

    fn pulled(
        &self,
        listed: &Listed,
        arch: Arch,
        signatures: &[Signature],
    ) -> anyhow::Result<PulledImage> {
        let entry = &listed.entry;
        let image = Reference::parse(&entry.name)?;
        let signature = closest(signatures, &image);
        if let Some(path) = entry.layout.as_ref().or(entry.archive.as_ref()) {
            if let Some(signature) = signature {
                let prefix = &signature.images;
                bail!("images of {prefix} have to be signed, and what is in {path} is not");
            }
            let relative = self.relative(path);
            let path = Path::new(path);
            return Ok(match entry.layout {
                Some(_) => PulledImage {
                    layout: Some(relative),
                    ..local::from_layout(path, &image, arch, self.store)?
                },
                None => PulledImage {
                    archive: Some(relative),
                    ..local::from_archive(path, &image, arch, self.store)?
                },
            });
        }
        let key = signature
            .map(|signature| Key::read(&signature.key))
            .transpose()?;
        let wanted = Wanted {
            image: &image,
            arch,
            form: entry.arch_form,
            key: key.as_ref(),
        };
        pull::lock(self.registries, &wanted, self.store)
    }

    /// As a lock has it, which goes from one host to another with its profile.
    fn relative(&self, path: &str) -> String {
        let below = Path::new(path).strip_prefix(&self.profile.dir);
        below.map_or(path.to_owned(), |below| {
            below.to_string_lossy().into_owned()
        })
    }
}

/// The entry with the longest prefix of the image's name, of whole components.
fn closest<'a>(signatures: &'a [Signature], image: &Reference) -> Option<&'a Signature> {
    let name = format!("{}/{}", image.registry, image.repository);
    let fits = |signature: &&Signature| {
        let prefix = signature.images.trim_end_matches('/');
        let rest = name.strip_prefix(prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    signatures
        .iter()
        .filter(fits)
        .max_by_key(|signature| signature.images.len())
}
