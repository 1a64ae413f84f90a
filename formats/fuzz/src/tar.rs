//! Checksums of tar archives: a fuzzer would hardly ever hit one.

use std::ops::Range;

const BLOCK: usize = 512;
const CHECKSUM: Range<usize> = 148..156;

/// `archive` with the right checksum in each of its blocks that looks like a header.
pub fn with_checksums(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.chunks_exact_mut(BLOCK) {
        if block[257..].starts_with(b"ustar") {
            block[CHECKSUM].fill(b' ');
            let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
            block[CHECKSUM].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        }
    }
    archive
}
