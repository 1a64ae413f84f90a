//! Gathers what is inside: from the lock, the root tree, the store and the boot files.

use super::{Inputs, boot, root};
use crate::contents::licence::{self, Licence};
use crate::contents::{Blob, ContainerImage, Contents, File, Kernel, LockedFile, Package};
use crate::debian::solve::LockedPackage;
use crate::digest;
use crate::images::config;
use crate::images::layout::Image;
use crate::lock;
use anyhow::Context;
use contract::paths;
use formats::tree::{Content, Kind, Node, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// Where packages keep their copyright files.
const COPYRIGHT: &str = "usr/share/doc";

pub(super) fn gather(
    inputs: &Inputs<'_>,
    root: &root::Assembled,
    images: Vec<ContainerImage>,
    firmware: &boot::Firmware,
    initrd: &Content,
) -> anyhow::Result<Contents> {
    let (firstboot, _) =
        digest::sha256_of(inputs.firstboot.reader()).context("reading firstboot")?;
    let mut owned: BTreeMap<&str, Vec<File>> = BTreeMap::new();
    let mut made = Vec::new();
    let files = &inputs.locked.files;
    let locked: BTreeSet<String> = files
        .iter()
        .filter_map(|file| root.tree.resolve(&file.to))
        .collect();
    for file in sizes(&root.tree, "") {
        match root.packages.owners.get(&file.path) {
            _ if locked.contains(&file.path) => {}
            Some(owner) => owned.entry(owner).or_default().push(file),
            None => made.push(file),
        }
    }
    let mut packages = Vec::with_capacity(inputs.locked.packages.len());
    for locked in &inputs.locked.packages {
        let files = owned.remove(locked.name.as_str()).unwrap_or_default();
        let mut package = package(locked, &root.tree, "", files)?;
        let controls = &root.packages.controls;
        if let Some(control) = controls
            .iter()
            .find(|control| control.package() == locked.name)
        {
            let field = |name: &str| control.fields.get(name).cloned();
            package.source = field("source");
            package.maintainer = field("maintainer");
            package.homepage = field("homepage");
        }
        packages.push(package);
    }
    let placed = |file: &lock::LockedFile| LockedFile {
        bytes: size_at(&root.tree, &file.to).unwrap_or(file.size),
        ..locked_file(file)
    };
    let configuration = format!("usr/lib/modules/{}/config", firmware.version);
    Ok(Contents {
        profile: inputs.profile.name.clone(),
        arch: inputs.arch,
        kubernetes: inputs.profile.kubernetes.clone(),
        epoch: inputs.epoch,
        lock: inputs.lock_digest.clone(),
        packages,
        files: files.iter().map(placed).collect(),
        programs: BTreeMap::from([(paths::FIRSTBOOT.to_owned(), firstboot)]),
        made,
        images,
        boot: firmware.files(initrd),
        kernel: Kernel {
            version: firmware.version.clone(),
            arguments: inputs.parts.kernel_arguments.clone(),
            configuration: text(&root.tree, &configuration)?.unwrap_or_default(),
        },
    })
}

/// A locked package with its licence, from its copyright file in the tree below `top`.
fn package(
    locked: &LockedPackage,
    tree: &Tree,
    top: &str,
    files: Vec<File>,
) -> anyhow::Result<Package> {
    let copyright = text(tree, &format!("{top}{COPYRIGHT}/{}/copyright", locked.name))?;
    let licence = copyright.map_or_else(Licence::default, |text| licence::parse(&text));
    Ok(Package {
        name: locked.name.clone(),
        version: locked.version.clone(),
        architecture: locked.architecture.clone(),
        sha256: locked.sha256.clone(),
        source: None,
        maintainer: None,
        homepage: None,
        licence,
        files,
    })
}

fn locked_file(file: &lock::LockedFile) -> LockedFile {
    LockedFile {
        path: file.to.clone(),
        from: file.path.clone(),
        sha256: file.sha256.clone(),
        bytes: file.size,
    }
}

/// What is inside the images of the store, whose layers are in `tree`.
pub(super) fn images(
    inputs: &Inputs<'_>,
    laid: &[Image],
    tree: &Tree,
) -> anyhow::Result<Vec<ContainerImage>> {
    let mut counted = BTreeSet::new();
    let mut images = Vec::with_capacity(laid.len());
    for (image, locked) in laid.iter().zip(&inputs.locked.images) {
        let gathering = || format!("listing image {}", locked.name);
        let config = image
            .blobs
            .first()
            .context("it has no config")
            .with_context(gathering)?;
        let text = config.content.to_vec().with_context(gathering)?;
        let diff_ids = config::parse(&text, inputs.arch)
            .with_context(gathering)?
            .rootfs
            .diff_ids;
        let tops = layers(tree, &diff_ids);
        let mut files = Vec::new();
        for top in &tops {
            if counted.insert(top.clone()) {
                files.extend(sizes(tree, top));
            }
        }
        let composed = locked.composed.as_ref();
        let packages = composed.map_or(&[][..], |composed| &composed.packages);
        let top = tops
            .first()
            .map(|top| format!("{top}/"))
            .unwrap_or_default();
        let package = |locked| package(locked, tree, &top, Vec::new());
        let blob = |blob: &crate::images::layout::Blob| Blob {
            media_type: blob.media_type.clone(),
            sha256: blob.sha256.clone(),
            bytes: blob.content.len(),
        };
        images.push(ContainerImage {
            name: locked.name.clone(),
            digest: format!("sha256:{}", image.manifest.sha256),
            blobs: std::iter::once(&image.manifest)
                .chain(&image.blobs)
                .map(blob)
                .collect(),
            packages: packages
                .iter()
                .map(package)
                .collect::<anyhow::Result<_>>()?,
            files: composed.map_or(Vec::new(), |composed| {
                composed.files.iter().map(locked_file).collect()
            }),
            layers: files,
        });
    }
    Ok(images)
}

/// Where an image's layers are in the store, the lowest first: each has a link by its chain ID (OCI image
/// specification 1.1, "Layer ChainID").
fn layers(store: &Tree, diff_ids: &[String]) -> Vec<String> {
    let mut chain = String::new();
    let mut tops = Vec::new();
    for diff_id in diff_ids {
        chain = match chain.as_str() {
            "" => diff_id.clone(),
            below => format!(
                "sha256:{}",
                digest::sha256(format!("{below} {diff_id}").as_bytes())
            ),
        };
        let name = chain.strip_prefix("sha256:").unwrap_or(&chain);
        tops.extend(store.resolve(&format!("{}/{name}", paths::STORE_CHAINS)));
    }
    tops
}

/// All regular files below a directory; their paths are relative to it.
fn sizes(tree: &Tree, top: &str) -> Vec<File> {
    let file = |(path, node): (String, &Node)| match &node.kind {
        Kind::File(content) => Some(File {
            path: path
                .trim_start_matches(top)
                .trim_start_matches('/')
                .to_owned(),
            bytes: content.len(),
        }),
        _ => None,
    };
    tree.descendants(top).filter_map(file).collect()
}

fn content<'a>(tree: &'a Tree, path: &str) -> Option<&'a Content> {
    match &tree.get(&tree.resolve(path)?)?.kind {
        Kind::File(content) => Some(content),
        _ => None,
    }
}

fn size_at(tree: &Tree, path: &str) -> Option<u64> {
    content(tree, path).map(Content::len)
}

/// The text of a file, if there is one; what is not UTF-8 in it is replaced.
fn text(tree: &Tree, path: &str) -> anyhow::Result<Option<String>> {
    let Some(content) = content(tree, path) else {
        return Ok(None);
    };
    let bytes = content
        .to_vec()
        .with_context(|| format!("reading {path}"))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
