//! The compressed forms of a tree's files. What comes from one archive is compressed together and kept under
//! that archive's digest, so that a build compresses only what no build before has.
//!
//! ```text
//! kept    the blocks of all contents; for each content the length of its extents as a u32, and the extents;
//!         then the length of all blocks as a u64
//! ```

use super::Inputs;
use crate::cache::{Cache, Key, Out};
use anyhow::Context;
use formats::erofs::{Compression, Contents, Extents, compress};
use formats::tree::{Content, Kind, Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// Content of up to this many bytes takes a block whatever is done.
const LEAST: u64 = 4096;

/// Contents that are kept together.
struct Group<'a> {
    /// What the contents are ranges of, by digest; `None` if they are not kept.
    archive: Option<&'a str>,
    contents: Vec<&'a Content>,
}

/// Compresses the files of `tree`.
pub(super) fn contents(
    tree: &Tree,
    inputs: &Inputs<'_>,
    compression: Compression,
) -> anyhow::Result<Contents> {
    let mut contents = Contents::default();
    // One group after the other: each keeps all cores busy by itself, and its buffers are the only ones.
    for group in groups(tree, inputs) {
        let compressed = group.compress(inputs.cache, inputs.scratch, compression)?;
        for (content, (extents, blocks)) in group.contents.iter().zip(compressed) {
            contents
                .insert(content, extents, blocks)
                .context("taking a compressed content")?;
        }
    }
    Ok(contents)
}

/// The contents of `tree` that may become smaller, each once, by the archive that they come from.
fn groups<'a>(tree: &'a Tree, inputs: &'a Inputs<'_>) -> Vec<Group<'a>> {
    let address = |content: &Content| match content {
        Content::Slice { file, .. } => Some(Arc::as_ptr(file).addr()),
        Content::Bytes(_) => None,
    };
    let archives = inputs.packages.iter().chain(inputs.blobs.iter());
    let archives: BTreeMap<usize, &str> = archives
        .filter_map(|(sha256, content)| Some((address(&content)?, sha256)))
        .collect();
    let mut seen = BTreeSet::new();
    let mut kept: BTreeMap<&str, BTreeMap<(u64, u64), &Content>> = BTreeMap::new();
    let mut rest = Vec::new();
    for (_, node) in tree.iter() {
        let Kind::File(content) = &node.kind else {
            continue;
        };
        if content.len() <= LEAST {
            continue;
        }
        let archive = address(content).and_then(|address| archives.get(&address));
        match (content, archive) {
            (Content::Slice { offset, len, .. }, Some(sha256)) => {
                kept.entry(sha256)
                    .or_default()
                    .insert((*offset, *len), content);
            }
            (Content::Slice { file, offset, len }, None) => {
                if seen.insert((Arc::as_ptr(file).addr(), *offset, *len)) {
                    rest.push(content);
                }
            }
            (Content::Bytes(bytes), _) => {
                if seen.insert((bytes.as_ptr().addr(), 0, content.len())) {
                    rest.push(content);
                }
            }
        }
    }
    let kept = kept.into_iter().map(|(sha256, contents)| Group {
        archive: Some(sha256),
        contents: contents.into_values().collect(),
    });
    let rest = Group {
        archive: None,
        contents: rest,
    };
    kept.chain([rest]).collect()
}

impl Group<'_> {
    /// The compressed form of each content.
    fn compress(
        &self,
        cache: &Cache,
        scratch: &Path,
        compression: Compression,
    ) -> anyhow::Result<Vec<(Extents, Content)>> {
        let make = |out: &mut Out<'_>| self.write(compression, out);
        let kept = match self.key(cache, compression) {
            Some(key) => cache.get_or_make(&key, scratch, make)?,
            None => Cache::none().put(&Key::of("unkept").key(), scratch, make)?,
        };
        self.parse(&kept)
            .context("a kept result of compression is malformed")
    }

    /// Stands for the archive, for the ranges of it that are there, and for how they are compressed.
    fn key(&self, cache: &Cache, compression: Compression) -> Option<Key> {
        let mut key = cache.key("compressed contents").with(self.archive?);
        key = key.with(format!("{compression:?}"));
        for content in &self.contents {
            if let Content::Slice { offset, len, .. } = content {
                key = key.with(offset.to_le_bytes()).with(len.to_le_bytes());
            }
        }
        Some(key.key())
    }

    fn write(&self, compression: Compression, mut out: &mut Out<'_>) -> anyhow::Result<()> {
        let mut index = Vec::new();
        let mut size = 0;
        for extents in compress(&self.contents, compression, &mut out)? {
            let bytes = extents.to_bytes();
            index.extend_from_slice(&u32::try_from(bytes.len())?.to_le_bytes());
            index.extend_from_slice(&bytes);
            size += extents.stored();
        }
        out.write_all(&index)?;
        Ok(out.write_all(&size.to_le_bytes())?)
    }

    fn parse(&self, kept: &Content) -> anyhow::Result<Vec<(Extents, Content)>> {
        let short = "it ends early";
        let end = kept.len().checked_sub(8).context(short)?;
        let size = kept.slice(end, 8)?.to_vec()?;
        let size = u64::from_le_bytes(*size.first_chunk().context(short)?);
        let index = kept.slice(size, end.checked_sub(size).context(short)?)?;
        let index = index.to_vec()?;
        let mut rest = index.as_slice();
        let mut position = 0;
        let mut compressed = Vec::with_capacity(self.contents.len());
        for _ in &self.contents {
            let (len, after) = rest.split_first_chunk::<4>().context(short)?;
            let len = usize::try_from(u32::from_le_bytes(*len))?;
            let (bytes, after) = after.split_at_checked(len).context(short)?;
            let extents = Extents::parse(bytes).context("extents cannot be read")?;
            let blocks = kept.slice(position, extents.stored())?;
            position += extents.stored();
            rest = after;
            compressed.push((extents, blocks));
        }
        Ok(compressed)
    }
}
