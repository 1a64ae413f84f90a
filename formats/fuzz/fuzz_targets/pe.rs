//! PE images: what unified kernel images are read as, and what sections are appended to.
#![no_main]

use formats::tree::Content;
use formats::uki::{self, Section};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

/// The least that is an image: headers with one section, and that section.
fn images() -> Vec<(&'static str, Vec<u8>)> {
    let mut image = vec![0; 1024];
    let mut put = |at: usize, bytes: &[u8]| image[at..][..bytes.len()].copy_from_slice(bytes);
    put(0, b"MZ");
    put(60, &64_u32.to_le_bytes());
    put(64, b"PE\0\0");
    put(68, &[0x64, 0x86, 1, 0]);
    put(84, &240_u16.to_le_bytes());
    let (optional, table) = (88, 88 + 240);
    put(optional, &0x20b_u16.to_le_bytes());
    put(optional + 32, &512_u32.to_le_bytes());
    put(optional + 36, &512_u32.to_le_bytes());
    put(optional + 56, &1536_u32.to_le_bytes());
    put(optional + 60, &512_u32.to_le_bytes());
    put(optional + 108, &16_u32.to_le_bytes());
    put(table, b".text\0\0\0");
    for (at, word) in [
        (8, 512),
        (12, 1024),
        (16, 512),
        (20, 512),
        (36, 0x6000_0020_u32),
    ] {
        put(table + at, &word.to_le_bytes());
    }
    vec![("image", image)]
}

fuzz_target!(init: seeds(images), |bytes: &[u8]| {
    let image = Content::from(bytes.to_vec());
    let Ok(sections) = uki::read(&image) else { return };
    let held: u64 = sections.iter().map(|(_, content)| content.len()).max().unwrap_or(0);
    assert!(held <= image.len());
    let added = [Section::new(".cmdline", b"quiet".to_vec())];
    let Ok(plan) = uki::plan(&image, &added) else { return };
    if plan.size() > 64 << 20 {
        return;
    }
    let mut out = Vec::new();
    plan.write(&mut out).expect("what is planned is written");
    assert_eq!(out.len() as u64, plan.size());
    let read = uki::read(&out.into()).expect("what was written is read");
    assert_eq!(read.len(), sections.len() + 1);
    let (row, content) = &read[sections.len()];
    assert_eq!((row.name.as_str(), content.to_vec().unwrap().as_slice()), (".cmdline", &b"quiet"[..]));
});
