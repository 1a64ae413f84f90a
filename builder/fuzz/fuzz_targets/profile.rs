//! `profile.yaml`.
#![no_main]

use builder::profile;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;
use std::fs;
use std::sync::LazyLock;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());

fn profiles() -> Vec<(&'static str, &'static str)> {
    vec![
        ("demo", include_str!("../../../profiles/demo/profile.yaml")),
        (
            "minimal",
            include_str!("../../../profiles/minimal/profile.yaml"),
        ),
    ]
}

fuzz_target!(init: seeds(profiles), |bytes: &[u8]| {
    // What it extends would be read from anywhere.
    if bytes.windows(7).any(|word| word == b"extends") {
        return;
    }
    fs::write(FOLDER.path().join("profile.yaml"), bytes).unwrap();
    match profile::read(FOLDER.path()) {
        Ok(profile) => drop(profile.arch.iter().map(|arch| profile.parts(*arch)).count()),
        Err(error) => assert!(!format!("{error:#}").is_empty()),
    }
});
