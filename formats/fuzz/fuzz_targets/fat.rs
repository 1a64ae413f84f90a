//! FAT volumes: every file and directory is read, each with the size that its entry states.
#![no_main]

use formats::fat::Kind;
use formats::fat::read::Volume;
use formats::fat::write::{self, Format};
use formats::gpt::SectorSize;
use formats::read_at::ReadAt;
use formats::tree::Tree;
use fuzzing::{seeds, sparse};
use libfuzzer_sys::fuzz_target;

const MAX_FILE: u64 = 1 << 20;
/// How many directories and files are looked at.
const MAX_VISITS: usize = 200;

fn volumes() -> Vec<(&'static str, Vec<u8>)> {
    let volume = |(name, kind, size)| {
        let format = Format {
            kind,
            size,
            sector_size: SectorSize::B512,
            label: "SEED".into(),
            id: 7,
            time: 1_735_689_599,
        };
        let mut tree = Tree::new();
        tree.insert_file("seed.yaml", 0o644, vec![b'y'; 3000])
            .unwrap();
        tree.insert_file("Folder/a longer name", 0o644, vec![b'z'; 20])
            .unwrap();
        let mut pieces = Vec::new();
        let mut put = |offset: u64, bytes: &[u8]| {
            pieces.push((offset, bytes.to_vec()));
            Ok(())
        };
        write::plan(&format, &tree)
            .unwrap()
            .write(&mut put)
            .unwrap();
        (name, sparse::encode_pieces(size, &pieces))
    };
    let fat16 = volume(("fat16", Kind::Fat16, 9 << 20));
    // Below the least number of clusters it is read as a FAT12: the sectors in all are the u16 at byte 19 or the
    // u32 at 32 of the first piece, which begins behind the sizes of disk and piece.
    let mut fat12 = fat16.1.clone();
    let sector = 4 + 6;
    fat12[sector + 19..sector + 21].copy_from_slice(&4000_u16.to_le_bytes());
    fat12[sector + 32..sector + 36].fill(0);
    vec![
        fat16,
        ("fat12", fat12),
        volume(("fat32", Kind::Fat32, 300 << 20)),
    ]
}

fn visit<R: ReadAt>(volume: &Volume<R>, path: &str, left: &mut usize) {
    let Ok(entries) = volume.read_dir(path) else {
        return;
    };
    for entry in entries {
        if *left == 0 {
            return;
        }
        *left -= 1;
        let below = format!("{path}/{}", entry.name);
        if entry.directory && below.len() < 2000 {
            visit(volume, &below, left);
        } else if let Ok(bytes) = volume.read_file(&below, MAX_FILE) {
            assert!(bytes.len() as u64 <= MAX_FILE);
        }
    }
}

fuzz_target!(init: seeds(volumes), |input: &[u8]| {
    let Some(disk) = sparse::Disk::new(input) else { return };
    let Ok(volume) = Volume::open(&disk) else { return };
    let _ = (volume.label(), volume.id(), volume.kind(), volume.read_root());
    if let Ok(bytes) = volume.read_file("seed.yaml", 64 << 10) {
        assert!(bytes.len() <= 64 << 10);
    }
    visit(&volume, "", &mut MAX_VISITS.clone());
});
