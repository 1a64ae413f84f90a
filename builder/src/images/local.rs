//! Images from files: an OCI image layout, as a folder or a tar archive, or an archive of `docker save`. All of
//! them may be compressed with gzip or zstd.
//!
//! ```text
//! OCI layout       oci-layout, index.json, blobs/sha256/…          (OCI image specification 1.1, "Image Layout")
//! docker archive   manifest.json, <config>.json, <layer>/layer.tar (Docker's image specification 1.2)
//! ```
//!
//! Blobs go to the store, so that a build reads nothing else. The layers of a docker archive have no manifest of
//! the registry's kind: one is made, always the same for the same config and layers.

use crate::digest;
use crate::images::config;
use crate::images::layout;
use crate::images::pull;
use crate::images::reference::Reference;
use crate::lock::{LockedBlob, PulledImage};
use crate::registry::document::{DOCUMENT_LIMIT, Descriptor, Document, Index, Manifest};
use crate::scratch;
use crate::store::Store;
use anyhow::{Context, anyhow, bail};
use contract::partition::Arch;
use formats::tree::Content;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// Most bytes of an archive when it is uncompressed.
const ARCHIVE_LIMIT: u64 = 64 << 30;
/// Where containerd's exports keep the whole name.
const FULL_NAME: &str = "io.containerd.image.name";

/// Takes the image out of an OCI layout at `path` and puts it into the store.
pub fn from_layout(
    path: &Path,
    image: &Reference,
    arch: Arch,
    store: &Store,
) -> anyhow::Result<PulledImage> {
    let taking = || format!("taking {image} from the OCI layout {}", path.display());
    let files = Files::open(path, store).with_context(taking)?;
    take_layout(&files, image, arch, store).with_context(taking)
}

/// Takes the image out of an archive of `docker save` at `path` and puts it into the store.
pub fn from_archive(
    path: &Path,
    image: &Reference,
    arch: Arch,
    store: &Store,
) -> anyhow::Result<PulledImage> {
    let taking = || format!("taking {image} from the docker archive {}", path.display());
    let files = Files::open(path, store).with_context(taking)?;
    take_archive(&files, image, arch, store).with_context(taking)
}

fn take_layout(
    files: &Files,
    image: &Reference,
    arch: Arch,
    store: &Store,
) -> anyhow::Result<PulledImage> {
    let index: Index =
        serde_json::from_slice(&files.document("index.json")?).context("reading index.json")?;
    let top = choose(&index, image, arch)?;
    let document = |descriptor: &Descriptor| -> anyhow::Result<Document> {
        let locked = descriptor.locked()?;
        let bytes = files.document(&blob_path(&locked.sha256))?;
        let sha256 = digest::sha256(&bytes);
        if sha256 != locked.sha256 {
            bail!("blob {} has sha256 {sha256}", locked.sha256);
        }
        Ok(Document {
            bytes,
            sha256,
            media_type: locked.media_type,
        })
    };
    let found = document(top)?;
    let (index, manifest) = if found.is_index() {
        let list: Index = serde_json::from_slice(&found.bytes).context("reading the index")?;
        let entry = list.manifests.iter().find(|entry| entry.is_for(arch));
        let entry = entry.with_context(|| format!("its index has no manifest for linux/{arch}"))?;
        (Some(found), document(entry)?)
    } else {
        (None, found)
    };
    let parsed: Manifest =
        serde_json::from_slice(&manifest.bytes).context("reading the manifest")?;
    let blobs = parsed.blobs()?;
    config::parse(&files.document(&blob_path(&blobs[0].sha256))?, arch)?;
    for blob in &blobs {
        copy(files, &blob_path(&blob.sha256), blob, store)?;
    }
    for document in index.iter().chain([&manifest]) {
        pull::save(store, document, "a manifest")?;
    }
    Ok(PulledImage {
        name: None,
        layout: None,
        archive: None,
        signed_by: None,
        index: index
            .filter(|_| image.digest.is_some())
            .map(|index| index.locked()),
        manifest: manifest.locked(),
        blobs,
    })
}

