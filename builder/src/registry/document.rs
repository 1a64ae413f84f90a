//! Documents that registries keep, as far as they matter here: indexes and manifests of the OCI image specification 1.1,
//! and Docker's, which differ in media types only.

use crate::digest;
use crate::lock::LockedBlob;
use anyhow::{Context, anyhow, bail};
use contract::partition::Arch;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Media types of documents that list manifests.
pub const INDEXES: [&str; 2] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
];
/// Media types of manifests.
pub const MANIFESTS: [&str; 2] = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Configs and manifests are small; a registry that sends more is not believed.
pub const DOCUMENT_LIMIT: u64 = 4 << 20;

/// A manifest or an index.
#[derive(Clone, Debug)]
pub struct Document {
    /// The bytes, as they are hashed.
    pub bytes: Vec<u8>,
    /// SHA-256 of the bytes, hexadecimal.
    pub sha256: String,
    /// The media type.
    pub media_type: String,
}

impl Document {
    /// What a registry sent under the tag or digest `reference`, with the media type of its header.
    pub(super) fn sent(
        bytes: Vec<u8>,
        header: Option<String>,
        reference: &str,
    ) -> anyhow::Result<Self> {
        let sha256 = digest::sha256(&bytes);
        if let Some(wanted) = reference.strip_prefix("sha256:")
            && wanted != sha256
        {
            bail!("the registry sent other bytes: expected sha256 {wanted}, got {sha256}");
        }
        // The document knows best; manifests of OCI may leave it to the header.
        let parsed: serde_json::Value =
            serde_json::from_slice(&bytes).map_err(|e| anyhow!(e).context("it is not JSON"))?;
        let own = parsed["mediaType"].as_str().map(str::to_owned);
        let header =
            header.map(|text| text.split(';').next().unwrap_or_default().trim().to_owned());
        let known =
            |text: &String| INDEXES.contains(&text.as_str()) || MANIFESTS.contains(&text.as_str());
        let media_type = own.or(header).unwrap_or_default();
        if !known(&media_type) {
            bail!("it is neither a manifest nor an index of version 2, but {media_type:?}");
        }
        Ok(Document {
            bytes,
            sha256,
            media_type,
        })
    }

    /// Whether it lists manifests.
    pub fn is_index(&self) -> bool {
        INDEXES.contains(&self.media_type.as_str())
    }

    /// What a lock says of it.
    pub fn locked(&self) -> LockedBlob {
        LockedBlob {
            media_type: self.media_type.clone(),
            size: self.bytes.len() as u64,
            sha256: self.sha256.clone(),
        }
    }
}

/// An index.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Index {
    #[serde(default)]
    pub(crate) manifests: Vec<Descriptor>,
}

/// A manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Manifest {
    /// What it is, if it is no container image.
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    #[serde(default)]
    pub(crate) layers: Vec<Descriptor>,
}

impl Manifest {
    /// What a lock says of its config, which is the first, and of its layers.
    pub(crate) fn blobs(&self) -> anyhow::Result<Vec<LockedBlob>> {
        let all = std::iter::once(&self.config).chain(&self.layers);
        all.map(Descriptor::locked).collect()
    }
}

/// What another document says of a blob.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    pub(crate) media_type: String,
    pub(crate) digest: String,
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// The machine that a manifest is for.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Platform {
    architecture: String,
    os: String,
}

impl Descriptor {
    /// What a lock says of the blob.
    pub(crate) fn locked(&self) -> anyhow::Result<LockedBlob> {
        let hex = self.digest.strip_prefix("sha256:");
        let hex = hex.filter(|hex| digest::is_sha256(hex));
        let sha256 = hex.with_context(|| format!("digest {} is not a SHA-256", self.digest))?;
        Ok(LockedBlob {
            media_type: self.media_type.clone(),
            size: self.size,
            sha256: sha256.to_owned(),
        })
    }

    /// Whether it is for Linux on `arch`.
    pub(crate) fn is_for(&self, arch: Arch) -> bool {
        let fits = |p: &Platform| p.os == "linux" && p.architecture == arch.as_str();
        self.platform.as_ref().is_some_and(fits)
    }
}
