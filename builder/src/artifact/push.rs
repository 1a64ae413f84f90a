//! Sends an artifact: files that the registry has not, then manifests, and the tag last, so that the tag never
//! stands for something that is not all there.

use super::{ArtifactReference, EMPTY, Plan, PlannedManifest};
use crate::digest;
use crate::progress::Progress;
use crate::registry::Registry;
use crate::registry::upload::{Bytes, Upload};
use anyhow::Context;

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

/// Pushes what `plan` says to `target`, which has a tag, at its `registry`.
///
/// # Errors
/// The registry refuses or cannot be reached, a file cannot be read, or is not what was planned any more.
pub fn push(
    plan: &Plan,
    target: &ArtifactReference,
    registry: &Registry,
    progress: &Progress,
) -> anyhow::Result<Pushed> {
    let tag = target.tag.as_deref().context("the reference has no tag")?;
    let repository = target.repository.as_str();
    let mut sent = 0;
    let mut send = |what: &str, blob: &Upload<'_>| -> anyhow::Result<()> {
        let pushing = || format!("pushing {what} to {target}");
        let there = registry.has_blob(repository, blob.sha256);
        if !there.with_context(pushing)? {
            let put = registry.put_blob(repository, blob);
            put.with_context(pushing)?;
            sent += 1;
        }
        Ok(())
    };
    let (_, empty) = EMPTY;
    let config = Upload {
        sha256: &digest::sha256(empty),
        bytes: Bytes::Here(empty),
    };
    send("the config", &config)?;
    for file in &plan.files {
        let blob = Upload {
            sha256: &file.sha256,
            bytes: Bytes::File(&file.path, file.size),
        };
        send(&file.name, &blob)?;
        progress.advance(file.size);
        progress.finished(&file.name, file.size);
    }
    let put = |at: &str, manifest: &PlannedManifest| {
        let PlannedManifest {
            media_type, bytes, ..
        } = manifest;
        let put = registry.put_manifest(repository, at, media_type, bytes);
        put.with_context(|| format!("pushing a manifest to {target}"))
    };
    for manifest in &plan.manifests {
        put(&format!("sha256:{}", manifest.sha256), manifest)?;
    }
    put(tag, &plan.tagged)?;
    Ok(Pushed {
        digest: format!("sha256:{}", plan.tagged.sha256),
        sent,
        there: plan.files.len() + 1 - sent,
    })
}
