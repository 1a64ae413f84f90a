//! Partition tables: written, refereed by sgdisk and sfdisk, read back, damaged and mutated.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/referee.rs"]
mod referee;

use formats::gpt::{self, Damage, Entry, Error, SectorSize, Table};
use proptest::prelude::*;
use std::os::unix::fs::FileExt;

fn entry(tag: u8, first_lba: u64, last_lba: u64, name: &str) -> Entry {
    Entry {
        // Microsoft basic data: ebd0a0a2-b9e5-4433-87c0-68b6b72699c7.
        type_guid: [
            0xeb, 0xd0, 0xa0, 0xa2, 0xb9, 0xe5, 0x44, 0x33, 0x87, 0xc0, 0x68, 0xb6, 0xb7, 0x26,
            0x99, 0xc7,
        ],
        guid: [tag; 16],
        first_lba,
        last_lba,
        attributes: 1 << 60,
        name: name.to_owned(),
    }
}

fn table(sector_size: SectorSize, entries: Vec<Entry>) -> Table {
    let guid = *b"\x01\x02\x03\x04\x05\x06\x07\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10";
    Table::new(guid, sector_size, 8192, entries)
}

fn sample(sector_size: SectorSize) -> Table {
    let last = table(sector_size, vec![]).last_usable_lba();
    let name36 = "é".repeat(36);
    table(
        sector_size,
        vec![
            entry(1, 2048, 4095, "ESP"),
            entry(2, 4096, last, &name36),
            entry(3, 256, 511, ""),
        ],
    )
}

fn disk(table: &Table) -> Vec<u8> {
    let mut disk = vec![0; (table.sectors * table.sector_size.bytes()) as usize];
    for (offset, bytes) in table.write().unwrap() {
        disk[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
    }
    disk
}

#[test]
fn reference_tools_find_no_fault() {
    let test = "gpt::reference_tools_find_no_fault";
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file()
            .write_all_at(&disk(&sample(sector_size)), 0)
            .unwrap();
        let path = file.path().to_str().unwrap();
        let size = sector_size.bytes().to_string();
        let list = ["--bytes", "-b", &size, "-x", path];
        if let Some(text) = referee::run(test, "fdisk", &list) {
            for part in [
                "Disklabel type: gpt",
                "Disk identifier: 01020304-0506-0708-090A-0B0C0D0E0F10",
                "Alternative LBA: 8191",
                "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7",
                "GUID:60",
            ] {
                assert!(text.contains(part), "{part} is not in\n{text}");
            }
            assert!(!text.contains("corrupt"), "{text}");
        }
        if sector_size == SectorSize::B512
            && let Some(text) = referee::run(test, "sgdisk", &["-v", path])
        {
            assert!(text.contains("No problems found"), "{text}");
        }
    }
}

#[test]
fn what_is_written_reads_back_from_either_header() {
    for sector_size in [SectorSize::B512, SectorSize::B4096] {
        let table = sample(sector_size);
        let good = disk(&table);
        assert_eq!(gpt::read(&good, sector_size).unwrap(), table);
        let (bytes, end) = (sector_size.bytes() as usize, good.len());
        for damaged in [bytes, bytes + 60, 2 * bytes + 130, end - 1000, end - bytes] {
            let mut disk = good.clone();
            disk[damaged] ^= 1;
            assert_eq!(gpt::read(&disk, sector_size).unwrap(), table, "{damaged}");
        }
        let mut disk = good.clone();
        disk[bytes] ^= 1;
        disk[end - bytes + 16] ^= 1;
        assert!(matches!(
            gpt::read(&disk, sector_size),
            Err(Error::BothDamaged {
                primary: Damage::Signature,
                backup: Damage::HeaderChecksum
            })
        ));
        disk[510] = 0;
        assert!(matches!(gpt::read(&disk, sector_size), Err(Error::NoTable)));
    }
}

#[test]
fn a_disk_that_has_grown_gets_its_backup_at_the_new_end() {
    let mut bytes = disk(&sample(SectorSize::B512));
    bytes.resize(bytes.len() * 2, 0);
    let table = gpt::read(&bytes, SectorSize::B512).unwrap();
    assert_eq!(table.sectors, 16384);
    let mut grown = disk(&table);
    grown[512] = 0;
    assert_eq!(gpt::read(&grown, SectorSize::B512).unwrap(), table);
}

#[test]
fn the_bytes_stay_the_same() {
    // The same profile is to give the same image with every build of this program: a change here is a
    // change of every image's digest, and belongs in the changelog.
    assert_eq!(
        crc32fast::hash(&disk(&sample(SectorSize::B512))),
        0xaafa_8929
    );
}

#[test]
fn boot_code_is_left_alone() {
    let ranges = sample(SectorSize::B512).write().unwrap();
    assert!(ranges.iter().all(|(offset, _)| *offset >= 446));
}

