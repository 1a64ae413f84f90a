//! Bakes images from a locked profile. No network, no privilege, no other program; equal inputs give equal
//! bytes.
//!
//! The order follows from who vouches for whom: the store's root hash goes into the root file system, the
//! root's into the kernel's command line, so that a signed kernel image vouches for everything.

mod artifact;
mod bios;
mod boot;
mod compressed;
mod contents;
mod medium;
mod member;
mod microcode;
mod outputs;
mod packages;
mod remote;
mod report;
mod root;
mod seed;
mod settings;
mod sign;
mod stages;
mod stamp;
mod store;

pub use outputs::Format;
pub(crate) use outputs::sums::Sums;
pub use report::Report;

use crate::blobs::Blobs;
use crate::build::packages::Packages;
use crate::build::stages::Stages;
use crate::build::stamp::Stamp;
use crate::cache::Cache;
use crate::cache::files::Kept;
use crate::contents::Contents;
use crate::fetch;
use crate::lock::{self, ArchLock, Lock};
use crate::profile::{Parts, Profile};
use crate::remote::RemoteStore;
use crate::rootfs::elf;
use crate::secure_boot::SecureBoot;
use crate::store::Store;
use crate::{digest, disk};
use anyhow::{Context, bail};
use contract::partition::{Arch, Role};
use formats::gpt::SectorSize;
use formats::tree::Content;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

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
    /// Where blobs come from that are not there.
    pub remote: Option<&'a RemoteStore>,
    /// What builds made before.
    pub cache: &'a Cache,
    /// The firstboot program for that architecture.
    pub firstboot: &'a Path,
    /// A seed for the SEED partition.
    pub seed: Option<&'a Path>,
    /// Who signs what firmware starts; nobody, without Secure Boot.
    pub secure_boot: Option<&'a SecureBoot>,
    /// What to write.
    pub formats: BTreeSet<Format>,
    /// The logical sectors of the disks that the image is for.
    pub sector_size: SectorSize,
    /// The folder to write to.
    pub out: &'a Path,
}

/// What every stage needs to know.
struct Inputs<'a> {
    profile: &'a Profile,
    /// What the profile says for this architecture.
    parts: Parts,
    arch: Arch,
    locked: &'a ArchLock,
    blobs: Blobs,
    packages: Packages,
    cache: &'a Cache,
    firstboot: Content,
    /// The lock's digest: identifiers and salts derive from it.
    lock_digest: String,
    /// Every time in the image is at most this, in seconds since 1970.
    epoch: i64,
    /// A folder for unnamed files.
    scratch: &'a Path,
}

impl Inputs<'_> {
    fn kept(&self) -> Kept<'_> {
        Kept {
            cache: self.cache,
            scratch: self.scratch,
        }
    }
}

/// A finished build.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Built {
    /// What it made.
    pub report: Report,
    /// What is inside.
    pub contents: Contents,
}

