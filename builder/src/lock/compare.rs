//! What changed between two locks: packages up, down, new and gone, files, charts, images by tag and digest.

use crate::change::{Change, changes};
use crate::debian::solve::LockedPackage;
use crate::debian::version;
use crate::digest;
use crate::images::reference::Reference;
use crate::lock::{ArchLock, Lock, LockedChart, LockedFile, LockedImage, render};
use contract::partition::Arch;
use serde::Serialize;
use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

/// All that differs between two locks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Difference {
    /// `profile` if the locks are of profiles with different names, `profileDigest` if of different texts.
    pub profile: Vec<Change<String>>,
    /// The date of each Debian archive.
    pub archives: Vec<Change<String>>,
    /// What differs for each architecture; one that is in one lock alone is all new or gone.
    pub arch: BTreeMap<Arch, ArchDifference>,
}

/// What differs for one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchDifference {
    /// Packages of the root file system.
    pub packages: PackageChanges,
    /// Files by destination.
    pub files: Vec<Change<FileState>>,
    /// Charts of registries by name without version.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub charts: Vec<Change<ChartState>>,
    /// Images by name without tag; one that the locks have in several tags, by its full name.
    pub images: Vec<Change<ImageState>>,
}

/// Versions of packages, by name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PackageChanges {
    /// Newer than before.
    pub up: Vec<Change<String>>,
    /// Older than before.
    pub down: Vec<Change<String>>,
    /// The same version with other bytes, or from another archive.
    pub rebuilt: Vec<Change<String>>,
    /// New.
    pub added: Vec<Change<String>>,
    /// Gone.
    pub removed: Vec<Change<String>>,
}

/// A file of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileState {
    /// Path below its source.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// A chart of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChartState {
    /// The version.
    pub version: String,
    /// SHA-256 of the chart's archive, hexadecimal.
    pub sha256: String,
}

/// An image of a lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageState {
    /// The tag.
    pub tag: String,
    /// The manifest's digest; of a composed image, one of all that it is composed of.
    pub digest: String,
    /// Whether the image is composed by the builder.
    pub composed: bool,
}

impl Difference {
    /// Compares two locks.
    pub fn between(old: &Lock, new: &Lock) -> Self {
        let named = |lock: &Lock| {
            BTreeMap::from([
                ("profile".to_owned(), lock.profile.clone()),
                ("profileDigest".to_owned(), lock.profile_digest.clone()),
            ])
        };
        let dates = |lock: &Lock| {
            let archives = lock.archives.iter();
            let date = |a: &crate::debian::archive::LockedArchive| {
                (a.name.clone(), a.date.render_release())
            };
            archives.map(date).collect::<BTreeMap<_, _>>()
        };
        let nothing = ArchLock {
            packages: Vec::new(),
            files: Vec::new(),
            charts: Vec::new(),
            images: Vec::new(),
        };
        let part = |lock: &Lock, arch: &Arch| lock.arch.get(arch).unwrap_or(&nothing).clone();
        let keys: BTreeSet<&Arch> = old.arch.keys().chain(new.arch.keys()).collect();
        let arch = keys.into_iter().map(|arch| {
            let found = ArchDifference::between(&part(old, arch), &part(new, arch));
            (*arch, found)
        });
        Difference {
            profile: changes(&named(old), &named(new)),
            archives: changes(&dates(old), &dates(new)),
            arch: arch.filter(|(_, found)| !found.is_empty()).collect(),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.profile.is_empty() && self.archives.is_empty() && self.arch.is_empty()
    }

    /// One line for each package, file or image that came, went or changed.
    pub fn lines(&self) -> Vec<String> {
        let arch = self.arch.iter();
        arch.flat_map(|(arch, found)| found.lines(*arch)).collect()
    }
}

impl ArchDifference {
    fn between(old: &ArchLock, new: &ArchLock) -> Self {
        let file = |file: &LockedFile| {
            let state = FileState {
                path: file.path.clone(),
                size: file.size,
                sha256: file.sha256.clone(),
            };
            (file.to.clone(), state)
        };
        let files = |part: &ArchLock| part.files.iter().map(file).collect::<BTreeMap<_, _>>();
        let chart = |chart: &LockedChart| {
            let (name, version) = chart.name.rsplit_once(':').unwrap_or((&chart.name, ""));
            let state = ChartState {
                version: version.to_owned(),
                sha256: chart.sha256.clone(),
            };
            (name.to_owned(), state)
        };
        let charts = |part: &ArchLock| part.charts.iter().map(chart).collect::<BTreeMap<_, _>>();
        ArchDifference {
            packages: PackageChanges::between(&old.packages, &new.packages),
            files: changes(&files(old), &files(new)),
            charts: changes(&charts(old), &charts(new)),
            images: changes(&images(old, new), &images(new, old)),
        }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        *self == ArchDifference::default()
    }

