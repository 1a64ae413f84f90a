//! Everything a lock names, present and verified. Holding a [`Blobs`] is the proof: nothing after it checks
//! again.

use crate::fetch::Item;
use crate::store::Store;
use anyhow::{Context, anyhow};
use formats::tree::Content;
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Verified blobs by SHA-256, their files held open.
#[derive(Debug)]
pub struct Blobs {
    contents: BTreeMap<String, Content>,
}

impl Blobs {
    /// Opens and verifies every item, on all cores; reports all that are missing or damaged.
    pub fn open(items: &[Item], store: &Store) -> anyhow::Result<Self> {
        let open = |item: &Item| {
            let content = store.content(&item.sha256, &item.name)?;
            anyhow::Ok((item.sha256.clone(), content))
        };
        let (contents, faults): (Vec<_>, Vec<_>) = items
            .par_iter()
            .with_max_len(1)
            .map(open)
            .partition(Result::is_ok);
        let mut faults: Vec<String> = faults
            .into_iter()
            .filter_map(|f| f.err().map(|e| format!("{e:#}")))
            .collect();
        faults.sort();
        match faults.as_slice() {
            [] => Ok(Blobs {
                contents: contents.into_iter().filter_map(Result::ok).collect(),
            }),
            _ => Err(anyhow!("{}", faults.join("\n"))),
        }
    }

    /// Every blob, with its digest.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Content)> {
        let contents = self.contents.iter();
        contents.map(|(sha256, content)| (sha256.as_str(), content.clone()))
    }

    /// The blob's bytes.
    pub fn content(&self, sha256: &str) -> anyhow::Result<Content> {
        let content = self.contents.get(sha256);
        let content = content.with_context(|| format!("blob {sha256} is not in the lock"))?;
        Ok(content.clone())
    }
}
