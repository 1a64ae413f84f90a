//! Every package of a build, decompressed once, on all cores: those that an earlier build expanded come from
//! the cache, and their archives are then neither needed nor verified.

use crate::blobs::Blobs;
use crate::cache::{Cache, Key};
use crate::debian::solve::LockedPackage;
use crate::lock::ArchLock;
use crate::rootfs::unpack;
use anyhow::Context;
use formats::tree::Content;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::path::Path;

/// Expanded packages by the SHA-256 of their archives.
#[derive(Debug, Default)]
pub(super) struct Packages {
    expanded: BTreeMap<String, Content>,
}

impl Packages {
    /// What the cache has of the packages of `locked`, those in its images included.
    pub(super) fn cached(locked: &ArchLock, cache: &Cache) -> Self {
        let found = by_digest(locked)
            .into_par_iter()
            .filter_map(|(sha256, _)| Some((sha256.to_owned(), cache.get(&key(sha256))?)));
        Packages {
            expanded: found.collect(),
        }
    }

    /// Whether the package with this archive is expanded.
    pub(super) fn has(&self, sha256: &str) -> bool {
        self.expanded.contains_key(sha256)
    }

    /// Expands the packages of `locked` that are not yet.
    pub(super) fn expand_rest(
        &mut self,
        locked: &ArchLock,
        blobs: &Blobs,
        cache: &Cache,
        scratch: &Path,
    ) -> anyhow::Result<()> {
        let mut rest: Vec<&LockedPackage> = by_digest(locked).into_values().collect();
        rest.retain(|package| !self.has(&package.sha256));
        // The largest first, so that no core works on it alone at the end.
        rest.sort_by(|a, b| (b.size, &a.sha256).cmp(&(a.size, &b.sha256)));
        let expand = |package: &LockedPackage| {
            let archive = blobs.content(&package.sha256)?;
            let expanded = cache.put(&key(&package.sha256), scratch, |out| {
                unpack::expand(&archive, out)
            });
            let expanded =
                expanded.with_context(|| format!("unpacking package {}", package.name))?;
            Ok((package.sha256.clone(), expanded))
        };
        let expanded = rest.into_iter().par_bridge().map(expand);
        self.expanded
            .extend(expanded.collect::<anyhow::Result<Vec<_>>>()?);
        Ok(())
    }

    /// Every expanded package, with the digest of its archive.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, Content)> {
        let expanded = self.expanded.iter();
        expanded.map(|(sha256, content)| (sha256.as_str(), content.clone()))
    }

    /// The expanded packages of a list, by name.
    pub(super) fn of(&self, packages: &[LockedPackage]) -> anyhow::Result<Vec<(String, Content)>> {
        let expanded = |package: &LockedPackage| {
            let content = self.expanded.get(&package.sha256);
            let content =
                content.with_context(|| format!("package {} is not expanded", package.name))?;
            Ok((package.name.clone(), content.clone()))
        };
        packages.iter().map(expanded).collect()
    }
}

/// Each archive once.
fn by_digest(locked: &ArchLock) -> BTreeMap<&str, &LockedPackage> {
    let composed = locked.images.iter().filter_map(|i| i.composed.as_ref());
    let packages = composed.flat_map(|image| &image.packages);
    let packages = locked.packages.iter().chain(packages);
    packages.map(|p| (p.sha256.as_str(), p)).collect()
}

/// The form of an expanded package does not depend on the builder's version as long as this name stays.
fn key(sha256: &str) -> Key {
    Key::of("expanded package, version 1").with(sha256).key()
}
