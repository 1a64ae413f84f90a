//! Inodes on disk: the compact form of 32 bytes, and the extended form of 64.
//!
//! ```text
//!          compact                          extended
//!  0 u16   form (bit 0), layout (bits 1-3)  the same
//!  2 u16   size of the attributes           the same
//!  4 u16   mode                             the same
//!  6 u16   number of links                  0
//!  8       u32 size                         u64 size
//! 16 u32   first block, number of blocks of  the same
//!          compressed data, or device number
//! 20 u32   a number for 32-bit programs     the same
//! 24       u16 owner, u16 group             u32 owner, u32 group
//! 32                                        i64 modification time, u32 nanoseconds, u32 number of links
//! ```

use crate::bytes::{put, u16_le, u32_le, u64_le};

/// Size of the compact form in bytes.
pub(super) const COMPACT: usize = 32;
/// Size of the extended form in bytes.
pub(super) const EXTENDED: usize = 64;

/// Where the data of an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// All of it in blocks of its own, one after the other.
    Plain,
    /// Whole blocks as with [`Layout::Plain`], and the rest right after the inode and its attributes.
    Inline,
    /// In compressed extents, with a full index after the inode; never written here.
    CompressedFull,
    /// In compressed extents, with a compact index after the inode and its attributes.
    Compressed,
}

impl Layout {
    fn number(self) -> u16 {
        match self {
            Layout::Plain => 0,
            Layout::CompressedFull => 1,
            Layout::Inline => 2,
            Layout::Compressed => 3,
        }
    }

    /// Whether the data is in extents, and the inode has an index of them.
    pub(super) fn is_compressed(self) -> bool {
        matches!(self, Layout::CompressedFull | Layout::Compressed)
    }
}

/// The fields of an inode in either form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fields {
    pub(super) extended: bool,
    pub(super) layout: Layout,
    /// Size of the attributes after the inode, as [`super::xattr::count`] encodes it.
    pub(super) xattr_count: u16,
    pub(super) mode: u16,
    pub(super) nlink: u32,
    pub(super) size: u64,
    /// First block of the data, or the number of its blocks if it is compressed, or a device number.
    pub(super) place: u32,
    pub(super) ino: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) mtime: i64,
}

impl Fields {
    /// Whether the compact form, whose time is the image's build time, would lose something.
    pub(super) fn needs_extended(&self, build_time: i64) -> bool {
        self.mtime != build_time
            || self.size > u64::from(u32::MAX)
            || [self.uid, self.gid, self.nlink]
                .iter()
                .any(|value| *value > u32::from(u16::MAX))
    }

    /// Size of the inode itself in bytes.
    pub(super) fn len(&self) -> usize {
        if self.extended { EXTENDED } else { COMPACT }
    }

    /// Appends the inode in the form that [`Fields::extended`] asks for.
    pub(super) fn write_to(&self, out: &mut Vec<u8>) {
        let mut bytes = [0; EXTENDED];
        let form = u16::from(self.extended) | self.layout.number() << 1;
        put(&mut bytes, 0, &form.to_le_bytes());
        put(&mut bytes, 2, &self.xattr_count.to_le_bytes());
        put(&mut bytes, 4, &self.mode.to_le_bytes());
        put(&mut bytes, 16, &self.place.to_le_bytes());
        put(&mut bytes, 20, &self.ino.to_le_bytes());
        if self.extended {
            put(&mut bytes, 8, &self.size.to_le_bytes());
            put(&mut bytes, 24, &self.uid.to_le_bytes());
            put(&mut bytes, 28, &self.gid.to_le_bytes());
            put(&mut bytes, 32, &self.mtime.to_le_bytes());
            put(&mut bytes, 44, &self.nlink.to_le_bytes());
        } else {
            // Little-endian, so the low half of each number comes first; the high half is zero.
            put(&mut bytes, 6, &self.nlink.to_le_bytes()[..2]);
            put(&mut bytes, 8, &self.size.to_le_bytes()[..4]);
            put(&mut bytes, 24, &self.uid.to_le_bytes()[..2]);
            put(&mut bytes, 26, &self.gid.to_le_bytes()[..2]);
        }
        out.extend_from_slice(&bytes[..self.len()]);
    }

