//! From an image's name to its manifest for one architecture, and what that names: the part of locking that asks
//! registries.
//!
//! An index is asked first. What has none for the architecture may be published under another name, see
//! [`ArchForm`]. Whatever was found, the image's own config has the last word on what machine it is for.

use crate::images::config;
use crate::images::reference::Reference;
use crate::images::registries::Registries;
use crate::images::signature::Key;
use crate::lock::PulledImage;
use crate::profile::file::ArchForm;
use crate::registry::document::{DOCUMENT_LIMIT, Document, Index, Manifest};
use crate::registry::{Registry, is_refusal};
use crate::store::Store;
use anyhow::{Context, bail};
use contract::partition::Arch;
use std::io::Write;

impl ArchForm {
    /// Under which name an image for `arch` may be, if not under its own.
    pub fn apply(self, image: &Reference, arch: Arch) -> Option<Reference> {
        let (mut repository, mut tag) = (image.repository.clone(), image.tag.clone());
        let suffix = format!("-{arch}");
        match self {
            ArchForm::None => return None,
            ArchForm::TagSuffixNonDefault if arch == Arch::Amd64 => return None,
            ArchForm::NameSuffix => repository += &suffix,
            ArchForm::TagSuffix | ArchForm::TagSuffixNonDefault => tag += &suffix,
        }
        Some(Reference {
            registry: image.registry.clone(),
            repository,
            tag,
            digest: None,
        })
    }
}

/// What to find.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The image's name.
    pub image: &'a Reference,
    /// The architecture.
    pub arch: Arch,
    /// How its publisher tells architectures apart where an index does not.
    pub form: ArchForm,
    /// The key that has to have signed it.
    pub key: Option<&'a Key>,
}

/// The manifest of the image, its config and its layers, by digest, from the first place that has it. Documents and
/// config are put into the store at once: they were read and checked here.
pub fn lock(
    registries: &Registries,
    wanted: &Wanted<'_>,
    store: &Store,
) -> anyhow::Result<PulledImage> {
    registries.try_each(wanted.image, |registry, there| {
        lock_at(registry, there, wanted, store)
    })
}

/// As [`lock`], at one registry, where the image is called `there`.
fn lock_at(
    registry: &Registry,
    there: &Reference,
    wanted: &Wanted<'_>,
    store: &Store,
) -> anyhow::Result<PulledImage> {
    let (image, arch) = (wanted.image, wanted.arch);
    // What a mirror calls an image gets into no lock.
    let mut names = vec![(image.clone(), there.clone())];
    if image.digest.is_none() {
        let form = |name: &Reference| wanted.form.apply(name, arch);
        names.extend(form(image).zip(form(there)));
    }
    let mut tried = Vec::new();
    for (at, (name, there)) in names.iter().enumerate() {
        let found = match registry.manifest(&there.repository, &there.wanted()) {
            // Many registries do not say whether what they show nobody exists.
            Err(error) if at + 1 < names.len() && is_refusal(&error) => {
                tried.push(format!("{error:#}"));
                continue;
            }
            found => found?,
        };
        let Some(found) = found else {
            tried.push(format!("{} has no {name} (404)", registry.host()));
            continue;
        };
        match lock_found(registry, wanted, (name, &there.repository), found, store)? {
            Ok(mut pulled) => {
                pulled.name = (name != image).then(|| name.to_string());
                return Ok(pulled);
            }
            Err(why) => tried.push(format!("{name}: {why}")),
        }
    }
    bail!("there is none for linux/{arch}: {}", tried.join("; "))
}

/// The inner error says why this name does not do, so that the next can be tried.
fn lock_found(
    registry: &Registry,
    wanted: &Wanted<'_>,
    (name, repository): (&Reference, &str),
    found: Document,
    store: &Store,
) -> anyhow::Result<Result<PulledImage, String>> {
    let arch = wanted.arch;
    let (index, manifest) = if found.is_index() {
        let list: Index = serde_json::from_slice(&found.bytes).context("reading the index")?;
        let Some(entry) = list.manifests.iter().find(|entry| entry.is_for(arch)) else {
            return Ok(Err(format!("its index has no manifest for linux/{arch}")));
        };
        let entry = entry.locked()?;
        let digest = format!("sha256:{}", entry.sha256);
        let manifest = registry.manifest(repository, &digest)?;
        let manifest = manifest
            .with_context(|| format!("the index names {digest}, which is not there (404)"))?;
        (Some(found), manifest)
    } else {
        (None, found)
    };
    let parsed: Manifest =
        serde_json::from_slice(&manifest.bytes).context("reading the manifest")?;
    let blobs = parsed.blobs()?;
    if blobs[0].size > DOCUMENT_LIMIT {
        bail!("the config has {} bytes", blobs[0].size);
    }
    let what = format!("the config of {name}");
    registry.fetch_blob(repository, &blobs[0], store, &what, None)?;
    let text = std::io::read_to_string(store.open_verified(&blobs[0].sha256, &what)?)?;
    if let Err(error) = config::parse(text.as_bytes(), arch) {
        return Ok(Err(format!("{error:#}")));
    }
    let signed_by = match wanted.key {
        Some(key) => {
            let digests = index
                .iter()
                .chain([&manifest])
                .map(|document| document.sha256.as_str());
            let digests: Vec<&str> = digests.collect();
            key.verify(registry, repository, &digests, store)
                .with_context(|| format!("verifying the signature of {name}"))?;
            Some(key.sha256.clone())
        }
        None => None,
    };
    // A tag leads to the manifest itself; a digest can only lead to what has it.
    let index = index.filter(|_| name.digest.is_some());
    for document in index.iter().chain([&manifest]) {
        save(store, document, &format!("a manifest of {name}"))?;
    }
    Ok(Ok(PulledImage {
        name: None,
        layout: None,
        archive: None,
        signed_by,
        index: index.map(|index| index.locked()),
        manifest: manifest.locked(),
        blobs,
    }))
}

/// Puts a document into the store.
pub(super) fn save(store: &Store, document: &Document, what: &str) -> anyhow::Result<()> {
    let size = document.bytes.len() as u64;
    if store.has(&document.sha256, size) {
        return Ok(());
    }
    let mut partial = store.partial(&document.sha256)?;
    if store.has(&document.sha256, size) {
        return partial.discard();
    }
    partial
        .restart()
        .and_then(|()| partial.file.write_all(&document.bytes))
        .with_context(|| format!("storing {what}"))?;
    partial.commit(size, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R033: the four habits.
    #[test]
    fn names_by_architecture() {
        let image = Reference::parse("r.example/a/b:v1").unwrap();
        let check = |form: ArchForm, arch, expected: Option<&str>| {
            let found = form.apply(&image, arch).map(|name| name.to_string());
            assert_eq!(found.as_deref(), expected, "{form:?} {arch}");
        };
        check(ArchForm::None, Arch::Arm64, None);
        check(
            ArchForm::NameSuffix,
            Arch::Arm64,
            Some("r.example/a/b-arm64:v1"),
        );
        check(
            ArchForm::NameSuffix,
            Arch::Amd64,
            Some("r.example/a/b-amd64:v1"),
        );
        check(
            ArchForm::TagSuffix,
            Arch::Amd64,
            Some("r.example/a/b:v1-amd64"),
        );
        check(
            ArchForm::TagSuffixNonDefault,
            Arch::Arm64,
            Some("r.example/a/b:v1-arm64"),
        );
        check(ArchForm::TagSuffixNonDefault, Arch::Amd64, None);
    }
}
