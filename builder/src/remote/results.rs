//! Outputs of builds, by the digest of all that they were made of: who finds them need not build.
//!
//! ```text
//! cache-<64 hex>    a manifest; its first layer tells of the outputs, each other layer is one of them with its name,
//!                   compressed with zstd
//! ```
//!
//! A layer is held to the digest that the manifest gives, and the manifest is what the tag stands for. Nothing ties it to
//! the inputs but the word of whoever wrote it: who may write to the repository decides what others start. Hence results
//! are asked for only by those who say so.

use super::RemoteStore;
use crate::artifact::{PlannedManifest, TITLE, descriptor};
use crate::cache::Key;
use crate::digest::{self, HashWriter};
use crate::lock::LockedBlob;
use crate::output::Unfinished;
use crate::registry::document::Manifest;
use crate::registry::upload::{Bytes, Upload};
use anyhow::{Context, bail, ensure};
use formats::disk::Disk;
use formats::seekable_zstd;
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::Path;

/// `artifactType` of a manifest with the outputs of a build.
const TYPE: &str = "application/vnd.seedbed.outputs.v1";
/// Media type of what tells of the outputs.
const TOLD: &str = "application/vnd.seedbed.outputs.v1+json";
/// Media type of an output.
const FILE: &str = "application/vnd.seedbed.output.v1+zstd";
/// Most bytes that tell of outputs: an image of a hundred thousand files has a quarter of that.
const TOLD_LIMIT: u64 = 64 << 20;
/// Bytes that are written at once; where all of them are zeros, a hole is left.
const CHUNK: usize = 64 << 10;

/// Whose results count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Nobody's, and nobody is given any.
    #[default]
    Off,
    /// Those of whoever may write to the repository.
    Read,
    /// The same, and ours are given to others.
    ReadWrite,
}

/// Outputs that a remote store has.
#[derive(Clone, Debug)]
pub struct Found {
    /// What tells of them, as it was given to [`RemoteStore::share`].
    pub told: Vec<u8>,
    /// The outputs by name.
    files: BTreeMap<String, LockedBlob>,
}

/// One output to be shared.
#[derive(Clone, Debug)]
pub struct Output<'a> {
    /// Its name.
    pub name: &'a str,
    /// Where it is.
    pub file: &'a File,
    /// Where it has data, ascending.
    pub extents: Vec<Range<u64>>,
}

impl RemoteStore {
    /// The outputs of `key`, if it has any; what fails is said. `scratch` is a folder for unnamed files.
    pub fn find(&self, key: &Key, scratch: &Path) -> Option<Found> {
        if self.reads.too_many() {
            return None;
        }
        let tag = tag(key);
        match self.found(&tag, scratch) {
            Ok(found) => found,
            Err(error) => {
                self.unread(
                    &format!("reading the result {tag}"),
                    &error,
                    "it is built here",
                );
                None
            }
        }
    }

    /// Says that a result was not taken.
    pub fn refuse_result(&self, key: &Key, error: &anyhow::Error) {
        let what = format!("taking the result {}", tag(key));
        self.unread(&what, error, "it is built here");
    }

    fn found(&self, tag: &str, scratch: &Path) -> anyhow::Result<Option<Found>> {
        let Some(document) = self.registry.manifest(self.repository(), tag)? else {
            return Ok(None);
        };
        let manifest: Manifest =
            serde_json::from_slice(&document.bytes).context("reading the manifest")?;
        let kind = manifest.artifact_type.as_deref().unwrap_or_default();
        ensure!(kind == TYPE, "it is no result of a build, but {kind:?}");
        let (told, files) = manifest
            .layers
            .split_first()
            .context("the manifest names nothing")?;
        let told = told.locked()?;
        if told.size > TOLD_LIMIT {
            bail!("what tells of it has {} bytes", told.size);
        }
        let mut text = Vec::new();
        self.blob(&told, "what tells of a result", scratch)?
            .read_to_end(&mut text)
            .context("reading what tells of it")?;
        let files = files.iter().map(|layer| {
            let name = layer.annotations.get(TITLE);
            Ok((
                name.context("an output has no name")?.clone(),
                layer.locked()?,
            ))
        });
        Ok(Some(Found {
            told: text,
            files: files.collect::<anyhow::Result<_>>()?,
        }))
    }

    /// Writes the output `name` of `found` to `out`, which is empty; it has to have this size and SHA-256.
    ///
    /// # Errors
    /// It is not there, cannot be read, or is something else.
    pub fn take_output(
        &self,
        found: &Found,
        (name, size, sha256): (&str, u64, &str),
        out: &Unfinished,
        scratch: &Path,
    ) -> anyhow::Result<()> {
        let blob = found.files.get(name);
        let blob = blob.with_context(|| format!("{name} is not in it"))?;
        let packed = self.blob(blob, name, scratch)?;
        let unpacking = || format!("unpacking {name}");
        let plain = zstd::Decoder::new(packed);
        // One byte more tells that there are more.
        let plain = plain.with_context(unpacking)?.take(size.saturating_add(1));
        let (found, len) = write_sparse(plain, out.file()).with_context(unpacking)?;
        if (found.as_str(), len) != (sha256, size) {
            bail!(
                "{name} is not what the result says: expected sha256 {sha256}, {size} bytes; got {found}, {len} bytes"
            );
        }
        Ok(())
    }

