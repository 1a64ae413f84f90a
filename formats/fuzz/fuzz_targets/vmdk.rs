//! VMDK images, compressed as they are written here; the fuzzer finds the other kinds.
#![no_main]

use formats::disk::Disk;
use formats::vmdk::{self, Image};
use fuzzing::{read_disk, sample_disk, seeds, sparse};
use libfuzzer_sys::fuzz_target;

fn images() -> Vec<(&'static str, Vec<u8>)> {
    let mut image = Vec::new();
    let disk = sample_disk();
    vmdk::write(&Disk::new(&disk).unwrap(), 7, &mut image).unwrap();
    vec![("stream", sparse::encode(&image))]
}

fuzz_target!(init: seeds(images), |input: &[u8]| {
    let Some(file) = sparse::Disk::new(input) else { return };
    if let Ok(image) = Image::open(&file) {
        read_disk(&image);
    }
});
