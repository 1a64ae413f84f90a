//! Keyrings, binary and armored.
#![no_main]

use builder::debian::date::Date;
use builder::debian::keyring::Keyring;
use builder::fixture::key::KeyPlan;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn keyrings() -> Vec<(&'static str, Vec<u8>)> {
    let key = KeyPlan::new("fuzz", Date::from_unix(1_700_000_000))
        .make()
        .unwrap();
    vec![
        ("binary", key.keyring().unwrap()),
        ("armored", key.armored_keyring().unwrap()),
    ]
}

fuzz_target!(init: seeds(keyrings), |bytes: &[u8]| {
    let _ = Keyring::parse(bytes);
});
