//! ELF files: programs and libraries of packages.
#![no_main]

use builder::rootfs::elf::File;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

/// The least that is read: a header, and one program header.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let mut header = vec![0; 64 + 56];
    header[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    header[16..24].copy_from_slice(&[3, 0, 62, 0, 1, 0, 0, 0]);
    header[32] = 64;
    header[52..58].copy_from_slice(&[64, 0, 56, 0, 1, 0]);
    header[64] = 2;
    vec![("header", header)]
}

fuzz_target!(init: seeds(files), |bytes: &[u8]| {
    let Some(elf) = File::parse(bytes) else { return };
    let _ = (elf.machine(), elf.is_shared(), elf.dynamic(), elf.symbols(), elf.section(".modinfo"));
});
