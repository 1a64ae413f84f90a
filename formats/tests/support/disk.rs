//! Disks to be written as images, and to be compared with them.

use formats::read_at::ReadAt;
use std::os::unix::fs::FileExt;
use tempfile::NamedTempFile;

pub(crate) const MIB: u64 = 1 << 20;

/// A sparse file with `pieces` of data, each filled with its own byte.
pub(crate) fn disk(size: u64, pieces: &[(u64, usize)]) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    file.as_file().set_len(size).unwrap();
    for (i, (offset, len)) in pieces.iter().enumerate() {
        let bytes = vec![i as u8 + 1; *len];
        file.as_file().write_all_at(&bytes, *offset).unwrap();
    }
    file
}

/// Bytes that do not shrink (xorshift), the same in every run.
pub(crate) fn noise() -> impl Iterator<Item = u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

pub(crate) fn path(file: &NamedTempFile) -> &str {
    file.path().to_str().unwrap()
}

/// Both hold the same bytes.
pub(crate) fn assert_same(disk: &dyn ReadAt, image: &dyn ReadAt) {
    let size = disk.size().unwrap();
    assert_eq!(image.size().unwrap(), size);
    let mut at = 0;
    while at < size {
        // Not a multiple of a chunk, so that reads cross the borders.
        let len = (size - at).min(5_000_011) as usize;
        assert!(disk.read_vec_at(at, len).unwrap() == image.read_vec_at(at, len).unwrap());
        at += len as u64;
    }
    assert!(image.read_vec_at(size - 1, 2).is_err());
}
