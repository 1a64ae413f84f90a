//! Compression of one chunk at a time, and its undoing into a buffer that is never exceeded.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};
use std::io::{self, Read};

/// What a zstd frame may ask the reader to remember: more than any chunk of the formats here has.
const MAX_WINDOW_LOG: u32 = 26;

/// How deflate's data is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deflate {
    /// Bare (RFC 1951), with matches at most 4 KiB back: qcow2's readers keep no more.
    Window4K,
    /// In zlib's frame (RFC 1950).
    Zlib,
}

impl Deflate {
    fn parameters(self) -> (bool, u8) {
        match self {
            Deflate::Window4K => (false, 12),
            Deflate::Zlib => (true, 15),
        }
    }
}

/// A compressor, to be used for one chunk after the other.
pub(crate) enum Encoder {
    Zstd(zstd::bulk::Compressor<'static>),
    Deflate(Compress),
}

impl Encoder {
    /// One zstd frame for each chunk, with its size in it.
    pub(crate) fn zstd(level: i32, checksum: bool) -> io::Result<Self> {
        let mut encoder = zstd::bulk::Compressor::new(level)?;
        encoder.set_parameter(zstd::zstd_safe::CParameter::ChecksumFlag(checksum))?;
        Ok(Encoder::Zstd(encoder))
    }

    /// One deflate stream for each chunk.
    pub(crate) fn deflate(level: u32, layout: Deflate) -> Self {
        let (header, window) = layout.parameters();
        let level = Compression::new(level);
        Encoder::Deflate(Compress::new_with_window_bits(level, header, window))
    }

    /// Compresses `bytes`.
    pub(crate) fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Encoder::Zstd(encoder) => encoder.compress(bytes),
            Encoder::Deflate(encoder) => {
                encoder.reset();
                let mut out = Vec::with_capacity(bytes.len() + 1024);
                loop {
                    // What is left to read is never more than a chunk.
                    let rest = &bytes[encoder.total_in() as usize..];
                    match encoder.compress_vec(rest, &mut out, FlushCompress::Finish)? {
                        Status::StreamEnd => return Ok(out),
                        Status::Ok | Status::BufError => out.reserve(bytes.len()),
                    }
                }
            }
        }
    }
}

/// Fills `out` from the zstd frame that `bytes` begins with; what comes behind it is not looked at.
pub(crate) fn unpack_zstd(bytes: &[u8], out: &mut [u8]) -> io::Result<()> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes)?.single_frame();
    decoder.window_log_max(MAX_WINDOW_LOG)?;
    decoder.read_exact(out)
}

/// Fills `out` from the deflate stream that `bytes` begins with; what comes behind it is not looked at.
pub(crate) fn inflate(bytes: &[u8], layout: Deflate, out: &mut [u8]) -> io::Result<()> {
    let (header, window) = layout.parameters();
    let mut decoder = Decompress::new_with_window_bits(header, window);
    let status = decoder.decompress(bytes, out, FlushDecompress::Finish);
    status.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    if decoder.total_out() != out.len() as u64 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Text with matches that are near, far, and farther than 4 KiB.
    fn sample() -> Vec<u8> {
        let mut bytes = Vec::new();
        for i in 0..6000_u32 {
            bytes.extend_from_slice(&(i % 1500).wrapping_mul(2_654_435_761).to_le_bytes());
        }
        bytes
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        let bytes = sample();
        let mut out = vec![0; bytes.len()];
        let mut zstd = Encoder::zstd(3, true).unwrap();
        for _ in 0..2 {
            let mut packed = zstd.encode(&bytes).unwrap();
            packed.extend_from_slice(b"what is behind it");
            out.fill(0);
            unpack_zstd(&packed, &mut out).unwrap();
            assert!(out == bytes);
        }
        for layout in [Deflate::Window4K, Deflate::Zlib] {
            let mut deflate = Encoder::deflate(6, layout);
            for _ in 0..2 {
                let mut packed = deflate.encode(&bytes).unwrap();
                packed.extend_from_slice(b"what is behind it");
                out.fill(0);
                inflate(&packed, layout, &mut out).unwrap();
                assert!(out == bytes);
            }
        }
    }

    #[test]
    fn too_little_is_an_error() {
        let bytes = sample();
        let mut longer = vec![0; bytes.len() + 1];
        let packed = Encoder::zstd(3, false).unwrap().encode(&bytes).unwrap();
        assert!(unpack_zstd(&packed, &mut longer).is_err());
        assert!(unpack_zstd(&packed[..packed.len() / 2], &mut longer).is_err());
        let packed = Encoder::deflate(6, Deflate::Zlib).encode(&bytes).unwrap();
        assert!(inflate(&packed, Deflate::Zlib, &mut longer).is_err());
        assert!(inflate(&packed[..packed.len() / 2], Deflate::Zlib, &mut longer).is_err());
    }
}
