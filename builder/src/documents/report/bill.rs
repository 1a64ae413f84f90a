//! The bill of materials as rows of a table: packages, files, our own programs and container images, each where
//! it is.

use super::amount;
use crate::contents::{self, Contents, LockedFile, Package};
use crate::documents::{maintainer, purl, website};
use serde::Serialize;

/// What is in the root file system.
const ROOT: &str = "root";
/// What is in the store of container images.
const STORE: &str = "store";

/// A row of the bill of materials.
#[derive(Serialize)]
pub(super) struct Row {
    name: String,
    version: String,
    kind: &'static str,
    /// The file system or the container image that it is in.
    inside: String,
    licence: String,
    bytes: u64,
    /// Empty if it is not known apart from what it is in.
    size: String,
    /// Label and value.
    details: Vec<(&'static str, String)>,
}

/// Everything inside, by kind and name; what a container image was composed of follows it.
pub(super) fn rows(contents: &Contents) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    rows.extend(contents.packages.iter().map(|one| package(one, ROOT)));
    rows.extend(contents.files.iter().map(|one| file(one, ROOT)));
    rows.extend(contents.programs.iter().map(|(path, sha256)| {
        let name = path.trim_start_matches('/');
        let made = contents.made.iter().find(|file| file.path == name);
        let bytes = made.map_or(0, |file| file.bytes);
        Row {
            size: amount(bytes),
            bytes,
            details: vec![("SHA-256", sha256.clone())],
            ..row(path, "", "program", ROOT)
        }
    }));
    for image in &contents.images {
        let blobs: u64 = image.blobs.iter().map(|blob| blob.bytes).sum();
        let bytes = contents::bytes(&image.layers) + blobs;
        rows.push(Row {
            bytes,
            size: amount(bytes),
            details: vec![
                ("Digest", image.digest.clone()),
                ("Package URL", purl::oci(image)),
            ],
            ..row(&image.name, "", "container image", STORE)
        });
        rows.extend(image.packages.iter().map(|one| package(one, &image.name)));
        rows.extend(image.files.iter().map(|one| file(one, &image.name)));
    }
    rows
}

fn row(name: &str, version: &str, kind: &'static str, inside: &str) -> Row {
    Row {
        name: name.to_owned(),
        version: version.to_owned(),
        kind,
        inside: inside.to_owned(),
        licence: String::new(),
        bytes: 0,
        size: String::new(),
        details: Vec::new(),
    }
}

fn package(package: &Package, inside: &str) -> Row {
    let names = || package.licence.names.join(", ");
    let bytes = contents::bytes(&package.files);
    let known = |label, value: Option<&str>| Some((label, value?.to_owned()));
    let details = [
        known("Source", package.source.as_deref()),
        known("Maintainer", maintainer(package.maintainer.as_deref())),
        known("Homepage", website(package.homepage.as_deref())),
        known("SHA-256", Some(&package.sha256)),
        known("Package URL", Some(&purl::deb(package))),
    ];
    Row {
        licence: package.licence.expression.clone().unwrap_or_else(names),
        bytes,
        size: if package.files.is_empty() {
            String::new()
        } else {
            amount(bytes)
        },
        details: details.into_iter().flatten().collect(),
        ..row(&package.name, &package.version, "package", inside)
    }
}

fn file(file: &LockedFile, inside: &str) -> Row {
    let bytes = if inside == ROOT { file.bytes } else { 0 };
    Row {
        bytes,
        size: if inside == ROOT {
            amount(bytes)
        } else {
            String::new()
        },
        details: vec![
            ("From", file.from.clone()),
            ("SHA-256", file.sha256.clone()),
            ("Package URL", purl::generic(file)),
        ],
        ..row(
            &file.path,
            file.version().unwrap_or_default(),
            "file",
            inside,
        )
    }
}
