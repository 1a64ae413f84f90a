//! Compressing contents, before an image is planned.
//!
//! A content is cut into extents of 128 KiB, each compressed by itself into whole blocks, so that a page is
//! read by unpacking no more than one of them. The result knows nothing of an image: [`Extents`] says how
//! many blocks each extent takes, and the blocks lie wherever the caller put them, such as in a cache. An
//! extent that does not shrink by a block is not kept at all; an image takes it from the content itself.
//!
//! All processors of the current rayon pool work on it. Extents come out in the order of the contents, so
//! that neither the bytes nor their places depend on how many there are.

use super::Error;
use super::codec::{Algorithm, Compression, Encoder, blocks_for};
use super::format::BLOCK;
use super::identity::{Identity, identity};
use crate::bytes::u64_le;
use crate::tree::{Content, Kind, Tree};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::sync::Arc;

/// Log2 of [`EXTENT`].
const EXTENT_BITS: u8 = 17;
/// Size in bytes of all extents of a content but the last.
pub(super) const EXTENT: u64 = 1 << EXTENT_BITS;
/// How much of the contents is being compressed at a time, in bytes. As much waits to be written.
const WINDOW: u64 = 16 << 20;

/// How one content is compressed: the number of blocks of each extent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extents {
    algorithm: Algorithm,
    /// Size of the content in bytes.
    size: u64,
    /// Blocks of each extent. As many as hold it uncompressed mean that it is not compressed.
    blocks: Vec<u8>,
}

/// One extent of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    /// Where it starts in the content, in bytes.
    pub(super) offset: u64,
    /// Its size in the content, in bytes.
    pub(super) len: u64,
    /// How many blocks it takes in an image.
    pub(super) blocks: u64,
}

impl Extent {
    /// Whether its blocks are the content's own bytes.
    pub(super) fn is_plain(self) -> bool {
        self.blocks >= blocks_for(self.len)
    }
}

impl Extents {
    /// Size of the content in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What unpacks it.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// How many bytes of blocks [`compress`] wrote for it.
    pub fn stored(&self) -> u64 {
        let packed = self.iter().filter(|extent| !extent.is_plain());
        packed.map(|extent| extent.blocks).sum::<u64>() * BLOCK
    }

    /// The extents as bytes that [`Extents::parse`] takes, for a cache.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![EXTENT_BITS, self.algorithm.number()];
        bytes.extend_from_slice(&self.size.to_le_bytes());
        bytes.extend_from_slice(&self.blocks);
        bytes
    }

    /// The inverse of [`Extents::to_bytes`]; `None` if the bytes are damaged or of an earlier form.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let (header, blocks) = bytes.split_at_checked(10)?;
        let extents = Extents {
            algorithm: Algorithm::from_number(header[1])?,
            size: u64_le(header, 2),
            blocks: blocks.to_vec(),
        };
        let whole = header[0] == EXTENT_BITS
            && extents.size.div_ceil(EXTENT) == blocks.len() as u64
            && extents
                .iter()
                .all(|extent| (1..=blocks_for(extent.len)).contains(&extent.blocks));
        whole.then_some(extents)
    }

    /// How many blocks it takes in an image.
    pub(super) fn blocks(&self) -> u64 {
        self.blocks.iter().map(|blocks| u64::from(*blocks)).sum()
    }

    /// Whether an image becomes smaller by it. The index of a compressed file takes up to 4 bytes for each
    /// block of its data.
    fn pays(&self) -> bool {
        self.blocks() * BLOCK + 4 * blocks_for(self.size) + 32 < self.size
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Extent> {
        let starts = cuts(self.size);
        starts
            .zip(&self.blocks)
            .map(|((offset, len), blocks)| Extent {
                offset,
                len,
                blocks: u64::from(*blocks),
            })
    }
}

/// Offset and length of each extent of a content of `size` bytes.
fn cuts(size: u64) -> impl Iterator<Item = (u64, u64)> {
    (0..size.div_ceil(EXTENT)).map(move |number| {
        let offset = number * EXTENT;
        (offset, EXTENT.min(size - offset))
    })
}

