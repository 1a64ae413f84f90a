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
use crate::debian::solve::{
    self, Archive, Base, Exclusion, LockedPackage, Pin, Problem, Request, Solution,
};
use crate::digest;
use anyhow::{Context, anyhow, ensure};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// An archive as the profile describes it, and the way to its files.
pub struct ArchiveSpec<'a> {
    /// The source's name in the profile.
    pub name: &'a str,
    /// Suite or codename, such as `trixie`, or a folder that ends with a slash and holds `InRelease` and
    /// `Packages` itself.
    pub suite: &'a str,
    /// Components, such as `main`; a folder has none.
    pub components: &'a [String],
    /// Whom to trust.
    pub keyring: &'a Keyring,
    /// The priority of its packages; without it what its `Release` file asks for.
    pub priority: Option<i32>,
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
    /// Which versions to prefer.
    pub pins: &'a [Pin],
    /// What is there without being asked for.
    pub base: Base,
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
    /// The priority and the texts of each archive's indices.
    indices: Vec<(i32, Vec<String>)>,
}

/// What an archive has that nobody gave a priority, as apt has it.
const DEFAULT_PRIORITY: i32 = 500;

/// The records of opened archives, to solve over.
#[derive(Clone, Debug, Default)]
pub struct Records<'a> {
    archives: Vec<ArchiveRecords<'a>>,
}

/// The records of one archive.
#[derive(Clone, Debug)]
struct ArchiveRecords<'a> {
    name: &'a str,
    suite: &'a str,
    priority: i32,
    packages: Vec<Package<'a>>,
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
            indices: Vec::new(),
        };
        for spec in archives {
            let reading = || format!("reading archive {} ({})", spec.name, spec.suite);
            let (locked, priority, texts) = open(spec, architecture, now).with_context(reading)?;
            opened.archives.push(locked);
            opened.indices.push((priority, texts));
        }
        Ok(opened)
    }

    /// Parses the indices.
    pub fn records(&self) -> anyhow::Result<Records<'_>> {
        let mut archives = Vec::new();
        for (locked, (priority, texts)) in self.archives.iter().zip(&self.indices) {
            let parsing = || format!("parsing archive {}", locked.name);
            archives.push(ArchiveRecords {
                name: &locked.name,
                suite: &locked.suite,
                priority: *priority,
                packages: records(texts).with_context(parsing)?,
            });
        }
        Ok(Records { archives })
    }
}

impl<'a> Records<'a> {
    /// Puts packages that are in no archive before all others, under the name of an archive.
    pub fn put_first(&mut self, name: &'a str, packages: Vec<Package<'a>>) {
        let records = ArchiveRecords {
            name,
            suite: name,
            priority: DEFAULT_PRIORITY,
            packages,
        };
        self.archives.insert(0, records);
    }

    /// All records, with the names of their archives.
    pub fn iter(&self) -> impl Iterator<Item = (&'a str, &Package<'a>)> {
        let archives = self.archives.iter();
        archives.flat_map(|archive| {
            archive
                .packages
                .iter()
                .map(|package| (archive.name, package))
        })
    }

    /// Whether a locked package is still there.
    pub fn has(&self, locked: &LockedPackage) -> bool {
        let same = |(archive, package): (&str, &Package<'_>)| {
            package.sha256 == locked.sha256 && archive == locked.archive
        };
        self.iter().any(same)
    }

    /// The same records and more, which an archive once had.
    pub fn add(&mut self, name: &'a str, packages: Vec<Package<'a>>) {
        let known = self.archives.iter().find(|archive| archive.name == name);
        let (suite, priority) = known.map_or((name, DEFAULT_PRIORITY), |known| {
            (known.suite, known.priority)
        });
        self.archives.push(ArchiveRecords {
            name,
            suite,
            priority,
            packages,
        });
    }

    /// The records that `keep` wants, by archive.
    pub fn only(&self, keep: impl Fn(&str, &Package<'a>) -> bool) -> Self {
        let kept = |archive: &ArchiveRecords<'a>| {
            let packages = archive.packages.iter();
            let kept = packages.filter(|package| keep(archive.name, package));
            ArchiveRecords {
                name: archive.name,
                suite: archive.suite,
                priority: archive.priority,
                packages: kept.cloned().collect(),
            }
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
            .map(|records| Archive {
                name: records.name,
                suite: records.suite,
                priority: records.priority,
                packages: &records.packages,
            })
            .collect();
        Ok(solve::solve(&Problem {
            archives: &indices,
            architecture: order.architecture,
            requests: order.requests,
            pins: order.pins,
            base: order.base,
            exclude: order.exclude,
        })?)
    }
}

/// Verifies one archive and reads the texts of its indices.
fn open(
    spec: &ArchiveSpec<'_>,
    architecture: &str,
    now: Date,
) -> anyhow::Result<(LockedArchive, i32, Vec<String>)> {
    let flat = is_flat(spec.suite);
    let directory = match flat {
        true => {
            let folder = spec.suite.strip_prefix("./").unwrap_or(spec.suite);
            folder.trim_matches('/').to_owned()
        }
        false => format!("dists/{}", spec.suite),
    };
    let path = below(&directory, "InRelease");
    let in_release = spec
        .reader
        .read(&path)
        .with_context(|| format!("reading {path}"))?;
    let expectation = Expectation {
        suite: if flat { None } else { Some(spec.suite) },
        now,
        max_age: spec.max_age,
        not_before: spec.not_before,
    };
    let release = release::open(&in_release, spec.keyring, &expectation)
        .with_context(|| format!("verifying {path}"))?;
    let known = |list: &[String], name: &str| list.iter().any(|item| item == name);
    ensure!(
        flat || known(&release.architectures, architecture),
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
        let index = format!("{component}/binary-{architecture}/Packages");
        texts.push(read_index(spec.reader, &directory, &release, &index)?);
    }
    if flat {
        texts.push(read_index(spec.reader, &directory, &release, "Packages")?);
    }
    let locked = LockedArchive {
        name: spec.name.to_owned(),
        suite: spec.suite.to_owned(),
        components: spec.components.to_vec(),
        date: release.date,
        in_release_sha256: digest::sha256(&in_release),
    };
    let priority = spec.priority.unwrap_or(release.priority());
    Ok((locked, priority, texts))
}

/// Whether a suite is a folder with an index of its own, and not one below `dists`: it ends with a slash.
pub fn is_flat(suite: &str) -> bool {
    suite.ends_with('/')
}

/// A path below a folder, which is the archive itself if it has no name.
fn below(directory: &str, path: &str) -> String {
    match directory {
        "" => path.to_owned(),
        _ => format!("{directory}/{path}"),
    }
}

/// Reads the smallest form of an index that the archive lists.
fn read_index(
    reader: &dyn ArchiveReader,
    directory: &str,
    release: &Release,
    plain_name: &str,
) -> anyhow::Result<String> {
    let plain = release
        .indices
        .get(plain_name)
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
    let hashed = below(folder, &format!("by-hash/SHA256/{}", entry.sha256));
    let hashed = below(directory, &hashed);
    if by_hash && let Ok(bytes) = reader.read(&hashed) {
        return Ok(bytes);
    }
    let path = below(directory, name);
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
