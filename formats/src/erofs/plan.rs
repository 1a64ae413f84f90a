//! The plan of an image: every inode with its position, and every run of data blocks, before a byte is written.

use super::compress::{Compressed, Contents};
use super::dirent::{self, Dirent};
use super::format::{BLOCK, FileType, MAX_NAME, MAX_SYMLINK, SLOT};
use super::identity::{Identity, identity};
use super::inode::{Fields, Layout, encode_device};
use super::pack::Packer;
use super::{Error, Options, Summary, index, xattr};
use crate::tree::{Kind, Node, Tree};
use std::collections::BTreeMap;

/// An image whose every position is decided; it borrows the tree whose files it will hold.
#[derive(Debug)]
pub struct Plan<'a> {
    pub(super) options: Options,
    /// In the order of the tree, the root first.
    pub(super) inodes: Vec<Inode<'a>>,
    /// Indices into `inodes`, by position.
    pub(super) by_position: Vec<usize>,
    /// Data to be written after the metadata, one run after the other.
    pub(super) runs: Vec<Run>,
    summary: Summary,
}

/// One inode and where it goes.
#[derive(Debug)]
pub(super) struct Inode<'a> {
    pub(super) path: String,
    pub(super) node: &'a Node,
    pub(super) fields: Fields,
    /// The encoded extended attributes.
    pub(super) xattrs: Vec<u8>,
    /// Its content's compressed form, and the first of its blocks, if that is what is written.
    pub(super) compressed: Option<(&'a Compressed, u32)>,
    /// Byte position in the image.
    pub(super) position: u64,
    parent: usize,
    children: Vec<usize>,
    /// Names in this directory that are further hard links to inodes of other names.
    links: Vec<(String, usize)>,
}

/// Whole blocks of data that are written for one inode, and perhaps used by more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    /// Index of the inode whose data it is.
    pub(super) inode: usize,
    /// How many bytes of that data, or of its compressed blocks, are in it; the last block is filled with zeros.
    pub(super) len: u64,
}

/// Decides every position of the image of `tree`, in which nothing is compressed.
pub fn plan<'a>(tree: &'a Tree, options: &Options) -> Result<Plan<'a>, Error> {
    plan_with(tree, options, None)
}

/// Decides every position of the image of `tree`. Files whose content has a compressed form in `contents`
/// that takes less room are stored in it.
pub fn plan_compressed<'a>(
    tree: &'a Tree,
    options: &Options,
    contents: &'a Contents,
) -> Result<Plan<'a>, Error> {
    plan_with(tree, options, Some(contents))
}

fn plan_with<'a>(
    tree: &'a Tree,
    options: &Options,
    contents: Option<&'a Contents>,
) -> Result<Plan<'a>, Error> {
    if options.label.len() > 16 || options.label.contains('\0') {
        return Err(Error::Label(options.label.clone()));
    }
    let mut inodes = collect(tree, options)?;
    for index in 0..inodes.len() {
        settle_size(&mut inodes, index)?;
        settle_form(&mut inodes[index], options, contents);
    }
    let mut packer = Packer::new(BLOCK);
    for inode in &mut inodes {
        inode.position = packer.place(inode.len());
    }
    let (runs, blocks, shared) = allocate(&mut inodes, packer.end() / BLOCK)?;
    let mut by_position: Vec<usize> = (0..inodes.len()).collect();
    by_position.sort_by_key(|index| inodes[*index].position);
    Ok(Plan {
        options: options.clone(),
        by_position,
        runs,
        summary: Summary {
            size: blocks * BLOCK,
            inodes: inodes.len() as u64,
            metadata: packer.end() - BLOCK,
            data: blocks * BLOCK - packer.end(),
            shared,
        },
        inodes,
    })
}

impl Plan<'_> {
    /// Size of the image in bytes, a multiple of 4096.
    pub fn size(&self) -> u64 {
        self.summary.size
    }

    /// What the image consists of.
    pub fn summary(&self) -> Summary {
        self.summary
    }

    /// The data of the directory with this index.
    pub(super) fn directory(&self, index: usize) -> Vec<u8> {
        let dirents: Vec<Dirent<'_>> = entries(&self.inodes, index)
            .into_iter()
            .map(|(name, target)| Dirent {
                name,
                nid: self.inodes[target].nid(),
                kind: self.inodes[target].file_type(),
            })
            .collect();
        dirent::render(&dirents)
    }
}

