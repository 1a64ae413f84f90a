//! From archives and package names to what a lock holds of them.
//!
//! `InRelease` is verified, then the `Packages` index of every component is read and checked against it, by
//! digest where the archive offers that (so that an update of the mirror in between does no harm), and then
//! the names are solved over all archives at once.

use crate::debian::ArchiveReader;
use crate::debian::date::Date;
use crate::debian::keyring::Keyring;
use crate::debian::packages::{self, Compression, Package};
use crate::debian::release::{self, Expectation, IndexEntry, Release};
use crate::debian::solve::{self, Archive, Exclusion, LockedPackage, Problem, Request, Solution};
use crate::digest;
use anyhow::{Context, anyhow, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An archive as the profile describes it, and the way to its files.
pub struct ArchiveSpec<'a> {
    /// The source's name in the profile.
    pub name: &'a str,
    /// Suite or codename, such as `trixie`.
    pub suite: &'a str,
    /// Components, such as `main`.
    pub components: &'a [String],
    /// Whom to trust.
    pub keyring: &'a Keyring,
    /// How old a `Release` file without `Valid-Until` may be, in seconds.
    pub max_age: u64,
    /// The `Date` at the last lock, if there was one.
    pub not_before: Option<Date>,
    /// Reads the archive's files.
    pub reader: &'a dyn ArchiveReader,
}

/// What to resolve.
pub struct Order<'a> {
    /// Debian's name of the architecture.
    pub architecture: &'a str,
    /// The packages asked for.
    pub requests: &'a [Request],
    /// Whether all Essential packages are asked for too.
    pub essential: bool,
    /// What is never chosen.
    pub exclude: &'a [Exclusion],
}

/// What a lock remembers of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LockedArchive {
    /// The source's name in the profile.
    pub name: String,
    /// Suite or codename as asked for.
    pub suite: String,
    /// Components as asked for.
    pub components: Vec<String>,
    /// The `Release` file's date: no later lock accepts an older one.
    pub date: Date,
    /// SHA-256 of the `InRelease` file, in hexadecimal.
    pub in_release_sha256: String,
}

/// Archives whose indices are read and verified.
#[derive(Clone, Debug)]
pub struct Opened {
    /// In the order given.
    pub archives: Vec<LockedArchive>,
    /// The texts of each archive's indices.
    texts: Vec<Vec<String>>,
}

/// The records of opened archives, to solve over.
#[derive(Clone, Debug, Default)]
pub struct Records<'a> {
    archives: Vec<(&'a str, Vec<Package<'a>>)>,
}

impl Opened {
    /// Reads and verifies `archives` for an architecture, as of `now`.
    pub fn open(
        archives: &[ArchiveSpec<'_>],
        architecture: &str,
        now: Date,
    ) -> anyhow::Result<Self> {
        let mut opened = Opened {
            archives: Vec::new(),
            texts: Vec::new(),
        };
        for spec in archives {
            let reading = || format!("reading archive {} ({})", spec.name, spec.suite);
            let (locked, texts) = open(spec, architecture, now).with_context(reading)?;
            opened.archives.push(locked);
            opened.texts.push(texts);
        }
        Ok(opened)
    }

    /// Parses the indices.
    pub fn records(&self) -> anyhow::Result<Records<'_>> {
        let mut archives = Vec::new();
        for (locked, texts) in self.archives.iter().zip(&self.texts) {
            let packages =
                records(texts).with_context(|| format!("parsing archive {}", locked.name))?;
            archives.push((locked.name.as_str(), packages));
        }
        Ok(Records { archives })
    }
}

