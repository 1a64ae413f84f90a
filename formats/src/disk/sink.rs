//! Writing at positions of an image, which mostly follow each other.

use std::io::{self, Seek, SeekFrom, Write};

/// A writer that seeks only when it has to.
pub(crate) struct Sink<W> {
    out: W,
    position: u64,
}

impl<W: Write + Seek> Sink<W> {
    /// Over `out`, which is at its beginning.
    pub(crate) fn new(out: W) -> Self {
        Sink { out, position: 0 }
    }

    /// Writes `bytes` at `offset`; what is skipped reads as zeros.
    pub(crate) fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if self.position != offset {
            self.out.seek(SeekFrom::Start(offset))?;
        }
        self.out.write_all(bytes)?;
        self.position = offset + bytes.len() as u64;
        Ok(())
    }

    /// Hands everything on.
    pub(crate) fn flush(mut self) -> io::Result<()> {
        self.out.flush()
    }
}