    /// A blob in an unnamed file, verified, from its start.
    fn blob(&self, blob: &LockedBlob, what: &str, scratch: &Path) -> anyhow::Result<File> {
        let writing = || format!("writing a scratch file in {}", scratch.display());
        let mut file = tempfile::tempfile_in(scratch).with_context(writing)?;
        let to = (&file, &mut 0);
        self.registry
            .download(self.repository(), blob, to, what, None)?;
        file.rewind().with_context(writing)?;
        let (found, _) = digest::sha256_of(&mut file).with_context(writing)?;
        if found != blob.sha256 {
            let expected = &blob.sha256;
            bail!("the registry sent other bytes: expected sha256 {expected}, got {found}");
        }
        file.rewind().with_context(writing)?;
        Ok(file)
    }

    /// Gives others the outputs of `key` with what tells of them; gives the bytes that were sent. What fails is said.
    pub fn share(&self, key: &Key, told: &[u8], outputs: &[Output<'_>], scratch: &Path) -> u64 {
        if self.writes.too_many() {
            return 0;
        }
        let tag = tag(key);
        match self.shared(&tag, told, outputs, scratch) {
            Ok(bytes) => bytes,
            Err(error) => {
                self.unwritten(&format!("sending the result {tag}"), &error);
                0
            }
        }
    }

    fn shared(
        &self,
        tag: &str,
        told: &[u8],
        outputs: &[Output<'_>],
        scratch: &Path,
    ) -> anyhow::Result<u64> {
        let mut bytes = 0;
        self.send_config()?;
        let sha256 = digest::sha256(told);
        let blob = Upload {
            sha256: &sha256,
            bytes: Bytes::Here(told),
        };
        if self.send(&blob)? {
            bytes += told.len() as u64;
        }
        let mut layers = vec![descriptor(TOLD, &sha256, told.len() as u64)];
        for output in outputs {
            let name = output.name;
            let packed = pack(output, scratch).with_context(|| format!("packing {name}"))?;
            let (path, sha256, size) = (packed.file.path(), &packed.sha256, packed.size);
            let blob = Upload {
                sha256,
                bytes: Bytes::File(path, size),
            };
            if self
                .send(&blob)
                .with_context(|| format!("sending {name}"))?
            {
                bytes += size;
            }
            let mut layer = descriptor(FILE, sha256, size);
            layer["annotations"] = json!({TITLE: name});
            layers.push(layer);
        }
        let about = json!({"org.opencontainers.image.description": "outputs of a build"});
        let manifest = PlannedManifest::of(TYPE, layers, &about);
        let known = self.registry.manifest(self.repository(), tag)?;
        if known.is_some_and(|known| known.sha256 != manifest.sha256) {
            tracing::warn!(
                "remote store {} had another result {tag} than was built here from the same inputs, and it is replaced: \
                 find out who wrote it, and what has been started from it",
                self.place
            );
        }
        self.put(tag, &manifest)?;
        Ok(bytes)
    }
}

/// Tags have letters of both cases, digits, and few others: the key is hexadecimal.
fn tag(key: &Key) -> String {
    format!("cache-{key}")
}

/// An output as it is sent.
struct Packed {
    file: tempfile::NamedTempFile,
    sha256: String,
    size: u64,
}

fn pack(output: &Output<'_>, scratch: &Path) -> anyhow::Result<Packed> {
    let file = tempfile::NamedTempFile::new_in(scratch)?;
    let disk = Disk::with_extents(output.file, output.extents.clone())?;
    let mut out = HashWriter::new(BufWriter::with_capacity(1 << 20, file));
    seekable_zstd::write(&disk, &mut out)?;
    out.flush()?;
    let (out, sha256, size) = out.finish();
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    Ok(Packed { file, sha256, size })
}

/// Writes all that `plain` gives, with holes for zeros; gives its SHA-256 and its length.
fn write_sparse(mut plain: impl Read, mut file: &File) -> io::Result<(String, u64)> {
    let mut hash = HashWriter::new(io::sink());
    let mut buffer = vec![0; CHUNK];
    let mut len = 0;
    loop {
        let n = fill(&mut plain, &mut buffer)?;
        let piece = &buffer[..n];
        hash.write_all(piece)?;
        len += n as u64;
        if piece.iter().all(|byte| *byte == 0) {
            file.seek(SeekFrom::Current(n as i64))?;
        } else {
            file.write_all(piece)?;
        }
        if n < CHUNK {
            file.set_len(len)?;
            return Ok((hash.finish().1, len));
        }
    }
}

/// Reads until the buffer is full or there is no more.
fn fill(plain: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut at = 0;
    while at < buffer.len() {
        match plain.read(&mut buffer[at..])? {
            0 => break,
            n => at += n,
        }
    }
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{FileExt, MetadataExt};

    #[test]
    fn what_is_packed_comes_back_with_its_holes() {
        let dir = tempfile::tempdir().unwrap();
        let size = 5 * (1 << 20) + 7;
        let file = tempfile::tempfile_in(dir.path()).unwrap();
        file.set_len(size).unwrap();
        file.write_all_at(b"data", 2 << 20).unwrap();
        let output = Output {
            name: "disk",
            file: &file,
            extents: std::iter::once(2 << 20..(2 << 20) + 4096).collect(),
        };
        let packed = pack(&output, dir.path()).unwrap();
        let again = pack(&output, dir.path()).unwrap();
        assert_eq!(packed.sha256, again.sha256);
        assert!(packed.size < 4096);
        let back = tempfile::tempfile_in(dir.path()).unwrap();
        let plain = zstd::Decoder::new(packed.file.reopen().unwrap()).unwrap();
        let found = write_sparse(plain, &back).unwrap();
        let mut reader = &file;
        reader.rewind().unwrap();
        assert_eq!(found, digest::sha256_of(reader).unwrap());
        assert!(back.metadata().unwrap().blocks() * 512 < 1 << 20);
    }
}
