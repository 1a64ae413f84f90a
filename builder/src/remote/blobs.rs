//! Blobs of a lock: taken by digest, and given to the next host.

use super::{Place, RemoteStore, each, lock};
use crate::artifact::{PlannedManifest, descriptor};
use crate::fetch::Named;
use crate::lock::LockedBlob;
use crate::progress::{Progress, size};
use crate::registry::is_absent;
use crate::registry::upload::{Bytes, Upload};
use crate::store::Store;
use contract::partition::Arch;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// `artifactType` of a manifest that keeps the blobs of a lock.
const LOCK_TYPE: &str = "application/vnd.seedbed.lock.v1";
/// Media type of every blob, whatever it is: a registry that knew better would want to check what it refers to.
const BLOB: &str = "application/octet-stream";
/// Digits of a lock's digest in its tag.
const TAG_DIGITS: usize = 16;

/// What came from a remote store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Taken {
    /// Blobs that were missing here.
    pub missing: usize,
    /// Blobs that came.
    pub blobs: usize,
    /// Bytes that came.
    pub bytes: u64,
    /// Blobs that it does not have.
    pub absent: usize,
}

impl Taken {
    /// What happened, for people; `place` is where the remote store is.
    pub fn told(&self, place: &Place) -> String {
        let Taken {
            missing,
            blobs,
            bytes,
            absent,
        } = *self;
        match missing {
            0 => format!("no blob is missing; {place} is not asked for any"),
            _ => format!(
                "{blobs} of {missing} missing blobs came from {place} ({}); it does not have {absent}",
                size(bytes)
            ),
        }
    }
}

/// What a remote store was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Kept {
    /// Blobs that were sent.
    pub blobs: usize,
    /// Bytes that were sent.
    pub bytes: u64,
}

impl RemoteStore {
    /// Brings what `store` lacks of `wanted`, as far as it is there. What fails is said, and left to others.
    pub fn take(&self, wanted: &[Named], store: &Store) -> Taken {
        let lacks = |named: &&Named| store.lacks(&named.sha256, named.size);
        let missing: Vec<&Named> = wanted.iter().filter(lacks).collect();
        if missing.is_empty() {
            return Taken::default();
        }
        let total = missing.iter().map(|named| named.size).sum();
        let progress = Progress::new(self.mode, "remote", missing.len(), total);
        let (blobs, bytes, absent) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        each(&missing, |named| {
            if self.reads.too_many() {
                return;
            }
            match self.fetch(named, store, &progress) {
                Ok(()) => {
                    blobs.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(named.size, Ordering::Relaxed);
                    progress.finished(&named.name, named.size);
                }
                Err(error) if is_absent(&error) => {
                    absent.fetch_add(1, Ordering::Relaxed);
                    lock(&self.absent).insert(named.sha256.clone());
                }
                Err(error) => self.unread(&named.to_string(), &error, "it is looked for elsewhere"),
            }
        });
        progress.close();
        Taken {
            missing: missing.len(),
            blobs: blobs.into_inner(),
            bytes: bytes.into_inner(),
            absent: absent.into_inner(),
        }
    }

    fn fetch(&self, named: &Named, store: &Store, progress: &Progress) -> anyhow::Result<()> {
        let blob = LockedBlob {
            media_type: BLOB.to_owned(),
            size: named.size,
            sha256: named.sha256.clone(),
        };
        let (repository, what) = (self.repository(), &named.name);
        self.registry
            .fetch_blob(repository, &blob, store, what, Some(progress))
    }

