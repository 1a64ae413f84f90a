//! Writes one partition of a disk file and nothing beyond it.

use crate::disk::Slot;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

const BLOCK: usize = 4096;

/// A writer over one slot of a sparse file: blocks of zeros are left as holes.
#[derive(Debug)]
pub struct Bounded<'a> {
    file: &'a File,
    slot: Slot,
    position: u64,
}

impl<'a> Bounded<'a> {
    /// Over `slot` of `file`, which holds nothing there yet.
    pub fn new(file: &'a File, slot: Slot) -> Self {
        Bounded {
            file,
            slot,
            position: 0,
        }
    }

    /// How far it was written in order, in bytes.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Writes `bytes` at `offset` of the slot.
    pub fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let end = offset.checked_add(bytes.len() as u64);
        if end.is_none_or(|end| end > self.slot.size) {
            let (label, size) = (self.slot.role.label(), self.slot.size);
            return Err(io::Error::new(
                io::ErrorKind::StorageFull,
                format!(
                    "writing {} bytes at {offset} would leave the {label} partition of {size} bytes",
                    bytes.len()
                ),
            ));
        }
        let mut at = self.slot.offset + offset;
        // Runs of blocks with something in them are written in one call.
        let mut rest = bytes;
        while !rest.is_empty() {
            let zeros = rest
                .chunks(BLOCK)
                .take_while(|block| is_zero(block))
                .map(<[u8]>::len)
                .sum::<usize>();
            let data = rest[zeros..]
                .chunks(BLOCK)
                .take_while(|block| !is_zero(block))
                .map(<[u8]>::len)
                .sum::<usize>();
            self.file
                .write_all_at(&rest[zeros..zeros + data], at + zeros as u64)?;
            at += (zeros + data) as u64;
            rest = &rest[zeros + data..];
        }
        Ok(())
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.write_at(self.position, buf)?;
        self.position += buf.len() as u64;
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_zero(block: &[u8]) -> bool {
    block.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use contract::partition::Role;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn zeros_are_holes_and_the_end_is_the_end() {
        let file = tempfile::tempfile().unwrap();
        let slot = Slot {
            role: Role::Seed,
            offset: 4096,
            size: 1 << 20,
        };
        file.set_len(4096 + (1 << 20)).unwrap();
        let mut bytes = vec![0; 512 << 10];
        bytes[100_000] = 7;
        let mut out = Bounded::new(&file, slot);
        out.write_all(&bytes).unwrap();
        out.write_all(&bytes).unwrap();
        assert!(file.metadata().unwrap().blocks() * 512 <= 2 * BLOCK as u64);
        let mut back = [0];
        file.read_exact_at(&mut back, 4096 + (512 << 10) + 100_000)
            .unwrap();
        assert_eq!(back, [7]);
        let error = out.write_all(&[1]).unwrap_err().to_string();
        assert!(error.contains("SEED"), "{error}");
    }
}
