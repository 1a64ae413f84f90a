//! Signed boot programs: systemd-boot, and unified kernel images, signed with a key that openssl holds,
//! checked by sbverify, compared with sbsign, changed by a byte, and mutated.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/keys.rs"]
mod keys;
#[path = "support/referee.rs"]
mod referee;
#[path = "support/stub.rs"]
mod stub;
#[path = "support/systemd_boot.rs"]
mod systemd_boot;

use formats::addon;
use formats::authenticode::{self, Error, Recorded};
use formats::pe;
use formats::signer::{self, Signer};
use formats::tree::Content;
use formats::uki::{self, Section};
use formats::x509::{self, Certificate};
use keys::Key;
use proptest::prelude::*;
use std::path::Path;
use std::process::Command;
use stub::stub;

fn uki(stub: Vec<u8>) -> Vec<u8> {
    let parts = uki::Parts {
        os_release: "ID=seedbed\n".into(),
        cmdline: "root=/dev/x console=ttyS0".into(),
        uname: "6.12.0-amd64".into(),
        kernel: vec![7; 100_001].into(),
        initrd: vec![8; 70_000].into(),
    };
    let plan = uki::plan(&stub.into(), &parts.sections()).unwrap();
    let mut image = Vec::new();
    plan.write(&mut image).unwrap();
    image
}

fn sign(image: &[u8], key: &Key) -> Vec<u8> {
    let signed = authenticode::sign(&image.to_vec().into(), key).unwrap();
    let mut bytes = Vec::new();
    signed.write(&mut bytes).unwrap();
    assert_eq!(signed.size(), bytes.len() as u64);
    bytes
}

fn verify(image: &[u8], key: &Key) -> Result<(), Error> {
    authenticode::verify(&image.to_vec().into(), key.certificate())
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn optional_header(image: &[u8]) -> usize {
    u32_at(image, 0x3c) as usize + 24
}

/// The checksum, word by word as the reference tells it.
fn checksum(image: &[u8]) -> u32 {
    let field = optional_header(image) + 64;
    let mut bytes = image.to_vec();
    bytes[field..field + 4].fill(0);
    let words = bytes.chunks(2).map(|pair| match pair {
        [low, high] => u32::from(u16::from_le_bytes([*low, *high])),
        rest => u32::from(rest[0]),
    });
    let sum = words.fold(0, |sum, word| {
        let sum = sum + word;
        (sum & 0xffff) + (sum >> 16)
    });
    sum + image.len() as u32
}

/// What sbverify says of `image`, if it is installed.
fn sbverify(image: &[u8], key: &Key) -> Option<bool> {
    let installed = Path::new("/usr/bin/sbverify").exists();
    installed.then(|| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), image).unwrap();
        let mut sbverify = Command::new("/usr/bin/sbverify");
        sbverify.args(["--cert", &key.pem()]).arg(file.path());
        sbverify.output().unwrap().status.success()
    })
}

/// What sbsign makes of `image`; `None`, with a line that says so, where it is not installed.
fn sbsign(test: &str, image: &[u8], key: &Key) -> Option<Vec<u8>> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let (input, output) = (path("unsigned"), path("signed"));
    std::fs::write(&input, image).unwrap();
    let (key, certificate) = (key.key(), key.pem());
    let keys = ["--key", &key, "--cert", &certificate];
    let files = ["--output", &output, &input];
    referee::run(test, "sbsign", &[&keys[..], &files].concat())?;
    Some(std::fs::read(output).unwrap())
}

