//! The text of `Release` files.
#![no_main]

use builder::debian::release;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn texts() -> Vec<(&'static str, String)> {
    let sha256 = "0".repeat(64);
    let text = format!(
        "Suite: stable\nCodename: trixie\nDate: Sat, 09 Aug 2025 09:14:02 UTC\nValid-Until: Sat, 16 Aug 2025 09:14:02 UTC\n\
         Components: main contrib\nNotAutomatic: yes\nSHA256:\n {sha256} 17 main/binary-amd64/Packages\n"
    );
    vec![("release", text)]
}

fuzz_target!(init: seeds(texts), |bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes)
        && let Ok(release) = release::parse(text)
    {
        let mut digests = release.indices.values().map(|entry| entry.sha256.as_str());
        assert!(digests.all(|digest| digest.len() == 64));
    }
});
