//! Takes an artifact's files out of a registry. Each has its name only when all of it is there and verified; what is
//! there already is not taken again.

use super::client::{Refusal, Registry};
use super::{ARTIFACT_TYPE, ArtifactReference, INDEX, MANIFEST, TITLE, is_file_name};
use crate::digest::{self, HashWriter};
use crate::output::Unfinished;
use anyhow::{Context, bail};
use contract::partition::Arch;
use futures_util::StreamExt;
use oci_client::RegistryOperation;
use oci_client::manifest::{OciDescriptor, OciImageIndex, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};

/// Manifests are small; a registry that sends more is not believed.
const MANIFEST_LIMIT: usize = 4 << 20;

/// What a pull did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Digest of what the reference stands for, `sha256:…`.
    pub digest: String,
    /// The files, by name.
    pub files: Vec<PathBuf>,
    /// How many of them were there already.
    pub there: usize,
}

/// Pulls the artifact at `reference` into the folder `out`, of all architectures or of `arch` alone.
///
/// # Errors
/// The registry refuses or cannot be reached, it sends something else than the digests say, the artifact holds no
/// image of ours, or a file of that name but other contents is in the way.
pub fn pull(
    reference: &ArtifactReference,
    arch: Option<Arch>,
    out: &Path,
    auth: &RegistryAuth,
) -> anyhow::Result<Pulled> {
    let registry = Registry::open(reference, auth, RegistryOperation::Pull)?;
    let named = reference.digest.as_deref().or(reference.tag.as_deref());
    let named = named.context("the reference has neither tag nor digest")?;
    let pulling = || format!("pulling {reference}");
    let bytes = manifest(&registry, auth, named).with_context(pulling)?;
    let digest = format!("sha256:{}", digest::sha256(&bytes));
    if reference
        .digest
        .as_ref()
        .is_some_and(|wanted| *wanted != digest)
    {
        bail!("{reference}: the registry sent another manifest, {digest}");
    }
    let parsed = serde_json::from_slice(&bytes).context("reading the manifest");
    let manifests = match parsed.with_context(pulling)? {
        OciManifest::Image(manifest) => vec![manifest],
        OciManifest::ImageIndex(index) => {
            listed(&registry, auth, &index, arch).with_context(pulling)?
        }
    };
    let layers = files(&manifests).with_context(pulling)?;
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let mut pulled = Pulled {
        digest,
        files: Vec::with_capacity(layers.len()),
        there: 0,
    };
    for (name, layer) in &layers {
        let path = out.join(name);
        if is_there(&path, layer)? {
            pulled.there += 1;
        } else {
            take(&registry, named, layer, &path)
                .with_context(|| format!("pulling {name} of {reference}"))?;
        }
        pulled.files.push(path);
    }
    Ok(pulled)
}

/// The manifests of an index for `arch`, or all.
fn listed(
    registry: &Registry,
    auth: &RegistryAuth,
    index: &OciImageIndex,
    arch: Option<Arch>,
) -> anyhow::Result<Vec<OciImageManifest>> {
    let mut manifests = Vec::new();
    for entry in &index.manifests {
        let platform = entry.platform.as_ref();
        let is_for = |arch: Arch| {
            platform.is_some_and(|platform| platform.architecture.to_string() == arch.as_str())
        };
        if arch.is_some_and(|arch| !is_for(arch)) {
            continue;
        }
        let bytes = manifest(registry, auth, &entry.digest)?;
        if format!("sha256:{}", digest::sha256(&bytes)) != entry.digest {
            bail!("the registry sent another manifest than {}", entry.digest);
        }
        let reading = || format!("reading manifest {}", entry.digest);
        manifests.push(serde_json::from_slice(&bytes).with_context(reading)?);
    }
    if let (Some(arch), true) = (arch, manifests.is_empty()) {
        bail!("there is nothing for {arch}");
    }
    Ok(manifests)
}

fn manifest(registry: &Registry, auth: &RegistryAuth, named: &str) -> anyhow::Result<Vec<u8>> {
    let at = registry.at(named);
    let (bytes, _) =
        registry.ask(|client| client.pull_manifest_raw(&at, auth, &[INDEX, MANIFEST]))?;
    if bytes.len() > MANIFEST_LIMIT {
        bail!("the manifest has {} bytes", bytes.len());
    }
    Ok(bytes.to_vec())
}

