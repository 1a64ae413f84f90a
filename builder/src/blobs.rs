//! Everything a lock names, present and verified. Holding a [`Blobs`] is the proof: nothing after it checks
//! again.

use crate::fetch::Item;
use crate::store::Store;
use anyhow::{Context, anyhow};
use formats::tree::Content;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

/// Verified blobs by SHA-256, each held open.
#[derive(Debug)]
pub struct Blobs {
    files: BTreeMap<String, (Arc<File>, u64)>,
}

impl Blobs {
    /// Opens and verifies every item, on all cores; reports all that are missing or damaged.
    pub fn open(items: &[Item], store: &Store) -> anyhow::Result<Self> {
        let open = |item: &Item| {
            let file = store.open_verified(&item.sha256, &item.name)?;
            anyhow::Ok((item.sha256.clone(), (Arc::new(file), item.size)))
        };
        let (files, faults): (Vec<_>, Vec<_>) = items.par_iter().map(open).partition(Result::is_ok);
        let mut faults: Vec<String> = faults
            .into_iter()
            .filter_map(|f| f.err().map(|e| format!("{e:#}")))
            .collect();
        faults.sort();
        match faults.as_slice() {
            [] => Ok(Blobs {
                files: files.into_iter().filter_map(Result::ok).collect(),
            }),
            _ => Err(anyhow!("{}", faults.join("\n"))),
        }
    }

    /// Every blob, with its digest.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Content)> {
        self.files.iter().map(|(sha256, (file, len))| {
            let content = Content::Slice {
                file: file.clone(),
                offset: 0,
                len: *len,
            };
            (sha256.as_str(), content)
        })
    }

    /// The blob's open file.
    pub fn file(&self, sha256: &str) -> anyhow::Result<Arc<File>> {
        let (file, _) = self
            .files
            .get(sha256)
            .with_context(|| format!("blob {sha256} is not in the lock"))?;
        Ok(file.clone())
    }

    /// The blob's bytes.
    pub fn content(&self, sha256: &str) -> anyhow::Result<Content> {
        let (file, len) = self
            .files
            .get(sha256)
            .with_context(|| format!("blob {sha256} is not in the lock"))?;
        Ok(Content::Slice {
            file: file.clone(),
            offset: 0,
            len: *len,
        })
    }
}
