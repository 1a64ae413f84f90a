//! What changed between two locks, in sentences.

use crate::lock::Lock;
use std::collections::{BTreeMap, BTreeSet};

/// One line for each package, file or image that came, went or changed.
pub fn changes(old: &Lock, new: &Lock) -> Vec<String> {
    let (old, new) = (entries(old), entries(new));
    let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let change = |key: &String| match (old.get(key), new.get(key)) {
        (Some(was), Some(is)) if was == is => None,
        (Some((was, _)), Some((is, _))) if was == is => Some(format!("{key} has other bytes")),
        (Some((was, _)), Some((is, _))) => Some(format!("{key} {was} -> {is}")),
        (Some((was, _)), None) => Some(format!("{key} {was} is gone")),
        (None, Some((is, _))) => Some(format!("{key} {is} is new")),
        (None, None) => None,
    };
    keys.into_iter().filter_map(change).collect()
}

/// Version and digest of every entry, by what it is.
fn entries(lock: &Lock) -> BTreeMap<String, (String, String)> {
    let mut entries = BTreeMap::new();
    for (arch, part) in &lock.arch {
        for package in &part.packages {
            let value = (package.version.clone(), package.sha256.clone());
            entries.insert(format!("{arch} package {}", package.name), value);
        }
        for file in &part.files {
            entries.insert(
                format!("{arch} file {}", file.to),
                (file.path.clone(), file.sha256.clone()),
            );
        }
        for image in &part.images {
            let digest = match (&image.pulled, &image.composed) {
                (Some(pulled), _) => pulled.manifest.sha256.clone(),
                (None, Some(composed)) => {
                    let files = composed.files.iter().map(|file| file.sha256.as_str());
                    let packages = composed
                        .packages
                        .iter()
                        .map(|package| package.sha256.as_str());
                    files.chain(packages).collect::<Vec<_>>().join(" ")
                }
                (None, None) => String::new(),
            };
            entries.insert(
                format!("{arch} image {}", image.name),
                (String::new(), digest),
            );
        }
    }
    entries
}
