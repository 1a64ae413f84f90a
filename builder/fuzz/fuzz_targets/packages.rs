//! `Packages` indices, and the relations in them.
#![no_main]

use builder::debian::{packages, relation};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn indices() -> Vec<(&'static str, String)> {
    let sha256 = "0".repeat(64);
    let record = |name| {
        format!(
            "Package: {name}\nVersion: 1:2-3\nArchitecture: amd64\nMulti-Arch: same\nPriority: required\nEssential: yes\n\
             Depends: b (>= 1) | c [amd64],\n d\nFilename: pool/a.deb\nSize: 7\nInstalled-Size: 1\nSHA256: {sha256}\n\n"
        )
    };
    vec![("two", record("a") + &record("e"))]
}

fuzz_target!(init: seeds(indices), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(packages) = packages::parse(text) else { return };
    for package in packages {
        assert!(!package.name.is_empty() && package.size > 0 && package.sha256.len() == 64);
        assert!(!package.filename.starts_with('/') && !package.filename.split('/').any(|part| part == ".."));
        let _ = relation::parse(package.depends);
    }
});
