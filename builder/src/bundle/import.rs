//! Copies the blobs of a bundle to a store, while the bundle is read from its beginning to its end.

use super::{BLOBS, INDEX, Index, read};
use crate::store::Store;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::io::{self, Read};
use tar::Archive;

/// What an import did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Blobs in the bundle.
    pub blobs: usize,
    /// Blobs that the store did not have.
    pub copied: usize,
}

/// Puts every blob of the bundle that `reader` gives into `store`, which verifies it.
///
/// # Errors
/// It is no bundle, or ends before its last blob; what was good until then is in the store.
pub fn import(reader: impl Read, store: &Store) -> anyhow::Result<Summary> {
    let mut archive = Archive::new(reader);
    let mut entries = archive.entries().context("it is no tar archive")?;
    let first = entries.next().context("it is no bundle: it is empty")?;
    let mut first = first.context("it is no tar archive")?;
    if first.path_bytes().as_ref() != INDEX.as_bytes() {
        bail!("it is no bundle: it does not begin with {INDEX}");
    }
    let index: Index = read::parse(&read::document(&mut first)?)?;
    let expected = index.blobs.iter().map(|b| (b.sha256.as_str(), b));
    let mut expected: BTreeMap<_, _> = expected.collect();
    let mut summary = Summary {
        blobs: expected.len(),
        copied: 0,
    };
    for entry in entries {
        let mut entry = entry.context("it is cut short: copy it again")?;
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let blob = name
            .strip_prefix(BLOBS)
            .and_then(|sha256| expected.remove(sha256));
        let Some(blob) = blob.filter(|blob| !store.has(&blob.sha256, blob.size)) else {
            continue;
        };
        let mut partial = store.partial(&blob.sha256)?;
        if store.has(&blob.sha256, blob.size) {
            // A fetch finished it while this waited for the lock.
            partial.discard()?;
            continue;
        }
        let copied = partial
            .restart()
            .and_then(|()| io::copy(&mut entry, &mut partial.file));
        copied.with_context(|| format!("storing {}", blob.name))?;
        partial.commit(blob.size, &format!("{} of the bundle", blob.name))?;
        summary.copied += 1;
    }
    match expected.values().next() {
        None => Ok(summary),
        Some(blob) => bail!("it is cut short, and lacks {blob}: copy it again"),
    }
}
