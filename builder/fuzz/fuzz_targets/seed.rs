//! `seed.yaml`: the same text gives the same seed, and faults can be shown.
#![no_main]

use contract::seed;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn texts() -> Vec<(&'static str, String)> {
    let text = seed::new_text("plant-7", &[7; seed::SECRET_BYTES]);
    let more = format!(
        "{text}\nmachines: {{expect: 3}}\ncontrolPlane: {{count: 3}}\nnetwork: {{podSubnet: 10.1.0.0/16}}\n"
    );
    vec![("new", text), ("more", more)]
}

fuzz_target!(init: seeds(texts), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match seed::parse("seed.yaml", text) {
        Ok(seed) => {
            assert!(seed.control_planes % 2 == 1 && seed.control_planes <= seed.expect);
            let _ = (seed.explain(), seed.hostname("a-machine"));
        }
        Err(faults) => assert!(!faults.to_string().is_empty()),
    }
});
