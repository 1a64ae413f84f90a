//! What is asked of a signature and of a `Release` file, case by case, with keys made for each case.

#![allow(missing_docs, clippy::unwrap_used)]

use builder::debian::date::Date;
use builder::debian::keyring::{Keyring, SignatureError};
use builder::debian::release::{self, Expectation, ReleaseError};
use builder::fixture::key::{Key, KeyPlan, SigningPlan};
use pgp::composed::{ArmorOptions, CleartextSignedMessage};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::SignatureType;

const DAY: i64 = 86_400;
const MADE: i64 = 1_760_000_000;

fn at(days: i64) -> Date {
    Date::from_unix(MADE + days * DAY)
}

fn text() -> String {
    let date = at(0).render_release();
    format!("Suite: stable\nCodename: trixie\nDate: {date}\nSHA256:\n")
}

/// The verdict on a text signed by a key of day -100, judged at day 1.
fn verdict(key: &KeyPlan, signing: SigningPlan) -> Result<String, SignatureError> {
    let key = key.make().unwrap();
    let keyring = Keyring::parse(&key.keyring().unwrap()).unwrap();
    keyring.verify(&key.clear_sign(&text(), signing).unwrap(), at(1))
}

fn plan() -> KeyPlan {
    KeyPlan::new("a", at(-100))
}

fn check(key: &KeyPlan, signing: SigningPlan, expected: &str) {
    let found = match verdict(key, signing) {
        Ok(_) => "good".to_owned(),
        Err(error) => {
            let debug = format!("{error:?}");
            debug.split([' ', '(', '{']).next().unwrap().to_owned()
        }
    };
    assert_eq!(found, expected, "{key:?} {signing:?}");
}

#[test]
fn good_signatures() {
    let digests = [
        HashAlgorithm::Sha256,
        HashAlgorithm::Sha384,
        HashAlgorithm::Sha512,
    ];
    for digest in digests {
        let signing = SigningPlan {
            digest,
            ..SigningPlan::new(at(0))
        };
        check(&plan(), signing, "good");
    }
    let subkey = KeyPlan {
        subkey: true,
        ..plan()
    };
    check(&subkey, SigningPlan::new(at(0)), "good");
    let read = verdict(&plan(), SigningPlan::new(at(0))).unwrap();
    assert_eq!(read.trim_end(), text().trim_end());
}

#[test]
fn weak_digests_are_refused() {
    let digests = [
        HashAlgorithm::Md5,
        HashAlgorithm::Sha1,
        HashAlgorithm::Ripemd160,
        HashAlgorithm::Sha224,
    ];
    for digest in digests {
        let signing = SigningPlan {
            digest,
            ..SigningPlan::new(at(0))
        };
        check(&plan(), signing, "WeakDigest");
    }
}

#[test]
fn only_signatures_over_texts_count() {
    let kind = SignatureType::Binary;
    check(
        &plan(),
        SigningPlan {
            kind,
            ..SigningPlan::new(at(0))
        },
        "Unusable",
    );
}

#[test]
fn the_key_must_be_alive_when_it_signs() {
    for subkey in [false, true] {
        let expiring = |day| KeyPlan {
            expires: Some(at(day)),
            subkey,
            ..plan()
        };
        check(&expiring(-1), SigningPlan::new(at(0)), "KeyExpired");
        check(&expiring(0), SigningPlan::new(at(0)), "KeyExpired");
        // Expired since, but good when it signed: freshness is judged by the dates in the text.
        check(&expiring(1), SigningPlan::new(at(0)), "good");
    }
    let young = KeyPlan::new("a", at(0));
    check(&young, SigningPlan::new(at(-1)), "NotASigningKey");
}

#[test]
fn revocation() {
    for subkey in [false, true] {
        let revoked = |day, mild| KeyPlan {
            revoked: Some((at(day), mild)),
            subkey,
            ..plan()
        };
        check(&revoked(-1, true), SigningPlan::new(at(0)), "KeyRevoked");
        check(&revoked(1, true), SigningPlan::new(at(0)), "good");
        check(&revoked(-1, false), SigningPlan::new(at(0)), "KeyRevoked");
        // A stolen key can date its signatures back.
        check(&revoked(1, false), SigningPlan::new(at(0)), "KeyRevoked");
    }
}

