//! From a profile to its lock: the one place where versions are chosen.

use crate::debian::ArchiveReader;
use crate::debian::archive::{ArchiveSpec, LockedArchive, Opened};
use crate::debian::date::Date;
use crate::debian::keyring::Keyring;
use crate::debian::solve::Base;
use crate::images::list::Listed;
use crate::images::registries::Registries;
use crate::lock::packages::{self, AllPackages};
use crate::lock::{
    ArchLock, ComposedImage, Lock, LockedChart, LockedFile, LockedImage, compatibility, published,
    pulled,
};
use crate::profile::Profile;
use crate::profile::file::{BaseFile, ComposeFile, DebianFile, FileEntry};
use crate::source::Sources;
use crate::store::Store;
use crate::transport::Transport;
use anyhow::{Context, bail};
use contract::partition::Arch;
use std::collections::BTreeMap;
use std::path::Path;

/// Whom Debian's archives are signed by, where its package debian-archive-keyring puts it.
const DEBIAN_KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// What a resolution rests on.
#[derive(Clone, Copy)]
pub struct Resolution<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// Where its sources are.
    pub sources: &'a Sources,
    /// The way to them.
    pub transport: &'a Transport,
    /// The registries that its images come from.
    pub registries: &'a Registries,
    /// Where manifests and configs of pulled images are kept.
    pub store: &'a Store,
    /// Decides what has expired.
    pub now: Date,
    /// Whether a file without a published digest is taken as it is.
    pub trust_on_first_use: bool,
}

/// Resolves the profile for the architectures `chosen`, which it has. `old` is the lock before, if there is one:
/// archives older than it are refused, and what it has of the profile's other architectures stays if it was made from
/// the same text.
pub fn resolve(
    resolution: &Resolution<'_>,
    old: Option<&Lock>,
    chosen: &[Arch],
) -> anyhow::Result<Lock> {
    let profile = resolution.profile;
    let mut arch = BTreeMap::new();
    let mut archives = BTreeMap::new();
    if let Some(old) = old.filter(|old| old.profile_digest == profile.digest) {
        let stays = |key: &&Arch| profile.arch.contains(key) && !chosen.contains(key);
        for key in old.arch.keys().filter(stays) {
            arch.insert(*key, old.arch[key].clone());
        }
        if !arch.is_empty() {
            let named = |archive: &LockedArchive| (archive.name.clone(), archive.suite.clone());
            archives.extend(old.archives.iter().map(|a| (named(a), a.clone())));
        }
    }
    let mut resolver = Resolver::new(resolution, old);
    for key in chosen {
        let locked = resolver
            .resolve(*key)
            .with_context(|| format!("locking {} for {key}", profile.name))?;
        arch.insert(*key, locked);
    }
    archives.extend(resolver.archives);
    let archives: Vec<LockedArchive> = archives.into_values().collect();
    Ok(Lock {
        version: 1,
        profile: profile.name.clone(),
        profile_digest: profile.digest.clone(),
        epoch: epoch(&archives)?,
        archives,
        arch,
    })
}

/// The newest date of the archives, in seconds since 1970.
pub(super) fn epoch(archives: &[LockedArchive]) -> anyhow::Result<u64> {
    let dates = archives.iter().map(|archive| archive.date.unix());
    u64::try_from(dates.max().unwrap_or(0)).context("the archives' date is before 1970")
}

/// Whether what is locked for an architecture works together.
pub(super) fn check(profile: &Profile, locked: &ArchLock) -> anyhow::Result<()> {
    let faults = compatibility::faults(&profile.kubernetes, locked);
    if !faults.is_empty() {
        bail!(
            "these do not work together, choose other versions in the profile:\n  {}",
            faults.join("\n  ")
        );
    }
    Ok(())
}

pub(super) struct Resolver<'a> {
    profile: &'a Profile,
    sources: &'a Sources,
    transport: &'a Transport,
    registries: &'a Registries,
    store: &'a Store,
    now: Date,
    trust_on_first_use: bool,
    old: Option<&'a Lock>,
    /// The archives that were opened, by name and suite.
    pub(super) archives: BTreeMap<(String, String), LockedArchive>,
}