/// Builds everything that `request` asks for; nothing, if it is all there from the same inputs already.
pub fn build(request: &Request<'_>) -> anyhow::Result<Built> {
    let (profile, arch) = (request.profile, request.arch);
    let locked = request.lock.part(profile, arch)?;
    outputs::check(&request.formats, request.sector_size)?;
    let creating = || format!("creating {}", request.out.display());
    fs::create_dir_all(request.out).with_context(creating)?;

    let mut stages = Stages::start();
    let lock_digest = lock::digest(request.lock);
    let stamp = Stamp::of(request, &lock_digest)?;
    if let Some(mut built) = stamp.unchanged(request.cache) {
        let outputs = &built.report.outputs;
        Sums::open(outputs.keys())?.record(outputs)?;
        stages.done("compare");
        built.report.seconds = stages.finish();
        return Ok(built);
    }
    let scratch = tempfile::Builder::new()
        .prefix(".scratch-")
        .tempdir_in(request.out)
        .with_context(creating)?;
    let shared = remote::Outputs::of(request, &lock_digest, scratch.path())?;
    if let Some(mut built) = shared.as_ref().and_then(|shared| shared.take(request)) {
        stamp.keep(&built, request.cache, scratch.path())?;
        stages.done("remote store");
        built.report.seconds = stages.finish();
        return Ok(built);
    }
    let packages = Packages::cached(locked, request.cache);
    let mut items = fetch::plan(request.lock, &[arch]);
    items.retain(|item| !packages.has(&item.sha256));
    if let Some(remote) = request.remote {
        remote::take_blobs(remote, request, &items, &lock_digest);
        stages.done("remote store");
    }
    let mut inputs = Inputs {
        profile,
        parts: profile.parts(arch),
        arch,
        locked,
        blobs: Blobs::open(&items, request.store)?,
        packages,
        cache: request.cache,
        firstboot: firstboot(request.firstboot, arch)?,
        lock_digest: lock_digest.clone(),
        epoch: i64::try_from(request.lock.epoch).context("the lock's date is out of range")?,
        scratch: scratch.path(),
    };
    stages.done("verify");
    let (cache, blobs) = (request.cache, &inputs.blobs);
    let packages = &mut inputs.packages;
    packages.expand_rest(locked, blobs, cache, scratch.path())?;
    stages.done("packages");

    let plan = disk::plan(&profile.disk);
    let mut disk = artifact::Disk::create(&inputs, plan, request.sector_size, request.out)?;
    let seed = seed::tree(request.seed)?;
    disk.write_seed(&seed)?;
    let (store, root) = rayon::join(
        || store::write(&inputs, request.store, &disk),
        || root::assemble(&inputs),
    );
    let (store, mut root) = (store?, root?);
    disk.add(Role::Store, &store.partition);
    stages.done("store and root");
    let tree = &mut root.tree;
    root::add_manifest(tree, &inputs, &store.digests)?;
    root::add_veritytab(tree, &store.partition.root_hash, inputs.epoch)?;
    let firmware = boot::take(&inputs, tree)?;
    let (initrd, partition) = rayon::join(
        || boot::initrd(&inputs, &root.tree, &firmware),
        || disk.write_verified(Role::Root, &root.tree),
    );
    let (initrd, partition) = (initrd?, partition?);
    disk.add(Role::Root, &partition);
    stages.done("erofs and initrd");
    let root_hash = &partition.root_hash;
    let cmdline = boot::command_line(&digest::hex(root_hash), &inputs.parts.kernel_arguments);
    let mut esp = boot::esp(&inputs, &firmware, &initrd, &cmdline)?;
    if let Some(secure_boot) = request.secure_boot {
        sign::sign(&mut esp, secure_boot, scratch.path())?;
    }
    // GRUB's boot sector knows sectors of 512 bytes alone, and so does every BIOS.
    let mut grub = None;
    let parts = firmware.grub.as_ref();
    if let Some(parts) = parts.filter(|_| request.sector_size == SectorSize::B512) {
        let number = disk.number(Role::Esp);
        let core = bios::add(
            &inputs, parts, &firmware, &initrd, &cmdline, &mut esp, number,
        )?;
        disk.write_bios(parts, &core)?;
        grub = Some((parts, core));
    }
    disk.write_esp(&esp)?;
    disk.write_table()?;
    stages.done("partitions");
    let mut medium = None;
    if request.formats.contains(&Format::Iso) {
        medium = Some(medium::write(
            &disk,
            grub.as_ref().map(|(parts, core)| (*parts, core)),
            &esp,
            &seed,
            request.out,
        )?);
        stages.done("iso");
    }
    let mut report = disk.finish(medium, &request.formats, &mut stages)?;
    report.bytes.insert("initrd".into(), initrd.len());
    report.bytes.extend(store.bytes);
    report.root_hash = digest::hex(root_hash);
    report.store_hash = digest::hex(&store.partition.root_hash);
    let contents = contents::gather(&inputs, &root, store.contents, &firmware, &initrd)?;
    let mut built = Built { report, contents };
    stamp.keep(&built, request.cache, scratch.path())?;
    request.cache.trim()?;
    stages.done("keep");
    if let Some(shared) = &shared {
        shared.share(&built)?;
        stages.done("share");
    }
    built.report.seconds = stages.finish();
    Ok(built)
}

/// The firstboot program at `path`, which must be for `arch`: a machine that starts another ends in its initrd.
fn firstboot(path: &Path, arch: Arch) -> anyhow::Result<Content> {
    let content = open(path)?;
    let reading = || format!("reading {}", path.display());
    let header = content.slice(0, content.len().min(elf::HEADER as u64));
    let header = header.with_context(reading)?.to_vec();
    let header = header.with_context(reading)?;
    let machine = elf::File::parse(&header).map(|file| file.machine());
    if let Some(machine) = machine.filter(|machine| *machine != elf::machine(arch)) {
        bail!(
            "{} is a program for ELF machine {machine}, and {arch} is {}: give the right one by --firstboot {arch}=FILE",
            path.display(),
            elf::machine(arch)
        );
    }
    Ok(content)
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
