//! cpio archives in the "newc" format, which the kernel unpacks as its initial file system
//! (Linux, `Documentation/driver-api/early-userspace/buffer-format.rst`).
//!
//! ```text
//! per member: header, 6 + 13 * 8 characters of ASCII | name, NUL | pad to 4 | data | pad to 4
//! last:       a member named TRAILER!!!
//! ```
//!
//! Members come in the order of the tree, the root first as `.`; inode numbers count from 1. The format has
//! no extended attributes, so a node that has some is refused. Names of one file are written as files of
//! their own. Nothing here compresses.

use crate::read_at::ReadAt;
use crate::tree::{Content, Kind, Metadata, Node, Tree, TreeError};
use std::collections::BTreeSet;
use std::io::{self, Write};

const MAGIC: &[u8; 6] = b"070701";
const TRAILER: &str = "TRAILER!!!";
const FIELDS: usize = 13;
const HEADER: usize = MAGIC.len() + 8 * FIELDS;
/// The longest name and link target that is read; the kernel's PATH_MAX.
const MAX_PATH: u64 = 4096;

const TYPE_MASK: u32 = 0o170_000;
const FIFO: u32 = 0o010_000;
const CHAR_DEVICE: u32 = 0o020_000;
const DIRECTORY: u32 = 0o040_000;
const BLOCK_DEVICE: u32 = 0o060_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;

/// To what the end of the archive is filled with zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// To 4 bytes, so that another archive can follow.
    Word,
    /// To 512 bytes, as `cpio` itself does.
    Block,
}

/// Why an archive cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A number that has no place in 32 bits.
    #[error(
        "{path:?} cannot be put into a cpio archive: its {field}, {value}, does not fit in 32 bits"
    )]
    TooLarge {
        /// The member's path.
        path: String,
        /// What is too large.
        field: &'static str,
        /// Its value.
        value: i128,
    },
    /// A node with extended attributes, which the format cannot hold.
    #[error("{path:?} cannot be put into a cpio archive with its extended attribute {name}")]
    Xattr {
        /// The member's path.
        path: String,
        /// The first attribute.
        name: String,
    },
    /// The bytes of a file cannot be read.
    #[error("reading the bytes of {path:?} failed")]
    Read {
        /// The member's path.
        path: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive cannot be written.
    #[error("writing the cpio archive failed")]
    Write(#[source] io::Error),
}

/// Writes `tree` as an archive to `out` and gives its size.
pub fn write(tree: &Tree, out: &mut impl Write, padding: Padding) -> Result<u64, Error> {
    let mut out = Output { out, written: 0 };
    for (inode, (path, node)) in (1_u32..).zip(tree.iter()) {
        let links = match node.kind {
            Kind::Directory => 2 + subdirectories(tree, &path),
            _ => 1,
        };
        out.member(inode, &path, node, links)?;
    }
    let trailer = Header {
        links: 1,
        ..Header::default()
    };
    out.header(&trailer, TRAILER)?;
    out.pad(match padding {
        Padding::Word => 4,
        Padding::Block => 512,
    })?;
    Ok(out.written)
}

fn subdirectories(tree: &Tree, path: &str) -> u32 {
    let directories = tree
        .children(path)
        .filter(|(_, node)| matches!(node.kind, Kind::Directory));
    u32::try_from(directories.count()).unwrap_or(u32::MAX - 2)
}

/// The fields of a member's header that vary.
#[derive(Default)]
struct Header {
    inode: u32,
    mode: u32,
    uid: u32,
    gid: u32,
    links: u32,
    mtime: u32,
    size: u32,
    device: (u32, u32),
}

struct Output<'a, W> {
    out: &'a mut W,
    written: u64,
}

impl<W: Write> Output<'_, W> {
    fn member(&mut self, inode: u32, path: &str, node: &Node, links: u32) -> Result<(), Error> {
        let meta = &node.meta;
        if let Some(name) = meta.xattrs.keys().next() {
            let (path, name) = (path.to_owned(), name.clone());
            return Err(Error::Xattr { path, name });
        }
        let too_large = |field, value| Error::TooLarge {
            path: path.to_owned(),
            field,
            value,
        };
        let (kind, size, device) = match &node.kind {
            Kind::Directory => (DIRECTORY, 0, (0, 0)),
            Kind::File(content) => (REGULAR, content.len(), (0, 0)),
            Kind::Symlink(target) => (SYMLINK, target.len() as u64, (0, 0)),
            Kind::CharDevice(major, minor) => (CHAR_DEVICE, 0, (*major, *minor)),
            Kind::BlockDevice(major, minor) => (BLOCK_DEVICE, 0, (*major, *minor)),
            Kind::Fifo => (FIFO, 0, (0, 0)),
        };
        let header = Header {
            inode,
            mode: kind | u32::from(meta.mode & 0o7777),
            uid: meta.uid,
            gid: meta.gid,
            links,
            mtime: u32::try_from(meta.mtime)
                .map_err(|_| too_large("modification time", meta.mtime.into()))?,
            size: u32::try_from(size).map_err(|_| too_large("size", size.into()))?,
            device,
        };
        self.header(&header, if path.is_empty() { "." } else { path })?;
        match &node.kind {
            Kind::File(content) => self.content(path, content)?,
            Kind::Symlink(target) => self.bytes(target.as_bytes())?,
            _ => {}
        }
        self.pad(4)
    }

    fn header(&mut self, header: &Header, name: &str) -> Result<(), Error> {
        let name_size = u32::try_from(name.len() + 1).unwrap_or(u32::MAX);
        let (major, minor) = header.device;
        let fields: [u32; FIELDS] = [
            header.inode,
            header.mode,
            header.uid,
            header.gid,
            header.links,
            header.mtime,
            header.size,
            0,
            0,
            major,
            minor,
            name_size,
            0,
        ];
        let mut text = MAGIC.to_vec();
        for field in fields {
            text.extend_from_slice(format!("{field:08x}").as_bytes());
        }
        text.extend_from_slice(name.as_bytes());
        text.push(0);
        self.bytes(&text)?;
        self.pad(4)
    }

    fn content(&mut self, path: &str, content: &Content) -> Result<(), Error> {
        let unreadable = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        content.read_chunks(0, unreadable, |_, chunk| self.bytes(chunk))
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Write)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn pad(&mut self, unit: u64) -> Result<(), Error> {
        let zeros = self.written.next_multiple_of(unit) - self.written;
        self.bytes(&[0; 512][..zeros as usize])
    }
}

