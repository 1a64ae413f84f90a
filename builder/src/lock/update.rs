//! Resolves what is named anew and keeps the rest of a lock as it is: one package with those that must move with it,
//! one file, or one image.
//!
//! A package stays if the locked version and the new ones can live together. That is judged by the relations of the
//! archive's records; of a version that the archive has no more, by those in the package itself.

mod movers;

use crate::debian::packages;
use crate::debian::solve::{Base, LockedPackage};
use crate::fetch::{self, Item};
use crate::images::list::Listed;
use crate::lock::packages::{self as lists, AllPackages};
use crate::lock::resolve::{self, Resolution, Resolver};
use crate::lock::{ArchLock, Lock, LockedImage};
use crate::profile::Parts;
use crate::progress::Mode;
use crate::rootfs::deb;
use anyhow::{Context, bail};
use contract::document::nearest;
use contract::partition::Arch;
use std::collections::{BTreeMap, BTreeSet};

/// How many names are offered for one that is not in the lock.
const OFFERS: usize = 3;

/// What shall be resolved anew.
#[derive(Debug, Default)]
struct Targets {
    packages: BTreeSet<String>,
    files: BTreeSet<String>,
    images: BTreeSet<String>,
}

/// The lock that `old` becomes when what `names` says is resolved anew: packages by name, files by destination,
/// images by reference. If nothing of that changed, it is the old one.
///
/// # Errors
/// A name is not in the lock, or what is named cannot be resolved.
pub fn update(resolution: &Resolution<'_>, old: &Lock, names: &[String]) -> anyhow::Result<Lock> {
    let targets = Targets::find(old, names)?;
    let mut resolver = Resolver::new(resolution, Some(old));
    let mut new = old.clone();
    for (arch, part) in &mut new.arch {
        let parts = resolution.profile.parts(*arch);
        let mut updater = Updater {
            resolution,
            resolver: &mut resolver,
            arch: *arch,
            parts: &parts,
            targets: &targets,
        };
        let updating = || format!("updating {} for {arch}", resolution.profile.name);
        updater.update(part).with_context(updating)?;
    }
    if new.arch == old.arch {
        return Ok(new);
    }
    for archive in &mut new.archives {
        if let Some(read) = resolver
            .archives
            .remove(&(archive.name.clone(), archive.suite.clone()))
        {
            *archive = read;
        }
    }
    new.epoch = resolve::epoch(&new.archives)?;
    Ok(new)
}

impl Targets {
    fn find(lock: &Lock, names: &[String]) -> anyhow::Result<Self> {
        let mut known = Targets::default();
        for part in lock.arch.values() {
            let composed = part.images.iter().filter_map(|i| i.composed.as_ref());
            let packages = composed.flat_map(|image| &image.packages);
            let packages = part.packages.iter().chain(packages);
            known.packages.extend(packages.map(|p| p.name.clone()));
            known.files.extend(part.files.iter().map(|f| f.to.clone()));
            known
                .images
                .extend(part.images.iter().map(|i| i.name.clone()));
        }
        let mut found = Targets::default();
        for name in names {
            let kinds = [
                (&known.packages, &mut found.packages),
                (&known.files, &mut found.files),
                (&known.images, &mut found.images),
            ];
            let mut is_known = false;
            for (known, found) in kinds {
                if known.contains(name) {
                    found.insert(name.clone());
                    is_known = true;
                }
            }
            if !is_known {
                bail!(
                    "the lock has no package, file or image {name}{}",
                    known.like(name)
                );
            }
        }
        Ok(found)
    }

    /// Names that `name` may stand for, as the end of a sentence.
    fn like(&self, name: &str) -> String {
        let all = || self.packages.iter().chain(&self.files).chain(&self.images);
        let short = |full: &str| {
            let last = full.rsplit('/').next().unwrap_or(full);
            last.split(':').next().unwrap_or(last).to_owned()
        };
        let wanted = short(name);
        let close = nearest(name, all().map(String::as_str)).map(str::to_owned);
        let same = all().filter(|full| short(full) == wanted).cloned();
        let shorts: BTreeMap<String, &String> = all().map(|full| (short(full), full)).collect();
        let alike = nearest(&wanted, shorts.keys().map(String::as_str));
        let alike = alike.map(|short| shorts[short].clone());
        let mut offers: Vec<String> = Vec::new();
        for offer in close.into_iter().chain(same).chain(alike) {
            if !offers.contains(&offer) {
                offers.push(offer);
            }
        }
        offers.truncate(OFFERS);
        match offers.as_slice() {
            [] => "; files go by their path, images by their full name".to_owned(),
            offers => format!("; names like it: {}", offers.join(", ")),
        }
    }
}

struct Updater<'a, 'r> {
    resolution: &'a Resolution<'a>,
    resolver: &'a mut Resolver<'r>,
    arch: Arch,
    /// What the profile says for the architecture.
    parts: &'a Parts,
    targets: &'a Targets,
}

