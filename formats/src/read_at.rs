//! Reading at positions: what every reader of a disk, an image or an untrusted volume here is built on.
//!
//! Readers take `&impl ReadAt`, so that the same code serves an open file or block device, bytes in memory,
//! a [`Content`] of a tree, and a part of any of these. Nothing here caches or writes.

use crate::tree::Content;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;

/// Bytes that can be read from any position.
pub trait ReadAt {
    /// How many bytes there are.
    fn size(&self) -> io::Result<u64>;

    /// Fills `buf` with the bytes at `offset`, or fails with `UnexpectedEof` if they are not all there.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// The `len` bytes at `offset`, which is checked against [`ReadAt::size`] before memory is taken.
    fn read_vec_at(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let end = offset.checked_add(len as u64);
        if end.is_none_or(|end| self.size().is_ok_and(|size| end > size)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut bytes = vec![0; len];
        self.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }
}

impl<R: ReadAt + ?Sized> ReadAt for &R {
    fn size(&self) -> io::Result<u64> {
        (**self).size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        (**self).read_exact_at(buf, offset)
    }
}

impl ReadAt for [u8] {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let tail = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..))
            .and_then(|tail| tail.get(..buf.len()));
        buf.copy_from_slice(tail.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }
}

impl ReadAt for Vec<u8> {
    fn size(&self) -> io::Result<u64> {
        self.as_slice().size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.as_slice().read_exact_at(buf, offset)
    }
}

/// A file or a block device. The size is asked by seeking to the end, since a device has no length of its
/// own; the cursor of the open file is not otherwise used.
impl ReadAt for File {
    fn size(&self) -> io::Result<u64> {
        let mut file = self;
        file.seek(SeekFrom::End(0))
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }
}

impl ReadAt for Content {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len())
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        Content::read_exact_at(self, buf, offset)
    }
}

/// A part of something larger, such as one partition of a disk.
#[derive(Clone, Debug)]
pub struct Window<R> {
    inner: R,
    offset: u64,
    len: u64,
}

impl<R: ReadAt> Window<R> {
    /// The `len` bytes at `offset` of `inner`; `UnexpectedEof` if it has no such bytes.
    pub fn new(inner: R, offset: u64, len: u64) -> io::Result<Self> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| inner.size().is_ok_and(|size| end > size)) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Window { inner, offset, len })
    }
}

impl<R: ReadAt> ReadAt for Window<R> {
    fn size(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        if end.is_none_or(|end| end > self.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.inner.read_exact_at(buf, self.offset + offset)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_read_beyond_the_end() {
        let bytes: Vec<u8> = (0..10).collect();
        let window = Window::new(&bytes, 2, 5).unwrap();
        assert_eq!(window.read_vec_at(1, 4).unwrap(), [3, 4, 5, 6]);
        for (offset, len) in [(1, 5), (6, 0), (u64::MAX, 1), (0, usize::MAX)] {
            assert!(window.read_vec_at(offset, len).is_err(), "{offset}+{len}");
        }
        assert!(Window::new(&bytes, 2, 9).is_err());
        assert!(Window::new(&bytes, u64::MAX, 1).is_err());
        assert!(bytes.read_vec_at(u64::MAX, 0).is_err());
    }
}
