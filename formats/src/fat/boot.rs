//! The boot sector with its BIOS parameter block, and where everything lies according to it.

use super::{FAT12_CLUSTERS, FAT16_CLUSTERS, FIRST_CLUSTER, Kind};
use crate::bytes::{put, u16_le, u32_le};

pub(super) const BOOT_SECTOR: usize = 512;
const MEDIA_FIXED_DISK: u8 = 0xf8;
const DRIVE: u8 = 0x80;
const EXTENDED_SIGNATURE: u8 = 0x29;
const BOOT_SIGNATURE: [u8; 2] = [0x55, 0xaa];
/// int 18h (no bootable disk), and should that return, a loop.
const BOOT_CODE: [u8; 4] = [0xcd, 0x18, 0xeb, 0xfe];
/// Where FAT32 keeps FSInfo and the copy of the boot sector, in sectors.
pub(super) const FS_INFO_SECTOR: u64 = 1;
pub(super) const BACKUP_SECTOR: u64 = 6;

/// What a boot sector says. Sizes are in sectors unless named otherwise.
#[derive(Clone, Debug)]
pub(super) struct Boot {
    pub(super) kind: Kind,
    /// In bytes: 512 to 4096, a power of two.
    pub(super) sector: u64,
    /// 1 to 128, a power of two.
    pub(super) sectors_per_cluster: u64,
    pub(super) reserved: u64,
    pub(super) fats: u64,
    /// Entries of the root directory; 0 on FAT32.
    pub(super) root_entries: u64,
    pub(super) sectors: u64,
    pub(super) sectors_per_fat: u64,
    /// FAT32 only.
    pub(super) root_cluster: u32,
    pub(super) id: u32,
    pub(super) label: [u8; 11],
}

impl Boot {
    pub(super) fn cluster(&self) -> u64 {
        self.sector * self.sectors_per_cluster
    }

    pub(super) fn root_sectors(&self) -> u64 {
        (self.root_entries * super::ENTRY as u64).div_ceil(self.sector)
    }

    /// Where FAT number `n` starts, in bytes.
    pub(super) fn fat_offset(&self, n: u64) -> u64 {
        (self.reserved + n * self.sectors_per_fat) * self.sector
    }

    /// Where FAT12's and FAT16's root directory starts, in bytes.
    pub(super) fn root_offset(&self) -> u64 {
        self.fat_offset(self.fats)
    }

    /// Where cluster 2 starts, in bytes.
    pub(super) fn data_offset(&self) -> u64 {
        self.root_offset() + self.root_sectors() * self.sector
    }

    /// Where a cluster starts, in bytes; the caller knows that it is one.
    pub(super) fn cluster_offset(&self, cluster: u32) -> u64 {
        self.data_offset() + u64::from(cluster - FIRST_CLUSTER) * self.cluster()
    }

    /// How many clusters fit in the volume.
    pub(super) fn clusters(&self) -> u64 {
        let data = (self.sectors * self.sector).saturating_sub(self.data_offset());
        data / self.cluster()
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let mut b = vec![0; BOOT_SECTOR];
        let fat32 = self.kind == Kind::Fat32;
        let (extended, code) = if fat32 { (64, 90) } else { (36, 62) };
        put(&mut b, 0, &[0xeb, code as u8 - 2, 0x90]);
        put(&mut b, 3, b"SEEDBED ");
        put(&mut b, 11, &(self.sector as u16).to_le_bytes());
        put(&mut b, 13, &[self.sectors_per_cluster as u8]);
        put(&mut b, 14, &(self.reserved as u16).to_le_bytes());
        put(&mut b, 16, &[self.fats as u8]);
        put(&mut b, 17, &(self.root_entries as u16).to_le_bytes());
        match u16::try_from(self.sectors) {
            Ok(sectors) if !fat32 => put(&mut b, 19, &sectors.to_le_bytes()),
            _ => put(&mut b, 32, &(self.sectors as u32).to_le_bytes()),
        }
        put(&mut b, 21, &[MEDIA_FIXED_DISK]);
        // The geometry that BIOSes invent for large disks; nothing has used it in decades.
        put(&mut b, 24, &63_u16.to_le_bytes());
        put(&mut b, 26, &255_u16.to_le_bytes());
        if fat32 {
            put(&mut b, 36, &(self.sectors_per_fat as u32).to_le_bytes());
            put(&mut b, 44, &self.root_cluster.to_le_bytes());
            put(&mut b, 48, &(FS_INFO_SECTOR as u16).to_le_bytes());
            put(&mut b, 50, &(BACKUP_SECTOR as u16).to_le_bytes());
        } else {
            put(&mut b, 22, &(self.sectors_per_fat as u16).to_le_bytes());
        }
        put(&mut b, extended, &[DRIVE, 0, EXTENDED_SIGNATURE]);
        put(&mut b, extended + 3, &self.id.to_le_bytes());
        put(&mut b, extended + 7, &self.label);
        let kind = if fat32 { b"FAT32   " } else { b"FAT16   " };
        put(&mut b, extended + 18, kind);
        put(&mut b, code, &BOOT_CODE);
        put(&mut b, 510, &BOOT_SIGNATURE);
        b
    }

    /// What the 512 bytes of a boot sector say, or the name of the first field that no volume can have.
    pub(super) fn parse(b: &[u8]) -> Result<Self, &'static str> {
        let check = |possible, field| if possible { Ok(()) } else { Err(field) };
        check(b[510..512] == BOOT_SIGNATURE, "signature")?;
        check(matches!(b[0], 0xeb | 0xe9), "jmpBoot")?;
        let sector = u64::from(u16_le(b, 11));
        let possible = sector.is_power_of_two() && (512..=4096).contains(&sector);
        check(possible, "BytsPerSec")?;
        check(b[13].is_power_of_two(), "SecPerClus")?;
        let reserved = u64::from(u16_le(b, 14));
        check(reserved > 0, "RsvdSecCnt")?;
        check((1..=2).contains(&b[16]), "NumFATs")?;
        check(b[21] == 0xf0 || b[21] >= 0xf8, "Media")?;
        let sectors = match u16_le(b, 19) {
            0 => u64::from(u32_le(b, 32)),
            sectors => sectors.into(),
        };
        let fat32 = u16_le(b, 22) == 0;
        let sectors_per_fat = match u16_le(b, 22) {
            0 => u64::from(u32_le(b, 36)),
            sectors => sectors.into(),
        };
        check(sectors_per_fat > 0, "FATSz")?;
        let root_entries = u64::from(u16_le(b, 17));
        check((root_entries == 0) == fat32, "RootEntCnt")?;
        let extended = if fat32 { 64 } else { 36 };
        let mut boot = Boot {
            kind: Kind::Fat32,
            sector,
            sectors_per_cluster: b[13].into(),
            reserved,
            fats: b[16].into(),
            root_entries,
            sectors,
            sectors_per_fat,
            root_cluster: if fat32 { u32_le(b, 44) } else { 0 },
            id: u32_le(b, extended + 3),
            label: *b"NO NAME    ",
        };
        boot.label.copy_from_slice(&b[extended + 7..extended + 18]);
        check(boot.clusters() > 0, "TotSec")?;
        let clusters = boot.clusters();
        if !fat32 {
            check(clusters < FAT16_CLUSTERS, "FATSz16")?;
            let fat12 = clusters < FAT12_CLUSTERS;
            boot.kind = if fat12 { Kind::Fat12 } else { Kind::Fat16 };
        }
        Ok(boot)
    }
}
