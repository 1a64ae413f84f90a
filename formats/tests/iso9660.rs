//! A disk image that is a CD too: written, refereed by xorriso and isoinfo, and still a disk to fdisk.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/referee.rs"]
mod referee;

use formats::gpt::{self, Entry, SectorSize, Table};
use formats::iso9660::{self, Boot, Data, File, Platform, Volume};
use std::os::unix::fs::FileExt;

const SIZE: u64 = 8 << 20;
const PARTITION: u64 = 1 << 20;
const PARTITION_LEN: u64 = 3 << 20;
const CODE: [u8; 5000] = [0x5a; 5000];

/// A disk with one partition, which is a file of the CD and its UEFI boot image.
fn image() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().set_len(SIZE).unwrap();
    let partition: Vec<u8> = (0..PARTITION_LEN).map(|i| (i / 512) as u8).collect();
    file.as_file().write_all_at(&partition, PARTITION).unwrap();
    let entry = Entry {
        type_guid: *b"\xc1\x2a\x73\x28\xf8\x1f\x11\xd2\xba\x4b\x00\xa0\xc9\x3e\xc9\x3b",
        guid: [7; 16],
        first_lba: PARTITION / 512,
        last_lba: (PARTITION + PARTITION_LEN) / 512 - 1,
        attributes: 0,
        name: "ESP".to_owned(),
    };
    let table = Table::new([9; 16], SectorSize::B512, SIZE / 512, [entry]);
    for (offset, bytes) in table.write().unwrap() {
        file.as_file().write_all_at(&bytes, offset).unwrap();
    }
    let volume = Volume {
        name: "SEEDBED",
        size: SIZE,
        time: 1_735_689_599,
        files: vec![
            File {
                name: "README.TXT",
                data: Data::Bytes(b"Hello.\n"),
            },
            File {
                name: "ESP.IMG",
                data: Data::At(PARTITION, PARTITION_LEN),
            },
            File {
                name: "BOOT",
                data: Data::Bytes(&CODE),
            },
        ],
        boot: vec![
            Boot {
                platform: Platform::Bios,
                file: 2,
            },
            Boot {
                platform: Platform::Uefi,
                file: 1,
            },
        ],
    };
    let bytes = iso9660::write(&volume).unwrap();
    assert!(iso9660::START + bytes.len() as u64 <= PARTITION);
    file.as_file().write_all_at(&bytes, iso9660::START).unwrap();
    file
}

#[test]
fn reference_tools_read_the_volume() {
    let test = "iso9660::reference_tools_read_the_volume";
    let file = image();
    let path = file.path().to_str().unwrap();
    if let Some(list) = referee::run(test, "isoinfo", &["-l", "-i", path]) {
        for expected in ["README.TXT;1", "ESP.IMG;1", "BOOT.;1", "Dec 31 2024"] {
            assert!(list.contains(expected), "{list}");
        }
    }
    if let Some(text) = referee::run(test, "isoinfo", &["-i", path, "-x", "/README.TXT;1"]) {
        assert_eq!(text, "Hello.\n");
    }
    if let Some(report) = referee::run(
        test,
        "xorriso",
        &["-indev", path, "-report_el_torito", "plain", "-toc"],
    ) {
        for expected in ["SEEDBED", "BIOS", "UEFI", "512"] {
            assert!(report.contains(expected), "{report}");
        }
        for bad in ["FAILURE", "SORRY", "WARNING", "damaged"] {
            assert!(!report.contains(bad), "{report}");
        }
    }
}

#[test]
fn it_is_a_disk_all_the_same() {
    let file = image();
    let table = gpt::read(file.as_file(), SectorSize::B512).unwrap();
    assert_eq!(table.entries.len(), 1);
    let test = "iso9660::it_is_a_disk_all_the_same";
    let path = file.path().to_str().unwrap();
    if let Some(list) = referee::run(test, "fdisk", &["-l", path]) {
        assert!(
            list.contains("Disklabel type: gpt") && list.contains("EFI System"),
            "{list}"
        );
    }
}
