//! Seekable zstd files.
#![no_main]

use formats::disk::Disk;
use formats::seekable_zstd::{self, Image};
use fuzzing::{read_disk, sample_disk, seeds};
use libfuzzer_sys::fuzz_target;

fn files() -> Vec<(&'static str, Vec<u8>)> {
    let disk = sample_disk();
    let mut file = Vec::new();
    seekable_zstd::write(&Disk::new(&disk).unwrap(), &mut file).unwrap();
    let mut small = Vec::new();
    let short = b"short".repeat(9);
    seekable_zstd::write(&Disk::new(&short).unwrap(), &mut small).unwrap();
    vec![("disk", file), ("small", small)]
}

fuzz_target!(init: seeds(files), |bytes: &[u8]| {
    if let Ok(image) = Image::open(bytes) {
        read_disk(&image);
    }
});
