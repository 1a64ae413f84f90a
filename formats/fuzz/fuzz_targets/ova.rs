//! OVA packages: a tar archive with a VMDK image in it.
#![no_main]

use formats::disk::Disk;
use formats::ova::{self, Machine};
use fuzzing::{read_disk, sample_disk, seeds, tar};
use libfuzzer_sys::fuzz_target;
use std::io::Cursor;

fn packages() -> Vec<(&'static str, Vec<u8>)> {
    let mut out = Cursor::new(Vec::new());
    let disk = sample_disk();
    let machine = Machine {
        name: "m",
        content_id: 7,
        time: 0,
    };
    ova::write(&Disk::new(&disk).unwrap(), &machine, &mut out).unwrap();
    vec![("package", out.into_inner())]
}

fuzz_target!(init: seeds(packages), |bytes: &[u8]| {
    let bytes = tar::with_checksums(bytes);
    if let Ok(image) = ova::open(bytes.as_slice()) {
        read_disk(&image);
    }
});
