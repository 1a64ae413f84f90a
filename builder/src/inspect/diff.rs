//! What differs between two images: packages, files of the root file system, container images, kernel
//! arguments and configuration, and the size of each part.
//!
//! Times of files are left out: every one is at most the lock's, so that a newer lock changes them all.

use super::disk::Disk;
use super::image::{FileSystem, Image};
use super::list::{self, Item};
use super::{Report, inspect, kernel_config};
use crate::change::{Change, changes};
use anyhow::{Context, bail};
use formats::erofs::read::{FileType, Image as Erofs, Inode};
use formats::read_at::Window;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

/// All that differs.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// Bytes by part.
    pub sizes: Vec<Change<u64>>,
    /// Versions by package.
    pub packages: Vec<Change<String>>,
    /// Manifest digests by reference.
    pub images: Vec<Change<String>>,
    /// Words of the kernel's command line.
    pub kernel_arguments: Vec<Change<String>>,
    /// Values by option, without `CONFIG_`.
    pub kernel_configuration: Vec<Change<String>>,
    /// Files of the root file system by path; the same item on both sides means other bytes or attributes.
    pub files: Vec<Change<Item>>,
}

impl Difference {
    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        let lists = [&self.packages, &self.images, &self.kernel_arguments];
        self.sizes.is_empty()
            && self.files.is_empty()
            && self.kernel_configuration.is_empty()
            && lists.iter().all(|list| list.is_empty())
    }
}

/// Compares the image files at two paths.
///
/// # Errors
/// One of them is no disk, or is damaged.
pub fn diff(a: &Path, b: &Path) -> anyhow::Result<Difference> {
    let (a, b) = (Side::open(a)?, Side::open(b)?);
    let images = |side: &Side| {
        let images = side.report.images.iter();
        images
            .map(|image| (image.name.clone(), image.digest.clone()))
            .collect()
    };
    Ok(Difference {
        sizes: changes(&sizes(&a.report), &sizes(&b.report)),
        packages: changes(&packages(&a.report), &packages(&b.report)),
        images: changes(&images(&a), &images(&b)),
        kernel_arguments: changes(&arguments(&a.report), &arguments(&b.report)),
        kernel_configuration: changes(
            &kernel_config::read(&a.image)?,
            &kernel_config::read(&b.image)?,
        ),
        files: files(&a.image, &b.image)?,
    })
}

struct Side {
    image: Image,
    report: Report,
}

impl Side {
    fn open(path: &Path) -> anyhow::Result<Self> {
        let report = inspect(path)?;
        if let Some(damage) = report.damage.first() {
            bail!("{} is damaged: {damage}", path.display());
        }
        let image = Image::open(path)?;
        Ok(Side { image, report })
    }
}

fn sizes(report: &Report) -> BTreeMap<String, u64> {
    let used = report
        .partitions
        .iter()
        .filter_map(|row| Some((row.name.clone(), row.used?)));
    let boot = report.boot.iter().flat_map(|entry| {
        [
            ("kernel", entry.kernel_bytes),
            ("initrd", entry.initrd_bytes),
        ]
        .map(|(name, bytes)| (name.to_owned(), bytes))
    });
    used.chain(boot)
        .chain([("disk".to_owned(), report.bytes)])
        .collect()
}

/// Versions by name; a name with several architectures has one line each.
fn packages(report: &Report) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for package in &report.packages {
        let version = package.version.clone();
        if all.contains_key(&package.name) {
            all.insert(
                format!("{}:{}", package.name, package.architecture),
                version,
            );
        } else {
            all.insert(package.name.clone(), version);
        }
    }
    all
}

fn arguments(report: &Report) -> BTreeMap<String, String> {
    let words = report.boot.iter().flat_map(|entry| entry.arguments());
    words
        .map(|word| (word.to_owned(), word.to_owned()))
        .collect()
}

type Root<'a> = Erofs<Window<&'a Disk>>;

fn files(a: &Image, b: &Image) -> anyhow::Result<Vec<Change<Item>>> {
    let (a, b) = (open(a)?, open(b)?);
    let (of_a, of_b) = (walk(&a)?, walk(&b)?);
    let paths: BTreeSet<&String> = of_a.keys().chain(of_b.keys()).collect();
    let mut changes = Vec::new();
    for path in paths {
        let (before, after) = (of_a.get(path), of_b.get(path));
        if let (Some(before), Some(after)) = (before, after)
            && same(&a, before, &b, after).with_context(|| format!("comparing /{path}"))?
        {
            continue;
        }
        let item = |image: &Root<'_>, inode: Option<&Inode>| {
            inode
                .map(|inode| list::item(image, path, inode))
                .transpose()
        };
        changes.push(Change {
            name: format!("/{path}"),
            before: item(&a, before)?,
            after: item(&b, after)?,
        });
    }
    Ok(changes)
}

fn open(image: &Image) -> anyhow::Result<Root<'_>> {
    match image.file_system("ROOT")? {
        FileSystem::Erofs(root) => Ok(root),
        FileSystem::Fat(_) => bail!("partition ROOT of {} holds no erofs", image.path.display()),
    }
}

fn walk(root: &Root<'_>) -> anyhow::Result<BTreeMap<String, Inode>> {
    let walked = root
        .walk()
        .map(|step| step.map(|step| (step.path, step.inode)));
    walked
        .collect::<Result<_, _>>()
        .context("walking the root file system")
}

/// Whether two inodes are the same but for their times and places.
fn same(a: &Root<'_>, x: &Inode, b: &Root<'_>, y: &Inode) -> anyhow::Result<bool> {
    let attributes = |inode: &Inode| (inode.kind(), inode.mode(), inode.uid(), inode.gid());
    if attributes(x) != attributes(y) || x.device() != y.device() || a.xattrs(x)? != b.xattrs(y)? {
        return Ok(false);
    }
    match x.kind() {
        FileType::Regular => Ok(x.size() == y.size() && same_bytes(a.reader(x), b.reader(y))?),
        FileType::Symlink => Ok(a.read_link(x)? == b.read_link(y)?),
        _ => Ok(true),
    }
}

/// Whether two readers of equal length give the same bytes.
fn same_bytes(mut a: impl Read, mut b: impl Read) -> anyhow::Result<bool> {
    let (mut of_a, mut of_b) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        let read = a.read(&mut of_a)?;
        if read == 0 {
            return Ok(true);
        }
        b.read_exact(&mut of_b[..read])?;
        if of_a[..read] != of_b[..read] {
            return Ok(false);
        }
    }
}
