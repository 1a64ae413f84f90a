//! The profile's own `.deb` files: read as records to resolve over, and compared with the lock ever after.
//!
//! They lie beside the profile and are in no archive, so that nobody signs for them: their digest in the lock is
//! what they are held to.

use crate::debian::packages::{self, Package};
use crate::debian::solve::{LockedPackage, Request};
use crate::digest;
use crate::lock::Lock;
use crate::profile::Profile;
use crate::profile::package::OWN;
use crate::rootfs::deb;
use anyhow::{Context, bail};
use contract::partition::Arch;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// `.deb` files, by their path relative to the profile.
#[derive(Clone, Debug, Default)]
pub struct OwnPackages {
    /// Each as a paragraph of a `Packages` index.
    texts: BTreeMap<String, String>,
}

impl OwnPackages {
    /// Reads the file at `path` below the profile's folder.
    pub fn add(&mut self, folder: &Path, path: &str, arch: Arch) -> anyhow::Result<()> {
        let reading = || format!("reading package {path} of the profile");
        let text = record(folder, path).with_context(reading)?;
        let parsed = packages::parse(&text).with_context(reading)?;
        let architecture = parsed.first().map_or("", |package| package.architecture);
        if ![arch.as_str(), "all"].contains(&architecture) {
            bail!(
                "package {path} of the profile is for {architecture}, and the image for {arch}: \
                 write {path} [{architecture}]"
            );
        }
        self.texts.insert(path.to_owned(), text);
        Ok(())
    }

    /// The files as records of an archive.
    pub fn records(&self) -> anyhow::Result<Vec<Package<'_>>> {
        let mut records = Vec::new();
        for text in self.texts.values() {
            records.extend(packages::parse(text)?);
        }
        Ok(records)
    }

    /// Asks for the package in the file at `path`, and no other.
    pub fn request(&self, path: &str) -> anyhow::Result<Request> {
        let text = self.texts.get(path).map_or("", String::as_str);
        let parsed = packages::parse(text)?;
        let package = parsed.first().with_context(|| format!("{path} is empty"))?;
        Ok(Request {
            name: package.name.to_owned(),
            version: Some(package.version.to_owned()),
            archive: Some(OWN.to_owned()),
        })
    }
}

/// What an archive's index would say of the file.
fn record(folder: &Path, path: &str) -> anyhow::Result<String> {
    let mut file = File::open(folder.join(path))?;
    let (sha256, size) = digest::sha256_of(&mut file)?;
    let content = formats::tree::Content::Slice {
        file: Arc::new(file),
        offset: 0,
        len: size,
    };
    let control = deb::read_control(&deb::open(&content)?.control()?)?;
    let text = control.text.trim_end();
    Ok(format!(
        "{text}\nFilename: {path}\nSize: {size}\nSHA256: {sha256}\n"
    ))
}

/// Refuses a lock if one of the profile's own files is another than the one that was locked. A file that is not
/// there any more is no fault here: the store may have it.
pub fn verify(profile: &Profile, lock: &Lock) -> anyhow::Result<()> {
    let mut changed = Vec::new();
    for package in lock.arch.values().flat_map(|part| {
        let composed = part.images.iter().flat_map(|image| &image.composed);
        let composed = composed.flat_map(|image| &image.packages);
        part.packages.iter().chain(composed)
    }) {
        if package.archive == OWN && !is_as_locked(profile, package)? {
            changed.push(format!(
                "{} ({} {}) is not the file that was locked",
                package.path, package.name, package.version
            ));
        }
    }
    changed.sort();
    changed.dedup();
    if !changed.is_empty() {
        bail!(
            "{}: bring back what was there, or run `seedbed lock {}`",
            changed.join("\n"),
            profile.dir.display()
        );
    }
    Ok(())
}

fn is_as_locked(profile: &Profile, package: &LockedPackage) -> anyhow::Result<bool> {
    let path = profile.dir.join(&package.path);
    match fs::metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(true),
        Ok(meta) if meta.len() != package.size => Ok(false),
        _ => {
            let reading = || format!("reading {}", path.display());
            let (sha256, _) = digest::sha256_of(File::open(&path).with_context(reading)?)
                .with_context(reading)?;
            Ok(sha256 == package.sha256)
        }
    }
}
