//! erofs, the read-only file system of root and store: written from a [`Tree`], and read back.
//!
//! An image is planned first, every position of it, and then streamed in one sequential pass, so that its
//! size is known before the output is opened and no file is ever held in memory:
//!
//! ```text
//! block 0        zeros up to byte 1024, then the superblock (128 bytes), then zeros
//! block 1 …      metadata: an inode every 32-byte slot or more, each followed by its extended attributes
//!                and, where it fits, the last part of its data (the tail); the root directory comes first
//! then           blocks of large directories and long symbolic links
//! then           blocks of regular files; files with the same [`Content`](crate::tree::Content) share them
//! ```
//!
//! Everything is little-endian, in blocks of 4096 bytes, with the layouts "flat plain" and "flat inline" that
//! every kernel since 5.4 mounts. No device but the image itself is used.
//!
//! Files may be compressed, which is done before the image is planned, since it decides their size:
//! [`Contents::of_tree`] compresses into a scratch file, [`plan_compressed`] takes the result. Who keeps
//! compressed forms, such as in a cache, makes them with [`compress`] and hands them to [`Contents::insert`].
//! Such files have compact indexes, and extents of up to 128 KiB that take several blocks.
//! Hard links become separate inodes that share their blocks, or names of one inode if [`Options`] ask for it.
//! The format is described in the kernel's
//! `Documentation/filesystems/erofs.rst` and `fs/erofs/erofs_fs.h`.

mod codec;
mod compress;
mod dirent;
pub mod dump;
mod extent;
mod format;
mod identity;
mod index;
mod inode;
mod pack;
mod plan;
pub mod read;
mod reader;
mod superblock;
mod walk;
mod write;
mod xattr;

pub use codec::{Algorithm, Compression};
pub use compress::{CompressError, Contents, Extents, compress};
pub use plan::{Plan, plan, plan_compressed};

use crate::tree::Tree;
use std::io;

/// What an image says of itself, beyond its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Identity of the file system, in the order in which it is printed.
    pub uuid: [u8; 16],
    /// Build time in seconds since 1970. A file of exactly this time may have the smaller inode.
    pub epoch: i64,
    /// Name of the volume, at most 16 bytes.
    pub label: String,
    /// Whether modification times later than `epoch` become `epoch`.
    pub clamp_mtimes: bool,
    /// Whether files of the same [`Content`](crate::tree::Content) and the same metadata become names of one
    /// inode.
    pub hard_links: bool,
}

/// What an image consists of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Size of the image in bytes, a multiple of 4096.
    pub size: u64,
    /// How many files, directories and other things there are, the root included.
    pub inodes: u64,
    /// Bytes of blocks that hold inodes, extended attributes and tails.
    pub metadata: u64,
    /// Bytes of blocks that hold nothing but data.
    pub data: u64,
    /// Bytes of data that were not written again, since another file has the same [`Content`](crate::tree::Content).
    pub shared: u64,
}

/// Why a tree cannot become an erofs image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The label does not fit into the superblock.
    #[error("volume label {0:?} has more than 16 bytes or a NUL")]
    Label(String),
    /// Linux cannot look such a name up.
    #[error("{path:?}: its name has {len} bytes, and at most 255 are possible")]
    Name {
        /// The entry.
        path: String,
        /// Length of the last component of its path.
        len: usize,
    },
    /// The target of a symbolic link is empty, has a NUL, or is longer than Linux follows.
    #[error(
        "{path:?}: a symbolic link's target needs 1 to 4095 bytes and no NUL, and it has {len}"
    )]
    Symlink {
        /// The link.
        path: String,
        /// Length of its target.
        len: usize,
    },
    /// The device number does not fit into 12 and 20 bits.
    #[error("{path:?}: device {major}:{minor} is beyond 4095:1048575")]
    Device {
        /// The device node.
        path: String,
        /// Its major number.
        major: u32,
        /// Its minor number.
        minor: u32,
    },
    /// The mode has bits beyond permissions, set-uid, set-gid and sticky.
    #[error("{path:?}: mode {mode:o} has bits beyond 7777")]
    Mode {
        /// The entry.
        path: String,
        /// The mode as given.
        mode: u16,
    },
    /// The name or the value of an extended attribute, or all of them together, cannot be stored.
    #[error("{path:?}: extended attribute {name:?} {problem}")]
    Xattr {
        /// The entry.
        path: String,
        /// Full name of the attribute.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A number of the format would overflow.
    #[error("{path:?}: the image would have more than 2^32 blocks of 4096 bytes at this entry")]
    TooLarge {
        /// The entry at which it overflows.
        path: String,
    },
    /// The content of a file cannot be read.
    #[error("reading the content of {path:?}")]
    Read {
        /// The file.
        path: String,
        /// Why it cannot be read.
        #[source]
        source: io::Error,
    },
    /// Compressed blocks cannot be put into the scratch file.
    #[error("compressing files into the scratch file")]
    Scratch(#[source] io::Error),
    /// Extents were combined with blocks or a content of another size.
    #[error("compressed blocks do not belong to the content that they were given for")]
    Mismatch,
    /// The image cannot be written.
    #[error("writing the erofs image")]
    Write(#[source] io::Error),
}

/// Writes `tree` as a complete image without compression; see [`plan`] to know its size first.
pub fn write(tree: &Tree, options: &Options, out: &mut impl io::Write) -> Result<Summary, Error> {
    plan(tree, options)?.write(out)
}