/// The files of all manifests by name.
fn files(manifests: &[OciImageManifest]) -> anyhow::Result<BTreeMap<String, OciDescriptor>> {
    let mut files: BTreeMap<String, OciDescriptor> = BTreeMap::new();
    for manifest in manifests {
        if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            let found = manifest
                .artifact_type
                .as_deref()
                .unwrap_or("a container image");
            bail!("it holds {found}, and no image that `seedbed push` made");
        }
        for layer in &manifest.layers {
            let title = layer.annotations.as_ref().and_then(|all| all.get(TITLE));
            let title = title.with_context(|| format!("blob {} has no name", layer.digest))?;
            if !is_file_name(title) {
                bail!("{title:?} is no name for a file");
            }
            let before = files.insert(title.clone(), layer.clone());
            if before.is_some_and(|before| before.digest != layer.digest) {
                bail!("two of its files are called {title:?}");
            }
        }
    }
    Ok(files)
}

/// Whether a file is there with the right bytes.
fn is_there(path: &Path, layer: &OciDescriptor) -> anyhow::Result<bool> {
    let reading = || format!("reading {}", path.display());
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        file => file.with_context(reading)?,
    };
    let (sha256, _) = digest::sha256_of(file).with_context(reading)?;
    if format!("sha256:{sha256}") != layer.digest {
        bail!(
            "{} is there with other contents: remove it, or name another folder",
            path.display()
        );
    }
    Ok(true)
}

/// Brings one file, whole or not at all.
fn take(
    registry: &Registry,
    named: &str,
    layer: &OciDescriptor,
    path: &Path,
) -> anyhow::Result<()> {
    let unfinished = Unfinished::create(path)?;
    let at = registry.at(named);
    let (found, size) = registry.attempt(|| {
        let mut file = unfinished.file();
        file.set_len(0)
            .and_then(|()| file.rewind())
            .map_err(Refusal::File)?;
        registry.wait(async {
            let stream = registry.client.pull_blob_stream(&at, layer).await;
            let mut stream = stream.map_err(Refusal::Registry)?.stream;
            let mut out = HashWriter::new(BufWriter::new(file));
            while let Some(bytes) = stream.next().await {
                let bytes = bytes.map_err(Refusal::Connection)?;
                out.write_all(&bytes).map_err(Refusal::File)?;
            }
            out.flush().map_err(Refusal::File)?;
            let (_, sha256, size) = out.finish();
            Ok::<_, Refusal>((sha256, size))
        })
    })?;
    if format!("sha256:{found}") != layer.digest || i64::try_from(size) != Ok(layer.size) {
        bail!(
            "the registry sent {size} bytes with sha256 {found}, and not {}",
            layer.digest
        );
    }
    unfinished.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(artifact_type: &str, files: &[(&str, &str)]) -> OciImageManifest {
        let layer = |(name, digest): &(&str, &str)| json!({"mediaType": "a/b", "digest": digest, "size": 1, "annotations": {TITLE: name}});
        let layers: Vec<_> = files.iter().map(layer).collect();
        serde_json::from_value(json!({
            "schemaVersion": 2,
            "artifactType": artifact_type,
            "config": {"mediaType": "a/b", "digest": "sha256:0", "size": 2},
            "layers": layers,
        }))
        .unwrap()
    }

    #[test]
    fn files_of_all_manifests_are_one_folder() {
        let one = manifest(
            ARTIFACT_TYPE,
            &[("SHA256SUMS", "sha256:1"), ("a", "sha256:2")],
        );
        let other = manifest(
            ARTIFACT_TYPE,
            &[("SHA256SUMS", "sha256:1"), ("b", "sha256:3")],
        );
        let names: Vec<String> = files(&[one.clone(), other]).unwrap().into_keys().collect();
        assert_eq!(names, ["SHA256SUMS", "a", "b"]);
        let clash = manifest(ARTIFACT_TYPE, &[("a", "sha256:4")]);
        assert!(files(&[one, clash]).is_err());
        assert!(files(&[manifest("other", &[])]).is_err());
    }

    #[test]
    fn names_lead_nowhere_else() {
        for name in ["", ".", "..", "../x", "/x", "a/b", ".ssh", "a\nb", "a\0"] {
            assert!(!is_file_name(name), "{name:?}");
            assert!(files(&[manifest(ARTIFACT_TYPE, &[(name, "sha256:1")])]).is_err());
        }
        assert!(is_file_name("seedbed-demo-amd64.raw"));
    }
}
