//! Partition tables, with their checksums set right: a table that can be written again is read as it was.
//! An ISO that `seedbed` writes is read by its partition table, too.
#![no_main]

use formats::gpt::{self, Entry, SectorSize, Table};
use formats::read_at::ReadAt;
use fuzzing::{seeds, sparse};
use libfuzzer_sys::fuzz_target;
use std::io;

fn tables() -> Vec<(&'static str, Vec<u8>)> {
    let entry = |number: u8, first_lba, last_lba, name: &str| Entry {
        type_guid: [number; 16],
        guid: [number + 100; 16],
        first_lba,
        last_lba,
        attributes: 4,
        name: name.to_owned(),
    };
    let table = |(name, size)| {
        let entries = [entry(1, 100, 199, "ESP"), entry(2, 200, 299, "SEED")];
        let table = Table::new([9; 16], size, 512, entries);
        let mut disk = vec![0; (512 * size.bytes()) as usize];
        for (offset, bytes) in table.write().unwrap() {
            disk[offset as usize..][..bytes.len()].copy_from_slice(&bytes);
        }
        (name, sparse::encode(&disk))
    };
    [("512", SectorSize::B512), ("4096", SectorSize::B4096)]
        .map(table)
        .to_vec()
}

/// A disk with other bytes at some places.
struct Patched<'a> {
    disk: &'a dyn ReadAt,
    patches: Vec<(u64, Vec<u8>)>,
}

impl ReadAt for Patched<'_> {
    fn size(&self) -> io::Result<u64> {
        self.disk.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.disk.read_exact_at(buf, offset)?;
        let end = offset + buf.len() as u64;
        for (at, byte) in self
            .patches
            .iter()
            .flat_map(|(at, bytes)| (*at..).zip(bytes))
        {
            if (offset..end).contains(&at) {
                buf[(at - offset) as usize] = *byte;
            }
        }
        Ok(())
    }
}

/// The disk with the checksums that the header in sector `lba` should have.
fn with_checksums(disk: &dyn ReadAt, size: SectorSize, lba: u64) -> Option<Patched<'_>> {
    let at = lba * size.bytes();
    let mut header = disk.read_vec_at(at, size.bytes() as usize).ok()?;
    let word = |at: usize| u32::from_le_bytes(*header[at..].first_chunk().unwrap());
    let entries_lba = u64::from_le_bytes(*header[72..].first_chunk().unwrap());
    let len = u64::from(word(80)) * u64::from(word(84));
    let used = (word(12) as usize).min(header.len());
    let start = entries_lba.checked_mul(size.bytes())?;
    let entries = disk.read_vec_at(start, len.min(1 << 20) as usize).ok()?;
    header[88..92].copy_from_slice(&crc32fast::hash(&entries).to_le_bytes());
    header[16..20].fill(0);
    let sum = crc32fast::hash(&header[..used]);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    let patches = vec![(at, header)];
    Some(Patched { disk, patches })
}

fn check(disk: &dyn ReadAt, size: SectorSize) {
    let Ok(table) = gpt::read(disk, size) else {
        return;
    };
    let mut ends: Vec<_> = table
        .entries
        .values()
        .map(|e| (e.first_lba, e.last_lba))
        .collect();
    ends.sort_unstable();
    assert!(
        ends.windows(2).all(|pair| pair[0].1 < pair[1].0),
        "partitions overlap"
    );
    assert!(ends.iter().all(|(_, last)| *last < table.sectors));
    if let Ok(mut patches) = table.write() {
        // A protective MBR is only looked for, not read.
        patches.reverse();
        let again = gpt::read(&Patched { disk, patches }, size);
        assert_eq!(again.expect("what was written is read"), table);
    }
}

fuzz_target!(init: seeds(tables), |input: &[u8]| {
    let Some(disk) = sparse::Disk::new(input) else { return };
    for size in [SectorSize::B512, SectorSize::B4096] {
        check(&disk, size);
        if let Some(disk) = with_checksums(&disk, size, 1) {
            check(&disk, size);
        }
    }
});