    fn lines(&self, arch: Arch) -> Vec<String> {
        let packages = &self.packages;
        let all = [&packages.up, &packages.down, &packages.rebuilt];
        let all = all.into_iter().chain([&packages.added, &packages.removed]);
        let mut lines: Vec<String> = all
            .flatten()
            .map(|change| line(arch, "package", change, String::clone))
            .collect();
        lines.sort();
        let path = |file: &FileState| file.path.clone();
        let version = |chart: &ChartState| chart.version.clone();
        let tag = |image: &ImageState| image.tag.clone();
        lines.extend(self.files.iter().map(|c| line(arch, "file", c, path)));
        lines.extend(self.charts.iter().map(|c| line(arch, "chart", c, version)));
        lines.extend(self.images.iter().map(|c| line(arch, "image", c, tag)));
        lines
    }
}

fn line<T>(arch: Arch, kind: &str, change: &Change<T>, show: impl Fn(&T) -> String) -> String {
    let name = &change.name;
    match (&change.before, &change.after) {
        (Some(was), Some(is)) => match (show(was), show(is)) {
            (was, is) if was == is => format!("{arch} {kind} {name} {is} has other bytes"),
            (was, is) => format!("{arch} {kind} {name} {was} -> {is}"),
        },
        (Some(was), None) => format!("{arch} {kind} {name} {} is gone", show(was)),
        (None, Some(is)) => format!("{arch} {kind} {name} {} is new", show(is)),
        (None, None) => format!("{arch} {kind} {name}"),
    }
}

impl PackageChanges {
    fn between(old: &[LockedPackage], new: &[LockedPackage]) -> Self {
        // Why a package is there does not change what is in an image.
        let state = |package: &LockedPackage| {
            let state = (package.version.clone(), package.sha256.clone());
            (package.name.clone(), state)
        };
        let states =
            |packages: &[LockedPackage]| packages.iter().map(state).collect::<BTreeMap<_, _>>();
        let mut sorted = PackageChanges::default();
        for change in changes(&states(old), &states(new)) {
            let list = match (&change.before, &change.after) {
                (Some((was, _)), Some((is, _))) => match version::compare(was, is) {
                    Ordering::Less => &mut sorted.up,
                    Ordering::Greater => &mut sorted.down,
                    Ordering::Equal => &mut sorted.rebuilt,
                },
                (None, _) => &mut sorted.added,
                (_, None) => &mut sorted.removed,
            };
            list.push(Change {
                name: change.name,
                before: change.before.map(|(version, _)| version),
                after: change.after.map(|(version, _)| version),
            });
        }
        sorted
    }
}

/// The images of `part`, by repository where both locks have at most one tag of it.
fn images(part: &ArchLock, other: &ArchLock) -> BTreeMap<String, ImageState> {
    let split = |image: &LockedImage| {
        // A digest stays with the tag that it pins.
        match Reference::parse(&image.name) {
            Ok(name) => {
                let repository = format!("{}/{}", name.registry, name.repository);
                let tag = image.name.get(repository.len() + 1..);
                (repository, tag.unwrap_or_default().to_owned())
            }
            Err(_) => {
                let name = image.name.rsplit_once(':').unwrap_or((&image.name, ""));
                (name.0.to_owned(), name.1.to_owned())
            }
        }
    };
    let count = |part: &ArchLock, repository: &str| {
        let same = part.images.iter().filter(|i| split(i).0 == repository);
        same.count()
    };
    let state = |image: &LockedImage| {
        let (repository, tag) = split(image);
        let alone = count(part, &repository) <= 1 && count(other, &repository) <= 1;
        let digest = match (&image.pulled, &image.composed) {
            (Some(pulled), _) => format!("sha256:{}", pulled.manifest.sha256),
            (None, composed) => {
                let parts = serde_json::to_value(composed).unwrap_or_default();
                digest::sha256(render::document(&parts).as_bytes())
            }
        };
        let state = ImageState {
            tag,
            digest,
            composed: image.composed.is_some(),
        };
        (
            if alone {
                repository
            } else {
                image.name.clone()
            },
            state,
        )
    };
    part.images.iter().map(state).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn lock(packages: &[(&str, &str)], files: &[(&str, &str)], images: &[(&str, &str)]) -> Lock {
        let package = |(name, version): &(&str, &str)| {
            json!({
                "name": name, "version": version, "architecture": "amd64", "archive": "debian",
                "path": "p", "size": 1, "sha256": digest::sha256(format!("{name} {version}").as_bytes()), "because": "profile",
            })
        };
        let file = |(to, path): &(&str, &str)| json!({"to": to, "source": "s", "path": path, "size": 1, "sha256": digest::sha256(path.as_bytes())});
        let image = |(name, bytes): &(&str, &str)| {
            json!({"name": name, "pulled": {
                "manifest": {"mediaType": "m", "size": 1, "sha256": digest::sha256(bytes.as_bytes())}, "blobs": [],
            }})
        };
        let part = json!({
            "packages": packages.iter().map(package).collect::<Vec<_>>(),
            "files": files.iter().map(file).collect::<Vec<_>>(),
            "images": images.iter().map(image).collect::<Vec<_>>(),
        });
        serde_json::from_value(json!({
            "version": 1, "profile": "p", "profileDigest": "d", "epoch": 0, "archives": [],
            "arch": {"amd64": part},
        }))
        .unwrap()
    }

    /// R032: what changed can be read.
    #[test]
    fn each_kind_of_change_is_told() {
        let old = lock(
            &[("a", "1"), ("b", "2"), ("c", "1:1"), ("d", "1")],
            &[("/f", "v1/f"), ("/g", "g")],
            &[
                ("r/x:1", "aa"),
                ("r/y:1", "bb"),
                ("r/z:1", "cc"),
                ("r/z:2", "dd"),
            ],
        );
        let new = lock(
            &[("a", "1"), ("b", "10"), ("c", "2"), ("e", "1")],
            &[("/f", "v2/f"), ("/g", "g")],
            &[
                ("r/x:2", "ab"),
                ("r/y:1", "bc"),
                ("r/z:2", "dd"),
                ("r/z:3", "ee"),
            ],
        );
        let found = Difference::between(&old, &new);
        let expected = [
            "amd64 package b 2 -> 10",
            "amd64 package c 1:1 -> 2",
            "amd64 package d 1 is gone",
            "amd64 package e 1 is new",
            "amd64 file /f v1/f -> v2/f",
            "amd64 image r/x 1 -> 2",
            "amd64 image r/y 1 has other bytes",
            "amd64 image r/z:1 1 is gone",
            "amd64 image r/z:3 3 is new",
        ];
        assert_eq!(found.lines(), expected);
        let packages = &found.arch[&Arch::Amd64].packages;
        let counts = [
            &packages.up,
            &packages.down,
            &packages.added,
            &packages.removed,
        ];
        assert_eq!(counts.map(Vec::len), [1, 1, 1, 1]);
        assert!(Difference::between(&old, &old).is_empty());
    }
}
