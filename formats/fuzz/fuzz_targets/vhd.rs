//! Fixed VHD images, with the checksum of the footer set right.
#![no_main]

use formats::disk::Disk;
use formats::vhd::{self, Options};
use fuzzing::{read_disk, sample_disk, seeds};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

const FOOTER: usize = 512;
const CHECKSUM: std::ops::Range<usize> = 64..68;

/// The footer alone, behind a byte for the number of sectors before it.
fn footers() -> Vec<(&'static str, Vec<u8>)> {
    let mut out = Cursor::new(Vec::new());
    let (disk, options) = (
        sample_disk(),
        Options {
            id: [7; 16],
            time: 0,
        },
    );
    vhd::write(&Disk::new(&disk).unwrap(), &options, &mut out).unwrap();
    let image = out.into_inner();
    let (before, footer) = image.split_at(image.len() - FOOTER);
    let sectors = (before.len() / 512) as u16;
    vec![("footer", [&sectors.to_le_bytes(), footer].concat())]
}

fuzz_target!(init: seeds(footers), |input: &[u8]| {
    let Some((sectors, footer)) = input.split_first_chunk() else { return };
    let mut image = vec![0; usize::from(u16::from_le_bytes(*sectors)) * 512];
    image.extend_from_slice(footer);
    for right in [false, true] {
        if right && let Some(at) = image.len().checked_sub(FOOTER) {
            image[at..][CHECKSUM].fill(0);
            let sum = !image[at..].iter().map(|byte| u32::from(*byte)).sum::<u32>();
            image[at..][CHECKSUM].copy_from_slice(&sum.to_be_bytes());
        }
        if let Ok(disk) = vhd::open(image.as_slice()) {
            read_disk(&disk);
        }
    }
});