/// Compresses `contents` and writes the blocks of each to `out`, one content after the other. The result
/// has an entry for each content, whose [`Extents::stored`] says how many bytes were written for it.
///
/// What is written for a content depends on its bytes and on `compression` alone, as long as the compressing
/// libraries stay the same; a key of a cache should name the program's version.
pub fn compress(
    contents: &[&Content],
    compression: Compression,
    out: &mut (impl Write + Send),
) -> Result<Vec<Extents>, CompressError> {
    let mut results: Vec<Extents> = contents
        .iter()
        .map(|content| Extents {
            algorithm: compression.algorithm(),
            size: content.len(),
            blocks: Vec::new(),
        })
        .collect();
    let mut pieces = contents.iter().enumerate().flat_map(|(number, content)| {
        cuts(content.len()).map(move |(offset, len)| Piece {
            number,
            content,
            offset,
            len,
        })
    });
    let mut done = Vec::new();
    loop {
        let mut window = Vec::new();
        let mut taken = 0;
        while taken < WINDOW
            && let Some(piece) = pieces.next()
        {
            // Short pieces cost their buffers, too.
            taken += piece.len.max(BLOCK);
            window.push(piece);
        }
        if window.is_empty() && done.is_empty() {
            return Ok(results);
        }
        let write = || write(std::mem::take(&mut done), &mut results, out);
        let (written, next) = rayon::join(write, || encode(window, compression));
        written?;
        done = next;
    }
}

