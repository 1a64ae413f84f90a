//! Debian's control syntax: what is read, written again, is read as it was.
#![no_main]

use builder::debian::deb822::{self, Field};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn texts() -> Vec<(&'static str, &'static str)> {
    vec![(
        "two",
        "Package: a\nDepends: b,\n# no\n c\n\n# comment\nPackage: d\nText:\n x\n .\n y\n",
    )]
}

fuzz_target!(init: seeds(texts), |bytes: &[u8]| {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(paragraphs) = deb822::paragraphs(text) else { return };
    let line = |field: &Field<'_>| format!("{}: {}\n", field.name, field.value);
    let paragraph = |fields: &Vec<Field<'_>>| fields.iter().map(line).collect::<String>() + "\n";
    let again: String = paragraphs.iter().map(paragraph).collect();
    assert_eq!(deb822::paragraphs(&again).expect("what was written is read"), paragraphs);
    for field in paragraphs.iter().flatten() {
        let _ = deb822::lines(field.value).count();
    }
});