/// A file as any part of a profile names it.
struct Wanted<'a> {
    source: &'a str,
    path: &'a str,
    to: &'a str,
    member: Option<&'a String>,
    sums: Option<&'a String>,
    sha256: Option<&'a String>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(resolution: &Resolution<'a>, old: Option<&'a Lock>) -> Self {
        Resolver {
            profile: resolution.profile,
            sources: resolution.sources,
            transport: resolution.transport,
            registries: resolution.registries,
            store: resolution.store,
            now: resolution.now,
            trust_on_first_use: resolution.trust_on_first_use,
            old,
            archives: BTreeMap::new(),
        }
    }

    fn resolve(&mut self, arch: Arch) -> anyhow::Result<ArchLock> {
        let opened = self.open_archives(arch)?;
        let parts = self.profile.parts(arch);
        let own = packages::own(self.profile, &parts, arch)?;
        let debian = AllPackages::new(opened.records()?, &own, &parts.pins, arch)?;
        let packages = debian.solve(&parts.packages, base(self.profile))?;
        let mut files = Vec::new();
        for entry in &parts.files {
            files.push(self.root_file(entry, arch)?);
        }
        files.sort_by(|a, b| a.to.cmp(&b.to));
        let (listed, charts) = self.pulled().list(arch)?;
        let mut images = Vec::new();
        for listed in listed.iter().filter(|listed| listed.entry.from.is_some()) {
            images.push(self.image(listed, &debian, arch)?);
        }
        images.extend(self.pulled().lock(&listed, arch)?);
        images.sort_by(|a, b| a.name.cmp(&b.name));
        let locked = ArchLock {
            packages,
            files,
            charts,
            images,
        };
        check(self.profile, &locked)?;
        Ok(locked)
    }

    /// One file of the root file system.
    pub(super) fn root_file(&self, entry: &FileEntry, arch: Arch) -> anyhow::Result<LockedFile> {
        let wanted = Wanted {
            source: &entry.from,
            path: &entry.path,
            to: &entry.to,
            member: entry.member.as_ref(),
            sums: entry.sums.as_ref(),
            sha256: entry.sha256.as_ref(),
        };
        self.file(&wanted, arch)
    }

    /// The list of images, with charts as they are locked.
    pub(super) fn list(&self, arch: Arch, charts: &[LockedChart]) -> anyhow::Result<Vec<Listed>> {
        self.pulled().list_locked(arch, charts)
    }

    /// One image.
    pub(super) fn image(
        &self,
        listed: &Listed,
        debian: &AllPackages<'_>,
        arch: Arch,
    ) -> anyhow::Result<LockedImage> {
        let name = &listed.entry.name;
        let Some(from) = &listed.entry.from else {
            return self.pulled().lock_one(listed, arch);
        };
        let composed = self.composed(from, debian, arch);
        Ok(LockedImage {
            name: name.clone(),
            pulled: None,
            composed: Some(composed.with_context(|| format!("locking image {name}"))?),
        })
    }

    /// What pulled images are looked up with.
    fn pulled(&self) -> pulled::Context<'a> {
        pulled::Context {
            profile: self.profile,
            registries: self.registries,
            store: self.store,
        }
    }

    fn composed(
        &self,
        from: &ComposeFile,
        debian: &AllPackages<'_>,
        arch: Arch,
    ) -> anyhow::Result<ComposedImage> {
        let mut files = Vec::new();
        for (to, entry) in &from.files {
            let wanted = Wanted {
                source: &entry.from,
                path: &entry.path,
                to,
                member: entry.member.as_ref(),
                sums: entry.sums.as_ref(),
                sha256: entry.sha256.as_ref(),
            };
            files.push(self.file(&wanted, arch)?);
        }
        let packages = if from.packages.is_empty() {
            Vec::new()
        } else {
            debian.solve(&from.packages, Base::Listed)?
        };
        Ok(ComposedImage {
            entrypoint: from.entrypoint.clone(),
            links: from.links.clone(),
            files,
            packages,
        })
    }

    /// Reads and verifies the indices of every Debian archive of the profile.
    pub(super) fn open_archives(&mut self, arch: Arch) -> anyhow::Result<Opened> {
        let debian = self.profile.sources.iter();
        let debian = debian.filter_map(|(name, source)| Some((name, source.debian.as_ref()?)));
        let serves = |archive: &DebianFile| {
            let arches = archive.arch.as_ref();
            arches.is_none_or(|arches| arches.contains(&arch))
        };
        let debian: Vec<_> = debian.filter(|(_, archive)| serves(archive)).collect();
        let mut keyrings = Vec::new();
        let mut mirrors = Vec::new();
        for (name, archive) in &debian {
            keyrings.push(keyring(name, archive)?);
            mirrors.push(Mirror {
                name,
                sources: self.sources,
                transport: self.transport,
            });
        }
        let mut specs = Vec::new();
        for (((name, archive), keyring), reader) in debian.iter().zip(&keyrings).zip(&mirrors) {
            for suite in archive.suites() {
                let old = self.old.iter().flat_map(|old| &old.archives);
                let mut before = old.filter(|old| old.name == **name && old.suite == suite);
                specs.push(ArchiveSpec {
                    name,
                    suite,
                    components: &archive.components,
                    keyring,
                    priority: archive.priority,
                    max_age: u64::from(archive.max_age_days) * 24 * 60 * 60,
                    not_before: before.next().map(|old| old.date),
                    reader,
                });
            }
        }
        let opened = Opened::open(&specs, arch.as_str(), self.now)?;
        let named = opened.archives.iter().map(|archive| {
            (
                (archive.name.clone(), archive.suite.clone()),
                archive.clone(),
            )
        });
        self.archives.extend(named);
        Ok(opened)
    }

    /// Digest and size of a file, from what its publisher says.
    fn file(&self, wanted: &Wanted<'_>, arch: Arch) -> anyhow::Result<LockedFile> {
        let path = self.expand(wanted.path, arch)?;
        let sums = wanted
            .sums
            .map(|sums| self.expand(sums, arch))
            .transpose()?;
        let file = published::File {
            path: &path,
            sha256: wanted.sha256.map(String::as_str),
            sums: sums.as_deref(),
            own: self
                .profile
                .sources
                .get(wanted.source)
                .is_some_and(|s| s.path.is_some()),
        };
        let place = published::Place {
            sources: self.sources,
            source: wanted.source,
            transport: self.transport,
            store: self.store,
            trust_on_first_use: self.trust_on_first_use,
        };
        let (sha256, size) = place.digest(&file)?;
        let (source, to) = (wanted.source.to_owned(), wanted.to.to_owned());
        let member = wanted
            .member
            .map(|member| self.expand(member, arch))
            .transpose()?;
        Ok(LockedFile {
            to,
            source,
            path,
            size,
            sha256,
            member,
        })
    }

    /// Replaces `{{ version }}` and `{{ arch }}`.
    fn expand(&self, template: &str, arch: Arch) -> anyhow::Result<String> {
        let mut environment = minijinja::Environment::new();
        environment.set_undefined_behavior(minijinja::UndefinedBehavior::Strict);
        let variables =
            minijinja::context!(version => self.profile.kubernetes.as_str(), arch => arch.as_str());
        environment
            .render_str(template, variables)
            .with_context(|| format!("expanding {template:?}"))
    }
}

/// What the root file system has beside the packages that its profile lists.
pub(super) fn base(profile: &Profile) -> Base {
    match profile.base {
        BaseFile::Listed => Base::Listed,
        BaseFile::Essential => Base::Essential,
        BaseFile::Required => Base::Required,
    }
}

/// Whom an archive's signatures are to be from.
fn keyring(name: &str, archive: &DebianFile) -> anyhow::Result<Keyring> {
    if let Some(key) = &archive.key {
        let reading = || format!("reading the key of source {name}");
        return Keyring::parse(key.as_bytes()).with_context(reading);
    }
    let path = Path::new(archive.keyring.as_deref().unwrap_or(DEBIAN_KEYRING));
    let reading = || format!("reading keyring {} of source {name}", path.display());
    Keyring::parse(&std::fs::read(path).with_context(reading)?).with_context(reading)
}

/// An archive at the place that was chosen for its source.
struct Mirror<'a> {
    name: &'a str,
    sources: &'a Sources,
    transport: &'a Transport,
}

impl ArchiveReader for Mirror<'_> {
    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let get = |url: &str| self.transport.get(url);
        self.sources.try_each(self.name, path, get)
    }
}