/// Why bytes are no archive.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The archive ends too early, or cannot be read.
    #[error("reading the cpio archive at byte {offset} failed")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// What stands there is no header of a member.
    #[error("byte {0} of the cpio archive is not the start of a newc header")]
    Header(u64),
    /// The member's name is empty, too long or no UTF-8, or its link target is.
    #[error(
        "the member at byte {0} of the cpio archive has a name or link target that is too long or no UTF-8"
    )]
    Name(u64),
    /// The type in the member's mode is none that a tree has.
    #[error("{path:?} in the cpio archive has the unknown mode {mode:o}")]
    Mode {
        /// The member's path.
        path: String,
        /// Its mode.
        mode: u32,
    },
    /// Two members have one path.
    #[error("{0:?} is twice in the cpio archive")]
    Twice(String),
    /// The member has no place in the tree.
    #[error("the cpio archive is no tree")]
    Tree(#[source] TreeError),
}

/// Reads the first archive in `archive`. Files are slices of it, not copies, if it is one of a file itself.
///
/// Of a file with several names, all but one come out empty, as the format has them.
pub fn read(archive: &Content) -> Result<Tree, ReadError> {
    let mut tree = Tree::new();
    let mut seen = BTreeSet::new();
    let mut at = 0;
    loop {
        let unreadable = |source| ReadError::Read { offset: at, source };
        let text = archive.read_vec_at(at, HEADER).map_err(unreadable)?;
        let fields = parse_header(&text).ok_or(ReadError::Header(at))?;
        let [
            _,
            mode,
            uid,
            gid,
            _,
            mtime,
            size,
            _,
            _,
            major,
            minor,
            name_size,
            _,
        ] = fields;
        let string = |offset, len: u32| {
            if u64::from(len) > MAX_PATH {
                return Err(ReadError::Name(at));
            }
            let bytes = archive.read_vec_at(offset, len as usize);
            String::from_utf8(bytes.map_err(unreadable)?).map_err(|_| ReadError::Name(at))
        };
        let name = string(at + HEADER as u64, name_size)?;
        let name = name.strip_suffix('\0').ok_or(ReadError::Name(at))?;
        if name == TRAILER {
            return Ok(tree);
        }
        let data = (at + HEADER as u64 + u64::from(name_size)).next_multiple_of(4);
        let kind = match mode & TYPE_MASK {
            DIRECTORY => Kind::Directory,
            REGULAR => Kind::File(archive.slice(data, size.into()).map_err(unreadable)?),
            SYMLINK => Kind::Symlink(string(data, size)?),
            CHAR_DEVICE => Kind::CharDevice(major, minor),
            BLOCK_DEVICE => Kind::BlockDevice(major, minor),
            FIFO => Kind::Fifo,
            _ => {
                let path = name.to_owned();
                return Err(ReadError::Mode { path, mode });
            }
        };
        let meta = Metadata {
            uid,
            gid,
            mtime: mtime.into(),
            ..Metadata::root((mode & 0o7777) as u16)
        };
        let path = name.trim_start_matches("./").trim_matches('/');
        let path = if path == "." { "" } else { path };
        if !seen.insert(path.to_owned()) {
            return Err(ReadError::Twice(path.to_owned()));
        }
        tree.insert(path, Node { kind, meta })
            .map_err(ReadError::Tree)?;
        at = (data + u64::from(size)).next_multiple_of(4);
    }
}

fn parse_header(text: &[u8]) -> Option<[u32; FIELDS]> {
    let digits = text.strip_prefix(MAGIC)?;
    let mut fields = [0; FIELDS];
    for (field, digits) in fields.iter_mut().zip(digits.chunks_exact(8)) {
        for digit in digits {
            *field = (*field << 4) | char::from(*digit).to_digit(16)?;
        }
    }
    Some(fields)
}