#[test]
fn the_key_must_be_meant_for_signing() {
    for subkey in [false, true] {
        let other = KeyPlan {
            may_sign: false,
            subkey,
            ..plan()
        };
        check(&other, SigningPlan::new(at(0)), "NotASigningKey");
    }
    let adopted = KeyPlan {
        subkey: true,
        back_signature: false,
        ..plan()
    };
    check(&adopted, SigningPlan::new(at(0)), "NotASigningKey");
}

#[test]
fn the_signature_has_a_life_of_its_own() {
    let until = |day| SigningPlan {
        expires: Some(at(day)),
        ..SigningPlan::new(at(0))
    };
    check(&plan(), until(2), "good");
    check(&plan(), until(1), "SignatureExpired");
    check(&plan(), SigningPlan::new(at(2)), "Future");
}

fn keys() -> (Key, Key) {
    let other = KeyPlan::new("b", at(-100));
    (plan().make().unwrap(), other.make().unwrap())
}

fn keyring(of: &[&Key]) -> Keyring {
    let bytes: Vec<u8> = of.iter().flat_map(|key| key.keyring().unwrap()).collect();
    Keyring::parse(&bytes).unwrap()
}

#[test]
fn a_stranger_is_refused_and_one_known_signer_is_enough() {
    let (a, b) = keys();
    let plan = SigningPlan::new(at(0));
    let signed = a.clear_sign(&text(), plan).unwrap();
    assert!(keyring(&[&a]).verify(&signed, at(1)).is_ok());
    assert!(keyring(&[&b, &a]).verify(&signed, at(1)).is_ok());
    let error = keyring(&[&b]).verify(&signed, at(1)).unwrap_err();
    assert!(matches!(error, SignatureError::UnknownKey(_)), "{error}");

    let sign = |text: &str| Ok(vec![a.sign(text, plan)?, b.sign(text, plan)?]);
    let both = CleartextSignedMessage::new_many(&text(), sign).unwrap();
    let both = both.to_armored_bytes(ArmorOptions::default()).unwrap();
    for known in [&a, &b] {
        assert!(keyring(&[known]).verify(&both, at(1)).is_ok());
    }
}

#[test]
fn armored_keyrings_are_read_and_empty_ones_refused() {
    let (a, _) = keys();
    let armored = Keyring::parse(&a.armored_keyring().unwrap()).unwrap();
    let signed = a.clear_sign(&text(), SigningPlan::new(at(0))).unwrap();
    assert!(armored.verify(&signed, at(1)).is_ok());
    assert!(matches!(Keyring::parse(b""), Err(SignatureError::NoKeys)));
    assert!(Keyring::parse(b"rubbish").is_err());
}

#[test]
fn every_changed_byte_of_the_text_is_noticed() {
    let (a, _) = keys();
    let keyring = keyring(&[&a]);
    let signed = a.clear_sign(&text(), SigningPlan::new(at(0))).unwrap();
    let start = signed.windows(2).position(|w| w == b"\n\n").unwrap() + 2;
    let end = start + text().trim_end().len();
    for i in start..end {
        let mut changed = signed.clone();
        changed[i] ^= 1;
        assert!(keyring.verify(&changed, at(1)).is_err(), "byte {i}");
    }
    let tampered = String::from_utf8(signed)
        .unwrap()
        .replace("trixie", "wheezy");
    let error = keyring.verify(tampered.as_bytes(), at(1)).unwrap_err();
    assert!(matches!(error, SignatureError::Bad { .. }), "{error}");
}

#[test]
fn nothing_but_the_signed_text_is_taken() {
    let (a, _) = keys();
    let keyring = keyring(&[&a]);
    let signed = a.clear_sign(&text(), SigningPlan::new(at(0))).unwrap();
    let evil = b"Suite: evil\n\n";
    let files = [
        [&evil[..], &signed].concat(),
        [&signed[..], evil].concat(),
        text().into_bytes(),
        vec![0xff, 0xfe],
        vec![],
    ];
    for file in files {
        let error = keyring.verify(&file, at(1)).unwrap_err();
        let refused = matches!(
            error,
            SignatureError::NotClearSigned(_) | SignatureError::Encoding(_)
        );
        assert!(refused, "{error}");
    }
    for cut in 0..signed.len() - 60 {
        assert!(
            keyring.verify(&signed[..cut], at(1)).is_err(),
            "cut at {cut}"
        );
    }
    // A header of the message is not part of the text.
    let header = String::from_utf8(signed).unwrap();
    let header = header.replacen("Hash: SHA512", "Hash: SHA512\nSuite: evil", 1);
    assert!(keyring.verify(header.as_bytes(), at(1)).is_err());
}

