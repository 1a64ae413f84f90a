//! Decompression of xz files that nobody vouches for.
//!
//! A file states how much memory its reader has to take before any of its data is seen, up to 4 GiB.

use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream};
use std::io::{self, BufRead};

/// Memory that a decoder may take, in bytes; presets go up to 65 MiB.
const MEMORY: u64 = 128 << 20;

/// Reads what `reader`, one or more xz files behind each other, holds. Reading fails on a file that asks for more
/// than 128 MiB of memory.
pub(crate) fn decoder<R: BufRead>(reader: R) -> io::Result<XzDecoder<R>> {
    let stream = Stream::new_stream_decoder(MEMORY, CONCATENATED)?;
    Ok(XzDecoder::new_stream(reader, stream))
}

#[cfg(test)]
mod tests {
    use super::*;
    use liblzma::read::XzEncoder;
    use liblzma::stream::{Check, Filters, LzmaOptions};
    use std::io::Read;

    #[test]
    fn a_file_that_asks_for_much_memory_is_refused() {
        let packed = |dictionary: u32| {
            let mut options = LzmaOptions::new_preset(0).unwrap();
            options.dict_size(dictionary);
            let mut filters = Filters::new();
            filters.lzma2(&options);
            let stream = Stream::new_stream_encoder(&filters, Check::None).unwrap();
            let mut packed = Vec::new();
            let mut encoder = XzEncoder::new_stream(b"hello".as_slice(), stream);
            encoder.read_to_end(&mut packed).unwrap();
            packed
        };
        let read = |packed: Vec<u8>| {
            let mut text = String::new();
            let mut decoder = decoder(packed.as_slice()).unwrap();
            decoder.read_to_string(&mut text).map(|_| text)
        };
        assert_eq!(
            read([packed(64 << 20), packed(1 << 20)].concat()).unwrap(),
            "hellohello"
        );
        assert!(read(packed(256 << 20)).is_err());
    }
}
