//! `InRelease` files: only the text that the key signed is taken.
#![no_main]

use builder::debian::date::Date;
use builder::debian::keyring::Keyring;
use builder::debian::release;
use builder::fixture::archive::{ArchivePlan, FixtureArchive};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

const NOW: i64 = 1_760_000_000;
const PATH: &str = "dists/trixie/InRelease";

static ARCHIVE: LazyLock<FixtureArchive> = LazyLock::new(|| {
    let plan = ArchivePlan::new("trixie", Date::from_unix(NOW), Vec::new());
    plan.build().unwrap()
});
static KEYRING: LazyLock<Keyring> = LazyLock::new(|| Keyring::parse(&ARCHIVE.keyring).unwrap());
static TEXT: LazyLock<String> = LazyLock::new(|| {
    let signed = &ARCHIVE.files[PATH];
    KEYRING.verify(signed, Date::from_unix(NOW)).unwrap()
});

fuzz_target!(init: seeds(|| vec![("in-release", &ARCHIVE.files[PATH])]), |bytes: &[u8]| {
    let Ok(text) = KEYRING.verify(bytes, Date::from_unix(NOW)) else { return };
    assert_eq!(text, *TEXT, "a text that nobody signed is taken");
    release::parse(&text).expect("what was signed can be read");
});