impl Inode<'_> {
    /// Number of the inode's slot; slots are counted from the start of the image.
    pub(super) fn nid(&self) -> u64 {
        self.position / SLOT
    }

    /// How many bytes at the end of its data are stored right after the inode.
    pub(super) fn tail(&self) -> u64 {
        match self.fields.layout {
            Layout::Inline => self.fields.size % BLOCK,
            Layout::Plain | Layout::Compressed | Layout::CompressedFull => 0,
        }
    }

    /// How many bytes of it are written in blocks.
    fn blocks_len(&self) -> u64 {
        match self.compressed {
            Some((compressed, _)) => compressed.extents.blocks() * BLOCK,
            None => self.fields.size - self.tail(),
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        match self.node.kind {
            Kind::Directory => FileType::Directory,
            Kind::File(_) => FileType::Regular,
            Kind::Symlink(_) => FileType::Symlink,
            Kind::CharDevice(..) => FileType::CharDevice,
            Kind::BlockDevice(..) => FileType::BlockDevice,
            Kind::Fifo => FileType::Fifo,
        }
    }

    fn name(&self) -> &str {
        name_of(&self.path)
    }

    /// Records where its blocks start, and their size in bytes.
    fn settle_blocks(&mut self, first: u32, len: u64) {
        match &mut self.compressed {
            Some((_, block)) => {
                *block = first;
                let blocks = u32::try_from(len.div_ceil(BLOCK));
                self.fields.place = blocks.expect("the image has fewer than 2^32 blocks");
            }
            None => self.fields.place = first,
        }
    }

    fn len(&self) -> u64 {
        let before = self.fields.len() + self.xattrs.len();
        let after = match self.compressed {
            Some(_) => index::len(before, self.fields.size),
            None => self.tail(),
        };
        before as u64 + after
    }
}

/// One inode for each entry of the tree, linked to its parent and children; sizes and positions are open.
fn collect<'a>(tree: &'a Tree, options: &Options) -> Result<Vec<Inode<'a>>, Error> {
    let mut inodes: Vec<Inode<'a>> = Vec::with_capacity(tree.len());
    // The way from the root to the entry before: a tree's order puts what is below a directory after it.
    let mut way: Vec<usize> = Vec::new();
    let mut linked: BTreeMap<Identity, Vec<usize>> = BTreeMap::new();
    for (path, node) in tree.iter() {
        let index = inodes.len();
        let depth = if path.is_empty() {
            0
        } else {
            1 + path.matches('/').count()
        };
        way.truncate(depth);
        let parent = way.last().copied().unwrap_or(index);
        if let (true, Kind::File(content)) = (options.hard_links, &node.kind) {
            let known = linked.entry(identity(content)).or_default();
            let same = |known: &&usize| inodes[**known].node.meta == node.meta;
            if let Some(first) = known.iter().find(same).copied() {
                let name = checked_name(&path)?.to_owned();
                inodes[first].fields.nlink += 1;
                inodes[parent].links.push((name, first));
                continue;
            }
            known.push(index);
        }
        way.push(index);
        let inode = describe(path, node, parent, index, options)?;
        if index != parent {
            let is_directory = matches!(node.kind, Kind::Directory);
            inodes[parent].fields.nlink += u32::from(is_directory);
            inodes[parent].children.push(index);
        }
        inodes.push(inode);
    }
    Ok(inodes)
}

fn describe<'a>(
    path: String,
    node: &'a Node,
    parent: usize,
    index: usize,
    options: &Options,
) -> Result<Inode<'a>, Error> {
    let meta = &node.meta;
    if meta.mode > 0o7777 {
        let mode = meta.mode;
        return Err(Error::Mode { path, mode });
    }
    let xattrs = match xattr::encode(&meta.xattrs) {
        Ok(xattrs) => xattrs,
        Err((name, problem)) => {
            let name = name.to_owned();
            return Err(Error::Xattr {
                path,
                name,
                problem,
            });
        }
    };
    let too_large = || Error::TooLarge { path: path.clone() };
    let mut inode = Inode {
        fields: Fields {
            extended: false,
            layout: Layout::Plain,
            xattr_count: xattr::count(xattrs.len()).expect("the encoder checks the size"),
            mode: meta.mode,
            nlink: 1 + u32::from(matches!(node.kind, Kind::Directory)),
            size: 0,
            place: 0,
            ino: u32::try_from(index + 1).map_err(|_| too_large())?,
            uid: meta.uid,
            gid: meta.gid,
            mtime: match options.clamp_mtimes {
                true => meta.mtime.min(options.epoch),
                false => meta.mtime,
            },
        },
        path,
        node,
        xattrs,
        compressed: None,
        position: 0,
        parent,
        children: Vec::new(),
        links: Vec::new(),
    };
    inode.fields.mode |= inode.file_type().in_mode();
    checked_name(&inode.path)?;
    Ok(inode)
}

