//! What takes reading every module of a kernel, unless a build before has done that.

use super::{directory, signature};
use crate::cache::Key;
use crate::cache::files::{Kept, NamedFile};
use crate::digest;
use anyhow::Context;
use formats::tree::{Kind, Tree};
use std::collections::BTreeMap;

const SIGNERS: &str = "signers";
/// Stands for no signer.
const NOBODY: &str = "-";

/// As [`super::index`].
pub fn index(tree: &Tree, version: &str, kept: Kept<'_>) -> anyhow::Result<Vec<NamedFile>> {
    let key = key(tree, version, "module index", kept)?;
    kept.files(&key, || Ok(super::index(tree, version)?))
}

/// As [`signature::signers`], with signers in hexadecimal digits.
pub fn signers(
    tree: &Tree,
    version: &str,
    kept: Kept<'_>,
) -> anyhow::Result<BTreeMap<String, Option<String>>> {
    let key = key(tree, version, "module signers", kept)?;
    let files = kept.files(&key, || {
        let mut text = String::new();
        for (path, signer) in signature::signers(tree, version)? {
            let signer = signer.map_or(NOBODY.to_owned(), |signer| digest::hex(&signer));
            text += &format!("{signer} {path}\n");
        }
        Ok(vec![(SIGNERS.to_owned(), text.into_bytes())])
    })?;
    let bytes = files.into_iter().find(|(name, _)| name == SIGNERS);
    let (_, bytes) = bytes.context("the cache keeps no list of modules' signers")?;
    let text = String::from_utf8(bytes).context("reading the list of modules' signers")?;
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    let signers = lines.map(|(signer, path)| {
        let signer = (signer != NOBODY).then(|| signer.to_owned());
        (path.to_owned(), signer)
    });
    Ok(signers.collect())
}

/// Stands for every file in the version's directory.
fn key(tree: &Tree, version: &str, what: &str, kept: Kept<'_>) -> anyhow::Result<Key> {
    let mut key = kept.cache.key(what).with(version);
    for (path, node) in tree.descendants(&directory(version)) {
        if let Kind::File(content) = &node.kind {
            key = key.with(path).with_content(content)?;
        }
    }
    Ok(key.key())
}
