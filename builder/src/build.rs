//! Bakes images from a locked profile. No network, no privilege, no other program; equal inputs give equal
//! bytes.
//!
//! The order follows from who vouches for whom: the store's root hash goes into the root file system, the
//! root's into the kernel's command line, so that a signed kernel image vouches for everything.

mod artifact;
mod boot;
mod contents;
mod member;
mod report;
mod root;
mod seed;
mod stages;
mod store;

pub use report::Report;

use crate::blobs::Blobs;
use crate::contents::Contents;
use crate::fetch;
use crate::lock::{self, ArchLock, Lock};
use crate::profile::Profile;
use crate::store::Store;
use crate::{digest, disk};
use anyhow::Context;
use contract::partition::{Arch, Role};
use formats::tree::Content;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

/// A file format of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Format {
    /// A disk image, sparse.
    Raw,
    /// The same for QEMU and private clouds.
    Qcow2,
}

impl Format {
    /// The format of a name, as [`crate::inspect::Report`] has it.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "raw" => Some(Format::Raw),
            "qcow2" => Some(Format::Qcow2),
            _ => None,
        }
    }
}

/// What to build.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The profile.
    pub profile: &'a Profile,
    /// Its lock.
    pub lock: &'a Lock,
    /// The architecture to build for.
    pub arch: Arch,
    /// Where the lock's blobs are.
    pub store: &'a Store,
    /// The firstboot program for that architecture.
    pub firstboot: &'a Path,
    /// A seed for the SEED partition.
    pub seed: Option<&'a Path>,
    /// What to write.
    pub formats: BTreeSet<Format>,
    /// The folder to write to.
    pub out: &'a Path,
}

/// What every stage needs to know.
struct Inputs<'a> {
    profile: &'a Profile,
    arch: Arch,
    locked: &'a ArchLock,
    blobs: Blobs,
    firstboot: Content,
    /// The lock's digest: identifiers and salts derive from it.
    lock_digest: String,
    /// Every time in the image is at most this, in seconds since 1970.
    epoch: i64,
    /// A folder for unnamed files.
    scratch: &'a Path,
}

/// A finished build.
#[derive(Debug)]
pub struct Built {
    /// What it made.
    pub report: Report,
    /// What is inside.
    pub contents: Contents,
}

/// Builds everything that `request` asks for.
pub fn build(request: &Request<'_>) -> anyhow::Result<Built> {
    let (profile, arch) = (request.profile, request.arch);
    let locked = request.lock.arch.get(&arch);
    let locked =
        locked.with_context(|| format!("the lock of {} has nothing for {arch}", profile.name))?;
    let creating = || format!("creating {}", request.out.display());
    fs::create_dir_all(request.out).with_context(creating)?;
    let scratch = tempfile::Builder::new()
        .prefix(".scratch-")
        .tempdir_in(request.out)
        .with_context(creating)?;

    let mut stages = stages::Stages::start();
    let blobs = Blobs::open(&fetch::plan(request.lock, &[arch]), request.store)?;
    let inputs = Inputs {
        profile,
        arch,
        locked,
        blobs,
        firstboot: open(request.firstboot)?,
        lock_digest: lock::digest(request.lock),
        epoch: i64::try_from(request.lock.epoch).context("the lock's date is out of range")?,
        scratch: scratch.path(),
    };
    stages.done("verify");
    let store = store::layout(&inputs, request.store)?;
    stages.done("images");
    let mut root = root::assemble(&inputs, &store.digests)?;
    stages.done("root");
    let firmware = boot::take(&inputs, &mut root.tree)?;
    let initrd = boot::initrd(&inputs, &root.tree, &firmware)?;
    stages.done("initrd");
    let contents = contents::gather(&inputs, &root, &store, &firmware, &initrd)?;

    let plan = disk::plan(&profile.disk);
    let mut disk = artifact::Disk::create(&inputs, plan, request.out)?;
    disk.write_seed(&seed::tree(request.seed)?)?;
    let store_hash = disk.write_verified(Role::Store, &store.tree)?;
    stages.done("store");
    root::add_veritytab(&mut root.tree, &store_hash, inputs.epoch)?;
    let root_hash = disk.write_verified(Role::Root, &root.tree)?;
    stages.done("erofs");
    disk.write_esp(&boot::esp(&inputs, &firmware, &initrd, &root_hash)?)?;
    disk.write_table()?;
    let mut report = disk.finish(&request.formats)?;
    stages.done("write");
    report.bytes.insert("initrd".into(), initrd.len());
    let parts = store.bytes.map(|(part, bytes)| (part.to_owned(), bytes));
    report.bytes.extend(parts);
    report.root_hash = digest::hex(&root_hash);
    report.store_hash = digest::hex(&store_hash);
    report.seconds = stages.finish();
    Ok(Built { report, contents })
}

fn open(path: &Path) -> anyhow::Result<Content> {
    let opening = || format!("opening {}", path.display());
    let file = File::open(path).with_context(opening)?;
    let len = file.metadata().with_context(opening)?.len();
    Ok(Content::Slice {
        file: Arc::new(file),
        offset: 0,
        len,
    })
}
