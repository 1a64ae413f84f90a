//! Sends an artifact: files that the registry has not, then manifests, and the tag last, so that the tag never
//! stands for something that is not all there.

use super::client::{Refusal, Registry};
use super::{ArtifactReference, EMPTY, Plan, PlannedFile, PlannedManifest};
use crate::digest;
use crate::progress::Progress;
use anyhow::Context;
use futures_util::stream;
use oci_client::RegistryOperation;
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use std::fs::File;
use std::io::{self, Read};

/// Bytes that are read and sent at once.
const CHUNK: usize = 1 << 20;

/// What a push did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pushed {
    /// Digest of the manifest or index that the tag stands for, `sha256:…`.
    pub digest: String,
    /// How many blobs were sent.
    pub sent: usize,
    /// How many blobs the registry had already.
    pub there: usize,
}

/// Pushes what `plan` says to `target`, which has a tag.
///
/// # Errors
/// The registry refuses or cannot be reached, a file cannot be read, or is not what was planned any more.
pub fn push(
    plan: &Plan,
    target: &ArtifactReference,
    auth: &RegistryAuth,
    progress: &Progress,
) -> anyhow::Result<Pushed> {
    let tag = target.tag.as_deref().context("the reference has no tag")?;
    let registry = Registry::open(target, auth, RegistryOperation::Push)?;
    let mut sent = 0;
    let (_, empty) = EMPTY;
    let empty_digest = format!("sha256:{}", digest::sha256(empty));
    let to = |what: &str| format!("pushing {what} to {target}");
    if !has(&registry, &empty_digest).with_context(|| to("the config"))? {
        let at = registry.at(tag);
        registry
            .ask(|client| client.push_blob(&at, empty.to_vec(), &empty_digest))
            .with_context(|| to("the config"))?;
        sent += 1;
    }
    for file in &plan.files {
        let digest = format!("sha256:{}", file.sha256);
        if has(&registry, &digest).with_context(|| to(&file.name))? {
            progress.advance(file.size);
        } else {
            registry
                .attempt(|| send(&registry, tag, file, &digest))
                .with_context(|| to(&file.name))?;
            progress.advance(file.size);
            sent += 1;
        }
        progress.finished(&file.name, file.size);
    }
    for manifest in &plan.manifests {
        let digest = format!("sha256:{}", manifest.sha256);
        put(&registry, &digest, manifest).with_context(|| to("a manifest"))?;
    }
    put(&registry, tag, &plan.tagged).with_context(|| to("the manifest"))?;
    Ok(Pushed {
        digest: format!("sha256:{}", plan.tagged.sha256),
        sent,
        there: plan.files.len() + 1 - sent,
    })
}

/// Whether the repository has a blob already.
fn has(registry: &Registry, digest: &str) -> anyhow::Result<bool> {
    let at = registry.at("latest");
    registry.ask(|client| client.blob_exists(&at, digest))
}

fn send(registry: &Registry, tag: &str, file: &PlannedFile, digest: &str) -> Result<(), Refusal> {
    let open = File::open(&file.path).map_err(Refusal::File)?;
    let chunks = Chunks {
        file: open,
        left: file.size,
    };
    let chunks = chunks.map(|chunk| chunk.map(Into::into).map_err(OciDistributionError::from));
    let at = registry.at(tag);
    let sending =
        registry
            .client
            .push_blob_stream(&at, stream::iter(chunks), digest, Some(file.size));
    registry
        .wait(sending)
        .map(|_| ())
        .map_err(Refusal::Registry)
}

fn put(registry: &Registry, at: &str, manifest: &PlannedManifest) -> anyhow::Result<()> {
    let at = registry.at(at);
    let media_type = reqwest::header::HeaderValue::from_static(manifest.media_type);
    registry
        .ask(|client| client.push_manifest_raw(&at, manifest.bytes.clone(), media_type.clone()))?;
    Ok(())
}

/// A file piece by piece.
struct Chunks {
    file: File,
    /// Bytes to come.
    left: u64,
}

impl Iterator for Chunks {
    type Item = io::Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.left == 0 {
            return None;
        }
        let size = usize::try_from(self.left).map_or(CHUNK, |left| left.min(CHUNK));
        let mut chunk = vec![0; size];
        let read = self.file.read_exact(&mut chunk);
        // After a failure there is nothing more to come.
        self.left = match read {
            Ok(()) => self.left - size as u64,
            Err(_) => 0,
        };
        Some(read.map(|()| chunk))
    }
}