impl<'a> Records<'a> {
    /// All records, with the names of their archives.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Package<'a>)> {
        let archives = self.archives.iter();
        archives.flat_map(|(name, packages)| packages.iter().map(move |package| (*name, package)))
    }

    /// Whether a locked package is still there.
    pub fn has(&self, locked: &LockedPackage) -> bool {
        let same = |(archive, package): (&str, &Package<'_>)| {
            package.sha256 == locked.sha256 && archive == locked.archive
        };
        self.iter().any(same)
    }

    /// The same records and more, which an archive once had.
    pub fn add(&mut self, archive: &'a str, packages: Vec<Package<'a>>) {
        self.archives.push((archive, packages));
    }

    /// The records that `keep` wants, by archive.
    pub fn only(&self, keep: impl Fn(&str, &Package<'a>) -> bool) -> Self {
        let kept = |(name, packages): &(&'a str, Vec<Package<'a>>)| {
            let kept = packages.iter().filter(|package| keep(name, package));
            (*name, kept.cloned().collect())
        };
        Records {
            archives: self.archives.iter().map(kept).collect(),
        }
    }

    /// The packages that `order` comes to.
    pub fn solve(&self, order: &Order<'_>) -> anyhow::Result<Solution> {
        let indices: Vec<Archive<'_>> = self
            .archives
            .iter()
            .map(|(name, packages)| Archive { name, packages })
            .collect();
        Ok(solve::solve(&Problem {
            archives: &indices,
            architecture: order.architecture,
            requests: order.requests,
            essential: order.essential,
            exclude: order.exclude,
        })?)
    }
}

/// Verifies one archive and reads the texts of its indices.
fn open(
    spec: &ArchiveSpec<'_>,
    architecture: &str,
    now: Date,
) -> anyhow::Result<(LockedArchive, Vec<String>)> {
    let directory = format!("dists/{}", spec.suite);
    let path = format!("{directory}/InRelease");
    let in_release = spec
        .reader
        .read(&path)
        .with_context(|| format!("reading {path}"))?;
    let expectation = Expectation {
        suite: spec.suite,
        now,
        max_age: spec.max_age,
        not_before: spec.not_before,
    };
    let release = release::open(&in_release, spec.keyring, &expectation)
        .with_context(|| format!("verifying {path}"))?;
    let known = |list: &[String], name: &str| list.iter().any(|item| item == name);
    ensure!(
        known(&release.architectures, architecture),
        "architecture {} is not served; there are: {}",
        architecture,
        release.architectures.join(" ")
    );
    let mut texts = Vec::new();
    for component in spec.components {
        ensure!(
            release
                .components
                .iter()
                .any(|have| have == component || have.ends_with(&format!("/{component}"))),
            "component {component} is not served; there are: {}",
            release.components.join(" ")
        );
        texts.push(read_index(
            spec.reader,
            &directory,
            &release,
            component,
            architecture,
        )?);
    }
    let locked = LockedArchive {
        name: spec.name.to_owned(),
        suite: spec.suite.to_owned(),
        components: spec.components.to_vec(),
        date: release.date,
        in_release_sha256: digest::sha256(&in_release),
    };
    Ok((locked, texts))
}

/// Reads the smallest form of an index that the archive lists.
fn read_index(
    reader: &dyn ArchiveReader,
    directory: &str,
    release: &Release,
    component: &str,
    architecture: &str,
) -> anyhow::Result<String> {
    let plain_name = format!("{component}/binary-{architecture}/Packages");
    let plain = release
        .indices
        .get(&plain_name)
        .ok_or_else(|| anyhow!("the Release file does not list {plain_name}"))?;
    let listed = |compression: &Compression| {
        let name = format!("{plain_name}{}", compression.suffix());
        let entry = release.indices.get(&name)?;
        Some((*compression, name, entry))
    };
    let (compression, name, entry) = Compression::ALL
        .iter()
        .find_map(listed)
        .ok_or_else(|| anyhow!("the Release file lists no form of {plain_name}"))?;
    let bytes = read_by_hash(reader, directory, &name, entry, release.acquire_by_hash)?;
    packages::decompress(bytes, compression, &name, entry, plain)
        .with_context(|| format!("checking {name}"))
}

/// By digest where offered, and by name where that fails: some mirrors leave the `by-hash` directories out.
fn read_by_hash(
    reader: &dyn ArchiveReader,
    directory: &str,
    name: &str,
    entry: &IndexEntry,
    by_hash: bool,
) -> anyhow::Result<Vec<u8>> {
    let folder = name.rsplit_once('/').map_or("", |(folder, _)| folder);
    let hashed = format!("{directory}/{folder}/by-hash/SHA256/{}", entry.sha256);
    if by_hash && let Ok(bytes) = reader.read(&hashed) {
        return Ok(bytes);
    }
    let path = format!("{directory}/{name}");
    reader
        .read(&path)
        .with_context(|| format!("reading {path}"))
}

fn records(texts: &[String]) -> anyhow::Result<Vec<Package<'_>>> {
    let mut all = Vec::new();
    for text in texts {
        all.extend(packages::parse(text)?);
    }
    Ok(all)
}
