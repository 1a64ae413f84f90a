//! Whether everything that a build would write is there already, made of the same inputs.

use super::{Built, Request, open};
use crate::cache::{Cache, Key, KeyParts};
use crate::overlay;
use anyhow::Context;
use formats::cpio;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Stands for all inputs of a build and for where its outputs go.
pub(super) struct Stamp(Key);

/// What is kept of a finished build.
#[derive(Serialize, Deserialize)]
struct Kept {
    built: Built,
    /// The outputs as they were left.
    files: BTreeMap<PathBuf, State>,
}

/// What changes when somebody writes to a file, as far as its file system tells.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct State {
    inode: u64,
    size: u64,
    /// Seconds and nanoseconds of the last change of its bytes, and of anything else about it.
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// The stamp of `request`, of whose lock the digest is known. Reads every input that no digest stands for.
    pub(super) fn of(request: &Request<'_>, lock_digest: &str) -> anyhow::Result<Self> {
        let out = request.out.canonicalize();
        let out = out.with_context(|| format!("opening {}", request.out.display()))?;
        let settings = (
            request.profile,
            request.arch,
            &request.formats,
            request.sector_size,
            out,
        );
        // A key is compared only with keys that this very program made, so any complete rendering will do.
        let key = request.cache.key("build").with(lock_digest);
        let key = with_files(request, key.with(format!("{settings:?}")))?;
        Ok(Stamp(key.key()))
    }

    /// The build that left the outputs as they are, if it had the same inputs.
    pub(super) fn unchanged(&self, cache: &Cache) -> Option<Built> {
        let bytes = cache.get(&self.0)?.to_vec().ok()?;
        let kept: Kept = serde_json::from_slice(&bytes).ok()?;
        let as_left = |(path, state): (&PathBuf, &State)| {
            fs::metadata(path).is_ok_and(|meta| State::of(&meta) == *state)
        };
        let mut built = kept.built;
        built.report.unchanged = true;
        kept.files.iter().all(as_left).then_some(built)
    }

    /// Remembers what the build left.
    pub(super) fn keep(&self, built: &Built, cache: &Cache, scratch: &Path) -> anyhow::Result<()> {
        let state = |path: &PathBuf| {
            let meta = fs::metadata(path);
            let meta = meta.with_context(|| format!("reading {}", path.display()))?;
            anyhow::Ok((path.clone(), State::of(&meta)))
        };
        let kept = Kept {
            built: built.clone(),
            files: built
                .report
                .outputs
                .keys()
                .map(state)
                .collect::<Result<_, _>>()?,
        };
        cache.put(&self.0, scratch, |out| {
            Ok(serde_json::to_writer(out, &kept)?)
        })?;
        Ok(())
    }
}

/// The key of a build's outputs, wherever profile and outputs are: hosts that share results agree on it. Every path in the
/// profile stands for what is there, and the profile's text for the rest.
pub(super) fn shared_key(request: &Request<'_>, lock_digest: &str) -> anyhow::Result<Key> {
    let key = request.cache.key("shared outputs").with(lock_digest);
    let settings = (request.arch, &request.formats, request.sector_size);
    let key = key.with(&request.profile.digest);
    Ok(with_files(request, key.with(format!("{settings:?}")))?.key())
}

/// Adds every input that no digest stands for.
fn with_files(request: &Request<'_>, mut key: KeyParts) -> anyhow::Result<KeyParts> {
    let parts = request.profile.parts(request.arch);
    for dir in parts.overlays.iter().chain(&parts.initrd_overlays) {
        key = key.with(folder(dir)?);
    }
    for path in &parts.certificates {
        let reading = || format!("reading certificate {}", path.display());
        key = key.with(fs::read(path).with_context(reading)?);
    }
    let reading = || format!("reading {}", request.firstboot.display());
    key = key
        .with_content(&open(request.firstboot)?)
        .with_context(reading)?;
    if let Some(seed) = request.seed {
        key = key.with(fs::read(seed).with_context(|| format!("reading {}", seed.display()))?);
    }
    for input in request.secure_boot.iter().flat_map(|by| by.inputs()) {
        key = key.with(input);
    }
    Ok(key)
}

impl State {
    fn of(meta: &fs::Metadata) -> Self {
        State {
            inode: meta.ino(),
            size: meta.size(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// A digest of everything in an overlay's folder that can reach an image.
fn folder(dir: &Path) -> anyhow::Result<String> {
    let tree = overlay::read_unrendered(dir)?;
    let mut hash = crate::digest::HashWriter::new(std::io::sink());
    cpio::write(&tree, &mut hash, cpio::Padding::Word)
        .with_context(|| format!("reading overlay {}", dir.display()))?;
    Ok(hash.finish().1)
}