impl Updater<'_, '_> {
    fn update(&mut self, part: &mut ArchLock) -> anyhow::Result<()> {
        for file in &mut part.files {
            let entries = self.parts.files.iter();
            let mut entries = entries.filter(|_| self.targets.files.contains(&file.to));
            if let Some(entry) = entries.find(|entry| entry.to == file.to) {
                *file = self.resolver.root_file(entry, self.arch)?;
            }
        }
        let opened = match self.needs_archives(part) {
            true => Some(self.resolver.open_archives(self.arch)?),
            false => None,
        };
        let records = opened.as_ref().map(|opened| opened.records()).transpose()?;
        let own = lists::own(self.resolution.profile, self.parts, self.arch)?;
        let records = records.unwrap_or_default();
        let debian = AllPackages::new(records, &own, &self.parts.pins, self.arch)?;
        if self.moves(&part.packages) {
            let base = resolve::base(self.resolution.profile);
            part.packages = self.packages(&part.packages, &self.parts.packages, base, &debian)?;
        }
        let named = |image: &LockedImage| self.targets.images.contains(&image.name);
        let listed = match part.images.iter().any(named) {
            true => self.resolver.list(self.arch, &part.charts)?,
            false => Vec::new(),
        };
        for image in &mut part.images {
            self.image(image, &listed, &debian)?;
        }
        resolve::check(self.resolution.profile, part)
    }

    /// `listed` is the list of images if one of them is named.
    fn image(
        &self,
        image: &mut LockedImage,
        listed: &[Listed],
        debian: &AllPackages<'_>,
    ) -> anyhow::Result<()> {
        let mut entries = self.parts.images.iter();
        let from = entries.find(|entry| entry.name == image.name);
        let from = from.and_then(|entry| entry.from.as_ref());
        if self.targets.images.contains(&image.name) {
            let mut listed = listed.iter();
            if let Some(listed) = listed.find(|listed| listed.entry.name == image.name) {
                *image = self.resolver.image(listed, debian, self.arch)?;
            }
        } else if let (Some(composed), Some(from)) = (&mut image.composed, from)
            && self.moves(&composed.packages)
        {
            let packages = self.packages(&composed.packages, &from.packages, Base::Listed, debian);
            composed.packages = packages.with_context(|| format!("image {}", image.name))?;
        }
        Ok(())
    }

    /// Whether one of these packages is named.
    fn moves(&self, held: &[LockedPackage]) -> bool {
        let named = |package: &LockedPackage| self.targets.packages.contains(&package.name);
        held.iter().any(named)
    }

    fn needs_archives(&self, part: &ArchLock) -> bool {
        let needs = |image: &LockedImage| {
            let composed = image.composed.as_ref();
            composed.is_some_and(|composed| {
                let named = self.targets.images.contains(&image.name);
                self.moves(&composed.packages) || (named && !composed.packages.is_empty())
            })
        };
        self.moves(&part.packages) || part.images.iter().any(needs)
    }

    /// `held` with those packages moved that are named, and those that must move with them. `wanted` is what the
    /// profile asks for.
    fn packages(
        &self,
        held: &[LockedPackage],
        wanted: &[String],
        base: Base,
        debian: &AllPackages<'_>,
    ) -> anyhow::Result<Vec<LockedPackage>> {
        let moving: BTreeSet<&str> = held
            .iter()
            .map(|package| package.name.as_str())
            .filter(|name| self.targets.packages.contains(*name))
            .collect();
        let stays = |package: &&LockedPackage| !moving.contains(package.name.as_str());
        let superseded = held
            .iter()
            .filter(stays)
            .filter(|p| !debian.records().has(p));
        let texts = self.texts(&superseded.collect::<Vec<_>>())?;
        let mut all = debian.records().clone();
        for (archive, text) in &texts {
            all.add(archive, packages::parse(text)?);
        }
        movers::solve(held, moving, &all, self.arch.as_str(), |records| {
            debian.over(records.clone()).solve(wanted, base)
        })
    }

    /// The records of packages that the archive has no more, by the name of the archive that had them.
    fn texts(&self, superseded: &[&LockedPackage]) -> anyhow::Result<Vec<(String, String)>> {
        let Resolution {
            sources,
            transport,
            store,
            ..
        } = self.resolution;
        let items: Vec<Item> = superseded.iter().copied().map(fetch::package).collect();
        fetch::fetch(&items, sources, transport, store, Mode::choose(false)).context(
            "these packages are locked and no longer in the archive, so what they need is told by their files alone; \
             give a source that has them, or run `seedbed lock` to move all",
        )?;
        let text = |package: &&LockedPackage| {
            let reading = || format!("reading package {}", package.name);
            let content = store.content(&package.sha256, &package.name)?;
            let control = deb::open(&content).and_then(|deb| deb.control());
            let control = control.and_then(|bytes| deb::read_control(&bytes));
            let control = control.with_context(reading)?.text;
            let (path, size, sha256) = (&package.path, package.size, &package.sha256);
            let text = format!(
                "{}\nFilename: {path}\nSize: {size}\nSHA256: {sha256}\n",
                control.trim_end()
            );
            Ok((package.archive.clone(), text))
        };
        superseded.iter().map(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_offered() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let known = Targets {
            packages: set(&["openssl", "libssl3", "curl"]),
            files: set(&["/usr/bin/kubelet"]),
            images: set(&["registry.k8s.io/pause:3.10"]),
        };
        let check =
            |name: &str, expected: &str| assert!(known.like(name).contains(expected), "{name}");
        check("opensl", "openssl");
        check("kubelet", "/usr/bin/kubelet");
        check("/usr/bin/kubelt", "/usr/bin/kubelet");
        check("pause", "registry.k8s.io/pause:3.10");
        check("registry.k8s.io/pause:3.9", "registry.k8s.io/pause:3.10");
        check("something-else-entirely", "by their path");
    }
}
