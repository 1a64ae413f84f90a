//! An OCI image layout as a tree: `oci-layout`, `index.json` and `blobs/sha256/…` (OCI image specification
//! 1.1, "Image Layout"). The machine's registry serves it in place.

use crate::digest;
use crate::images::reference::Reference;
use anyhow::Context;
use contract::partition::Arch;
use formats::tree::{Content, Tree};
use serde_json::{Value, json};
use std::collections::BTreeMap;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// A blob that belongs to an image.
#[derive(Clone, Debug)]
pub struct Blob {
    /// OCI media type.
    pub media_type: String,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// The bytes.
    pub content: Content,
}

impl Blob {
    /// A JSON document as a blob.
    pub fn json(media_type: &str, value: &Value) -> Self {
        let bytes = value.to_string().into_bytes();
        Blob {
            media_type: media_type.to_owned(),
            sha256: digest::sha256(&bytes),
            content: bytes.into(),
        }
    }

    fn descriptor(&self) -> Value {
        descriptor(&self.media_type, &self.sha256, self.content.len())
    }
}

/// What other documents say of a blob (OCI image specification 1.1, "Content Descriptors").
pub fn descriptor(media_type: &str, sha256: &str, size: u64) -> Value {
    json!({
        "mediaType": media_type,
        "digest": format!("sha256:{sha256}"),
        "size": size,
    })
}

/// One image, ready to be laid out.
#[derive(Clone, Debug)]
pub struct Image {
    /// Its full name.
    pub reference: Reference,
    /// The index that a digest in its name stands for.
    pub index: Option<Blob>,
    /// The manifest.
    pub manifest: Blob,
    /// Config and layers.
    pub blobs: Vec<Blob>,
}

impl Image {
    /// Makes the manifest for a config and its layers.
    pub fn new(reference: Reference, config: Blob, layers: Vec<Blob>) -> Self {
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": layers.iter().map(Blob::descriptor).collect::<Vec<_>>(),
        });
        let manifest = Blob::json(MANIFEST, &manifest);
        Image {
            reference,
            index: None,
            manifest,
            blobs: std::iter::once(config).chain(layers).collect(),
        }
    }
}

/// The layout of all `images`, and the digest of each one's manifest by reference.
pub fn layout(
    images: &[Image],
    arch: Arch,
    epoch: i64,
) -> anyhow::Result<(Tree, BTreeMap<String, String>)> {
    let mut tree = Tree::new();
    let mut digests = BTreeMap::new();
    let mut manifests = Vec::new();
    tree.insert_dir("blobs/sha256", 0o755)?;
    tree.insert_file(
        "oci-layout",
        0o644,
        json!({"imageLayoutVersion": "1.0.0"})
            .to_string()
            .into_bytes(),
    )?;
    for image in images {
        for blob in image
            .blobs
            .iter()
            .chain([&image.manifest])
            .chain(&image.index)
        {
            let path = format!("blobs/sha256/{}", blob.sha256);
            tree.insert_file(&path, 0o644, blob.content.clone())
                .with_context(|| format!("laying out {path}"))?;
        }
        let mut descriptor = image.manifest.descriptor();
        descriptor["platform"] = json!({"architecture": arch.as_str(), "os": "linux"});
        descriptor["annotations"] =
            json!({"org.opencontainers.image.ref.name": image.reference.tagged()});
        manifests.push(descriptor);
        // Without a name: whoever asks for the digest that pods name gets the index.
        manifests.extend(image.index.as_ref().map(Blob::descriptor));
        digests.insert(
            image.reference.to_string(),
            format!("sha256:{}", image.manifest.sha256),
        );
    }
    let index = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": manifests,
    });
    tree.insert_file("index.json", 0o644, index.to_string().into_bytes())?;
    for (_, node) in tree.iter_mut() {
        node.meta.mtime = epoch;
    }
    Ok((tree, digests))
}