    /// Whether an inode that starts with `bytes` (2 are enough) has the extended form.
    pub(super) fn is_extended(bytes: &[u8]) -> bool {
        u16_le(bytes, 0) & 1 != 0
    }

    /// Reads an inode of either form; `Err` says what is wrong with it.
    pub(super) fn parse(bytes: &[u8], build_time: i64) -> Result<Self, &'static str> {
        let extended = Self::is_extended(bytes);
        if bytes.len() < if extended { EXTENDED } else { COMPACT } {
            return Err("its inode is cut short");
        }
        let layout = match u16_le(bytes, 0) >> 1 {
            0 => Layout::Plain,
            1 => Layout::CompressedFull,
            2 => Layout::Inline,
            3 => Layout::Compressed,
            _ => return Err("its data is in chunks, which is not supported"),
        };
        let common = Fields {
            extended,
            layout,
            xattr_count: u16_le(bytes, 2),
            mode: u16_le(bytes, 4),
            nlink: u32::from(u16_le(bytes, 6)),
            size: u64::from(u32_le(bytes, 8)),
            place: u32_le(bytes, 16),
            ino: u32_le(bytes, 20),
            uid: u32::from(u16_le(bytes, 24)),
            gid: u32::from(u16_le(bytes, 26)),
            mtime: build_time,
        };
        if !extended {
            return Ok(common);
        }
        Ok(Fields {
            nlink: u32_le(bytes, 44),
            size: u64_le(bytes, 8),
            uid: u32_le(bytes, 24),
            gid: u32_le(bytes, 28),
            mtime: u64_le(bytes, 32).cast_signed(),
            ..common
        })
    }
}

/// A device number as the kernel's `new_encode_dev` packs it, if it fits: 12 bits and 20 bits.
pub(super) fn encode_device(major: u32, minor: u32) -> Option<u32> {
    let fits = major < 1 << 12 && minor < 1 << 20;
    fits.then_some((minor & 0xff) | major << 8 | (minor & !0xff) << 12)
}

/// Major and minor number of a packed device number.
pub(super) fn decode_device(packed: u32) -> (u32, u32) {
    let minor = (packed & 0xff) | (packed >> 12 & 0xfff00);
    (packed >> 8 & 0xfff, minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn device_numbers_fit_or_are_refused() {
        for (major, minor) in [(0, 0), (1, 3), (8, 0x12345), (4095, 0xfffff)] {
            let packed = encode_device(major, minor).unwrap();
            assert_eq!(decode_device(packed), (major, minor));
        }
        assert_eq!(encode_device(4096, 0), None);
        assert_eq!(encode_device(0, 1 << 20), None);
    }

    proptest! {
        #[test]
        fn the_form_that_is_needed_loses_nothing(
            (layout, xattr_count, mode, nlink) in (0..4_usize, any::<u16>(), any::<u16>(), any::<u32>()),
            (size, place, ino) in (any::<u64>(), any::<u32>(), any::<u32>()),
            (uid, gid, mtime) in (any::<u32>(), any::<u32>(), -2_i64..3),
            small in any::<bool>(),
        ) {
            let mask = if small { 0xffff } else { u32::MAX };
            let mut fields = Fields {
                extended: false,
                layout: [Layout::Plain, Layout::CompressedFull, Layout::Inline, Layout::Compressed][layout],
                xattr_count,
                mode,
                nlink: nlink & mask,
                size: if small { size & 0xffff_ffff } else { size },
                place,
                ino,
                uid: uid & mask,
                gid: gid & mask,
                mtime,
            };
            fields.extended = fields.needs_extended(0);
            let mut bytes = Vec::new();
            fields.write_to(&mut bytes);
            prop_assert_eq!(bytes.len(), fields.len());
            prop_assert_eq!(Fields::parse(&bytes, 0), Ok(fields));
        }
    }
}
