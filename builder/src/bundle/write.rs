//! Writes a bundle, from its beginning to its end.

use super::{BLOBS, INDEX, Index, PROFILE, folder};
use crate::digest::HashWriter;
use crate::fetch::{self, Named};
use crate::lock::{self, Lock, render};
use crate::profile::Profile;
use crate::store::Store;
use anyhow::{Context, bail};
use contract::partition::Arch;
use formats::tree::Kind;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};

/// Says what a bundle of `profile` and its `lock` will hold: everything for `arch`, but for what the lock `since` names
/// already.
///
/// # Errors
/// The store lacks some of it: all that is missing is named.
pub fn plan(
    profile: &Profile,
    lock: &Lock,
    arch: &[Arch],
    since: Option<&Lock>,
    store: &Store,
) -> anyhow::Result<Index> {
    let all = |lock: &Lock| fetch::everything(lock, arch);
    let before: BTreeSet<String> = since
        .into_iter()
        .flat_map(all)
        .map(|named| named.sha256)
        .collect();
    let (elsewhere, blobs): (Vec<Named>, Vec<Named>) = all(lock)
        .into_iter()
        .partition(|named| before.contains(&named.sha256));
    let missing = blobs.iter().filter(|b| !store.has(&b.sha256, b.size));
    let missing: Vec<String> = missing.map(Named::to_string).collect();
    if !missing.is_empty() {
        bail!(
            "{} blobs are not in the store, run `seedbed fetch {}`:\n  {}",
            missing.len(),
            profile.dir.display(),
            missing.join("\n  ")
        );
    }
    Ok(Index {
        version: 1,
        profile: profile.name.clone(),
        folder: String::new(),
        lock: lock::digest(lock),
        since: since.map(lock::digest),
        blobs,
        elsewhere,
    })
}

/// Writes the bundle that `index` plans, and completes the index. Every blob is verified on its way; equal profiles
/// and locks give equal bytes.
///
/// # Errors
/// A blob is damaged, or `out` fails: what was written is then no bundle.
pub fn write(
    out: impl Write,
    mut index: Index,
    profile: &Profile,
    lock: &Lock,
    store: &Store,
) -> anyhow::Result<Index> {
    let folder = folder::collect(profile)?;
    index.folder = folder.profile;
    let mut tar = Writer {
        tar: Builder::new(out),
        mtime: lock.epoch,
    };
    let text = render::document(&serde_json::to_value(&index)?);
    tar.file(INDEX, 0o644, text.len() as u64, text.as_bytes())?;
    let text = render::render(lock);
    tar.file(lock::FILE_NAME, 0o644, text.len() as u64, text.as_bytes())?;
    for (path, node) in folder.tree.iter().filter(|(path, _)| !path.is_empty()) {
        let (path, mode) = (format!("{PROFILE}{path}"), node.meta.mode);
        match &node.kind {
            Kind::Directory => tar.folder(&path)?,
            Kind::Symlink(target) => tar.link(&path, target)?,
            Kind::File(content) => {
                tar.file(&path, mode.into(), content.len(), content.reader())?;
            }
            _ => bail!("{path} is neither file, folder nor link"),
        }
    }
    for blob in &index.blobs {
        let path = store.path(&blob.sha256);
        let reading = || format!("reading {}", path.display());
        let file = File::open(&path).with_context(reading)?;
        let mut hashing = Hashing::new(file.take(blob.size));
        tar.file(
            &format!("{BLOBS}{}", blob.sha256),
            0o644,
            blob.size,
            &mut hashing,
        )?;
        let (found, len) = hashing.finish();
        if found != blob.sha256 || len != blob.size {
            bail!(
                "{} is damaged in the store: {} has sha256 {found}; remove it and run `seedbed fetch`",
                blob.name,
                path.display()
            );
        }
    }
    tar.tar.finish().context("ending the bundle")?;
    Ok(index)
}

/// A tar archive whose members differ in name, mode and bytes alone.
struct Writer<W: Write> {
    tar: Builder<W>,
    /// Of every member, in seconds since 1970.
    mtime: u64,
}

impl<W: Write> Writer<W> {
    fn header(&self, kind: EntryType, mode: u32, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(size);
        header.set_mtime(self.mtime);
        header.set_uid(0);
        header.set_gid(0);
        header
    }

    fn file(&mut self, path: &str, mode: u32, size: u64, bytes: impl Read) -> anyhow::Result<()> {
        let mut header = self.header(EntryType::Regular, mode, size);
        let added = self.tar.append_data(&mut header, path, bytes);
        added.with_context(|| format!("adding {path} to the bundle"))
    }

    fn folder(&mut self, path: &str) -> anyhow::Result<()> {
        let mut header = self.header(EntryType::Directory, 0o755, 0);
        let added = self
            .tar
            .append_data(&mut header, format!("{path}/"), io::empty());
        added.with_context(|| format!("adding {path} to the bundle"))
    }

    fn link(&mut self, path: &str, target: &str) -> anyhow::Result<()> {
        let mut header = self.header(EntryType::Symlink, 0o777, 0);
        let plain = Path::new(target).components().collect::<PathBuf>();
        let added = match header.set_link_name_literal(target) {
            Ok(()) => self.tar.append_data(&mut header, path, io::empty()),
            // A longer one goes into a member of its own, and the library rewrites what is not plain.
            Err(_) if plain.as_os_str() == target => {
                self.tar.append_link(&mut header, path, target)
            }
            Err(error) => Err(error),
        };
        added.with_context(|| format!("adding {path} to the bundle"))
    }
}

/// Passes bytes on and hashes them.
struct Hashing<R> {
    inner: R,
    hash: HashWriter<io::Sink>,
}

impl<R> Hashing<R> {
    fn new(inner: R) -> Self {
        Hashing {
            inner,
            hash: HashWriter::new(io::sink()),
        }
    }

    fn finish(self) -> (String, u64) {
        let (_, sha256, len) = self.hash.finish();
        (sha256, len)
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.hash.write_all(&buffer[..n])?;
        Ok(n)
    }
}