#[test]
fn partition_numbers_survive_a_gap() {
    let mut table = sample(SectorSize::B512);
    table.entries.remove(&2);
    let read = gpt::read(&disk(&table), SectorSize::B512).unwrap();
    assert_eq!(read.entries.keys().collect::<Vec<_>>(), [&1, &3]);
}

#[test]
fn errors_name_both_parties() {
    let check = |entries: Vec<Entry>, expected: &str| {
        let error = table(SectorSize::B512, entries).write().unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        vec![entry(1, 100, 200, "ESP"), entry(2, 50, 100, "SEED")],
        "partition 2 \"SEED\", which ends at sector 100, overlaps partition 1 \"ESP\", which starts at 100",
    );
    check(
        vec![entry(1, 33, 200, "ESP")],
        "partition 1 \"ESP\" spans sectors 33 to 200, but those that can be used are 34 to 8158",
    );
    check(
        vec![entry(1, 200, 100, "ESP")],
        "partition 1 \"ESP\" spans sectors 200 to 100, but those that can be used are 34 to 8158",
    );
    check(
        vec![entry(1, 34, 8159, "ESP")],
        "partition 1 \"ESP\" spans sectors 34 to 8159, but those that can be used are 34 to 8158",
    );
    check(
        vec![entry(1, 100, 200, "ESP"), entry(1, 300, 400, "SEED")],
        "partitions 1 \"ESP\" and 2 \"SEED\" have the same GUID",
    );
    check(
        vec![entry(1, 100, 200, &"😀".repeat(19))],
        &format!(
            "the name of partition 1 {:?} has 38 UTF-16 units, more than 36",
            "😀".repeat(19)
        ),
    );
    let many = (1..=129)
        .map(|i| entry(i as u8, 100 + i, 100 + i, "x"))
        .collect();
    check(many, "partition number 129 is not between 1 and 128");
    let mut small = table(SectorSize::B512, vec![]);
    small.sectors = 67;
    assert!(matches!(
        small.write(),
        Err(Error::DiskTooSmall { least: 68, .. })
    ));
    small.sectors = 68;
    small.write().unwrap();
}

#[test]
fn overlaps_and_huge_counts_are_refused_by_name() {
    let good = table(
        SectorSize::B512,
        vec![entry(1, 100, 200, "ESP"), entry(2, 300, 400, "SEED")],
    );
    let read = |edit: &dyn Fn(&mut [u8])| {
        let mut bytes = disk(&good);
        // Only the first header is there to be read.
        let end = bytes.len();
        bytes[end - 512..].fill(0);
        edit(&mut bytes);
        let entries = crc32fast::hash(&bytes[1024..1024 + 16384]);
        bytes[600..604].copy_from_slice(&entries.to_le_bytes());
        bytes[528..532].fill(0);
        let sum = crc32fast::hash(&bytes[512..512 + 92]);
        bytes[528..532].copy_from_slice(&sum.to_le_bytes());
        gpt::read(&bytes, SectorSize::B512)
    };
    assert_eq!(read(&|_| {}).unwrap().entries, good.entries);
    let second = 1024 + 128;
    let overlap =
        read(&|bytes| bytes[second + 32..second + 40].copy_from_slice(&150_u64.to_le_bytes()));
    assert_eq!(
        overlap.unwrap_err().to_string(),
        "partition 1 \"ESP\", which ends at sector 200, overlaps partition 2 \"SEED\", which starts at 150",
    );
    let count = read(&|bytes| bytes[592..596].copy_from_slice(&u32::MAX.to_le_bytes()));
    let Err(Error::BothDamaged { primary, .. }) = count else {
        panic!("{count:?}")
    };
    let expected = "its field NumberOfPartitionEntries has the impossible value 4294967295";
    assert_eq!(primary.to_string(), expected);
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        edits in prop::collection::vec((0..1500_usize, any::<u8>()), 1..20),
        fix in any::<bool>(),
        len in 0..8192_usize,
    ) {
        let mut bytes = disk(&sample(SectorSize::B512));
        for (at, byte) in edits {
            bytes[at] = byte;
        }
        if fix {
            // With right checksums, the fields themselves are what the reader has to distrust.
            let size = u32::from_le_bytes(bytes[524..528].try_into().unwrap()) as usize;
            let entries = crc32fast::hash(&bytes[1024..1024 + 16384]);
            bytes[600..604].copy_from_slice(&entries.to_le_bytes());
            bytes[528..532].fill(0);
            let sum = crc32fast::hash(&bytes[512..512 + size.clamp(92, 512)]);
            bytes[528..532].copy_from_slice(&sum.to_le_bytes());
        }
        let _ = gpt::read(&bytes, SectorSize::B512);
        let _ = gpt::read(&bytes, SectorSize::B4096);
        bytes.truncate(len);
        let _ = gpt::read(&bytes, SectorSize::B512);
    }
}
