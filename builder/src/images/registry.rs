//! Pulls images from registries: at lock time their manifests, at fetch time their blobs.
//!
//! The OCI client is asynchronous; nothing outside this module is.

use crate::digest;
use crate::images::config;
use crate::images::reference::Reference;
use crate::lock::{LockedBlob, PulledImage};
use crate::progress::Progress;
use crate::store::{Partial, Store};
use crate::transport::retry_if;
use anyhow::{Context, bail};
use contract::partition::Arch;
use futures_util::StreamExt;
use oci_client::client::{BlobResponse, Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{OciDescriptor, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use std::io::{self, Write};

const ACCEPTED: [&str; 4] = [
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
];
/// Configs and manifests are small; a registry that sends more is not believed.
const DOCUMENT_LIMIT: i64 = 4 << 20;

/// A client for one registry host, or for the mirror that stands in for it.
pub struct Registry {
    client: Client,
    host: String,
    runtime: tokio::runtime::Runtime,
}

/// Why a registry did not give what it was asked for.
#[derive(Debug, thiserror::Error)]
enum PullError {
    /// It refused, or could not be reached.
    #[error("the registry does not give it")]
    Registry(#[source] OciDistributionError),
    /// The connection broke.
    #[error("the connection broke")]
    Read(#[source] io::Error),
    /// What came could not be kept.
    #[error("storing what the registry sent")]
    Store(#[source] io::Error),
}

impl PullError {
    fn is_passing(&self) -> bool {
        match self {
            PullError::Registry(OciDistributionError::ServerError { code, .. }) => {
                *code == 429 || *code >= 500
            }
            PullError::Registry(OciDistributionError::RequestError(error)) => !error.is_builder(),
            PullError::Registry(_) | PullError::Store(_) => false,
            PullError::Read(_) => true,
        }
    }
}

impl Registry {
    /// For the registry at `url`, such as `https://registry.k8s.io` or `http://127.0.0.1:5000`.
    pub fn open(url: &str) -> anyhow::Result<Self> {
        let (protocol, host) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(host), _) => (ClientProtocol::Https, host),
            (_, Some(host)) => (ClientProtocol::Http, host),
            _ => bail!("registry {url:?} is neither an https: nor an http: URL"),
        };
        // A second installation is refused, which means that one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        Ok(Registry {
            client: Client::new(ClientConfig {
                protocol,
                ..ClientConfig::default()
            }),
            host: host.trim_end_matches('/').to_owned(),
            runtime: runtime.context("starting the registry client")?,
        })
    }

    /// The manifest of `image` for `arch`, its config and its layers, by digest. Manifest and config are put
    /// into the store at once: they were read and checked here.
    pub fn lock(
        &self,
        image: &Reference,
        arch: Arch,
        store: &Store,
    ) -> anyhow::Result<PulledImage> {
        let tagged = self.manifest(&self.reference(image, None))?;
        let manifest = match serde_json::from_slice(&tagged).context("reading the manifest")? {
            OciManifest::Image(_) => tagged,
            OciManifest::ImageIndex(list) => {
                let fits = |platform: &oci_client::manifest::Platform| {
                    platform.os.to_string() == "linux"
                        && platform.architecture.to_string() == arch.as_str()
                };
                let mut entries = list.manifests.iter();
                let entry = entries.find(|entry| entry.platform.as_ref().is_some_and(fits));
                let entry =
                    entry.with_context(|| format!("the image has no manifest for linux/{arch}"))?;
                let bytes = self.manifest(&self.reference(image, Some(&entry.digest)))?;
                if format!("sha256:{}", digest::sha256(&bytes)) != entry.digest {
                    bail!(
                        "the registry's manifest is not the one that its index names, {}",
                        entry.digest
                    );
                }
                bytes
            }
        };
        let parsed: OciImageManifest =
            serde_json::from_slice(&manifest).context("reading the manifest")?;
        let media_type = parsed
            .media_type
            .clone()
            .unwrap_or_else(|| ACCEPTED[2].to_owned());
        let sha256 = digest::sha256(&manifest);
        save(store, &sha256, &manifest, &format!("manifest of {image}"))?;
        let blobs = std::iter::once(&parsed.config)
            .chain(&parsed.layers)
            .map(locked)
            .collect::<anyhow::Result<Vec<_>>>()?;
        if parsed.config.size > DOCUMENT_LIMIT {
            bail!("the config of {image} has {} bytes", parsed.config.size);
        }
        self.fetch_blob(image, &blobs[0], store, None)?;
        let config = std::io::read_to_string(store.open_verified(&blobs[0].sha256, "config")?)?;
        config::parse(config.as_bytes(), arch)?;
        let size = manifest.len() as u64;
        Ok(PulledImage {
            manifest: LockedBlob {
                media_type,
                size,
                sha256,
            },
            blobs,
        })
    }

    /// Brings all of a locked image into the store: its manifest, config and layers.
    pub fn fetch(
        &self,
        image: &Reference,
        pulled: &PulledImage,
        store: &Store,
        progress: &Progress,
    ) -> anyhow::Result<()> {
        let manifest = &pulled.manifest;
        if !store.has(&manifest.sha256, manifest.size) {
            let pinned = self.reference(image, Some(&format!("sha256:{}", manifest.sha256)));
            let bytes = self.manifest(&pinned)?;
            save(
                store,
                &manifest.sha256,
                &bytes,
                &format!("manifest of {image}"),
            )?;
        }
        for blob in &pulled.blobs {
            self.fetch_blob(image, blob, store, Some(progress))?;
        }
        Ok(())
    }

    fn fetch_blob(
        &self,
        image: &Reference,
        blob: &LockedBlob,
        store: &Store,
        progress: Option<&Progress>,
    ) -> anyhow::Result<()> {
        if store.has(&blob.sha256, blob.size) {
            return Ok(());
        }
        let what = format!("blob {} of {image}", blob.sha256);
        let mut partial = store.partial(&blob.sha256)?;
        if store.has(&blob.sha256, blob.size) {
            // Another fetch finished it while this one waited for the lock.
            return partial.discard();
        }
        if partial.len > blob.size {
            partial
                .restart()
                .with_context(|| format!("starting {what} again"))?;
        }
        if let Some(progress) = progress {
            progress.advance(partial.len);
        }
        retry_if(PullError::is_passing, || {
            let pulling = self.pull(image, blob, &mut partial, progress);
            self.runtime.block_on(pulling)
        })
        .with_context(|| format!("fetching {what} from {}", self.host))?;
        partial.commit(blob.size, &what)
    }

    /// Appends what `partial` lacks of a blob.
    async fn pull(
        &self,
        image: &Reference,
        blob: &LockedBlob,
        partial: &mut Partial,
        progress: Option<&Progress>,
    ) -> Result<(), PullError> {
        let left = blob.size.saturating_sub(partial.len);
        if left == 0 {
            return Ok(());
        }
        let reference = self.reference(image, None);
        // Under the name that the client looks it up by: Docker's registry has two.
        self.client
            .store_auth_if_needed(reference.resolve_registry(), &RegistryAuth::Anonymous)
            .await;
        let descriptor = OciDescriptor {
            digest: format!("sha256:{}", blob.sha256),
            ..OciDescriptor::default()
        };
        let response = match partial.len {
            0 => {
                let stream = self.client.pull_blob_stream(&reference, &descriptor).await;
                stream.map(BlobResponse::Full)
            }
            from => {
                self.client
                    .pull_blob_stream_partial(&reference, &descriptor, from, Some(left))
                    .await
            }
        };
        let mut stream = match response.map_err(PullError::Registry)? {
            BlobResponse::Partial(stream) => stream.stream,
            BlobResponse::Full(stream) => {
                partial.restart().map_err(PullError::Store)?;
                stream.stream
            }
        };
        while let Some(bytes) = stream.next().await {
            let bytes = bytes.map_err(PullError::Read)?;
            partial.file.write_all(&bytes).map_err(PullError::Store)?;
            partial.len += bytes.len() as u64;
            if let Some(progress) = progress {
                progress.advance(bytes.len() as u64);
            }
        }
        Ok(())
    }

    fn manifest(&self, reference: &oci_client::Reference) -> anyhow::Result<Vec<u8>> {
        let pulled = retry_if(PullError::is_passing, || {
            let asking =
                self.client
                    .pull_manifest_raw(reference, &RegistryAuth::Anonymous, &ACCEPTED);
            self.runtime.block_on(asking).map_err(PullError::Registry)
        });
        let (bytes, _) = pulled.with_context(|| format!("fetching manifest {reference}"))?;
        Ok(bytes.to_vec())
    }

    fn reference(&self, image: &Reference, digest: Option<&str>) -> oci_client::Reference {
        let (host, repository) = (self.host.clone(), image.repository.clone());
        match digest {
            Some(digest) => oci_client::Reference::with_digest(host, repository, digest.to_owned()),
            None => oci_client::Reference::with_tag(host, repository, image.tag.clone()),
        }
    }
}

fn locked(descriptor: &OciDescriptor) -> anyhow::Result<LockedBlob> {
    let digest = &descriptor.digest;
    let sha256 = digest
        .strip_prefix("sha256:")
        .filter(|hex| digest::is_sha256(hex));
    let sha256 = sha256
        .with_context(|| format!("digest {digest} is not a SHA-256"))?
        .to_owned();
    let size = u64::try_from(descriptor.size)
        .with_context(|| format!("blob {digest} has a negative size"))?;
    Ok(LockedBlob {
        media_type: descriptor.media_type.clone(),
        size,
        sha256,
    })
}

fn save(store: &Store, sha256: &str, bytes: &[u8], what: &str) -> anyhow::Result<()> {
    if store.has(sha256, bytes.len() as u64) {
        return Ok(());
    }
    let mut partial = store.partial(sha256)?;
    if store.has(sha256, bytes.len() as u64) {
        return partial.discard();
    }
    partial
        .restart()
        .and_then(|()| partial.file.write_all(bytes))
        .with_context(|| format!("storing {what}"))?;
    partial.commit(bytes.len() as u64, what)
}
