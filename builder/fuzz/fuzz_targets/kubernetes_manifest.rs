//! Kubernetes manifests, for the images that they name.
#![no_main]

use builder::images::list::manifest;
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn texts() -> Vec<(&'static str, &'static str)> {
    vec![(
        "pod",
        "kind: Pod\nspec: {containers: [{image: a/b:1}]}\n---\nkind: List\nitems: [{x: &a 1}, *a]\n",
    )]
}

fuzz_target!(init: seeds(texts), |bytes: &[u8]| {
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = manifest::images(text);
    }
});
