//! SHA-256 of what flows past, and its hexadecimal form.

use sha2::{Digest, Sha256};
use std::io::{self, Read, Write};

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
