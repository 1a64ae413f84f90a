//! Numbers of the erofs format that more than one module needs.

/// Size of a block in bytes.
pub(super) const BLOCK: u64 = 4096;
/// [`BLOCK`] as a length of memory.
pub(super) const BLOCK_LEN: usize = 4096;
/// Inodes start at multiples of this many bytes; a nid counts such slots from the start of the metadata.
pub(super) const SLOT: u64 = 32;
/// Longest name of a directory entry in bytes, as Linux has it.
pub(super) const MAX_NAME: usize = 255;
/// Longest target of a symbolic link in bytes: Linux's `PATH_MAX` without its NUL.
pub(super) const MAX_SYMLINK: usize = 4095;

/// What an inode is, as directory entries tell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileType {
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket; never written here.
    Socket,
    /// A symbolic link.
    Symlink,
}

impl FileType {
    /// Each type, its number in a directory entry, and its bits in a mode.
    const TABLE: [(FileType, u8, u16); 7] = [
        (FileType::Regular, 1, 0o100_000),
        (FileType::Directory, 2, 0o040_000),
        (FileType::CharDevice, 3, 0o020_000),
        (FileType::BlockDevice, 4, 0o060_000),
        (FileType::Fifo, 5, 0o010_000),
        (FileType::Socket, 6, 0o140_000),
        (FileType::Symlink, 7, 0o120_000),
    ];

    /// The number by which a directory entry names the type.
    pub(super) fn in_dirent(self) -> u8 {
        Self::row(self).1
    }

    /// The bits by which a mode names the type.
    pub(super) fn in_mode(self) -> u16 {
        Self::row(self).2
    }

    pub(super) fn from_dirent(number: u8) -> Option<Self> {
        let row = Self::TABLE.iter().find(|row| row.1 == number)?;
        Some(row.0)
    }

    pub(super) fn from_mode(mode: u16) -> Option<Self> {
        let row = Self::TABLE.iter().find(|row| row.2 == mode & 0o170_000)?;
        Some(row.0)
    }

    fn row(self) -> (FileType, u8, u16) {
        let row = Self::TABLE.iter().find(|row| row.0 == self);
        *row.expect("the table has a row for every type")
    }
}

/// CRC-32C without the final inversion, as the kernel's `crc32c(~0, …)` computes it.
pub(super) fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = crc & 1 != 0;
            crc >>= 1;
            if carry {
                // The Castagnoli polynomial, bits reversed.
                crc ^= 0x82f6_3b78;
            }
        }
    }
    crc
}

/// The least multiple of `step`, a power of two, that is not below `value`.
pub(super) const fn round_up(value: u64, step: u64) -> u64 {
    value.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        // The check value of CRC-32C's catalogue entry.
        assert_eq!(!crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn types_survive_both_encodings() {
        for (kind, _, _) in FileType::TABLE {
            assert_eq!(FileType::from_dirent(kind.in_dirent()), Some(kind));
            assert_eq!(FileType::from_mode(kind.in_mode() | 0o7777), Some(kind));
        }
        assert_eq!(FileType::from_dirent(0), None);
        assert_eq!(FileType::from_mode(0o777), None);
    }
}
