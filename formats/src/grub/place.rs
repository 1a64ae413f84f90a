//! Binds a core to the place that the firmware starts it from: a disk with a BIOS boot partition, or a CD.

use super::{Core, Error, Parts, SECTOR, fits};
use crate::bytes::{put, u16_le, u32_le};

/// Bytes of a boot sector that are code; a disk signature and the partition table follow.
const BOOT_CODE: usize = 440;
/// Where boot.img has the LBA of the one sector that it loads.
const KERNEL_SECTOR: usize = 0x5c;
/// Where boot.img jumps over its check of the drive number.
const DRIVE_CHECK: usize = 0x66;
const NO_OPERATION: u8 = 0x90;

/// A row of diskboot.img's block list: LBA, count, segment. The list grows down from the sector's end.
const BLOCK: usize = 12;
const FIRST_BLOCK: usize = SECTOR - BLOCK;
/// The segment that the first row loads to: the one behind diskboot.img, which runs at 0x8000.
const SEGMENT: u16 = 0x820;

/// Bytes of a CD's sector, and of cdboot.img.
const CD_SECTOR: usize = 2048;
/// The sector of every CD's primary volume descriptor (ECMA-119, 6.7.1).
const VOLUME_DESCRIPTOR: u32 = 16;
/// Where the boot information table is: descriptor, file, length, checksum, and 40 reserved bytes.
const INFORMATION: usize = 8;
/// What the checksum is of starts here.
const CHECKED: usize = 64;

/// What makes a disk start GRUB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The first bytes of the first sector.
    pub boot_code: [u8; BOOT_CODE],
    /// The first bytes of the BIOS boot partition, whole sectors.
    pub partition: Vec<u8>,
}

/// Binds `core` to a disk whose BIOS boot partition starts at sector `first_lba` and has `sectors`.
///
/// The firmware may say that it starts a floppy although it starts a disk; what is made here takes the first
/// disk then.
pub fn for_disk(parts: &Parts, core: &Core, first_lba: u64, sectors: u64) -> Result<Disk, Error> {
    let mut boot = parts.get_array::<SECTOR>("boot.img")?;
    put(&mut boot, KERNEL_SECTOR, &first_lba.to_le_bytes());
    put(&mut boot, DRIVE_CHECK, &[NO_OPERATION; 2]);
    let mut boot_code = [0; BOOT_CODE];
    boot_code.copy_from_slice(&boot[..BOOT_CODE]);
    let mut partition = diskboot(parts, core, first_lba.saturating_add(1))?.to_vec();
    partition.extend(&core.bytes);
    partition.resize(partition.len().next_multiple_of(SECTOR), 0);
    let room = sectors.saturating_mul(SECTOR as u64);
    fits(
        "core image with its first sector",
        partition.len() as u64,
        room,
    )?;
    Ok(Disk {
        boot_code,
        partition,
    })
}

/// The boot image of a CD: an El Torito entry without emulation, of which the firmware loads the first 2048 bytes
/// (four units of 512) to 0x7c00. `lba` is the sector that it begins at, of 2048 bytes. One sector more than the image
/// has is read, so the CD must not end with it.
pub fn for_cd(parts: &Parts, core: &Core, lba: u32) -> Result<Vec<u8>, Error> {
    let mut image = parts.get_array::<CD_SECTOR>("cdboot.img")?.to_vec();
    // The code of cdboot.img brings all sectors itself and never looks at the list's LBA, which stays that of the file.
    image.extend(diskboot(parts, core, DEFAULT_SECTOR)?);
    image.extend(&core.bytes);
    let length = u32::try_from(image.len()).unwrap_or(u32::MAX);
    let words = image.get(CHECKED..).unwrap_or_default().chunks(4);
    let checksum = words.fold(0_u32, |sum, word| {
        let mut whole = [0; 4];
        whole[..word.len()].copy_from_slice(word);
        sum.wrapping_add(u32::from_le_bytes(whole))
    });
    let fields = [VOLUME_DESCRIPTOR, lba, length, checksum];
    for (index, field) in fields.into_iter().enumerate() {
        put(&mut image, INFORMATION + 4 * index, &field.to_le_bytes());
    }
    Ok(image)
}

/// What diskboot.img's list says before anybody fills it in.
const DEFAULT_SECTOR: u64 = 2;

/// diskboot.img with one row in its block list, for a core that begins at sector `lba`, and an empty one.
fn diskboot(parts: &Parts, core: &Core, lba: u64) -> Result<[u8; SECTOR], Error> {
    const NAME: &str = "diskboot.img";
    let mut sector = parts.get_array::<SECTOR>(NAME)?;
    let segment = u16_le(&sector, FIRST_BLOCK + 10);
    if segment != SEGMENT {
        return Err(Error::Field {
            name: NAME,
            field: "segment",
            value: segment.into(),
        });
    }
    // Code where the empty row has to be would make the list endless.
    let empty = u32_le(&sector, FIRST_BLOCK - 4);
    if empty != 0 {
        return Err(Error::Field {
            name: NAME,
            field: "terminator",
            value: empty.into(),
        });
    }
    let count = core.bytes.len().div_ceil(SECTOR);
    let count = u16::try_from(count).map_err(|_| Error::TooBig {
        what: "core image",
        size: core.bytes.len() as u64,
        limit: u64::from(u16::MAX) * SECTOR as u64,
    })?;
    put(&mut sector, FIRST_BLOCK, &lba.to_le_bytes());
    put(&mut sector, FIRST_BLOCK + 8, &count.to_le_bytes());
    Ok(sector)
}
