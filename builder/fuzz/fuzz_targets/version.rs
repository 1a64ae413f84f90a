//! Versions of packages: their order is one.
#![no_main]

use builder::debian::version;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;
use std::cmp::Ordering;

fn versions() -> Vec<(&'static str, &'static str)> {
    vec![("three", "1:2.0~rc1-3+b1\n2.0-1\n2.0~~a-1")]
}

fuzz_target!(init: seeds(versions), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let good = text.split('\n').filter(|version| version::validate(version).is_ok());
    let good: Vec<&str> = good.take(4).collect();
    for a in &good {
        assert_eq!(version::compare(a, a), Ordering::Equal);
        for b in &good {
            assert_eq!(version::compare(a, b), version::compare(b, a).reverse());
            for c in &good {
                let (ab, bc) = (version::compare(a, b), version::compare(b, c));
                if ab.is_le() && bc.is_le() {
                    assert!(version::compare(a, c).is_le(), "{a} {b} {c}");
                }
            }
        }
    }
});