/// The last component of a path, if Linux can look it up.
fn checked_name(path: &str) -> Result<&str, Error> {
    let name = name_of(path);
    let len = name.len();
    if len > MAX_NAME {
        let path = path.to_owned();
        return Err(Error::Name { path, len });
    }
    Ok(name)
}

fn name_of(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// Names in a directory and the indices of what they lead to, in byte order.
fn entries<'p>(inodes: &'p [Inode<'_>], index: usize) -> Vec<(&'p str, usize)> {
    let inode = &inodes[index];
    let mut entries: Vec<(&str, usize)> = vec![(".", index), ("..", inode.parent)];
    entries.extend(
        inode
            .children
            .iter()
            .map(|child| (inodes[*child].name(), *child)),
    );
    let links = inode.links.iter();
    entries.extend(links.map(|(name, target)| (name.as_str(), *target)));
    entries.sort_unstable();
    entries
}

fn settle_size(inodes: &mut [Inode<'_>], index: usize) -> Result<(), Error> {
    let path = || inodes[index].path.clone();
    let (mut size, mut place) = (0, 0);
    match &inodes[index].node.kind {
        Kind::Directory => {
            let lens = entries(inodes, index)
                .into_iter()
                .map(|(name, _)| name.len());
            size = dirent::size(lens);
        }
        Kind::File(content) => size = content.len(),
        Kind::Symlink(target) => {
            let len = target.len();
            if len == 0 || len > MAX_SYMLINK || target.contains('\0') {
                return Err(Error::Symlink { path: path(), len });
            }
            size = len as u64;
        }
        Kind::CharDevice(major, minor) | Kind::BlockDevice(major, minor) => {
            place = encode_device(*major, *minor).ok_or_else(|| Error::Device {
                path: path(),
                major: *major,
                minor: *minor,
            })?;
        }
        Kind::Fifo => {}
    }
    inodes[index].fields.size = size;
    inodes[index].fields.place = place;
    Ok(())
}

/// Chooses the inode's form, whether its data is compressed, and else whether its tail goes with it: it does
/// if all that fits into one block.
fn settle_form<'a>(inode: &mut Inode<'a>, options: &Options, contents: Option<&'a Contents>) {
    inode.fields.extended = inode.fields.needs_extended(options.epoch);
    if let (Kind::File(content), Some(contents)) = (&inode.node.kind, contents) {
        inode.compressed = contents.get(content).map(|compressed| (compressed, 0));
    }
    if inode.compressed.is_some() {
        inode.fields.layout = Layout::Compressed;
    } else if !inode.fields.size.is_multiple_of(BLOCK) {
        inode.fields.layout = Layout::Inline;
        if inode.len() > BLOCK {
            inode.fields.layout = Layout::Plain;
        }
    }
}

/// Gives blocks to the data that is not in tails, from block `first`: what describes the tree before what it
/// holds. Yields the runs, the number of all blocks, and how many bytes were shared.
fn allocate(inodes: &mut [Inode<'_>], first: u64) -> Result<(Vec<Run>, u64, u64), Error> {
    let mut runs = Vec::new();
    let mut known: BTreeMap<(Identity, u64), u32> = BTreeMap::new();
    let (mut next, mut shared) = (first, 0);
    for of_files in [false, true] {
        for (index, inode) in inodes.iter_mut().enumerate() {
            let len = inode.blocks_len();
            let content = match &inode.node.kind {
                Kind::File(content) => Some(content),
                _ => None,
            };
            if len == 0 || content.is_some() != of_files {
                continue;
            }
            let identity = content.map(|content| (identity(content), len));
            if let Some(block) = identity.and_then(|identity| known.get(&identity)) {
                inode.settle_blocks(*block, len);
                shared += len;
                continue;
            }
            let too_large = || Error::TooLarge {
                path: inode.path.clone(),
            };
            let block = u32::try_from(next).map_err(|_| too_large())?;
            next = next
                .checked_add(len.div_ceil(BLOCK))
                .filter(|next| u32::try_from(*next).is_ok())
                .ok_or_else(too_large)?;
            inode.settle_blocks(block, len);
            known.extend(identity.map(|identity| (identity, block)));
            runs.push(Run { inode: index, len });
        }
    }
    Ok((runs, next, shared))
}
