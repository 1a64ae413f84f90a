//! The profile: what to bake. [`ProfileFile`](file::ProfileFile) is the YAML as people write it; a
//! [`Profile`] exists only if every value in it makes sense.
//!
//! Reading a profile resolves nothing and touches no network: see [`crate::lock`].

pub mod file;

use crate::images::reference::Reference;
use crate::profile::file::{FileEntry, ImageEntry, ProfileFile, SourceFile};
use anyhow::Context;
use contract::document::{self, Document, Faults};
use contract::partition::Arch;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// FAT32 has a least number of clusters; in MiB.
const LEAST_ESP: u64 = 264;
/// No partition of an image is anywhere near as large: 16 TiB, in MiB.
const MOST_MIB: u64 = 1 << 24;

/// A validated profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The folder that holds `profile.yaml`; relative paths in it start here.
    pub dir: PathBuf,
    /// SHA-256 of the profile's text: a lock belongs to one text.
    pub digest: String,
    /// The name, used in file names of outputs.
    pub name: String,
    /// Architectures to bake for.
    pub arch: Vec<Arch>,
    /// Where content comes from, by name.
    pub sources: BTreeMap<String, SourceFile>,
    /// The Kubernetes version, with its leading `v`.
    pub kubernetes: String,
    /// Prefix of the control-plane images.
    pub image_repository: String,
    /// Packages asked for by name; their dependencies follow.
    pub packages: Vec<String>,
    /// Files taken from sources into the root file system.
    pub files: Vec<FileEntry>,
    /// Container images of the store.
    pub images: Vec<ImageEntry>,
    /// The pause image's reference: one of `images`.
    pub pause: String,
    /// Folders laid over the root file system, in order.
    pub overlays: Vec<PathBuf>,
    /// Folders laid over the initial RAM disk, in order.
    pub initrd_overlays: Vec<PathBuf>,
    /// Path prefixes left out of the root file system.
    pub exclude: Vec<String>,
    /// Maintainer scripts that no native step covers, each with a reason why nothing is lost.
    pub scripts: Vec<crate::profile::file::ScriptEntry>,
    /// Arguments appended to the kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// Sizes of the partitions.
    pub disk: file::DiskFile,
}

/// Reads and validates `DIR/profile.yaml`.
pub fn read(dir: &Path) -> anyhow::Result<Profile> {
    let path = dir.join("profile.yaml");
    let text = std::fs::read_to_string(&path)
        .with_context(|| format!("reading profile {}", path.display()))?;
    Ok(parse(dir, &path.display().to_string(), &text)?)
}

/// Parses and validates a profile's text; `name` stands in messages, `dir` is where its paths start.
pub fn parse(dir: &Path, name: &str, text: &str) -> Result<Profile, Faults> {
    let document: Document<ProfileFile> = document::parse(name, text)?;
    validate(&document)?;
    let file = document.value;
    Ok(Profile {
        dir: dir.to_owned(),
        digest: crate::digest::hex(&Sha256::digest(text)),
        overlays: file
            .overlays
            .iter()
            .map(|overlay| dir.join(overlay))
            .collect(),
        initrd_overlays: file
            .initrd_overlays
            .iter()
            .map(|overlay| dir.join(overlay))
            .collect(),
        name: file.name,
        arch: file.arch,
        sources: file.sources,
        kubernetes: file.kubernetes.version,
        image_repository: file.kubernetes.image_repository,
        pause: file.kubernetes.pause,
        packages: file.packages,
        files: file.files,
        images: file.images,
        exclude: file.exclude,
        scripts: file.scripts,
        kernel_arguments: file.kernel_arguments,
        disk: file.disk,
    })
}

fn validate(document: &Document<ProfileFile>) -> Result<(), Faults> {
    let file = &document.value;
    let mut faults = Vec::new();
    let mut fault = |path: String, message: String, hint: &str| {
        faults.push(document.fault(&path, message, Some(hint.to_owned())));
    };
    if file.version != 1 {
        fault(
            "version".into(),
            format!("version {} is not known", file.version),
            "this seedbed reads version 1",
        );
    }
    if !is_label(&file.name) {
        let message = format!("{:?} cannot be part of a file name", file.name);
        fault(
            "name".into(),
            message,
            "use lower-case letters, digits and dashes",
        );
    }
    if file.arch.is_empty() {
        fault(
            "arch".into(),
            "no architecture is named".into(),
            "write arch: [amd64]",
        );
    }
    if !file.kubernetes.version.starts_with('v') {
        let message = format!("{:?} has no leading v", file.kubernetes.version);
        fault(
            "kubernetes.version".into(),
            message,
            "write it as upstream does, such as v1.20.2",
        );
    }
    for (i, entry) in file.files.iter().enumerate() {
        check_source(file, &entry.from, &format!("files[{i}].from"), &mut fault);
        if !entry.to.starts_with('/') || entry.to.split('/').any(|part| part == "..") {
            let message = format!("{:?} is not an absolute path", entry.to);
            fault(
                format!("files[{i}].to"),
                message,
                "name the file's place in the root file system",
            );
        }
        if u16::from_str_radix(&entry.mode, 8).map_or(true, |mode| mode > 0o7777) {
            let message = format!("mode {:?} is not octal", entry.mode);
            fault(
                format!("files[{i}].mode"),
                message,
                "write permission bits such as 0755",
            );
        }
    }
    let disk = &file.disk;
    for (key, size, least) in [
        ("esp", disk.esp, LEAST_ESP),
        ("root", disk.root, 1),
        ("store", disk.store, 1),
    ] {
        if !(least..=MOST_MIB).contains(&size) {
            fault(
                format!("disk.{key}"),
                format!("{key} cannot have {size} MiB"),
                &format!("choose a size from {least} to {MOST_MIB} MiB"),
            );
        }
    }
    let mut names = BTreeSet::new();
    for (i, image) in file.images.iter().enumerate() {
        if !names.insert(&image.name) {
            let message = format!("image {} is listed twice", image.name);
            fault(
                format!("images[{i}].name"),
                message,
                "take one of them away",
            );
        }
        if let Err(error) = Reference::parse(&image.name) {
            fault(
                format!("images[{i}].name"),
                error.to_string(),
                "write REGISTRY/PATH:TAG",
            );
        }
        for (to, entry) in image.from.iter().flat_map(|from| &from.files) {
            check_source(
                file,
                &entry.from,
                &format!("images[{i}].from.files.{to}.from"),
                &mut fault,
            );
        }
    }
    if !names.contains(&file.kubernetes.pause) {
        let message = format!(
            "the pause image {} is not among the images",
            file.kubernetes.pause
        );
        fault("kubernetes.pause".into(), message, "list it below images:");
    }
    document.faults(faults)
}

fn check_source(
    file: &ProfileFile,
    source: &str,
    path: &str,
    fault: &mut impl FnMut(String, String, &str),
) {
    if !file.sources.contains_key(source) {
        let known: Vec<&str> = file.sources.keys().map(String::as_str).collect();
        let message = format!("source {source:?} is not declared");
        fault(
            path.to_owned(),
            message,
            &format!("declare it below sources:; there are: {}", known.join(", ")),
        );
    }
}

fn is_label(text: &str) -> bool {
    let known = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    !text.is_empty() && text.len() <= 63 && text.chars().all(known) && !text.starts_with('-')
}
