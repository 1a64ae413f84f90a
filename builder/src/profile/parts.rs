//! The parts of a profile that grow when profiles extend each other.

use super::file::{ChartEntry, FileEntry, ImageEntry, PinEntry, ScriptEntry, UserEntry};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A chart, and the folder that its paths are relative to.
#[derive(Clone, Debug)]
pub struct Chart {
    /// Where the profile that names it is.
    pub dir: PathBuf,
    /// As the profile has it.
    pub entry: ChartEntry,
}

/// A key that the images with a certain prefix have to be signed with.
#[derive(Clone, Debug)]
pub struct Signature {
    /// What the images' names begin with.
    pub images: String,
    /// The public key's file.
    pub key: PathBuf,
}

/// What a profile adds to an image.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    /// Packages asked for, as [`super::package::PackageEntry`] reads them; their dependencies follow.
    pub packages: Vec<String>,
    /// Which versions of packages to prefer.
    pub pins: Vec<PinEntry>,
    /// Files taken from sources into the root file system.
    pub files: Vec<FileEntry>,
    /// Container images of the store that are named one by one.
    pub images: Vec<ImageEntry>,
    /// Where each of them is named, such as `profiles/a/profile.yaml:7`.
    pub origins: BTreeMap<String, String>,
    /// Files with manifests.
    pub manifests: Vec<PathBuf>,
    /// Helm charts.
    pub charts: Vec<Chart>,
    /// Keys that images have to be signed with.
    pub signatures: Vec<Signature>,
    /// Folders laid over the root file system, in order.
    pub overlays: Vec<PathBuf>,
    /// Folders laid over the initial RAM disk, in order.
    pub initrd_overlays: Vec<PathBuf>,
    /// Path prefixes left out of the root file system.
    pub exclude: Vec<String>,
    /// Maintainer scripts that no native step covers, each with a reason why nothing is lost.
    pub scripts: Vec<ScriptEntry>,
    /// Arguments appended to the kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// Kernel modules that every boot loads.
    pub modules: Vec<String>,
    /// Kernel modules that the initial RAM disk has, beside those that every image needs there.
    pub initrd_modules: Vec<String>,
    /// Kernel parameters by name.
    pub sysctls: BTreeMap<String, String>,
    /// The time zone.
    pub timezone: Option<String>,
    /// The locale of the system's programs.
    pub locale: Option<String>,
    /// What the console shows.
    pub banner: Option<String>,
    /// Files with certificates of authorities.
    pub certificates: Vec<PathBuf>,
    /// Accounts beside those that packages bring.
    pub users: Vec<UserEntry>,
}

impl Parts {
    /// Adds what a later profile says: of the same thing its word replaces the one before, in place.
    pub(super) fn add(&mut self, later: &Parts) {
        put(&mut self.packages, &later.packages, |a, b| a == b);
        self.pins.extend_from_slice(&later.pins);
        put(&mut self.files, &later.files, |a, b| a.to == b.to);
        put(&mut self.images, &later.images, |a, b| a.name == b.name);
        self.origins.extend(later.origins.clone());
        put(&mut self.manifests, &later.manifests, |a, b| a == b);
        put(&mut self.charts, &later.charts, |a, b| {
            (&a.dir, &a.entry.chart, &a.entry.name) == (&b.dir, &b.entry.chart, &b.entry.name)
        });
        put(&mut self.signatures, &later.signatures, |a, b| {
            a.images == b.images
        });
        put(&mut self.overlays, &later.overlays, |a, b| a == b);
        put(&mut self.initrd_overlays, &later.initrd_overlays, |a, b| {
            a == b
        });
        put(&mut self.exclude, &later.exclude, |a, b| a == b);
        put(&mut self.scripts, &later.scripts, |a, b| {
            (&a.package, &a.script) == (&b.package, &b.script)
        });
        // The kernel takes the last of several values itself, and some arguments stand more than once.
        self.kernel_arguments
            .extend_from_slice(&later.kernel_arguments);
        put(&mut self.modules, &later.modules, |a, b| a == b);
        put(&mut self.initrd_modules, &later.initrd_modules, |a, b| {
            a == b
        });
        self.sysctls.extend(later.sysctls.clone());
        for (mine, theirs) in [
            (&mut self.timezone, &later.timezone),
            (&mut self.locale, &later.locale),
            (&mut self.banner, &later.banner),
        ] {
            if theirs.is_some() {
                mine.clone_from(theirs);
            }
        }
        put(&mut self.certificates, &later.certificates, |a, b| a == b);
        put(&mut self.users, &later.users, |a, b| a.name == b.name);
    }
}

fn put<T: Clone>(list: &mut Vec<T>, later: &[T], same: impl Fn(&T, &T) -> bool) {
    for item in later {
        match list.iter_mut().find(|known| same(known, item)) {
            Some(known) => known.clone_from(item),
            None => list.push(item.clone()),
        }
    }
}