    /// Gives it what it lacks of `blobs`, which are all that the lock with this digest names for `arch`, and then the
    /// manifest that names them. What fails is said, and then there is no manifest.
    pub fn keep(
        &self,
        (profile, lock_digest): (&str, &str),
        arch: Arch,
        blobs: &[Named],
        store: &Store,
    ) -> Kept {
        let short = &lock_digest[..TAG_DIGITS.min(lock_digest.len())];
        let tag = format!("lock-{short}-{arch}");
        let manifest = manifest((profile, lock_digest), arch, blobs);
        let mut kept = Kept::default();
        if self.reads.too_many() {
            return kept;
        }
        match self.is_kept(&tag, &manifest, blobs) {
            Ok(false) => {}
            Ok(true) => return kept,
            Err(error) => {
                self.unread(
                    &format!("reading the manifest {tag}"),
                    &error,
                    "nothing is sent",
                );
                return kept;
            }
        }
        let total = blobs.iter().map(|named| named.size).sum();
        let progress = Progress::new(self.mode, "share", blobs.len(), total);
        let (sent, bytes, failed) = (AtomicUsize::new(0), AtomicU64::new(0), AtomicUsize::new(0));
        each(blobs, |named| {
            if self.writes.too_many() {
                failed.fetch_add(1, Ordering::Relaxed);
                return;
            }
            let path = store.path(&named.sha256);
            let upload = Upload {
                sha256: &named.sha256,
                bytes: Bytes::File(&path, named.size),
            };
            match self.send(&upload) {
                Ok(true) => {
                    sent.fetch_add(1, Ordering::Relaxed);
                    bytes.fetch_add(named.size, Ordering::Relaxed);
                    progress.finished(&named.name, named.size);
                }
                Ok(false) => {}
                Err(error) => {
                    failed.fetch_add(1, Ordering::Relaxed);
                    self.unwritten(&format!("sending {named}"), &error);
                }
            }
            progress.advance(named.size);
        });
        progress.close();
        kept.blobs = sent.into_inner();
        kept.bytes = bytes.into_inner();
        let failed = failed.into_inner();
        if failed > 0 {
            tracing::warn!(
                "remote store {} lacks {failed} of the {} blobs of this lock, and nothing keeps the others there: run `seedbed fetch` again",
                self.place,
                blobs.len()
            );
            return kept;
        }
        let put = self.send_config().and_then(|_| self.put(&tag, &manifest));
        if let Err(error) = put {
            self.unwritten(&format!("writing the manifest {tag}"), &error);
        }
        kept
    }

    /// Whether the manifest is there, and nothing that it names turned out to be missing.
    fn is_kept(
        &self,
        tag: &str,
        manifest: &PlannedManifest,
        blobs: &[Named],
    ) -> anyhow::Result<bool> {
        let absent = lock(&self.absent);
        if blobs.iter().any(|named| absent.contains(&named.sha256)) {
            return Ok(false);
        }
        drop(absent);
        let found = self.registry.manifest(self.repository(), tag)?;
        Ok(found.is_some_and(|found| found.sha256 == manifest.sha256))
    }

    pub(super) fn put(&self, tag: &str, manifest: &PlannedManifest) -> anyhow::Result<()> {
        let (media_type, bytes) = (manifest.media_type, &manifest.bytes);
        self.registry
            .put_manifest(self.repository(), tag, media_type, bytes)
    }
}

/// Names every blob: the same bytes on every host.
fn manifest((profile, lock): (&str, &str), arch: Arch, blobs: &[Named]) -> PlannedManifest {
    let layer = |named: &Named| descriptor(BLOB, &named.sha256, named.size);
    let layers: Vec<Value> = blobs.iter().map(layer).collect();
    let about = json!({
        "org.opencontainers.image.description":
            format!("blobs of profile {profile} for {arch}, lock {lock}"),
    });
    PlannedManifest::of(LOCK_TYPE, layers, &about)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest;

    #[test]
    fn a_lock_is_kept_by_one_manifest() {
        let named = |name: &str| Named {
            name: name.to_owned(),
            size: name.len() as u64,
            sha256: digest::sha256(name.as_bytes()),
        };
        let blobs = [named("a"), named("bc")];
        let made = || manifest(("demo", "0123"), Arch::Arm64, &blobs);
        assert_eq!(made(), made());
        let value: Value = serde_json::from_slice(&made().bytes).unwrap();
        assert_eq!(value["artifactType"], LOCK_TYPE);
        let digests: Vec<&Value> = value["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| &layer["digest"])
            .collect();
        let expected = blobs.map(|named| json!(format!("sha256:{}", named.sha256)));
        assert_eq!(digests, expected.iter().collect::<Vec<_>>());
        let other = manifest(("demo", "0123"), Arch::Amd64, &blobs);
        assert_ne!(other.sha256, made().sha256);
    }
}