/// Why contents cannot be compressed.
#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    /// A content cannot be read.
    #[error("reading content {number}")]
    Read {
        /// Its place among the contents.
        number: usize,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// The blocks cannot be written.
    #[error("writing compressed blocks")]
    Write(#[source] io::Error),
    /// The compressing library reports an error, for want of memory.
    #[error("compressing")]
    Library(#[source] io::Error),
}

/// An extent that is yet to be compressed.
#[derive(Clone, Copy)]
struct Piece<'a> {
    number: usize,
    content: &'a Content,
    offset: u64,
    len: u64,
}

/// An extent that is compressed: the number of its content, of its blocks, and these, unless it stays plain.
type Encoded = Result<(usize, u8, Option<Vec<u8>>), CompressError>;

fn encode(window: Vec<Piece<'_>>, compression: Compression) -> Vec<Encoded> {
    window
        .into_par_iter()
        .map_init(
            || (Encoder::new(compression), Vec::new()),
            |(encoder, data), piece| {
                let encoder = match encoder {
                    Ok(encoder) => encoder,
                    Err(error) => {
                        let error = io::Error::new(error.kind(), error.to_string());
                        return Err(CompressError::Library(error));
                    }
                };
                data.resize(usize::try_from(piece.len).unwrap_or(usize::MAX), 0);
                piece
                    .content
                    .read_exact_at(data, piece.offset)
                    .map_err(|source| CompressError::Read {
                        number: piece.number,
                        source,
                    })?;
                let packed = encoder.encode(data).map_err(CompressError::Library)?;
                let blocks = match &packed {
                    Some(packed) => blocks_for(packed.len() as u64),
                    None => blocks_for(piece.len),
                };
                let blocks = u8::try_from(blocks).expect("an extent has at most 32 blocks");
                Ok((piece.number, blocks, packed))
            },
        )
        .collect()
}

fn write(
    done: Vec<Encoded>,
    results: &mut [Extents],
    out: &mut impl Write,
) -> Result<(), CompressError> {
    for encoded in done {
        let (number, blocks, packed) = encoded?;
        results[number].blocks.push(blocks);
        if let Some(packed) = packed {
            out.write_all(&packed).map_err(CompressError::Write)?;
        }
    }
    Ok(())
}

/// The compressed forms of contents, as [`plan_compressed`](super::plan_compressed) takes them. Contents
/// are told apart as in a tree: clones of one content are the same, copies of its bytes are not.
#[derive(Debug, Default)]
pub struct Contents {
    /// The content is kept so that nothing else gets its address.
    known: BTreeMap<Identity, (Content, Compressed)>,
}

/// Extents and the blocks that belong to them.
#[derive(Clone, Debug)]
pub(super) struct Compressed {
    pub(super) extents: Extents,
    pub(super) blocks: Content,
}

impl Contents {
    /// Compresses the files of `tree` that may become smaller, each content once. Their blocks go to the end
    /// of `scratch`, which should be empty and without a name, and which lives as long as the result.
    pub fn of_tree(tree: &Tree, compression: Compression, scratch: File) -> Result<Self, Error> {
        let mut known = BTreeMap::new();
        let (mut paths, mut contents) = (Vec::new(), Vec::new());
        for (path, node) in tree.iter() {
            if let Kind::File(content) = &node.kind
                && content.len() > BLOCK
                && known.insert(identity(content), ()).is_none()
            {
                paths.push(path);
                contents.push(content);
            }
        }
        let mut position = (&scratch).seek(SeekFrom::End(0)).map_err(Error::Scratch)?;
        let mut out = BufWriter::with_capacity(1 << 20, &scratch);
        let all = compress(&contents, compression, &mut out).map_err(|error| match error {
            CompressError::Read { number, source } => Error::Read {
                path: paths.swap_remove(number),
                source,
            },
            CompressError::Write(source) | CompressError::Library(source) => Error::Scratch(source),
        })?;
        out.flush().map_err(Error::Scratch)?;
        drop(out);
        let file = Arc::new(scratch);
        let mut result = Contents::default();
        for (content, extents) in contents.into_iter().zip(all) {
            let len = extents.stored();
            let blocks = Content::Slice {
                file: file.clone(),
                offset: position,
                len,
            };
            position += len;
            result.insert(content, extents, blocks)?;
        }
        Ok(result)
    }

    /// Adds what [`compress`] gave for `content`: its extents, and where the blocks are that it wrote.
    pub fn insert(
        &mut self,
        content: &Content,
        extents: Extents,
        blocks: Content,
    ) -> Result<(), Error> {
        if extents.size != content.len() || extents.stored() != blocks.len() {
            return Err(Error::Mismatch);
        }
        let compressed = Compressed { extents, blocks };
        let known = (content.clone(), compressed);
        self.known.insert(identity(content), known);
        Ok(())
    }

    /// The compressed form of `content`, if it is worth having.
    pub(super) fn get(&self, content: &Content) -> Option<&Compressed> {
        let (_, compressed) = self.known.get(&identity(content))?;
        compressed.extents.pays().then_some(compressed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extents_survive_a_cache() {
        let text = Content::from("seedbed ".repeat(40_000).as_str());
        let mut blocks = Vec::new();
        let extents = compress(&[&text], Compression::default(), &mut blocks).unwrap();
        let bytes = extents[0].to_bytes();
        assert_eq!(extents[0].stored(), blocks.len() as u64);
        assert_eq!(Extents::parse(&bytes).as_ref(), Some(&extents[0]));
        for len in 0..bytes.len() {
            assert_eq!(Extents::parse(&bytes[..len]), None);
        }
        for (at, value) in [(0, 16), (1, 1), (4, 0xff), (9, 1), (10, 0), (10, 33)] {
            let mut bad = bytes.clone();
            bad[at] = value;
            assert_eq!(Extents::parse(&bad), None, "byte {at}");
        }
    }

    #[test]
    fn blocks_of_another_content_are_refused() {
        let text = Content::from("seedbed ".repeat(40_000).as_str());
        let mut blocks = Vec::new();
        let extents = compress(&[&text], Compression::Lz4, &mut blocks).unwrap();
        let other = Content::from("seedbed");
        for (content, blocks) in [(&text, &blocks[1..]), (&other, &blocks[..])] {
            let blocks = Content::from(blocks.to_vec());
            let inserted = Contents::default().insert(content, extents[0].clone(), blocks);
            assert!(matches!(inserted, Err(Error::Mismatch)));
        }
    }
}