fn open(text: &str, expected: &Expectation<'_>) -> Result<release::Release, ReleaseError> {
    let key = plan().make().unwrap();
    let signed = key.clear_sign(text, SigningPlan::new(at(0))).unwrap();
    release::open(&signed, &keyring(&[&key]), expected)
}

fn expectation(days: i64) -> Expectation<'static> {
    Expectation {
        suite: Some("trixie"),
        now: at(days),
        max_age: 10 * DAY.unsigned_abs(),
        not_before: None,
    }
}

#[test]
fn a_release_file_is_parsed() {
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let table = format!(" {digest} 12 main/Packages\n {digest}   7 main/Packages.xz\n");
    let more = "Acquire-By-Hash: yes\nComponents: main contrib\nArchitectures: amd64 arm64\n";
    let release = open(&format!("{}{table}{more}", text()), &expectation(1)).unwrap();
    assert_eq!(release.suite, "stable");
    assert_eq!(release.codename, "trixie");
    assert_eq!(release.date, at(0));
    assert_eq!(release.components, ["main", "contrib"]);
    assert_eq!(release.architectures, ["amd64", "arm64"]);
    assert!(release.acquire_by_hash);
    assert_eq!(release.indices["main/Packages.xz"].size, 7);
    assert_eq!(release.indices.len(), 2);
}

#[test]
fn the_suite_is_the_one_asked_for() {
    let suites = [
        ("trixie", true),
        ("stable", true),
        ("bookworm", false),
        ("", false),
    ];
    for (suite, good) in suites {
        let found = open(
            &text(),
            &Expectation {
                suite: Some(suite),
                ..expectation(1)
            },
        );
        assert_eq!(found.is_ok(), good, "{suite}");
        if let Err(error) = found {
            assert!(matches!(error, ReleaseError::OtherSuite { .. }), "{error}");
        }
    }
}

#[test]
fn freshness() {
    let check = |text: &str, expected: Expectation<'_>, verdict: &str| {
        let found = match open(text, &expected) {
            Ok(_) => "good".to_owned(),
            Err(error) => error.to_string(),
        };
        assert!(found.contains(verdict), "{found}");
    };
    let limited = format!("{}Valid-Until: {}\n", text(), at(7).render_release());
    check(&limited, expectation(7), "good");
    check(
        &limited,
        expectation(8),
        "the Release file expired at 2025-10-16",
    );
    // Where the archive states an end, the profile's maximum age does not matter.
    check(
        &limited,
        Expectation {
            max_age: 0,
            ..expectation(6)
        },
        "good",
    );
    check(&text(), expectation(10), "good");
    check(
        &text(),
        expectation(11),
        "older than the 10 days that the profile accepts",
    );
    check(
        &text(),
        Expectation {
            not_before: Some(at(0)),
            ..expectation(1)
        },
        "good",
    );
    let later = Expectation {
        not_before: Some(at(1)),
        ..expectation(2)
    };
    check(&text(), later, "older than the last lock's");
    let future = text().replace(&at(0).render_release(), &at(3).render_release());
    check(
        &future,
        expectation(1),
        "the Release file is from the future",
    );
}

#[test]
fn malformed_release_files() {
    let check = |text: String, expected: &str| {
        let error = release::parse(&text).unwrap_err();
        assert!(error.to_string().starts_with(expected), "{text}: {error}");
    };
    check(
        String::new(),
        "the Release file has 0 paragraphs instead of one",
    );
    check(
        format!("{}\nB: 1\n", text()),
        "the Release file has 2 paragraphs instead of one",
    );
    check("SHA256:\n".into(), "the Release file has no field Date");
    check(
        text().replace("SHA256:", "MD5Sum:"),
        "the Release file has no field SHA256",
    );
    check(
        "Date: x\nSHA256:\n".into(),
        "the Release file's Date cannot be read",
    );
    check(
        format!("{} abc 1 x\n", text()),
        "the Release file's SHA256 table has a line",
    );
    check("rubbish\n".into(), "the Release file is malformed");
}
