//! UKI add-ons (UAPI.5, "PE Addons"): a PE image with a section `.cmdline` and nothing that is ever run, which
//! systemd-stub appends to the kernel's command line. Under Secure Boot the firmware checks its signature as
//! that of any boot program, so what is in it is as much the signer's word as the command line in the kernel image.
//!
//! ```text
//! headers     with room for more rows in the section table
//! .text       returns EFI_UNSUPPORTED, should somebody start it
//! .reloc      an empty block: the image may be loaded anywhere
//! .cmdline    the arguments
//! ```

use crate::bytes::put;
use crate::pe::{CODE, EXECUTE, INITIALIZED_DATA, READ, Section};
use crate::uki;

/// A machine that firmware runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Machine {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

const PE: usize = 0x80;
const OPTIONAL: usize = PE + 24;
const DIRECTORIES: usize = 16;
const OPTIONAL_SIZE: usize = 112 + 8 * DIRECTORIES;
const FILE_ALIGNMENT: u32 = 0x200;
const SECTION_ALIGNMENT: u32 = 0x1000;
const HEADERS: u32 = 0x400;
/// Executable, for large addresses; line numbers, symbols and debug information are elsewhere.
const CHARACTERISTICS: u16 = 0x022e;
/// IMAGE_SUBSYSTEM_EFI_APPLICATION.
const EFI_APPLICATION: u16 = 10;
/// May be loaded anywhere, and needs no memory that is both written and run.
const DLL_CHARACTERISTICS: u16 = 0x0140;
/// The base relocation table among the data directories.
const DIRECTORY_RELOCATIONS: usize = 5;
/// A block for page 0 with two entries that do nothing.
const RELOCATIONS: [u8; 12] = [0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0];

impl Machine {
    fn number(self) -> u16 {
        match self {
            Machine::Amd64 => 0x8664,
            Machine::Arm64 => 0xaa64,
        }
    }

    /// Returns EFI_UNSUPPORTED, 0x8000000000000003.
    fn code(self) -> Vec<u8> {
        match self {
            // mov rax, 0x8000000000000003; ret
            Machine::Amd64 => vec![0x48, 0xb8, 3, 0, 0, 0, 0, 0, 0, 0x80, 0xc3],
            // mov x0, #3; movk x0, #0x8000, lsl #48; ret
            Machine::Arm64 => [0xd280_0060_u32, 0xf2f0_0000, 0xd65f_03c0]
                .iter()
                .flat_map(|instruction| instruction.to_le_bytes())
                .collect(),
        }
    }
}

/// Plans an add-on for `machine` with the arguments `cmdline`.
///
/// # Errors
/// The arguments have 4 GiB.
pub fn plan(machine: Machine, cmdline: &str) -> Result<uki::Plan, uki::Error> {
    let arguments = uki::Section::new(".cmdline", cmdline);
    uki::plan(&program(machine).into(), &[arguments])
}

/// What the section is appended to.
fn program(machine: Machine) -> Vec<u8> {
    let code = machine.code();
    let row = |name: &str, number: u32, bytes: &[u8], characteristics| Section {
        name: name.to_owned(),
        virtual_size: bytes.len() as u32,
        virtual_address: SECTION_ALIGNMENT * (number + 1),
        raw_size: FILE_ALIGNMENT,
        raw_offset: HEADERS + FILE_ALIGNMENT * number,
        characteristics,
    };
    let rows = [
        (row(".text", 0, &code, CODE | EXECUTE | READ), &code[..]),
        (
            row(".reloc", 1, &RELOCATIONS, INITIALIZED_DATA | READ),
            &RELOCATIONS[..],
        ),
    ];
    let mut bytes = vec![0; (HEADERS + FILE_ALIGNMENT * rows.len() as u32) as usize];
    let short = |bytes: &mut [u8], at, value: u16| put(bytes, at, &value.to_le_bytes());
    let long = |bytes: &mut [u8], at, value: u32| put(bytes, at, &value.to_le_bytes());
    put(&mut bytes, 0, b"MZ");
    long(&mut bytes, 0x3c, PE as u32);
    put(&mut bytes, PE, b"PE\0\0");
    short(&mut bytes, PE + 4, machine.number());
    short(&mut bytes, PE + 6, rows.len() as u16);
    short(&mut bytes, PE + 20, OPTIONAL_SIZE as u16);
    short(&mut bytes, PE + 22, CHARACTERISTICS);
    short(&mut bytes, OPTIONAL, 0x020b);
    // Sizes of code and data, entry point, base of code, alignments, sizes of image and headers.
    for (at, value) in [
        (4, FILE_ALIGNMENT),
        (8, FILE_ALIGNMENT),
        (16, SECTION_ALIGNMENT),
        (20, SECTION_ALIGNMENT),
        (32, SECTION_ALIGNMENT),
        (36, FILE_ALIGNMENT),
        (56, SECTION_ALIGNMENT * 3),
        (60, HEADERS),
        (108, DIRECTORIES as u32),
    ] {
        long(&mut bytes, OPTIONAL + at, value);
    }
    short(&mut bytes, OPTIONAL + 68, EFI_APPLICATION);
    short(&mut bytes, OPTIONAL + 70, DLL_CHARACTERISTICS);
    let relocations = OPTIONAL + 112 + 8 * DIRECTORY_RELOCATIONS;
    long(&mut bytes, relocations, rows[1].0.virtual_address);
    long(&mut bytes, relocations + 4, RELOCATIONS.len() as u32);
    for (i, (row, content)) in rows.iter().enumerate() {
        put(&mut bytes, OPTIONAL + OPTIONAL_SIZE + 40 * i, &row.encode());
        put(&mut bytes, row.raw_offset as usize, content);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tree::Content;

    #[test]
    fn an_addon_holds_its_arguments() {
        for machine in [Machine::Amd64, Machine::Arm64] {
            let mut bytes = Vec::new();
            plan(machine, "console=ttyS1,115200")
                .unwrap()
                .write(&mut bytes)
                .unwrap();
            assert_eq!(bytes[PE + 4..PE + 6], machine.number().to_le_bytes());
            let sections = uki::read(&Content::from(bytes)).unwrap();
            let names: Vec<&str> = sections.iter().map(|(row, _)| &*row.name).collect();
            assert_eq!(names, [".text", ".reloc", ".cmdline"]);
            assert_eq!(sections[0].1.to_vec().unwrap(), machine.code());
            assert_eq!(sections[2].1.to_vec().unwrap(), b"console=ttyS1,115200");
        }
    }
}
