//! GRUB for PC BIOS: composes what `grub-mkimage` and `grub-bios-setup` would make, from the parts in
//! Debian's package grub-pc-bin. The package holds no finished core image, and a build starts no process.
//!
//! ```text
//! on a disk      LBA 0            boot.img, the first 440 bytes: reads one sector, diskboot.img
//!                BIOS boot        diskboot.img (512 bytes, with a block list), then the core
//! on a CD        boot image       cdboot.img (2048 bytes, with the boot information table), diskboot.img, the core
//! the core       0                lzma_decompress.img, with two sizes filled in
//!                its end          LZMA: kernel.img as it lies in memory, then the module area
//! module area    0                "mimg", offset of the first object, size of the area
//!                12               objects, each with type and size: modules, configuration, prefix
//! ```
//!
//! The machine's way through this: the firmware loads boot.img or cdboot.img to 0x7c00, that brings diskboot.img to
//! 0x8000 and the core to 0x8200, which unpacks itself to 1 MiB; the kernel moves to 0x9000, links the modules
//! and runs the configuration.
//!
//! Offsets and limits are those of GRUB 2.12 (`include/grub/offsets.h`, `include/grub/kernel.h`,
//! `include/grub/i386/pc/boot.h`, `util/mkimage.c`, `util/setup.c`), the same in 2.06. [`config`] renders what the core
//! is told to do. Sectors are of 512 bytes: GRUB's boot sector knows no others. There is no Reed-Solomon code,
//! which protects against programs that write between partitions; a partition of its own needs none.

pub mod config;
mod core;
mod elf;
mod module;
mod place;

pub use self::core::Core;
pub use self::place::{Disk, for_cd, for_disk};

use std::collections::BTreeMap;

/// Bytes of a sector of a disk.
const SECTOR: usize = 512;

/// The files of the package's folder `i386-pc`, by their names there.
#[derive(Clone, Debug, Default)]
pub struct Parts(BTreeMap<String, Vec<u8>>);

impl FromIterator<(String, Vec<u8>)> for Parts {
    fn from_iter<I: IntoIterator<Item = (String, Vec<u8>)>>(files: I) -> Self {
        Parts(files.into_iter().collect())
    }
}

impl Parts {
    fn get(&self, name: &str) -> Result<&[u8], Error> {
        let bytes = self.0.get(name).map(Vec::as_slice);
        bytes.ok_or_else(|| Error::Missing(name.to_owned()))
    }

    /// A file whose size is given by what it is.
    fn get_array<const N: usize>(&self, name: &'static str) -> Result<[u8; N], Error> {
        let bytes = self.get(name)?;
        bytes.try_into().map_err(|_| Error::Size {
            name,
            size: bytes.len(),
            expected: N,
        })
    }
}

/// Why there is no core image, or none for that place.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that is needed is not among the parts.
    #[error("GRUB's file {0} is missing among those for i386-pc")]
    Missing(String),
    /// A boot sector that is none.
    #[error("GRUB's file {name} has {size} bytes, not {expected}")]
    Size {
        /// The file.
        name: &'static str,
        /// Its bytes.
        size: usize,
        /// What it must have.
        expected: usize,
    },
    /// A field of a file has a value that it cannot have.
    #[error("GRUB's file {name} is damaged: its field {field} has the impossible value {value:#x}")]
    Field {
        /// The file.
        name: &'static str,
        /// The field's name in its specification.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
    /// The list of modules' dependencies has a line without a colon, or is no text.
    #[error("GRUB's file moddep.lst is damaged in line {0}")]
    Dependencies(usize),
    /// Prefix or configuration has a zero byte, where GRUB would stop reading.
    #[error("GRUB's {0} has a zero byte")]
    ZeroByte(&'static str),
    /// Something has no room where the BIOS or GRUB wants it.
    #[error("GRUB's {what} takes {size} bytes, but there is room for {limit}")]
    TooBig {
        /// What it is.
        what: &'static str,
        /// Its bytes.
        size: u64,
        /// The most that it may have.
        limit: u64,
    },
    /// The encoder failed.
    #[error("compressing GRUB's kernel and modules failed")]
    Compress(#[source] liblzma::stream::Error),
}

/// Refuses what is larger than its room.
fn fits(what: &'static str, size: u64, limit: u64) -> Result<(), Error> {
    match size <= limit {
        true => Ok(()),
        false => Err(Error::TooBig { what, size, limit }),
    }
}
