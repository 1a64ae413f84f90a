//! SHA-256 of what flows past, and its hexadecimal form.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;

/// Lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String never fails");
            text
        })
}

/// SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 and length of all that `reader` gives.
pub fn sha256_of(mut reader: impl Read) -> io::Result<(String, u64)> {
    let mut sink = HashWriter::new(io::sink());
    let len = io::copy(&mut reader, &mut sink)?;
    Ok((sink.finish().1, len))
}

/// SHA-256, in hexadecimal, of `size` bytes of `file` that has data in `extents` alone, ascending: the zeros of
/// its holes are hashed without reading them.
pub fn sha256_of_sparse(file: &File, size: u64, extents: &[Range<u64>]) -> io::Result<String> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 256 << 10];
    let zeros = vec![0; 256 << 10];
    let piece = |left: u64| usize::try_from(left).map_or(zeros.len(), |n| n.min(zeros.len()));
    let mut at = 0;
    for extent in extents.iter().chain([&(size..size)]) {
        while at < extent.start {
            let n = piece(extent.start - at);
            hash.update(&zeros[..n]);
            at += n as u64;
        }
        while at < extent.end {
            let n = piece(extent.end - at);
            file.read_exact_at(&mut buffer[..n], at)?;
            hash.update(&buffer[..n]);
            at += n as u64;
        }
    }
    Ok(hex(&hash.finalize()))
}

/// Sixteen bytes for a UUID and thirty-two for a salt come from a digest of the lock and a label, so that
/// equal inputs give equal images.
pub fn derive(lock: &str, label: &str) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(lock.as_bytes());
    hash.update([0]);
    hash.update(label.as_bytes());
    hash.finalize().into()
}

/// Whether `text` is a SHA-256 in lower-case hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Reads a field that is a SHA-256 in lower-case hexadecimal: digests become names of files, and no document gets to
/// choose those.
///
/// # Errors
/// The text is something else.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    match is_sha256(&text) {
        true => Ok(text),
        false => Err(D::Error::custom(format!(
            "{text:?} is no SHA-256 in lower-case hexadecimal"
        ))),
    }
}

/// The bytes of a SHA-256 in lower-case hexadecimal; `None` if `text` is no such thing.
pub fn parse(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    is_sha256(text).then_some(bytes)
}

/// Passes bytes on and hashes them.
#[derive(Debug)]
pub struct HashWriter<W> {
    inner: W,
    hash: Sha256,
    len: u64,
}

impl<W: Write> HashWriter<W> {
    /// Around `inner`.
    pub fn new(inner: W) -> Self {
        HashWriter {
            inner,
            hash: Sha256::new(),
            len: 0,
        }
    }

    /// The writer, the digest in hexadecimal, and the number of bytes.
    pub fn finish(self) -> (W, String, u64) {
        (self.inner, hex(&self.hash.finalize()), self.len)
    }
}

impl<W: Write> Write for HashWriter<W> {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        let n = self.inner.write(buf)?;
        self.hash.update(&buf[..n]);
        self.len += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holes_are_zeros() {
        let size = (1 << 20) + 5;
        let mut bytes = vec![0; size];
        bytes[300_000..700_000].fill(7);
        bytes[size - 2] = 1;
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        let extents = [299_999..700_001, size as u64 - 3..size as u64];
        let found = sha256_of_sparse(&file, size as u64, &extents).unwrap();
        assert_eq!(found, sha256(&bytes));
        assert_eq!(sha256_of_sparse(&file, 0, &[]).unwrap(), sha256(b""));
    }
}
