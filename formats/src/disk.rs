//! What the formats of disk images share: the disk that a writer reads, the errors, and reading by chunks.
//!
//! A writer goes over the disk once, in order, and reads only where there may be data. Chunks are compressed
//! by all threads at once, and written in the order of the disk, so that the bytes are the same whatever
//! their number. Memory is bounded by what the threads have in hand, not by the size of the disk.

pub(crate) mod chunks;
pub(crate) mod codec;
pub(crate) mod read;
pub(crate) mod sink;

use crate::read_at::ReadAt;
use std::io;
use std::ops::Range;

/// Bytes of a sector, the unit of most formats' fields.
pub(crate) const SECTOR: u64 = 512;

/// A disk to be written as an image.
#[derive(Debug)]
pub struct Disk<'a, R: ?Sized> {
    source: &'a R,
    size: u64,
    extents: Vec<Range<u64>>,
}

/// Why an image cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A size that an image of this format cannot have.
    #[error("a disk of {size} bytes cannot be written as {format}: {why}")]
    Size {
        /// The format's name.
        format: &'static str,
        /// The disk's size.
        size: u64,
        /// The rule that it breaks.
        why: &'static str,
    },
    /// An extent outside the disk, or not behind the one before it.
    #[error(
        "the data extent {start} to {end} is outside the disk of {size} bytes, or out of order"
    )]
    Extent {
        /// Its first byte.
        start: u64,
        /// The byte behind it.
        end: u64,
        /// The disk's size.
        size: u64,
    },
    /// The disk cannot be read.
    #[error("reading the disk at byte {offset} failed")]
    Read {
        /// Where.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The compressor failed.
    #[error("compressing the disk's bytes at {offset} failed")]
    Compress {
        /// Where they are on the disk.
        offset: u64,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image cannot be written.
    #[error("writing the image failed")]
    Write(#[source] io::Error),
}

/// Why an image cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Its tables cannot be read.
    #[error("reading the {format} image's tables failed")]
    Read {
        /// The format's name.
        format: &'static str,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Another kind of file.
    #[error("it is no {0} image")]
    Other(&'static str),
    /// A field has a value that no image can have.
    #[error("the {format} image's field {field} has the impossible value {value}")]
    Field {
        /// The format's name.
        format: &'static str,
        /// The field's name in the specification.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// A structure does not match its checksum.
    #[error("the checksum of the {format} image's {part} does not match")]
    Checksum {
        /// The format's name.
        format: &'static str,
        /// The structure's name in the specification.
        part: &'static str,
    },
    /// A feature that is not supported.
    #[error(
        "the {format} image has {what}, which cannot be read here: convert it to raw with its own tool"
    )]
    Unsupported {
        /// The format's name.
        format: &'static str,
        /// The feature.
        what: &'static str,
    },
}

impl<'a, R: ReadAt + ?Sized> Disk<'a, R> {
    /// All of `source`.
    pub fn new(source: &'a R) -> Result<Self, Error> {
        let size = size_of(source)?;
        Ok(Disk {
            source,
            size,
            extents: vec![Range {
                start: 0,
                end: size,
            }],
        })
    }

    /// `source` with data only in `extents`, ascending ranges of bytes: elsewhere it is known to be zero, such
    /// as in the holes of a sparse file.
    pub fn with_extents(source: &'a R, extents: Vec<Range<u64>>) -> Result<Self, Error> {
        let size = size_of(source)?;
        let mut from = 0;
        for &Range { start, end } in &extents {
            if start < from || end < start || end > size {
                return Err(Error::Extent { start, end, size });
            }
            from = end;
        }
        Ok(Disk {
            source,
            size,
            extents,
        })
    }

    /// The disk's size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The size, if it is a multiple of `unit` and at most `limit`.
    pub(crate) fn sized(
        &self,
        format: &'static str,
        (unit, limit): (u64, u64),
        why: &'static str,
    ) -> Result<u64, Error> {
        let size = self.size;
        if size == 0 || !size.is_multiple_of(unit) || size > limit {
            return Err(Error::Size { format, size, why });
        }
        Ok(size)
    }
}

fn size_of<R: ReadAt + ?Sized>(source: &R) -> Result<u64, Error> {
    let size = source.size();
    size.map_err(|source| Error::Read { offset: 0, source })
}

/// Refuses a file that does not begin with `magic`.
pub(crate) fn expect(
    reader: &impl ReadAt,
    format: &'static str,
    magic: &[u8],
) -> Result<(), ReadError> {
    match reader.read_vec_at(0, magic.len()) {
        Ok(bytes) if bytes == magic => Ok(()),
        Err(source) if source.kind() != io::ErrorKind::UnexpectedEof => {
            Err(ReadError::Read { format, source })
        }
        _ => Err(ReadError::Other(format)),
    }
}