/// Signs `image`, and holds the result against sbsign, sbverify and this crate's own reader.
fn check(test: &str, image: &[u8]) {
    let Some(key) = Key::new(test, "database") else {
        return;
    };
    let signed = sign(image, &key);
    assert_eq!(signed, sign(image, &key), "two runs differ");
    verify(&signed, &key).unwrap();
    assert_eq!(signed.len() % 8, 0);
    let field = optional_header(&signed) + 64;
    assert_eq!(u32_at(&signed, field), checksum(&signed), "CheckSum");
    let digest = authenticode::digest(&image.to_vec().into()).unwrap();
    let found = authenticode::signatures(&signed.clone().into()).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].digest, digest);
    assert_eq!(
        authenticode::digest(&signed.clone().into()).unwrap(),
        digest
    );

    let Some(reference) = sbsign(test, image, &key) else {
        return;
    };
    assert_eq!(u32_at(&reference, field), checksum(&reference), "sbsign");
    let found = authenticode::signatures(&reference.clone().into()).unwrap();
    assert_eq!(found[0].digest, digest, "sbsign signs another digest");
    verify(&reference, &key).unwrap();
    assert_eq!(sbverify(&reference, &key), Some(true));
    assert_eq!(sbverify(&signed, &key), Some(true));

    let other = Key::new(test, "another").unwrap();
    assert_eq!(sbverify(&signed, &other), Some(false));
    let error = verify(&signed, &other).unwrap_err();
    assert!(matches!(error, Error::OtherCertificate), "{error}");
    let namesake = Key::new(test, "database").unwrap();
    assert!(verify(&signed, &namesake).is_err());

    let rows = pe::Headers::read(image).unwrap().sections;
    let rows = rows.iter().filter(|row| row.raw_size > 0);
    let of_sections = rows.map(|row| (row.raw_offset + row.raw_size / 2) as usize);
    // The DOS header, AddressOfEntryPoint, and the last byte.
    let others = [0x20, optional_header(image) + 16, image.len() - 1];
    for at in of_sections.chain(others) {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        let error = verify(&changed, &key).unwrap_err();
        assert!(matches!(error, Error::Digest { .. }), "byte {at}: {error}");
        assert_eq!(sbverify(&changed, &key), Some(false), "byte {at}");
    }
}

#[test]
fn a_unified_kernel_image_is_signed() {
    let test = "authenticode::a_unified_kernel_image_is_signed";
    check(test, &uki(stub(5)));
}

#[test]
fn an_image_is_padded_before_it_is_signed() {
    let test = "authenticode::an_image_is_padded_before_it_is_signed";
    for more in [1, 7] {
        check(test, &[stub(0), vec![9; more]].concat());
    }
}

#[test]
fn systemds_boot_programs_are_signed() {
    let test = "authenticode::systemds_boot_programs_are_signed";
    let program = |name| systemd_boot::program(test, name);
    let Some(loader) = program("systemd-bootx64.efi") else {
        return;
    };
    check(test, &loader);
    check(test, &uki(program("linuxx64.efi.stub").unwrap()));
    let arguments = [Section::new(".cmdline", "console=ttyS0")];
    let addon = program("addonx64.efi.stub").unwrap();
    let plan = uki::plan(&addon.into(), &arguments).unwrap();
    let mut addon = Vec::new();
    plan.write(&mut addon).unwrap();
    check(test, &addon);
}

#[test]
fn an_addon_is_signed() {
    let mut image = Vec::new();
    let plan = addon::plan(addon::Machine::Amd64, "console=ttyS0").unwrap();
    plan.write(&mut image).unwrap();
    check("authenticode::an_addon_is_signed", &image);
}

#[test]
fn a_signature_is_given_out_again_for_the_same_image_alone() {
    let test = "authenticode::a_signature_is_given_out_again_for_the_same_image_alone";
    let Some(key) = Key::new(test, "database") else {
        return;
    };
    let (image, other) = (uki(stub(5)), uki(stub(6)));
    let signed = sign(&image, &key);
    let signatures = authenticode::signatures(&signed.clone().into()).unwrap();
    let certificate = signatures[0].certificate().unwrap();
    assert_eq!(certificate.der(), key.certificate().der());
    let recorded = Recorded::new(signatures).unwrap().unwrap();
    let mut again = Vec::new();
    let made = authenticode::sign(&image.into(), &recorded).unwrap();
    made.write(&mut again).unwrap();
    assert!(again == signed);
    let error = authenticode::sign(&other.into(), &recorded).unwrap_err();
    assert!(matches!(error, Error::Signer(_)), "{error}");
    assert!(Recorded::new(Vec::new()).unwrap().is_none());
}

#[test]
fn damage_to_the_signature_is_found() {
    let test = "authenticode::damage_to_the_signature_is_found";
    let Some(key) = Key::new(test, "database") else {
        return;
    };
    let image = stub(0);
    let signed = sign(&image, &key);
    for at in (image.len()..signed.len()).step_by(3) {
        let mut changed = signed.clone();
        changed[at] ^= 1;
        // The certificate inside is not looked at, and versions neither.
        if verify(&changed, &key).is_ok() {
            let found = authenticode::signatures(&changed.into()).unwrap();
            let expected = authenticode::signatures(&signed.clone().into()).unwrap();
            assert_eq!(found.len(), expected.len(), "byte {at}");
            assert_eq!(found[0].digest, expected[0].digest, "byte {at}");
        }
    }
}

