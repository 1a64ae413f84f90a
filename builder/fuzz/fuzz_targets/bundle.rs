//! Bundles: the profile in one is unpacked below its folder, and nowhere else.
#![no_main]

use builder::bundle::Bundle;
use builder::lock;
use fuzzing::{seeds, tar::with_checksums};
use libfuzzer_sys::fuzz_target;
use std::fs;

fn bundles() -> Vec<(&'static str, Vec<u8>)> {
    let text = r#"{"version": 1, "profile": "p", "profileDigest": "", "epoch": 0, "archives": [], "arch": {}}"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("profile.lock");
    fs::write(&path, text).unwrap();
    let digest = lock::digest(&lock::read_any(&path).unwrap().unwrap());
    let index = format!(
        r#"{{"version": 1, "profile": "p", "folder": "", "lock": "{digest}", "blobs": [], "elsewhere": []}}"#
    );
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in [
        ("bundle.json", index.as_str()),
        ("profile.lock", text),
        ("profile/profile.yaml", "version: 1\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    vec![("bundle", tar.into_inner().unwrap())]
}

fuzz_target!(init: seeds(bundles), |bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bundle.tar");
    fs::write(&path, with_checksums(bytes)).unwrap();
    let Ok(bundle) = Bundle::open(&path) else { return };
    let to = folder.path().join("to");
    fs::create_dir(&to).unwrap();
    let _ = bundle.unpack(&to);
    let entries = fs::read_dir(folder.path()).unwrap();
    assert_eq!(entries.count(), 2, "something was written outside of the folder");
});
