//! VHDX images. Checksums are the fuzzer's own matter: without one that matches, headers and region tables have a
//! second copy.
#![no_main]

use formats::disk::Disk;
use formats::vhdx::{self, Image};
use fuzzing::{read_disk, sample_disk, seeds, sparse};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fn images() -> Vec<(&'static str, Vec<u8>)> {
    let mut out = Cursor::new(Vec::new());
    let disk = sample_disk();
    vhdx::write(&Disk::new(&disk).unwrap(), [7; 16], &mut out).unwrap();
    vec![("image", sparse::encode(out.get_ref()))]
}

fuzz_target!(init: seeds(images), |input: &[u8]| {
    let Some(file) = sparse::Disk::new(input) else { return };
    if let Ok(image) = Image::open(&file) {
        read_disk(&image);
    }
});
