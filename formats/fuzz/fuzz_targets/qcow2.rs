//! qcow2 images, with either compression.
#![no_main]

use formats::disk::Disk;
use formats::qcow2::{self, Compression, Image};
use fuzzing::{read_disk, sample_disk, seeds};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fn images() -> Vec<(&'static str, Vec<u8>)> {
    let image = |(name, compression)| {
        let mut out = Cursor::new(Vec::new());
        let disk = sample_disk();
        qcow2::write(&Disk::new(&disk).unwrap(), compression, &mut out).unwrap();
        // The sparse form takes whole sectors only.
        let mut image = out.into_inner();
        image.resize(image.len().next_multiple_of(512), 0);
        (name, fuzzing::sparse::encode(&image))
    };
    [
        ("zstd", Compression::Zstd),
        ("deflate", Compression::Deflate),
    ]
    .map(image)
    .to_vec()
}

fuzz_target!(init: seeds(images), |input: &[u8]| {
    let Some(file) = fuzzing::sparse::Disk::new(input) else { return };
    if let Ok(image) = Image::open(&file) {
        read_disk(&image);
    }
});
