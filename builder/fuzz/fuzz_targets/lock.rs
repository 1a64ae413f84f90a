//! Locks: one that is read and written again is the same.
#![no_main]

use builder::lock::{self, render};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::path::PathBuf;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn locks() -> Vec<(&'static str, &'static str)> {
    vec![(
        "empty",
        r#"{"version": 1, "profile": "p", "profileDigest": "", "epoch": 0, "archives": [], "arch": {}}"#,
    )]
}

fuzz_target!(init: seeds(locks), |bytes: &[u8]| {
    let path: PathBuf = FOLDER.path().join("profile.lock");
    fs::write(&path, bytes).unwrap();
    let Ok(Some(lock)) = lock::read_any(&path) else { return };
    let text = render::render(&lock);
    fs::write(&path, &text).unwrap();
    let again = lock::read_any(&path).expect("what was written is read").unwrap();
    assert_eq!(render::render(&again), text);
});
