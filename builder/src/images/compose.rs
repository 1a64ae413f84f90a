//! Composes a container image from a file tree: one uncompressed layer, one config.
//!
//! The layer stays uncompressed: on the machine it lies in a verity-protected store where compression would
//! only cost time, and its digest is then the same as its diff id.

use crate::digest::HashWriter;
use crate::images::layout::{Blob, Image};
use crate::images::reference::Reference;
use anyhow::Context;
use contract::partition::Arch;
use formats::tree::{Content, Kind, Node, Tree};
use serde_json::json;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::sync::Arc;

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// Composes `reference` for `arch` from `tree`; the layer's bytes go to an unnamed file below `scratch`.
pub fn compose(
    reference: Reference,
    arch: Arch,
    entrypoint: &[String],
    tree: &Tree,
    epoch: i64,
    scratch: &std::path::Path,
) -> anyhow::Result<Image> {
    let layer =
        layer(tree, epoch, scratch).with_context(|| format!("composing image {reference}"))?;
    let config = json!({
        "created": chrono::DateTime::from_timestamp(epoch, 0).map(|time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true)),
        "architecture": arch.as_str(),
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Entrypoint": entrypoint,
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.sha256)]},
    });
    Ok(Image::new(
        reference,
        Blob::json(CONFIG, &config),
        vec![layer],
    ))
}

fn layer(tree: &Tree, epoch: i64, scratch: &std::path::Path) -> anyhow::Result<Blob> {
    let file = tempfile::tempfile_in(scratch)
        .with_context(|| format!("creating a file in {}", scratch.display()))?;
    let mut archive = tar::Builder::new(HashWriter::new(BufWriter::with_capacity(1 << 20, file)));
    for (path, node) in tree.iter().filter(|(path, _)| !path.is_empty()) {
        append(&mut archive, &path, node, epoch).with_context(|| format!("packing {path}"))?;
    }
    let (buffer, sha256, len) = archive
        .into_inner()
        .context("finishing the layer")?
        .finish();
    let file: File = buffer.into_inner().context("writing the layer")?;
    let content = Content::Slice {
        file: Arc::new(file),
        offset: 0,
        len,
    };
    Ok(Blob {
        media_type: LAYER.to_owned(),
        sha256,
        content,
    })
}

fn append<W: Write>(
    archive: &mut tar::Builder<W>,
    path: &str,
    node: &Node,
    epoch: i64,
) -> anyhow::Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_mode(u32::from(node.meta.mode));
    header.set_uid(u64::from(node.meta.uid));
    header.set_gid(u64::from(node.meta.gid));
    header.set_mtime(u64::try_from(node.meta.mtime.min(epoch)).unwrap_or(0));
    header.set_size(0);
    let attributes = node
        .meta
        .xattrs
        .iter()
        .map(|(name, value)| (format!("SCHILY.xattr.{name}"), value.as_slice()));
    let attributes: Vec<(String, &[u8])> = attributes.collect();
    if !attributes.is_empty() {
        archive.append_pax_extensions(
            attributes
                .iter()
                .map(|(name, value)| (name.as_str(), *value)),
        )?;
    }
    match &node.kind {
        Kind::Directory => {
            header.set_entry_type(tar::EntryType::Directory);
            archive.append_data(&mut header, format!("{path}/"), std::io::empty())?;
        }
        Kind::File(content) => {
            header.set_size(content.len());
            archive.append_data(&mut header, path, content.reader())?;
        }
        Kind::Symlink(target) => {
            header.set_entry_type(tar::EntryType::Symlink);
            archive.append_link(&mut header, path, target)?;
        }
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            let block = matches!(node.kind, Kind::BlockDevice(..));
            header.set_entry_type(if block {
                tar::EntryType::Block
            } else {
                tar::EntryType::Char
            });
            header.set_device_major(*major)?;
            header.set_device_minor(*minor)?;
            archive.append_data(&mut header, path, std::io::empty())?;
        }
        Kind::Fifo => {
            header.set_entry_type(tar::EntryType::Fifo);
            archive.append_data(&mut header, path, std::io::empty())?;
        }
    }
    Ok(())
}
