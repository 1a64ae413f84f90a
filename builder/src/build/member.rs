//! Files that come inside an archive: upstream projects ship `.tar.gz`, `.tar.xz` or `.tar.zst`, images need one
//! file of it. The archive's own first bytes say how it is compressed.

use super::Inputs;
use crate::lock::LockedFile;
use anyhow::{Context, bail};
use formats::tree::Content;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

/// A locked file's bytes: the blob itself, or the member of it that the lock names.
pub(super) fn content(inputs: &Inputs<'_>, file: &LockedFile) -> anyhow::Result<Content> {
    let blob = inputs.blobs.content(&file.sha256)?;
    match &file.member {
        None => Ok(blob),
        Some(member) => extract(&blob, member, inputs.scratch)
            .with_context(|| format!("unpacking {}", file.path)),
    }
}

fn extract(blob: &Content, member: &str, scratch: &std::path::Path) -> anyhow::Result<Content> {
    let plain = decompressed(blob).context("reading the archive")?;
    let mut archive = tar::Archive::new(plain);
    for entry in archive.entries().context("reading the archive")? {
        let mut entry = entry.context("reading the archive")?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path.trim_start_matches("./") != member {
            continue;
        }
        if !entry.header().entry_type().is_file() {
            bail!("{member} is not a regular file");
        }
        let mut file = tempfile::tempfile_in(scratch).context("creating a file for a member")?;
        let len = io::copy(&mut entry, &mut file).with_context(|| format!("reading {member}"))?;
        return Ok(Content::Slice {
            file: Arc::new(file),
            offset: 0,
            len,
        });
    }
    bail!("there is no {member} in the archive")
}

fn decompressed(blob: &Content) -> io::Result<Box<dyn Read + '_>> {
    let mut start = [0; 6];
    let n = usize::try_from(blob.len()).map_or(start.len(), |len| len.min(start.len()));
    blob.read_exact_at(&mut start[..n], 0)?;
    let reader = BufReader::with_capacity(1 << 16, blob.reader());
    Ok(match start {
        [0x1f, 0x8b, ..] => Box::new(flate2::read::MultiGzDecoder::new(reader)),
        [0xfd, b'7', b'z', b'X', b'Z', 0] => {
            Box::new(liblzma::read::XzDecoder::new_multi_decoder(reader))
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::Decoder::with_buffer(reader)?),
        _ => Box::new(reader),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    /// R021: archives as upstream projects publish them.
    #[test]
    fn a_member_comes_out_of_every_kind_of_archive() {
        let mut tar = tar::Builder::new(Vec::new());
        for name in ["README", "./bin/tool"] {
            let mut header = tar::Header::new_gnu();
            header.set_size(name.len() as u64);
            tar.append_data(&mut header, name, name.as_bytes()).unwrap();
        }
        let plain = tar.into_inner().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&plain).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(&plain).unwrap();
        let zstd = zstd::encode_all(&plain[..], 1).unwrap();
        let dir = tempfile::tempdir().unwrap();
        for archive in [gzip.finish().unwrap(), xz.finish().unwrap(), zstd, plain] {
            let found = extract(&archive.into(), "bin/tool", dir.path()).unwrap();
            assert_eq!(found.to_vec().unwrap(), b"./bin/tool");
        }
        let error = extract(&Content::from(Vec::new()), "bin/tool", dir.path()).unwrap_err();
        assert!(
            error.to_string().contains("there is no bin/tool"),
            "{error}"
        );
    }
}
