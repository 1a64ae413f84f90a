//! Files that come inside an archive: upstream projects ship `.tar.gz`, images need one file of it.

use super::Inputs;
use crate::lock::LockedFile;
use anyhow::{Context, bail};
use formats::tree::Content;
use std::io::{self, BufReader};
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
    let plain = flate2::read::MultiGzDecoder::new(BufReader::with_capacity(1 << 16, blob.reader()));
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
