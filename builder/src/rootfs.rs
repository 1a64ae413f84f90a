//! From verified packages and overlays to the root file tree. No package script ever runs.
//!
//! ```text
//! .deb -expand-> expanded package -unpack-> Unpacked -merge-> Tree -(files, overlays)-> configure_all -> Tree
//! ```
//!
//! [`unpack::expand`] decompresses a package, which is worth keeping between builds.
//! [`unpack_all`] gives the tree as the archives describe it, and stops at a maintainer script that nothing
//! stands for. The caller lays its own files and overlays over the tree, then [`configure_all`] runs the
//! native steps, which leave in place what an overlay has put there.

pub mod catalog;
mod conf_files;
pub mod configure;
pub mod deb;
pub mod elf;
pub mod hwdb;
pub mod ldcache;
pub mod libraries;
pub mod merge;
pub mod modules;
pub mod scripts;
mod string_pool;
pub mod unpack;

use crate::cache::files::{Kept, NamedFile};
use crate::profile::file::ScriptEntry;
use crate::rootfs::configure::System;
use crate::rootfs::deb::Control;
use crate::rootfs::merge::Rules;
use crate::rootfs::modules::ModuleError;
use crate::rootfs::scripts::Report;
use anyhow::Context;
use contract::partition::Arch;
use formats::tree::{Content, Tree};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// What is known of the packages in a tree.
#[derive(Clone, Debug)]
pub struct Packages {
    /// Control data in name order.
    pub controls: Vec<Control>,
    /// What stands for each maintainer script.
    pub report: Report,
    /// Which package each path of the tree is from, as merged; directories are nobody's.
    pub owners: BTreeMap<String, String>,
}

/// Unpacks [expanded](unpack::expand) packages, given by name, into one tree, without what `exclude` names. It
/// is an error if a maintainer script is covered neither by a native step nor by an entry of `scripts`.
pub fn unpack_all(
    debs: &[(String, Content)],
    exclude: &[String],
    scripts: &[ScriptEntry],
) -> anyhow::Result<(Tree, Packages)> {
    let (tree, packages) = unpack_unchecked(debs, exclude, scripts)?;
    packages.report.require_covered()?;
    Ok((tree, packages))
}

/// As [`unpack_all`], but scripts that nothing stands for are only told in the report.
pub fn unpack_unchecked(
    debs: &[(String, Content)],
    exclude: &[String],
    scripts: &[ScriptEntry],
) -> anyhow::Result<(Tree, Packages)> {
    let unpack = |(name, expanded): &(String, Content)| {
        let unpacked =
            unpack::read(expanded).with_context(|| format!("unpacking package {name}"))?;
        let found = unpacked.control.package();
        anyhow::ensure!(found == name, "package {name} calls itself {found}");
        Ok(unpacked)
    };
    let mut unpacked: Vec<_> = debs.par_iter().map(unpack).collect::<anyhow::Result<_>>()?;
    unpacked.sort_by(|a, b| a.control.package().cmp(b.control.package()));
    let rules = Rules {
        exclude,
        diversions: &[],
    };
    let merged = merge::merge(&unpacked, rules).context("merging the packages")?;
    let mut controls: Vec<Control> = unpacked.into_iter().map(|one| one.control).collect();
    let report = scripts::classify(&controls, scripts);
    scripts::leave_out(&mut controls, &report);
    let packages = Packages {
        controls,
        report,
        owners: merged.owners,
    };
    Ok((merged.tree, packages))
}

/// Runs the native steps on a tree whose overlays are laid: those that stand for maintainer scripts, then
/// units by the presets, then the stamps. `epoch` is the time that everything made here carries; what takes
/// long to make comes from `kept`, if it is there.
pub fn configure_all(
    tree: &mut Tree,
    packages: &Packages,
    arch: Arch,
    epoch: i64,
    kept: Kept<'_>,
) -> anyhow::Result<()> {
    let mut system = System {
        tree,
        controls: &packages.controls,
        epoch,
    };
    configure::configure(&mut system)?;
    configure::enable_units(&mut system).context("enabling units")?;
    // Caches made of the whole tree belong here: behind everything they are made of, before the stamps.
    let tree: &Tree = system.tree;
    let (indexes, hardware) = rayon::join(
        || module_indexes(tree, kept),
        || hardware_database(tree, kept).context("making the hardware database"),
    );
    let indexes = indexes.map_err(|error| with_package(error, &packages.owners))?;
    for (version, files) in indexes {
        modules::place_index(system.tree, &version, files)?;
    }
    if let Some(database) = hardware? {
        hwdb::place(system.tree, database)?;
    }
    ldcache::write(system.tree, arch).context("making the loader's cache")?;
    catalog::write(system.tree).context("making the message catalog")?;
    configure::mark_updated(&mut system).context("stamping /etc and /var as up to date")
}

/// The index files of every kernel's modules, by its version.
fn module_indexes(tree: &Tree, kept: Kept<'_>) -> anyhow::Result<Vec<(String, Vec<NamedFile>)>> {
    let index = |version: String| {
        let files = modules::kept::index(tree, &version, kept);
        let files = files.with_context(|| format!("indexing the modules of kernel {version}"))?;
        Ok((version, files))
    };
    modules::versions(tree).into_iter().map(index).collect()
}

/// The hardware database, which a build before may have made of the same files.
fn hardware_database(tree: &Tree, kept: Kept<'_>) -> anyhow::Result<Option<Vec<u8>>> {
    let sources = hwdb::sources(tree);
    let mut key = kept.cache.key("hardware database");
    for (path, content) in &sources {
        key = key.with(path).with_content(content)?;
    }
    let files = kept.files(&key.key(), || {
        let database = hwdb::render(&sources)?;
        Ok(database
            .map(|bytes| ("hwdb.bin".to_owned(), bytes))
            .into_iter()
            .collect())
    })?;
    Ok(files.into_iter().next().map(|(_, bytes)| bytes))
}

/// Says which package brings the module that an error is about.
fn with_package(error: anyhow::Error, owners: &BTreeMap<String, String>) -> anyhow::Error {
    let mut causes = error.chain();
    let module = causes.find_map(|cause| cause.downcast_ref::<ModuleError>());
    let package = module.and_then(|module| owners.get(module.path()?));
    match package {
        Some(package) => error.context(format!("reading a module of package {package}")),
        None => error,
    }
}

/// The tree of a container image: packages with their accounts, certificates and links, but nothing that
/// only a booting machine needs, and no word about scripts, whose services do not run there.
pub fn for_container(debs: &[(String, Content)]) -> anyhow::Result<Tree> {
    let exclude = [
        "usr/share/doc",
        "usr/share/man",
        "usr/share/info",
        "usr/share/locale",
    ];
    let (mut tree, packages) = unpack_unchecked(debs, &exclude.map(str::to_owned), &[])?;
    let mut system = System {
        tree: &mut tree,
        controls: &packages.controls,
        epoch: 0,
    };
    configure::for_container(&mut system)?;
    Ok(tree)
}
