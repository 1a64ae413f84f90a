//! Relations between packages, such as `Depends`.
#![no_main]

use builder::debian::relation;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn fields() -> Vec<(&'static str, &'static str)> {
    vec![(
        "field",
        "a (>= 1:2~3-4) | b:any [amd64 !arm64], c <!nocheck>, d (= 5)",
    )]
}

fuzz_target!(init: seeds(fields), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let _ = relation::parse_one(text);
    for relation in relation::parse(text).into_iter().flatten().flat_map(|any| any.0) {
        let _ = (relation.accepts("1:2-3"), relation.applies_to("amd64"));
    }
});
