//! References of container images: what is written is read as it was.
#![no_main]

use builder::images::reference::Reference;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn names() -> Vec<(&'static str, &'static str)> {
    vec![
        ("short", "x:1"),
        ("full", "registry.example:5000/a/b_c:v1@sha256:0123"),
    ]
}

fuzz_target!(init: seeds(names), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for parse in [Reference::parse, Reference::parse_short] {
        if let Ok(reference) = parse(text) {
            let again = Reference::parse(&reference.to_string()).expect("what was written is read");
            assert_eq!(again, reference);
        }
    }
});
