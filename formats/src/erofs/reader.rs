//! Reading a file from its first byte to its last.

use super::extent::Unpacked;
use super::read::{Error, Image, Inode};
use crate::read_at::ReadAt;
use std::io::{self, Read};

/// Reads the data of one inode. A compressed extent is unpacked once.
#[derive(Debug)]
pub struct Reader<'a, R> {
    image: &'a Image<R>,
    inode: &'a Inode,
    offset: u64,
    /// The compressed extent that the last bytes came from.
    unpacked: Option<Unpacked>,
}

impl<'a, R: ReadAt> Reader<'a, R> {
    pub(super) fn new(image: &'a Image<R>, inode: &'a Inode) -> Self {
        Reader {
            image,
            inode,
            offset: 0,
            unpacked: None,
        }
    }

    /// Fills `buf` unless the data ends.
    pub(super) fn fill(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        let mut filled = 0;
        while filled < buf.len() {
            match self.next(&mut buf[filled..])? {
                0 => break,
                read => {
                    filled += read;
                    self.offset += read as u64;
                }
            }
        }
        Ok(filled)
    }

    /// Copies what can be had at once; nothing only at the end, or if `buf` is empty.
    fn next(&mut self, buf: &mut [u8]) -> Result<usize, Error> {
        if !self.inode.is_compressed() {
            return self.image.read_at(self.inode, buf, self.offset);
        }
        if buf.is_empty() || self.offset >= self.inode.size() {
            return Ok(0);
        }
        if let Some(unpacked) = &self.unpacked {
            let copied = unpacked.copy(buf, self.offset);
            if copied > 0 {
                return Ok(copied);
            }
        }
        let unpacked = self.image.unpack(self.inode, self.offset)?;
        let copied = unpacked.copy(buf, self.offset);
        self.unpacked = Some(unpacked);
        Ok(copied)
    }
}

impl<R: ReadAt> Read for Reader<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let read = self.next(buf);
        let read = read.map_err(|error| match error {
            Error::Io(error) => error,
            other => io::Error::new(io::ErrorKind::InvalidData, other),
        })?;
        self.offset += read as u64;
        Ok(read)
    }
}
