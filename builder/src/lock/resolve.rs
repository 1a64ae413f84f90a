//! From a profile to its lock: the one place where versions are chosen.

use crate::debian::ArchiveReader;
use crate::debian::archive::{ArchiveSpec, LockedArchive, Opened, Order, Records};
use crate::debian::date::Date;
use crate::debian::keyring::Keyring;
use crate::debian::solve::{LockedPackage, Request};
use crate::images::registries::Registries;
use crate::lock::{
    ArchLock, ComposedImage, Lock, LockedFile, LockedImage, compatibility, published, pulled,
};
use crate::profile::Profile;
use crate::profile::file::ComposeFile;
use crate::source::Sources;
use crate::store::Store;
use crate::transport::Transport;
use anyhow::{Context, bail};
use contract::partition::Arch;
use std::collections::BTreeMap;
use std::path::Path;

/// How to resolve.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// The lock before, if there is one: archives older than it are refused.
    pub old: Option<&'a Lock>,
    /// What has expired by then is refused.
    pub now: Date,
    /// Whether a file without a published digest is taken as it is.
    pub trust_on_first_use: bool,
}

/// Resolves `profile` for all its architectures.
pub fn resolve(
    profile: &Profile,
    sources: &Sources,
    transport: &Transport,
    registries: &Registries,
    store: &Store,
    asked: &Asked<'_>,
) -> anyhow::Result<Lock> {
    let mut resolver = Resolver {
        profile,
        sources,
        transport,
        registries,
        store,
        asked: *asked,
        archives: BTreeMap::new(),
    };
    let mut arch = BTreeMap::new();
    for key in &profile.arch {
        let locked = resolver
            .resolve(*key)
            .with_context(|| format!("locking {} for {key}", profile.name))?;
        arch.insert(*key, locked);
    }
    let archives: Vec<LockedArchive> = resolver.archives.into_values().collect();
    let epoch = archives
        .iter()
        .map(|archive| archive.date.unix())
        .max()
        .unwrap_or(0);
    let epoch = u64::try_from(epoch).context("the archives' date is before 1970")?;
    Ok(Lock {
        version: 1,
        profile: profile.name.clone(),
        profile_digest: profile.digest.clone(),
        epoch,
        archives,
        arch,
    })
}

struct Resolver<'a> {
    profile: &'a Profile,
    sources: &'a Sources,
    transport: &'a Transport,
    registries: &'a Registries,
    store: &'a Store,
    asked: Asked<'a>,
    archives: BTreeMap<String, LockedArchive>,
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

impl Resolver<'_> {
    fn resolve(&mut self, arch: Arch) -> anyhow::Result<ArchLock> {
        let opened = self.open_archives(arch)?;
        let debian = opened.records()?;
        let parts = self.profile.parts(arch);
        let packages = solve(&debian, &parts.packages, arch)?;
        let mut files = Vec::new();
        for entry in &parts.files {
            let wanted = Wanted {
                source: &entry.from,
                path: &entry.path,
                to: &entry.to,
                member: entry.member.as_ref(),
                sums: entry.sums.as_ref(),
                sha256: entry.sha256.as_ref(),
            };
            files.push(self.file(&wanted, arch)?);
        }
        files.sort_by(|a, b| a.to.cmp(&b.to));
        let context = pulled::Context {
            profile: self.profile,
            registries: self.registries,
            store: self.store,
        };
        let (listed, charts) = context.list(arch)?;
        let mut images = Vec::new();
        for (name, from) in listed
            .iter()
            .filter_map(|l| Some((&l.entry.name, l.entry.from.as_ref()?)))
        {
            let composed = self.composed(from, &debian, arch);
            images.push(LockedImage {
                name: name.clone(),
                pulled: None,
                composed: Some(composed.with_context(|| format!("locking image {name}"))?),
            });
        }
        images.extend(context.lock(&listed, arch)?);
        images.sort_by(|a, b| a.name.cmp(&b.name));
        let locked = ArchLock {
            packages,
            files,
            charts,
            images,
        };
        let faults = compatibility::faults(&self.profile.kubernetes, &locked);
        if !faults.is_empty() {
            bail!(
                "these do not work together, choose other versions in the profile:\n  {}",
                faults.join("\n  ")
            );
        }
        Ok(locked)
    }

    fn composed(
        &self,
        from: &ComposeFile,
        debian: &Records<'_>,
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
            solve(debian, &from.packages, arch)?
        };
        Ok(ComposedImage {
            entrypoint: from.entrypoint.clone(),
            links: from.links.clone(),
            files,
            packages,
        })
    }

    /// Reads and verifies the indices of every Debian archive of the profile.
    fn open_archives(&mut self, arch: Arch) -> anyhow::Result<Opened> {
        let debian = self
            .profile
            .sources
            .iter()
            .filter_map(|(name, source)| Some((name, source.debian.as_ref()?)));
        let debian: Vec<_> = debian.collect();
        let mut keyrings = Vec::new();
        let mut mirrors = Vec::new();
        for (name, archive) in &debian {
            let path = Path::new(&archive.keyring);
            let reading = || format!("reading keyring {} of source {name}", path.display());
            keyrings.push(
                Keyring::parse(&std::fs::read(path).with_context(reading)?)
                    .with_context(reading)?,
            );
            mirrors.push(Mirror {
                name,
                sources: self.sources,
                transport: self.transport,
            });
        }
        let mut specs = Vec::new();
        for (((name, archive), keyring), reader) in debian.iter().zip(&keyrings).zip(&mirrors) {
            let before = self
                .asked
                .old
                .iter()
                .flat_map(|old| &old.archives)
                .find(|old| old.name == **name);
            specs.push(ArchiveSpec {
                name,
                suite: &archive.suite,
                components: &archive.components,
                keyring,
                max_age: u64::from(archive.max_age_days) * 24 * 60 * 60,
                not_before: before.map(|old| old.date),
                reader,
            });
        }
        let opened = Opened::open(&specs, arch.as_str(), self.asked.now)?;
        let named = opened
            .archives
            .iter()
            .map(|archive| (archive.name.clone(), archive.clone()));
        self.archives.extend(named);
        Ok(opened)
    }

    /// Digest and size of a file, from what its publisher says.
    fn file(&self, wanted: &Wanted<'_>, arch: Arch) -> anyhow::Result<LockedFile> {
        let path = self.expand(wanted.path, arch)?;
        let url = self.sources.url(wanted.source, &path)?;
        let sums = wanted
            .sums
            .map(|sums| self.expand(sums, arch))
            .transpose()?;
        let file = published::File {
            url: &url,
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
            trust_on_first_use: self.asked.trust_on_first_use,
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

/// The packages asked for and all that they need.
fn solve(debian: &Records<'_>, names: &[String], arch: Arch) -> anyhow::Result<Vec<LockedPackage>> {
    let requests = names
        .iter()
        .map(|name| name.parse())
        .collect::<Result<Vec<Request>, _>>()?;
    let order = Order {
        architecture: arch.as_str(),
        requests: &requests,
        essential: false,
        exclude: &[],
    };
    Ok(debian.solve(&order)?.packages)
}

/// An archive at the place that was chosen for its source.
struct Mirror<'a> {
    name: &'a str,
    sources: &'a Sources,
    transport: &'a Transport,
}

impl ArchiveReader for Mirror<'_> {
    fn read(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        self.transport.get(&self.sources.url(self.name, path)?)
    }
}
