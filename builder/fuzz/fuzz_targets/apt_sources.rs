//! The configuration of the host's apt, in both syntaxes.
#![no_main]

use builder::debian::apt_sources;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn files() -> Vec<(&'static str, &'static str)> {
    vec![
        (
            "list",
            "deb [signed-by=/usr/share/k.gpg] http://deb.example/debian trixie main\n# no\n",
        ),
        (
            "sources",
            "Types: deb\nURIs: http://deb.example/debian\nSuites: trixie\nComponents: main\n",
        ),
    ]
}

fuzz_target!(init: seeds(files), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for file in ["sources.list", "debian.sources"] {
        for source in apt_sources::parse(file, text).into_iter().flatten() {
            assert!(!source.uris.is_empty() && !source.suites.is_empty());
        }
    }
});
