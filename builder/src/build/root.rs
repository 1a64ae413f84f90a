//! The root file system: packages, files and overlays, then the native steps that stand in for maintainer
//! scripts.

use super::{Inputs, kernel, member, settings};
use crate::overlay::{self, SlotSizes, Variables};
use crate::rootfs;
use crate::secure_boot::SecureBoot;
use crate::{digest, disk};
use anyhow::Context;
use contract::manifest::Manifest;
use contract::partition::Role;
use contract::paths;
use formats::tree::{Kind, Metadata, Node, Tree};
use std::collections::BTreeMap;

/// The root file system and what is known of its packages.
pub(super) struct Assembled {
    pub(super) tree: Tree,
    pub(super) packages: rootfs::Packages,
    /// The kernel's release.
    pub(super) kernel: String,
}

/// The whole tree but for what depends on the store: the manifest and `/etc/veritytab`. With `secure_boot` the kernel
/// has to take every module that is signed so.
pub(super) fn assemble(
    inputs: &Inputs<'_>,
    secure_boot: Option<&SecureBoot>,
) -> anyhow::Result<Assembled> {
    let parts = &inputs.parts;
    let debs = inputs.packages.of(&inputs.locked.packages)?;
    let (mut tree, packages) = rootfs::unpack_all(&debs, &parts.exclude, &parts.scripts)?;
    for file in &inputs.locked.files {
        let entry = parts.files.iter().find(|entry| entry.to == file.to);
        let mode = entry.map_or("0755", |entry| entry.mode.as_str());
        let mode = u16::from_str_radix(mode, 8)
            .with_context(|| format!("mode {mode:?} of {} is not octal", file.to))?;
        put(
            &mut tree,
            &file.to,
            mode,
            member::content(inputs, file)?,
            inputs.epoch,
        )?;
    }
    settings::apply(&mut tree, parts, inputs)?;
    for dir in &parts.overlays {
        let over = overlay::read(dir, &variables(inputs), inputs.epoch)?;
        overlay::lay(&mut tree, &over)?;
    }
    put(
        &mut tree,
        paths::FIRSTBOOT,
        0o755,
        inputs.firstboot.clone(),
        inputs.epoch,
    )?;
    let kernel = kernel::release(&tree, &packages.owners)?;
    let (arch, epoch) = (inputs.arch, inputs.epoch);
    rootfs::configure_all(&mut tree, &packages, arch, epoch, inputs.kept())?;
    kernel::check_loaded(&tree, &kernel, &parts.modules)?;
    if let Some(secure_boot) = secure_boot {
        let certificate = secure_boot.signer().certificate();
        let (owners, kept) = (&packages.owners, inputs.kept());
        kernel::check_signatures(&tree, owners, &kernel, certificate, kept)?;
    }
    settings::make_homes(&mut tree, &parts.users, epoch)?;
    Ok(Assembled {
        tree,
        packages,
        kernel,
    })
}

/// Puts what the image says of itself into it.
pub(super) fn add_manifest(
    tree: &mut Tree,
    inputs: &Inputs<'_>,
    images: &BTreeMap<String, String>,
) -> anyhow::Result<()> {
    let manifest = manifest(inputs, images)?;
    let text =
        serde_json::to_string_pretty(&manifest).context("writing the image's manifest")? + "\n";
    put(
        tree,
        paths::MANIFEST,
        0o644,
        text.into_bytes(),
        inputs.epoch,
    )
}

/// Makes the store of this image, and no other, the one that the machine opens.
pub(super) fn add_veritytab(
    tree: &mut Tree,
    store_hash: &[u8; 32],
    epoch: i64,
) -> anyhow::Result<()> {
    let half = |from: usize| {
        contract::guid::Guid::from_bytes(std::array::from_fn(|i| store_hash[from + i]))
    };
    let line = format!(
        "store PARTUUID={} PARTUUID={} {}\n",
        half(0),
        half(16),
        digest::hex(store_hash)
    );
    put(tree, "/etc/veritytab", 0o644, line.into_bytes(), epoch)
}

/// What overlays' templates can say.
pub(super) fn variables(inputs: &Inputs<'_>) -> Variables {
    let plan = disk::plan(&inputs.profile.disk);
    let size = |role| plan.slot(role).size;
    Variables {
        profile: inputs.profile.name.clone(),
        arch: inputs.arch,
        kubernetes: inputs.profile.kubernetes.clone(),
        pause: inputs.profile.pause.clone(),
        slot: SlotSizes {
            root: size(Role::Root),
            root_verity: size(Role::RootVerity),
            store: size(Role::Store),
            store_verity: size(Role::StoreVerity),
        },
    }
}

fn manifest(inputs: &Inputs<'_>, images: &BTreeMap<String, String>) -> anyhow::Result<Manifest> {
    let (firstboot, _) =
        digest::sha256_of(inputs.firstboot.reader()).context("reading firstboot")?;
    Ok(Manifest {
        version: 1,
        profile: inputs.profile.name.clone(),
        arch: inputs.arch,
        epoch: u64::try_from(inputs.epoch).context("the lock's date is before 1970")?,
        lock: inputs.lock_digest.clone(),
        kubernetes: inputs.profile.kubernetes.clone(),
        pause: inputs.profile.pause.clone(),
        image_repository: inputs.profile.image_repository.clone(),
        images: images.clone(),
        partitions: disk::plan(&inputs.profile.disk).partitions(),
        programs: BTreeMap::from([(paths::FIRSTBOOT.to_owned(), firstboot)]),
    })
}

/// Puts a file of root at its path, links on the way followed.
pub(super) fn put(
    tree: &mut Tree,
    path: &str,
    mode: u16,
    content: impl Into<formats::tree::Content>,
    epoch: i64,
) -> anyhow::Result<()> {
    let resolved = tree
        .resolve(path)
        .with_context(|| format!("{path} is below a loop of links"))?;
    let meta = Metadata {
        mtime: epoch,
        ..Metadata::root(mode)
    };
    let node = Node {
        kind: Kind::File(content.into()),
        meta,
    };
    tree.insert(&resolved, node)
        .with_context(|| format!("placing {path}"))
}
