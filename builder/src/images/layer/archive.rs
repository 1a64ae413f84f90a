//! A layer's blob as an uncompressed archive whose digest is the one that the image's config names.

use super::Limits;
use crate::digest::HashWriter;
use crate::images::layout::Blob;
use anyhow::{Context, bail};
use formats::tree::Content;
use std::io::{self, BufReader, BufWriter, Read};
use std::path::Path;
use std::sync::Arc;

const TYPES: [(&str, Compression); 6] = [
    ("application/vnd.oci.image.layer.v1.tar", Compression::None),
    (
        "application/vnd.oci.image.layer.v1.tar+gzip",
        Compression::Gzip,
    ),
    (
        "application/vnd.oci.image.layer.v1.tar+zstd",
        Compression::Zstd,
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar",
        Compression::None,
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.gzip",
        Compression::Gzip,
    ),
    (
        "application/vnd.docker.image.rootfs.diff.tar.zstd",
        Compression::Zstd,
    ),
];
/// Prefixes of layers that registries may not hand on, and that do not come with the image.
const FOREIGN: [&str; 2] = [
    "application/vnd.oci.image.layer.nondistributable.",
    "application/vnd.docker.image.rootfs.foreign.",
];

#[derive(Clone, Copy, Debug)]
enum Compression {
    None,
    Gzip,
    Zstd,
}

/// The uncompressed archive of a verified blob: the blob itself, or an unnamed file below `scratch`. Its
/// SHA-256 is `diff_id`, or it is an error.
pub fn open(blob: &Blob, diff_id: &str, scratch: &Path, limits: Limits) -> anyhow::Result<Content> {
    let compression = compression(&blob.media_type)?;
    let source = BufReader::with_capacity(256 << 10, blob.content.reader());
    let (archive, sha256) = match compression {
        Compression::None => (blob.content.clone(), blob.sha256.clone()),
        Compression::Gzip => {
            let plain = flate2::bufread::MultiGzDecoder::new(source);
            decompress(plain, scratch, limits.archive)?
        }
        Compression::Zstd => {
            let plain = zstd::stream::read::Decoder::with_buffer(source)
                .context("starting decompression")?;
            decompress(plain, scratch, limits.archive)?
        }
    };
    let found = format!("sha256:{sha256}");
    if found != diff_id {
        bail!("its uncompressed archive is {found}, and the image's config says {diff_id}");
    }
    Ok(archive)
}

fn compression(media_type: &str) -> anyhow::Result<Compression> {
    if FOREIGN.iter().any(|prefix| media_type.starts_with(prefix)) {
        bail!(
            "it is of type {media_type}, which its registry does not hand on; take an image without such layers"
        );
    }
    let known = TYPES.iter().find(|(name, _)| *name == media_type);
    let (_, compression) = known.with_context(|| {
        format!("it is of type {media_type}, which is not known: tar, gzip and zstd are")
    })?;
    Ok(*compression)
}

fn decompress(plain: impl Read, scratch: &Path, limit: u64) -> anyhow::Result<(Content, String)> {
    let file = tempfile::tempfile_in(scratch)
        .with_context(|| format!("creating a scratch file in {}", scratch.display()))?;
    let mut writer = HashWriter::new(BufWriter::with_capacity(256 << 10, file));
    let len = io::copy(&mut plain.take(limit.saturating_add(1)), &mut writer)
        .context("decompressing the layer")?;
    if len > limit {
        bail!("its uncompressed archive has more than {limit} bytes, the most that is taken");
    }
    let (buffer, sha256, len) = writer.finish();
    let file = buffer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)
        .context("writing the decompressed layer")?;
    let content = Content::Slice {
        file: Arc::new(file),
        offset: 0,
        len,
    };
    Ok((content, sha256))
}
