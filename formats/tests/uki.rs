//! Unified kernel images: appended to a synthetic stub (and to systemd's own, if there is one), shown to
//! objdump, read back, and mutated.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/referee.rs"]
mod referee;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/systemd_boot.rs"]
mod systemd_boot;

use formats::pe;
use formats::tree::Content;
use formats::uki::{self, Error, Parts, Section};
use proptest::prelude::*;
use stub::stub;

fn parts() -> Parts {
    Parts {
        os_release: "ID=seedbed\n".into(),
        cmdline: "root=/dev/x console=ttyS0".into(),
        uname: "6.12.0-amd64".into(),
        kernel: vec![7; 100_001].into(),
        initrd: vec![8; 70_000].into(),
    }
}

fn build(stub: Vec<u8>, sections: &[Section]) -> Vec<u8> {
    let plan = uki::plan(&stub.into(), sections).unwrap();
    let mut image = Vec::new();
    plan.write(&mut image).unwrap();
    assert_eq!(plan.size(), image.len() as u64);
    image
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

/// What holds of any image made from `stub`, read back.
fn verify(stub: &[u8], image: &[u8]) {
    let sections = parts().sections();
    let headers = pe::Headers::read(image).unwrap();
    let own = pe::Headers::read(stub).unwrap().sections;
    assert_eq!(headers.sections[..own.len()], own);
    let read = uki::read(&image.to_vec().into()).unwrap();
    let mut end = 0;
    for ((row, content), section) in read[own.len()..].iter().zip(&sections) {
        assert_eq!(row.name, section.name);
        assert_eq!(content.to_vec().unwrap(), section.content.to_vec().unwrap());
        assert_eq!(row.virtual_address % headers.section_alignment(), 0);
        assert_eq!(row.raw_offset % headers.file_alignment(), 0);
        assert!(row.virtual_address >= end, "{row:?}");
        end = row.virtual_address + row.virtual_size;
    }
    assert_eq!(read.len(), own.len() + sections.len());
    let size = headers.size_of_image();
    assert!(size >= end && size - end < 2 * headers.section_alignment());
    let optional = u32_at(image, 0x3c) as usize + 24;
    assert_eq!(u32_at(image, optional + 64), 0, "checksum");
    let grown = u32_at(image, optional + 8) - u32_at(stub, optional + 8);
    assert_eq!(grown, 3 * 0x200 + 70_144, "SizeOfInitializedData");
}

#[test]
fn sections_follow_the_stub() {
    let stub = stub(5);
    let image = build(stub.clone(), &parts().sections());
    verify(&stub, &image);
    assert_eq!(image, build(stub, &parts().sections()), "two runs differ");
}

#[test]
fn sections_follow_systemds_stub() {
    let test = "uki::sections_follow_systemds_stub";
    let Some(stub) = systemd_boot::program(test, "linuxx64.efi.stub") else {
        return;
    };
    verify(&stub, &build(stub.clone(), &parts().sections()));
}

#[test]
fn the_bytes_stay_the_same() {
    // The same profile is to give the same image with every build of this program: a change here is a
    // change of every image's digest, and belongs in the changelog.
    let image = build(stub(5), &parts().sections());
    assert_eq!(crc32fast::hash(&image), 0x1169_6b60);
}

#[test]
fn objdump_shows_the_sections() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), build(stub(5), &parts().sections())).unwrap();
    let args = ["-h", "-w", file.path().to_str().unwrap()];
    let Some(text) = referee::run("uki::objdump_shows_the_sections", "objdump", &args) else {
        return;
    };
    let rows: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for (name, size, address) in [
        (".text", "00000123", "0000000000001000"),
        (".osrel", "0000000b", "0000000000003000"),
        (".cmdline", "00000019", "0000000000004000"),
        (".uname", "0000000c", "0000000000005000"),
        (".initrd", "00011170", "0000000000006000"),
        (".linux", "000186a1", "0000000000018000"),
    ] {
        let found = rows
            .iter()
            .any(|row| row.get(1..4) == Some(&[name, size, address][..]));
        assert!(found, "{name} {size} {address} is not in\n{text}");
    }
}

#[test]
fn a_kernel_gets_the_memory_that_its_headers_ask_for() {
    let kernel = stub(0);
    let sections = [Section::new(".linux", kernel.clone())];
    let image = build(stub(1), &sections);
    let (row, content) = uki::read(&image.into()).unwrap().pop().unwrap();
    assert_eq!(row.virtual_size, 0x3000);
    assert_eq!(content.to_vec().unwrap()[..kernel.len()], kernel);
}

#[test]
fn errors_say_what_is_wrong() {
    let check = |stub: Vec<u8>, sections: &[Section], expected: &str| {
        let error = uki::plan(&stub.into(), sections).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let one = |name: &str| [Section::new(name, "x")];
    check(
        stub(4),
        &parts().sections(),
        "the UEFI stub has room for 4 more sections, but 5 are to be appended",
    );
    check(stub(5), &one(".sbat"), "there is a section .sbat already");
    check(
        stub(5),
        &[one(".dtb"), one(".dtb")].concat(),
        "there is a section .dtb already",
    );
    check(
        stub(5),
        &one(".too-long"),
        "the section name \".too-long\" is empty, or longer than 8 bytes",
    );
    let mut signed = stub(5);
    let optional = u32_at(&signed, 0x3c) as usize + 24;
    signed[optional + 112 + 32] = 1;
    check(
        signed,
        &one(".dtb"),
        "the UEFI stub is signed, and appending sections would break its signature: use the unsigned stub",
    );
    let huge = Content::Slice {
        file: std::sync::Arc::new(tempfile::tempfile().unwrap()),
        offset: 0,
        len: u32::MAX.into(),
    };
    check(
        stub(5),
        &[Section::new(".initrd", huge)],
        "section .initrd ends beyond 4 GiB, the most that a PE image can hold",
    );
    let mut half = stub(5);
    half.truncate(0x500);
    let error = uki::plan(&half.into(), &[]).unwrap_err();
    assert!(matches!(
        error,
        Error::Pe(pe::Error::Field {
            field: "SizeOfRawData",
            ..
        })
    ));
    let error = uki::plan(
        &"no image, but long enough to be looked at, is it not? yes".into(),
        &[],
    );
    assert!(matches!(error, Err(Error::Pe(pe::Error::Read(_)))));
    let error = uki::plan(&vec![0; 100].into(), &[]);
    assert!(matches!(error, Err(Error::Pe(pe::Error::Signature("MZ")))));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        edits in prop::collection::vec((0..700_usize, any::<u8>()), 0..8),
        len in 0..2000_usize,
        truncate in any::<bool>(),
    ) {
        let mut bytes = stub(1);
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if truncate {
            bytes.truncate(len);
        }
        let _ = uki::read(&bytes.clone().into());
        if let Ok(plan) = uki::plan(&bytes.into(), &[Section::new(".initrd", "x")]) {
            let mut image = Vec::new();
            // A stub may ask for an image of almost 4 GiB; then the sizes alone are of interest.
            if plan.size() < 1 << 24 {
                plan.write(&mut image).unwrap();
                prop_assert_eq!(plan.size(), image.len() as u64);
            }
        }
    }
}
