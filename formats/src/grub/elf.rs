//! `kernel.img`: an ELF32 program that is linked to one address, without relocations.
//!
//! Its allocated sections are laid out as they will lie in memory; what starts as zeros (`.bss`) is left out,
//! since modules follow the data immediately.

use super::{Error, fits};
use crate::bytes::{put, u16_le, u32_le};

/// Where the kernel runs.
pub(super) const LINK_ADDRESS: u32 = 0x9000;
/// Where GRUB's scratch memory begins, which the kernel with its zeros must not reach.
const SCRATCH_ADDRESS: u32 = 0x68000;

const NAME: &str = "kernel.img";
const HEADER: usize = 52;
const SECTION: usize = 40;
const TYPE_PROGBITS: u32 = 1;
const TYPE_NOBITS: u32 = 8;
const FLAG_ALLOC: u32 = 2;
const FLAG_EXECUTE: u32 = 4;

/// The kernel's bytes from [`LINK_ADDRESS`] to the end of its data.
pub(super) fn load(elf: &[u8]) -> Result<Vec<u8>, Error> {
    let header = elf.get(..HEADER).ok_or(field("size", elf.len()))?;
    // The magic number, 32 bits, little-endian, version 1.
    if header[..7] != *b"\x7fELF\x01\x01\x01" {
        return Err(field("e_ident", u32_le(header, 3) as usize));
    }
    let (table, size) = (u32_le(header, 32) as usize, u16_le(header, 46) as usize);
    if size != SECTION {
        return Err(field("e_shentsize", size));
    }
    let count = usize::from(u16_le(header, 48));
    let table = elf.get(table..).ok_or(field("e_shoff", table))?;
    let rows = table
        .get(..SECTION * count)
        .ok_or(field("e_shnum", count))?;
    let mut image = Vec::new();
    for row in rows.chunks_exact(SECTION) {
        let (kind, flags) = (u32_le(row, 4), u32_le(row, 8));
        if flags & FLAG_ALLOC == 0 || !matches!(kind, TYPE_PROGBITS | TYPE_NOBITS) {
            continue;
        }
        let (address, offset) = (u32_le(row, 12), u32_le(row, 16) as usize);
        let size = u32_le(row, 20);
        // Execution starts at the first byte, so code lies there and nowhere else.
        let code = flags & FLAG_EXECUTE != 0;
        if address < LINK_ADDRESS || code && address != LINK_ADDRESS {
            return Err(field("sh_addr", address as usize));
        }
        let end = u64::from(address) + u64::from(size);
        fits("kernel", end, SCRATCH_ADDRESS.into())?;
        if kind == TYPE_NOBITS {
            continue;
        }
        let content = elf.get(offset..).and_then(|tail| tail.get(..size as usize));
        let content = content.ok_or(field("sh_size", size as usize))?;
        let start = (address - LINK_ADDRESS) as usize;
        image.resize(image.len().max(start + content.len()), 0);
        put(&mut image, start, content);
    }
    match image.is_empty() {
        true => Err(field("e_shnum", count)),
        false => Ok(image),
    }
}

fn field(field: &'static str, value: usize) -> Error {
    Error::Field {
        name: NAME,
        field,
        value: value as u64,
    }
}