struct Wrong<'a>(&'a Key, Result<Vec<u8>, &'static str>);

impl Signer for Wrong<'_> {
    fn certificate(&self) -> &Certificate {
        self.0.certificate()
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        Ok(self.1.clone()?)
    }
}

#[test]
fn a_signer_that_fails_is_an_error() {
    let test = "authenticode::a_signer_that_fails_is_an_error";
    let Some(key) = Key::new(test, "database") else {
        return;
    };
    let image: Content = stub(0).into();
    for bytes in [vec![], vec![7; 256], vec![0xff; 257]] {
        let error = authenticode::sign(&image, &Wrong(&key, Ok(bytes))).unwrap_err();
        assert!(matches!(
            error,
            Error::Signer(signer::Error::Mismatch { expected: 256, .. })
        ));
    }
    let error = authenticode::sign(&image, &Wrong(&key, Err("no token"))).unwrap_err();
    let Error::Signer(signer::Error::Sign(source)) = error else {
        panic!("{error}");
    };
    assert_eq!(source.to_string(), "no token");
}

#[test]
fn other_keys_are_refused() {
    let test = "authenticode::other_keys_are_refused";
    for (kind, expected) in [
        (
            "rsa:1024",
            "its RSA key is not usable: 2048 to 4096 bits and an odd exponent are needed",
        ),
        ("ed25519", "its key is not RSA"),
    ] {
        let Some((_, der)) = keys::draw(test, kind, "other") else {
            return;
        };
        let error = Certificate::parse(&der).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
    let error = Certificate::parse(b"no certificate").unwrap_err();
    assert!(matches!(error, x509::Error::Der(_)));
}

#[test]
fn unusable_images_are_errors() {
    let check = |image: Vec<u8>, expected: &str| {
        let error = authenticode::digest(&image.into()).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    let with = |at: usize, field: &[u8]| {
        let mut image = stub(1);
        let at = optional_header(&image) + at;
        image[at..at + field.len()].copy_from_slice(field);
        image
    };
    let headers = pe::Headers::read(&stub(1)).unwrap();
    let first = headers.sections[0].raw_offset;
    check(
        with(60, &(first - 8).to_le_bytes()),
        &format!(
            "the boot program's sections are not one behind the other: one begins at byte {first:#x} of the file, not at {:#x}",
            first - 8
        ),
    );
    check(
        with(108, &4_u32.to_le_bytes()),
        "the boot program's headers have no place for a certificate table",
    );
    let table = |start: usize, size: usize| {
        let entry = [(start as u32).to_le_bytes(), (size as u32).to_le_bytes()];
        with(112 + 32, &entry.concat())
    };
    let len = stub(1).len();
    for (start, size, expected) in [
        (len - 8, 8, "it overlaps a section"),
        (len, 8, "it does not end where the file does"),
        (len, 0, "it is empty"),
    ] {
        check(
            table(start, size),
            &format!("the boot program's certificate table is damaged: {expected}"),
        );
    }
    let unsigned = authenticode::signatures(&stub(0).into()).unwrap();
    assert!(unsigned.is_empty());
    check(vec![0; 100], "the boot program is not usable");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn no_bytes_make_the_reader_panic(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        tail in prop::collection::vec(any::<u8>(), 0..64),
        table in any::<bool>(),
    ) {
        let mut image = stub(0);
        if table {
            let start = image.len();
            let length = (8 + tail.len()) as u32;
            image.extend(length.to_le_bytes());
            image.extend([0, 2, 2, 0]);
            image.extend(&tail);
            image.resize(image.len().next_multiple_of(8), 0);
            let at = optional_header(&image) + 112 + 32;
            let size = (image.len() - start) as u32;
            image[at..at + 4].copy_from_slice(&(start as u32).to_le_bytes());
            image[at + 4..at + 8].copy_from_slice(&size.to_le_bytes());
        }
        for (at, byte) in edits {
            let at = at.index(image.len());
            image[at] = byte;
        }
        let image: Content = image.into();
        let _ = authenticode::digest(&image);
        let _ = authenticode::signatures(&image);
        let _ = Certificate::parse(&tail);
    }
}
