//! Takes an artifact's files out of a registry. Each has its name only when all of it is there and verified; what is
//! there already is not taken again.

use super::{ARTIFACT_TYPE, ArtifactReference, TITLE, is_file_name};
use crate::digest;
use crate::output::Unfinished;
use crate::registry::Registry;
use crate::registry::document::{Descriptor, Document, Index, Manifest};
use anyhow::{Context, bail};
use contract::partition::Arch;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Seek};
use std::path::{Path, PathBuf};

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

/// Pulls the artifact at `reference` from its `registry` into the folder `out`, of all architectures or of `arch` alone.
///
/// # Errors
/// The registry refuses or cannot be reached, it sends something else than the digests say, the artifact holds no
/// image of ours, or a file of that name but other contents is in the way.
pub fn pull(
    reference: &ArtifactReference,
    arch: Option<Arch>,
    out: &Path,
    registry: &Registry,
) -> anyhow::Result<Pulled> {
    let named = reference.digest.as_deref().or(reference.tag.as_deref());
    let named = named.context("the reference has neither tag nor digest")?;
    let place = Place {
        registry,
        repository: &reference.repository,
    };
    let pulling = || format!("pulling {reference}");
    let found = place.manifest(named).with_context(pulling)?;
    let manifests = place.manifests(&found, arch).with_context(pulling)?;
    let layers = files(&manifests).with_context(pulling)?;
    fs::create_dir_all(out).with_context(|| format!("creating {}", out.display()))?;
    let mut pulled = Pulled {
        digest: format!("sha256:{}", found.sha256),
        files: Vec::with_capacity(layers.len()),
        there: 0,
    };
    for (name, layer) in &layers {
        let path = out.join(name);
        if is_there(&path, layer)? {
            pulled.there += 1;
        } else {
            let taken = place.take(name, layer, &path);
            taken.with_context(|| format!("pulling {name} of {reference}"))?;
        }
        pulled.files.push(path);
    }
    Ok(pulled)
}

/// A repository of a registry.
struct Place<'a> {
    registry: &'a Registry,
    repository: &'a str,
}

impl Place<'_> {
    fn manifest(&self, named: &str) -> anyhow::Result<Document> {
        let found = self.registry.manifest(self.repository, named)?;
        found.with_context(|| format!("there is no {named} (404)"))
    }

    /// The manifest that was found, or those of an index for `arch`, or all.
    fn manifests(&self, found: &Document, arch: Option<Arch>) -> anyhow::Result<Vec<Manifest>> {
        if !found.is_index() {
            let manifest = serde_json::from_slice(&found.bytes);
            return Ok(vec![manifest.context("reading the manifest")?]);
        }
        let index: Index = serde_json::from_slice(&found.bytes).context("reading the index")?;
        let mut manifests = Vec::new();
        for entry in &index.manifests {
            if arch.is_some_and(|arch| !entry.is_for(arch)) {
                continue;
            }
            let manifest = self.manifest(&entry.digest)?;
            let parsed = serde_json::from_slice(&manifest.bytes);
            manifests.push(parsed.with_context(|| format!("reading manifest {}", entry.digest))?);
        }
        if let (Some(arch), true) = (arch, manifests.is_empty()) {
            bail!("there is nothing for {arch}");
        }
        Ok(manifests)
    }

    /// Brings one file, whole or not at all.
    fn take(&self, name: &str, layer: &Descriptor, path: &Path) -> anyhow::Result<()> {
        let blob = layer.locked()?;
        let unfinished = Unfinished::create(path)?;
        let mut file = unfinished.file();
        let mut len = 0;
        self.registry
            .download(self.repository, &blob, (file, &mut len), name, None)?;
        let reading = || format!("reading {}", path.display());
        file.rewind().with_context(reading)?;
        let (found, _) = digest::sha256_of(file).with_context(reading)?;
        if found != blob.sha256 {
            let expected = &blob.sha256;
            bail!("the registry sent other bytes: expected sha256 {expected}, got {found}");
        }
        unfinished.finish()
    }
}

/// The files of all manifests by name.
fn files(manifests: &[Manifest]) -> anyhow::Result<BTreeMap<String, Descriptor>> {
    let mut files: BTreeMap<String, Descriptor> = BTreeMap::new();
    for manifest in manifests {
        if manifest.artifact_type.as_deref() != Some(ARTIFACT_TYPE) {
            let found = manifest
                .artifact_type
                .as_deref()
                .unwrap_or("a container image");
            bail!("it holds {found}, and no image that `seedbed push` made");
        }
        for layer in &manifest.layers {
            let title = layer.annotations.get(TITLE);
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
fn is_there(path: &Path, layer: &Descriptor) -> anyhow::Result<bool> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn manifest(artifact_type: &str, files: &[(&str, &str)]) -> Manifest {
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
