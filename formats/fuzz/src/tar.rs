//! Checksums of tar archives: a fuzzer would hardly ever hit one.

use std::ops::Range;

const BLOCK: usize = 512;
const CHECKSUM: Range<usize> = 148..156;
const MAGIC: usize = 257;

/// `bytes` with the right checksum in each header of a tar archive, wherever archives are in it.
pub fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let magic = bytes.windows(5).enumerate().skip(MAGIC);
    let starts: Vec<usize> = magic
        .filter(|(_, word)| *word == b"ustar")
        .map(|(at, _)| at - MAGIC)
        .collect();
    for start in starts {
        if let Some(header) = bytes.get_mut(start..start + BLOCK) {
            header[CHECKSUM].fill(b' ');
            let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
            header[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    bytes
}
