//! VHDX images, as Hyper-V takes them (Microsoft, "\[MS-VHDX\]: Virtual Hard Disk v2").
//!
//! The writer goes over the disk once; blocks that are zeros are left out:
//!
//! ```text
//! 0         file identifier
//! 64 KiB    header, and again at 128 KiB
//! 192 KiB   region table, and again at 256 KiB
//! 1 MiB     log, empty
//! 2 MiB     metadata: the disk's size, identity and sectors
//! 3 MiB     BAT: per block of the disk its place; written last
//! then      blocks of 1 MiB
//! ```
//!
//! An image whose log has entries that were not yet applied is refused by the reader, as is one with a parent.

mod read;
mod write;

pub use read::Image;
pub use write::write;

use crate::bytes::put;

const NAME: &str = "vhdx";
const SIGNATURE: &[u8; 8] = b"vhdxfile";
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const HEADERS: [u64; 2] = [64 * KIB, 128 * KIB];
const HEADER_SIGNATURE: &[u8; 4] = b"head";
const HEADER_SIZE: u64 = 4 * KIB;
const REGION_TABLES: [u64; 2] = [192 * KIB, 256 * KIB];
const REGION_TABLE_SIGNATURE: &[u8; 4] = b"regi";
const REGION_TABLE_SIZE: u64 = 64 * KIB;
const METADATA_SIGNATURE: &[u8; 8] = b"metadata";
/// The metadata table; items are behind it.
const METADATA_TABLE_SIZE: u64 = 64 * KIB;
/// Bytes of an entry of the region table and of the metadata table.
const ENTRY: u64 = 32;
/// Both checksums are here.
const CHECKSUM: usize = 4;
/// Blocks that one sector bitmap describes hold together this many sectors.
const BITMAP_SECTORS: u64 = 1 << 23;
/// States of a block in the BAT, in its lowest three bits; all below are zeros.
const BLOCK_FULLY_PRESENT: u64 = 6;
const BLOCK_PARTIALLY_PRESENT: u64 = 7;
const BLOCK_STATE: u64 = 7;

// GUIDs, in the order of their text form.
const REGION_BAT: [u8; 16] = guid(0x2dc2_7766_f623_4200_9d64_115e_9bfd_4a08);
const REGION_METADATA: [u8; 16] = guid(0x8b7c_a206_4790_4b9a_b8fe_575f_050f_886e);
const FILE_PARAMETERS: [u8; 16] = guid(0xcaa1_6737_fa36_4d43_b3b6_33f0_aa44_e76b);
const VIRTUAL_DISK_SIZE: [u8; 16] = guid(0x2fa5_4224_cd1b_4876_b211_5dbe_d83b_f4b8);
const VIRTUAL_DISK_ID: [u8; 16] = guid(0xbeca_12ab_b2e6_4523_93ef_c309_e000_c746);
const LOGICAL_SECTOR_SIZE: [u8; 16] = guid(0x8141_bf1d_a96f_4709_ba47_f233_a8fa_ab5f);
const PHYSICAL_SECTOR_SIZE: [u8; 16] = guid(0xcda3_48c7_445d_4471_9cc9_e988_5251_c556);

const fn guid(number: u128) -> [u8; 16] {
    number.to_be_bytes()
}

/// CRC-32C of a structure whose own checksum counts as zeros.
fn checksum(bytes: &[u8]) -> u32 {
    let mut summed = bytes.to_vec();
    put(&mut summed, CHECKSUM, &[0; 4]);
    !summed.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            let polynomial = 0x82f6_3b78 & (crc & 1).wrapping_neg();
            (crc >> 1) ^ polynomial
        })
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn checksums_are_castagnolis() {
        // RFC 3720, B.4: 32 bytes of zeros.
        assert_eq!(super::checksum(&[0; 32]), 0x8a91_36aa);
    }
}
