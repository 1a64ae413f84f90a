//! Writing a planned image in one pass from its first byte to its last.

use super::compress::Compressed;
use super::format::BLOCK;
use super::index;
use super::plan::{Inode, Plan};
use super::superblock::Superblock;
use super::{Error, Summary};
use crate::tree::{Content, Kind};
use std::io::{BufWriter, Write};

/// How much of a file is in memory at a time, in bytes.
const PIECE: usize = 1 << 20;

impl Plan<'_> {
    /// Writes exactly [`Plan::size`] bytes to `out`.
    pub fn write(&self, out: &mut impl Write) -> Result<Summary, Error> {
        let mut out = Positioned {
            inner: BufWriter::with_capacity(PIECE, out),
            position: 0,
        };
        out.write(&self.superblock()?.to_block())?;
        let mut piece = Vec::new();
        for index in &self.by_position {
            self.render_inode(*index, &mut piece)?;
            out.pad_to(self.inodes[*index].position)?;
            out.write(&piece)?;
        }
        out.pad_to_block()?;
        for run in &self.runs {
            let inode = &self.inodes[run.inode];
            match &inode.node.kind {
                Kind::File(content) => match inode.compressed {
                    Some((compressed, _)) => {
                        copy_compressed(content, compressed, &mut piece, inode, &mut out)?;
                    }
                    None => copy(content, 0, run.len, &mut piece, inode, &mut out)?,
                },
                Kind::Directory => {
                    let whole = self.directory(run.inode);
                    out.write(&whole[..to_len(run.len)])?;
                }
                Kind::Symlink(target) => out.write(target.as_bytes())?,
                Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {}
            }
            out.pad_to_block()?;
        }
        debug_assert_eq!(out.position, self.size());
        out.inner.flush().map_err(Error::Write)?;
        Ok(self.summary())
    }

    fn superblock(&self) -> Result<Superblock, Error> {
        let too_large = |_| Error::TooLarge {
            path: String::new(),
        };
        let mut label = [0; 16];
        label[..self.options.label.len()].copy_from_slice(self.options.label.as_bytes());
        Ok(Superblock {
            uuid: self.options.uuid,
            label,
            build_time: self.options.epoch,
            inodes: self.inodes.len() as u64,
            blocks: u32::try_from(self.size() / BLOCK).map_err(too_large)?,
            root_nid: u16::try_from(self.inodes[0].nid())
                .expect("the root is the first to get a position, right after the first block"),
            meta_block: 0,
            xattr_block: 0,
            algorithms: self
                .inodes
                .iter()
                .filter_map(|inode| inode.compressed)
                .fold(0, |bits, (compressed, _)| {
                    bits | compressed.extents.algorithm().bit()
                }),
        })
    }

    /// The inode with its attributes and its tail.
    fn render_inode(&self, index: usize, piece: &mut Vec<u8>) -> Result<(), Error> {
        let inode = &self.inodes[index];
        piece.clear();
        inode.fields.write_to(piece);
        piece.extend_from_slice(&inode.xattrs);
        if let Some((compressed, first)) = inode.compressed {
            piece.extend(index::render(piece.len(), &compressed.extents, first));
            return Ok(());
        }
        let tail = to_len(inode.tail());
        if tail == 0 {
            return Ok(());
        }
        match &inode.node.kind {
            Kind::File(content) => {
                let start = piece.len();
                piece.resize(start + tail, 0);
                let offset = inode.fields.size - inode.tail();
                read(content, &mut piece[start..], offset, inode)?;
            }
            Kind::Directory => {
                let whole = self.directory(index);
                piece.extend_from_slice(&whole[whole.len() - tail..]);
            }
            Kind::Symlink(target) => piece.extend_from_slice(target.as_bytes()),
            Kind::CharDevice(..) | Kind::BlockDevice(..) | Kind::Fifo => {}
        }
        Ok(())
    }
}

/// A length of something that is in memory.
fn to_len(bytes: u64) -> usize {
    usize::try_from(bytes).expect("directories and tails are in memory")
}

/// Writes the blocks of all extents, each from the compressed form or, if it is plain, from `content`.
fn copy_compressed(
    content: &Content,
    compressed: &Compressed,
    piece: &mut Vec<u8>,
    inode: &Inode<'_>,
    out: &mut Positioned<impl Write>,
) -> Result<(), Error> {
    let mut stored = 0;
    for extent in compressed.extents.iter() {
        if extent.is_plain() {
            copy(content, extent.offset, extent.len, piece, inode, out)?;
            out.pad_to_block()?;
        } else {
            let len = extent.blocks * BLOCK;
            copy(&compressed.blocks, stored, len, piece, inode, out)?;
            stored += len;
        }
    }
    Ok(())
}

/// Writes `len` bytes of `content` from `start`.
fn copy(
    content: &Content,
    start: u64,
    len: u64,
    piece: &mut Vec<u8>,
    inode: &Inode<'_>,
    out: &mut Positioned<impl Write>,
) -> Result<(), Error> {
    let mut offset = 0;
    while offset < len {
        let next = (len - offset).min(PIECE as u64);
        piece.resize(to_len(next), 0);
        read(content, piece, start + offset, inode)?;
        out.write(piece)?;
        offset += next;
    }
    Ok(())
}

fn read(content: &Content, buf: &mut [u8], offset: u64, inode: &Inode<'_>) -> Result<(), Error> {
    content
        .read_exact_at(buf, offset)
        .map_err(|source| Error::Read {
            path: inode.path.clone(),
            source,
        })
}

/// A writer that knows where it is.
struct Positioned<W> {
    inner: W,
    position: u64,
}

impl<W: Write> Positioned<W> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.position += bytes.len() as u64;
        self.inner.write_all(bytes).map_err(Error::Write)
    }

    /// Zeros up to `position`. Attributes of one inode may span blocks, but no gap is larger than one.
    fn pad_to(&mut self, position: u64) -> Result<(), Error> {
        const ZEROS: [u8; BLOCK as usize] = [0; BLOCK as usize];
        let gap = position.saturating_sub(self.position).min(BLOCK);
        debug_assert_eq!(self.position + gap, position);
        self.write(&ZEROS[..to_len(gap)])
    }

    fn pad_to_block(&mut self) -> Result<(), Error> {
        self.pad_to(self.position.next_multiple_of(BLOCK))
    }
}