/// The entry of the layout that is meant: by digest, by name, or the only one that has no name.
fn choose<'a>(index: &'a Index, image: &Reference, arch: Arch) -> anyhow::Result<&'a Descriptor> {
    let all = &index.manifests;
    if let Some(digest) = &image.digest {
        let wanted = format!("sha256:{digest}");
        let found = all.iter().find(|entry| entry.digest == wanted);
        return found.with_context(|| format!("there is no {wanted} in its index"));
    }
    let tagged = image.tagged();
    let names = |entry: &'a Descriptor| {
        let names = [FULL_NAME, REF_NAME].map(|key| entry.annotations.get(key));
        names.into_iter().flatten()
    };
    let is_it = |entry: &&'a Descriptor| {
        // A tag alone says nothing against a whole name.
        let tag = names(entry).all(|name| *name == image.tag) && names(entry).next().is_some();
        tag || names(entry).any(|name| is_called(name, &tagged))
    };
    let mut found: Vec<_> = all.iter().filter(is_it).collect();
    if found.is_empty() {
        let nameless = all.iter().filter(|entry| names(entry).next().is_none());
        found = nameless.collect();
    }
    let fitting: Vec<_> = found
        .iter()
        .copied()
        .filter(|entry| entry.is_for(arch))
        .collect();
    match (found.as_slice(), fitting.as_slice()) {
        ([one], _) | (_, [one]) => Ok(*one),
        _ if all.is_empty() => bail!("its index is empty"),
        ([], _) => Err(none_called(&tagged, all.len(), all.iter().flat_map(names))),
        _ => bail!(
            "{} entries of its index may be {tagged}, and {} of them are for linux/{arch}: name one by its digest",
            found.len(),
            fitting.len()
        ),
    }
}

/// Whether `name`, as an archive has it, is the image `tagged`.
fn is_called(name: &str, tagged: &str) -> bool {
    Reference::parse_short(name).is_ok_and(|name| name.tagged() == tagged)
}

fn none_called<'a>(
    tagged: &str,
    count: usize,
    names: impl Iterator<Item = &'a String>,
) -> anyhow::Error {
    let names: BTreeSet<&str> = names.map(String::as_str).collect();
    let names: Vec<&str> = names.into_iter().collect();
    match names.as_slice() {
        [] => anyhow!("none of its {count} images is called {tagged}: they have no names"),
        names => anyhow!(
            "none of its {count} images is called {tagged}, but {}: name the image so, or give the file another name for it",
            names.join(", ")
        ),
    }
}

/// One image of a docker archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

fn take_archive(
    files: &Files,
    image: &Reference,
    arch: Arch,
    store: &Store,
) -> anyhow::Result<PulledImage> {
    let all: Vec<Saved> = serde_json::from_slice(&files.document("manifest.json")?)
        .context("reading manifest.json")?;
    let saved = choose_saved(&all, image)?;
    let config = files.document(&saved.config)?;
    config::parse(&config, arch)?;
    let mut blobs = vec![hash(CONFIG, &config[..])?];
    copy(files, &saved.config, &blobs[0], store)?;
    for path in &saved.layers {
        let mut start = [0; 2];
        let media_type = match files.read(path)?.read(&mut start) {
            Ok(2) if start == [0x1f, 0x8b] => LAYER_GZIP,
            _ => LAYER,
        };
        let blob =
            hash(media_type, files.read(path)?).with_context(|| format!("reading {path}"))?;
        copy(files, path, &blob, store)?;
        blobs.push(blob);
    }
    let descriptor =
        |blob: &LockedBlob| layout::descriptor(&blob.media_type, &blob.sha256, blob.size);
    let manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(&blobs[0]),
        "layers": blobs[1..].iter().map(descriptor).collect::<Vec<_>>(),
    });
    let bytes = manifest.to_string().into_bytes();
    let manifest = Document {
        sha256: digest::sha256(&bytes),
        bytes,
        media_type: MANIFEST.to_owned(),
    };
    if let Some(digest) = image
        .digest
        .as_ref()
        .filter(|digest| **digest != manifest.sha256)
    {
        bail!("sha256:{digest} cannot be had from it: a docker archive does not keep manifests");
    }
    pull::save(store, &manifest, "its manifest")?;
    Ok(PulledImage {
        name: None,
        layout: None,
        archive: None,
        signed_by: None,
        index: None,
        manifest: manifest.locked(),
        blobs,
    })
}

/// The image of the archive that is meant: by name, or the only one if it has no name.
fn choose_saved<'a>(all: &'a [Saved], image: &Reference) -> anyhow::Result<&'a Saved> {
    let tagged = image.tagged();
    let names = |saved: &'a Saved| saved.repo_tags.iter().flatten();
    let named = |saved: &&'a Saved| names(saved).any(|name| is_called(name, &tagged));
    match (all.iter().find(named), all) {
        (Some(saved), _) => Ok(saved),
        (None, [saved]) if names(saved).next().is_none() => Ok(saved),
        _ => Err(none_called(&tagged, all.len(), all.iter().flat_map(names))),
    }
}

fn hash(media_type: &str, reader: impl Read) -> anyhow::Result<LockedBlob> {
    let (sha256, size) = digest::sha256_of(reader).context("hashing")?;
    Ok(LockedBlob {
        media_type: media_type.to_owned(),
        size,
        sha256,
    })
}

fn blob_path(sha256: &str) -> String {
    format!("blobs/sha256/{sha256}")
}

