//! Reading an image, which may be damaged or made to do harm.
//!
//! Every position and count is checked against the image before it is followed or memory is taken for it.
//! Not read: files in chunks, compressed files with fragments or packed tails (see [`super::extent`] for what
//! is), images on more than one device. What an image says of itself is believed as far as it is consistent; that it is the right one is dm-verity's matter.

pub use super::codec::Algorithm;
pub use super::dirent::Entry;
pub use super::format::FileType;
pub use super::inode::Layout;
pub use super::reader::Reader;
pub use super::superblock::Superblock;
pub use super::walk::{Walk, Walked};

use super::extent::index_end;
use super::format::{BLOCK, BLOCK_LEN, MAX_SYMLINK, SLOT};
use super::inode::{COMPACT, EXTENDED, Fields, decode_device};
use super::{dirent, xattr};
use crate::read_at::ReadAt;
use crate::tree::Metadata;
use std::collections::BTreeMap;
use std::io;

/// Largest directory that is read, in bytes: about a million entries.
const MAX_DIRECTORY: u64 = 64 << 20;
/// How many symbolic links are followed on the way to one file, as in Linux.
const MAX_LINKS: usize = 40;

/// Why an image, or something in it, cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The image itself cannot be read.
    #[error("reading the erofs image")]
    Io(#[source] io::Error),
    /// There is no erofs superblock.
    #[error("this is no erofs image")]
    NotErofs,
    /// The superblock is damaged.
    #[error("the checksum of the erofs superblock does not match")]
    Checksum,
    /// The image is smaller than it says.
    #[error("the erofs image has {has} bytes of {needs}: it is cut short")]
    Truncated {
        /// How many bytes there are.
        has: u64,
        /// How many there should be.
        needs: u64,
    },
    /// The image uses what this reader does not know.
    #[error("the erofs image uses {0}, which is not supported")]
    Unsupported(&'static str),
    /// The image contradicts itself.
    #[error("inode {nid} of the erofs image is damaged: {problem}")]
    Corrupt {
        /// Slot of the inode.
        nid: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// There is nothing at this path.
    #[error("the erofs image has no {0:?}")]
    NotFound(String),
    /// The path leads through something that is no directory.
    #[error("{0:?} is not a directory in the erofs image")]
    NotADirectory(String),
    /// The path leads through too many symbolic links.
    #[error("{0:?} leads through more than 40 symbolic links")]
    Loop(String),
}

/// An erofs image that is open for reading.
#[derive(Debug)]
pub struct Image<R> {
    source: R,
    superblock: Superblock,
    /// End of what is read, in bytes.
    size: u64,
}

/// An inode of an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inode {
    nid: u64,
    kind: FileType,
    fields: Fields,
    /// Where the inode starts, in bytes.
    position: u64,
}

impl Inode {
    /// Number of its slot, which Linux shows as inode number.
    pub fn nid(&self) -> u64 {
        self.nid
    }

    /// What it is.
    pub fn kind(&self) -> FileType {
        self.kind
    }

    /// Size of its data in bytes.
    pub fn size(&self) -> u64 {
        self.fields.size
    }

    /// Permission bits with set-uid, set-gid and sticky.
    pub fn mode(&self) -> u16 {
        self.fields.mode & 0o7777
    }

    /// Owner.
    pub fn uid(&self) -> u32 {
        self.fields.uid
    }

    /// Group.
    pub fn gid(&self) -> u32 {
        self.fields.gid
    }

    /// Modification time, seconds since 1970.
    pub fn mtime(&self) -> i64 {
        self.fields.mtime
    }

    /// How many directory entries lead to it, by its own account.
    pub fn nlink(&self) -> u32 {
        self.fields.nlink
    }

    /// Where its data is.
    pub fn layout(&self) -> Layout {
        self.fields.layout
    }

    /// Whether the inode has the larger form.
    pub fn is_extended(&self) -> bool {
        self.fields.extended
    }

    /// Major and minor number, if it is a device.
    pub fn device(&self) -> Option<(u32, u32)> {
        let is_device = matches!(self.kind, FileType::CharDevice | FileType::BlockDevice);
        is_device.then(|| decode_device(self.fields.place))
    }

    /// Position in bytes of the first data block, if the inode has whole blocks of data that is not compressed.
    pub fn data_position(&self) -> Option<u64> {
        (self.blocks_len() > 0).then(|| u64::from(self.fields.place) * BLOCK)
    }

    fn has_data(&self) -> bool {
        use FileType::{Directory, Regular, Symlink};
        matches!(self.kind, Regular | Directory | Symlink)
    }

    /// How many bytes of blocks its compressed data takes, by its own account.
    pub fn compressed_size(&self) -> Option<u64> {
        self.is_compressed()
            .then(|| u64::from(self.fields.place) * BLOCK)
    }

    pub(super) fn is_compressed(&self) -> bool {
        self.has_data() && self.fields.layout.is_compressed()
    }

    /// How many bytes of its data are in blocks as they are; the rest is the tail.
    fn blocks_len(&self) -> u64 {
        match self.fields.layout {
            _ if !self.has_data() => 0,
            Layout::Compressed | Layout::CompressedFull => 0,
            Layout::Plain => self.fields.size,
            Layout::Inline => self.fields.size - self.fields.size % BLOCK,
        }
    }

    fn xattr_position(&self) -> u64 {
        self.position + self.fields.len() as u64
    }

    /// Where the inode and its attributes end: there is the tail, or the index of compressed data.
    pub(super) fn after(&self) -> u64 {
        self.xattr_position() + xattr::len(self.fields.xattr_count) as u64
    }

    pub(super) fn corrupt(&self, problem: &'static str) -> Error {
        Error::Corrupt {
            nid: self.nid,
            problem,
        }
    }
}

impl<R: ReadAt> Image<R> {
    /// Opens an image; `source` may be larger than it.
    pub fn open(source: R) -> Result<Self, Error> {
        let has = source.size().map_err(Error::Io)?;
        if has < BLOCK {
            return Err(Error::NotErofs);
        }
        let mut block = [0; BLOCK_LEN];
        source.read_exact_at(&mut block, 0).map_err(Error::Io)?;
        let superblock = Superblock::parse(&block)?;
        let needs = u64::from(superblock.blocks) * BLOCK;
        if needs > has {
            return Err(Error::Truncated { has, needs });
        }
        Ok(Image {
            source,
            superblock,
            size: needs,
        })
    }

    /// What the image says of itself.
    pub fn superblock(&self) -> &Superblock {
        &self.superblock
    }

    /// Size of the image in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The root directory.
    pub fn root(&self) -> Result<Inode, Error> {
        let root = self.inode(u64::from(self.superblock.root_nid))?;
        match root.kind {
            FileType::Directory => Ok(root),
            _ => Err(root.corrupt("it should be the root, and is not a directory")),
        }
    }

    /// The inode in this slot.
    pub fn inode(&self, nid: u64) -> Result<Inode, Error> {
        let corrupt = |problem| Error::Corrupt { nid, problem };
        let position = nid
            .checked_mul(SLOT)
            .and_then(|offset| offset.checked_add(u64::from(self.superblock.meta_block) * BLOCK))
            .ok_or(corrupt("it is beyond the end"))?;
        let mut bytes = [0; EXTENDED];
        self.read_checked(nid, &mut bytes[..COMPACT], position)?;
        let extended = Fields::is_extended(&bytes);
        if extended {
            self.read_checked(nid, &mut bytes, position)?;
        }
        let len = if extended { EXTENDED } else { COMPACT };
        let fields = Fields::parse(&bytes[..len], self.superblock.build_time).map_err(corrupt)?;
        let kind = FileType::from_mode(fields.mode).ok_or(corrupt("its type is unknown"))?;
        let inode = Inode {
            nid,
            kind,
            fields,
            position,
        };
        self.check(&inode)?;
        Ok(inode)
    }

    /// Whether all that belongs to the inode lies within the image.
    fn check(&self, inode: &Inode) -> Result<(), Error> {
        let tail = inode.after();
        if tail > self.size {
            return Err(inode.corrupt("its extended attributes are beyond the end"));
        }
        if !inode.has_data() {
            return Ok(());
        }
        if inode.is_compressed() {
            let end = index_end(inode.layout(), tail, inode.size());
            return match end {
                Some(end) if end <= self.size => Ok(()),
                _ => Err(inode.corrupt("its index is beyond the end")),
            };
        }
        let blocks = inode.blocks_len();
        let end = blocks.checked_add(u64::from(inode.fields.place) * BLOCK);
        if blocks > 0 && end.is_none_or(|end| end > self.size) {
            return Err(inode.corrupt("its data is beyond the end"));
        }
        let rest = inode.fields.size - blocks;
        if rest > 0 && (tail % BLOCK + rest > BLOCK || tail + rest > self.size) {
            return Err(inode.corrupt("its tail crosses the end of a block"));
        }
        Ok(())
    }

    /// The inode at `path`, with or without a leading slash; symbolic links are not followed.
    pub fn lookup(&self, path: &str) -> Result<Inode, Error> {
        let mut inode = self.root()?;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            inode = self.step(&inode, name, path)?;
        }
        Ok(inode)
    }

    /// The inode that `path` leads to when symbolic links are followed, with the image as `/`.
    pub fn resolve(&self, path: &str) -> Result<Inode, Error> {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut way = vec![self.root()?];
        let mut links = 0;
        while let Some(name) = todo.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    way.truncate((way.len() - 1).max(1));
                    continue;
                }
                _ => {}
            }
            let here = way.last().expect("the way always keeps the root");
            let next = self.step(here, &name, path)?;
            if next.kind != FileType::Symlink {
                way.push(next);
                continue;
            }
            links += 1;
            if links > MAX_LINKS {
                return Err(Error::Loop(path.to_owned()));
            }
            let target = self.read_link(&next)?;
            if target.starts_with('/') {
                way.truncate(1);
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
        Ok(way.pop().expect("the way always keeps the root"))
    }

    fn step(&self, directory: &Inode, name: &str, path: &str) -> Result<Inode, Error> {
        if directory.kind != FileType::Directory {
            return Err(Error::NotADirectory(path.to_owned()));
        }
        let entries = self.read_dir(directory)?;
        match entries.binary_search_by(|entry| entry.name.as_str().cmp(name)) {
            Ok(index) => self.follow(directory, &entries[index]),
            Err(_) => Err(Error::NotFound(path.to_owned())),
        }
    }

    /// The inode that an entry of `directory` leads to.
    pub(super) fn follow(&self, directory: &Inode, entry: &Entry) -> Result<Inode, Error> {
        let inode = self.inode(entry.nid)?;
        if inode.kind != entry.kind {
            return Err(directory.corrupt("an entry and its inode disagree about the type"));
        }
        Ok(inode)
    }

    /// The entries of a directory in byte order of their names, without `.` and `..`.
    pub fn read_dir(&self, directory: &Inode) -> Result<Vec<Entry>, Error> {
        if directory.kind != FileType::Directory {
            return Err(directory.corrupt("it is not a directory"));
        }
        if directory.size() > MAX_DIRECTORY {
            return Err(directory.corrupt("it is a directory of more than 64 MiB"));
        }
        let mut entries = Vec::new();
        let mut block = [0; BLOCK_LEN];
        // A reader unpacks each extent once, where one block after the other would unpack it for each.
        let mut reader = self.reader(directory);
        loop {
            let read = reader.fill(&mut block)?;
            if read == 0 {
                break;
            }
            dirent::parse(&block[..read], &mut entries)
                .map_err(|problem| directory.corrupt(problem))?;
        }
        let mut dots = 0;
        entries.retain(|entry| {
            let is_dot = entry.name == "." || entry.name == "..";
            dots += usize::from(is_dot);
            !is_dot
        });
        match dots {
            2 => Ok(entries),
            _ => Err(directory.corrupt("it is a directory without . and ..")),
        }
    }

    /// Reads data of a file, directory or symbolic link from `offset`: `buf` is filled unless the data ends.
    pub fn read_at(&self, inode: &Inode, buf: &mut [u8], offset: u64) -> Result<usize, Error> {
        if !inode.has_data() {
            return Ok(0);
        }
        let left = inode.size().saturating_sub(offset);
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        if inode.is_compressed() {
            self.read_compressed(inode, &mut buf[..len], offset)?;
            return Ok(len);
        }
        let from_blocks = inode.blocks_len().saturating_sub(offset);
        let from_blocks = usize::try_from(from_blocks).unwrap_or(usize::MAX).min(len);
        let (blocks, tail) = buf[..len].split_at_mut(from_blocks);
        if !blocks.is_empty() {
            let start = u64::from(inode.fields.place) * BLOCK;
            self.read_checked(inode.nid, blocks, start + offset)?;
        }
        if !tail.is_empty() {
            let in_tail = offset.saturating_sub(inode.blocks_len());
            self.read_checked(inode.nid, tail, inode.after() + in_tail)?;
        }
        Ok(len)
    }

    /// The data of a file from its first byte to its last.
    pub fn reader<'a>(&'a self, inode: &'a Inode) -> Reader<'a, R> {
        Reader::new(self, inode)
    }

    /// The target of a symbolic link.
    pub fn read_link(&self, inode: &Inode) -> Result<String, Error> {
        if inode.kind != FileType::Symlink {
            return Err(inode.corrupt("it is not a symbolic link"));
        }
        let len = usize::try_from(inode.size()).unwrap_or(usize::MAX);
        if len > MAX_SYMLINK {
            return Err(inode.corrupt("it is a symbolic link of more than 4095 bytes"));
        }
        let mut target = vec![0; len];
        self.read_at(inode, &mut target, 0)?;
        String::from_utf8(target).map_err(|_| inode.corrupt("its target is not UTF-8"))
    }

    /// The extended attributes by full name.
    pub fn xattrs(&self, inode: &Inode) -> Result<BTreeMap<String, Vec<u8>>, Error> {
        let mut area = vec![0; xattr::len(inode.fields.xattr_count)];
        self.read_checked(inode.nid, &mut area, inode.xattr_position())?;
        let parsed = xattr::parse(&area).map_err(|problem| inode.corrupt(problem))?;
        let (mut xattrs, shared) = parsed;
        for offset in shared {
            let position = u64::from(self.superblock.xattr_block) * BLOCK + offset;
            let len = self.size.saturating_sub(position).min(xattr::max_entry());
            let mut entry = vec![0; usize::try_from(len).unwrap_or(0)];
            self.read_checked(inode.nid, &mut entry, position)?;
            let (name, value, _) =
                xattr::parse_entry(&entry).map_err(|problem| inode.corrupt(problem))?;
            xattrs.insert(name, value);
        }
        Ok(xattrs)
    }

    /// Owner, mode, time and extended attributes, as a [`Tree`](crate::tree::Tree) holds them.
    pub fn metadata(&self, inode: &Inode) -> Result<Metadata, Error> {
        Ok(Metadata {
            mode: inode.mode(),
            uid: inode.uid(),
            gid: inode.gid(),
            mtime: inode.mtime(),
            xattrs: self.xattrs(inode)?,
        })
    }

    /// Everything in the image, parents first, in the order of a [`Tree`](crate::tree::Tree).
    pub fn walk(&self) -> Walk<'_, R> {
        Walk::new(self)
    }

    pub(super) fn read_checked(
        &self,
        nid: u64,
        buf: &mut [u8],
        position: u64,
    ) -> Result<(), Error> {
        let end = position.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.size) {
            let problem = "it points beyond the end";
            return Err(Error::Corrupt { nid, problem });
        }
        self.source.read_exact_at(buf, position).map_err(Error::Io)
    }
}
