//! Writes and hashes on one thread what another gives.

use crate::output::bounded::Bounded;
use formats::verity::HashTree;
use std::io::{self, Write};
use std::panic;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

/// Bytes that are handed over at once: what a [`HashTree`] shares out among the processors.
const CHUNK: usize = 4 << 20;
/// Chunks that wait, while one is filled and one is written.
const WAITING: usize = 1;

/// Lets `write` write into a partition, and gives the hashes of what it wrote with what it returned.
///
/// # Errors
/// The partition cannot be written to, or is too small.
pub fn hashed<T: Send>(
    mut out: Bounded<'_>,
    mut hash: HashTree,
    write: impl FnOnce(&mut Chunks) -> T,
) -> io::Result<(T, HashTree)> {
    let (full, filled) = sync_channel::<Vec<u8>>(WAITING);
    let (free, freed) = channel();
    thread::scope(|scope| {
        let writer = scope.spawn(move || {
            for chunk in filled {
                out.write_all(&chunk)?;
                hash.update(&chunk);
                recycle(&free, chunk);
            }
            io::Result::Ok(hash)
        });
        let mut chunks = Chunks {
            chunk: Vec::with_capacity(CHUNK),
            full,
            freed,
        };
        let written = write(&mut chunks);
        // A writer that gave up says why below.
        let _ = chunks.flush();
        drop(chunks);
        let hash = writer
            .join()
            .unwrap_or_else(|panic| panic::resume_unwind(panic))?;
        Ok((written, hash))
    })
}

fn recycle(free: &Sender<Vec<u8>>, mut chunk: Vec<u8>) {
    chunk.clear();
    // Nobody takes it back after the last one.
    let _ = free.send(chunk);
}

/// Where to write to.
#[derive(Debug)]
pub struct Chunks {
    chunk: Vec<u8>,
    full: SyncSender<Vec<u8>>,
    freed: Receiver<Vec<u8>>,
}

impl Write for Chunks {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = buf.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&buf[..n]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        let next = self.freed.try_recv();
        let next = next.unwrap_or_else(|_| Vec::with_capacity(CHUNK));
        let chunk = std::mem::replace(&mut self.chunk, next);
        self.full
            .send(chunk)
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Slot;
    use contract::partition::Role;

    fn slot(size: u64) -> Slot {
        Slot {
            role: Role::Root,
            offset: 0,
            size,
        }
    }

    #[test]
    fn what_is_written_is_what_is_hashed() {
        let bytes: Vec<u8> = (0..CHUNK * 2 + 8192).map(|at| (at / 7) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        let tree = || HashTree::new(b"salt", [0; 16]).unwrap();
        let out = Bounded::new(&file, slot(bytes.len() as u64));
        let (written, hash) = hashed(out, tree(), |chunks| {
            bytes
                .chunks(5000)
                .try_for_each(|piece| chunks.write_all(piece))
        })
        .unwrap();
        written.unwrap();
        let mut expected = tree();
        expected.update(&bytes);
        let roots = [hash, expected].map(|tree| tree.finish().unwrap().root_hash);
        assert_eq!(roots[0], roots[1]);
        let mut found = Vec::new();
        io::Read::read_to_end(&mut &file, &mut found).unwrap();
        assert!(found == bytes);
    }

    #[test]
    fn a_partition_that_is_too_small_stops_the_writer() {
        let file = tempfile::tempfile().unwrap();
        let tree = HashTree::new(b"", [0; 16]).unwrap();
        let error = hashed(Bounded::new(&file, slot(4096)), tree, |chunks| {
            (0..64).try_for_each(|_| chunks.write_all(&[1; 1 << 20]))
        });
        let error = error.unwrap_err().to_string();
        assert!(error.contains("ROOT"), "{error}");
    }
}