fn copy(files: &Files, path: &str, blob: &LockedBlob, store: &Store) -> anyhow::Result<()> {
    if store.has(&blob.sha256, blob.size) {
        return Ok(());
    }
    let mut partial = store.partial(&blob.sha256)?;
    if store.has(&blob.sha256, blob.size) {
        return partial.discard();
    }
    let copying = || format!("copying {path} to the store");
    partial.restart().with_context(copying)?;
    io::copy(&mut files.read(path)?, &mut partial.file).with_context(copying)?;
    partial.commit(blob.size, path)
}

/// Files by their path, in a folder or in a tar archive.
enum Files {
    Folder(PathBuf),
    Archive {
        members: BTreeMap<String, Content>,
        links: BTreeMap<String, String>,
    },
}

impl Files {
    fn open(path: &Path, store: &Store) -> anyhow::Result<Self> {
        let opening = || format!("opening {}", path.display());
        if path.is_dir() {
            return Ok(Files::Folder(path.to_owned()));
        }
        let mut file = File::open(path).with_context(opening)?;
        let mut start = [0; 4];
        let n = file.read(&mut start).with_context(opening)?;
        file.seek(SeekFrom::Start(0)).with_context(opening)?;
        let plain = match &start[..n] {
            [0x1f, 0x8b, ..] => {
                let packed = flate2::read::MultiGzDecoder::new(BufReader::new(file));
                unpacked(packed, ARCHIVE_LIMIT, store).with_context(opening)?
            }
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let packed = zstd::Decoder::new(file).with_context(opening)?;
                unpacked(packed, ARCHIVE_LIMIT, store).with_context(opening)?
            }
            _ => file,
        };
        Files::archive(plain).with_context(|| format!("reading the tar archive {}", path.display()))
    }

    fn archive(mut file: File) -> anyhow::Result<Self> {
        let (mut members, mut links) = (BTreeMap::new(), BTreeMap::new());
        let shared = Arc::new(file.try_clone()?);
        file.seek(SeekFrom::Start(0))?;
        let mut archive = tar::Archive::new(BufReader::new(file));
        for entry in archive.entries_with_seek()? {
            let entry = entry?;
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.trim_start_matches("./").to_owned();
            if entry.header().entry_type().is_file() {
                let content = Content::Slice {
                    file: shared.clone(),
                    offset: entry.raw_file_position(),
                    len: entry.size(),
                };
                if members.insert(path.clone(), content).is_some() {
                    bail!("{path:?} is there twice");
                }
            } else if let Some(target) = entry.link_name_bytes() {
                // Docker wrote a layer that several images share once, and links to it.
                let target = String::from_utf8_lossy(&target).into_owned();
                links.insert(path, target);
            }
        }
        Ok(Files::Archive { members, links })
    }

    fn read(&self, path: &str) -> anyhow::Result<Box<dyn Read + '_>> {
        match self {
            Files::Folder(folder) => {
                if path.split('/').any(|part| part == "..") || path.starts_with('/') {
                    bail!("{path} leads out of the folder");
                }
                let opening = || format!("opening {path}");
                let found = folder.join(path).canonicalize().with_context(opening)?;
                if !found.starts_with(folder.canonicalize().with_context(opening)?) {
                    bail!("{path} is a link to {}, out of the folder", found.display());
                }
                if !found.is_file() {
                    bail!("{path} is no regular file");
                }
                Ok(Box::new(File::open(found).with_context(opening)?))
            }
            Files::Archive { members, links } => {
                let linked = links.get(path).and_then(|target| {
                    let plain = target.trim_start_matches("../");
                    members.get(target).or_else(|| members.get(plain))
                });
                let content = members.get(path).or(linked);
                let content = content.with_context(|| format!("there is no {path} in it"))?;
                Ok(Box::new(content.reader()))
            }
        }
    }

    /// A JSON document, which is small.
    fn document(&self, path: &str) -> anyhow::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let reader = self.read(path)?;
        let read = reader.take(DOCUMENT_LIMIT + 1).read_to_end(&mut bytes);
        read.with_context(|| format!("reading {path}"))?;
        if bytes.len() as u64 > DOCUMENT_LIMIT {
            bail!("{path} has more than {DOCUMENT_LIMIT} bytes");
        }
        Ok(bytes)
    }
}

/// The decompressed bytes in a file without a name.
fn unpacked(reader: impl Read, limit: u64, store: &Store) -> anyhow::Result<File> {
    let mut file = scratch::file(store)?;
    let copied = io::copy(&mut reader.take(limit.saturating_add(1)), &mut file);
    if copied.context("decompressing it")? > limit {
        bail!("it has more than {limit} bytes uncompressed, the most that is taken");
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
