//! Signatures of kernel modules: made by openssl as the kernel's own sign-file makes them, read, and damaged.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "support/keys.rs"]
mod keys;
#[path = "support/referee.rs"]
mod referee;

use formats::module_signature::{Error, read};
use formats::signer::Signer;
use keys::Key;
use proptest::prelude::*;

const MODULE: &[u8] = b"\x7fELF and what else a module holds";

/// The module with a signature at its end; `more` are further options of `openssl cms`.
fn sign(test: &str, key: &Key, more: &[&str]) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("module"), MODULE).unwrap();
    let (pem, private) = (key.pem(), key.key());
    let sign = ["cms", "-sign", "-binary", "-outform", "DER", "-nocerts"];
    let by = ["-signer", &pem, "-inkey", &private];
    let (from, to) = (path("module"), path("signature"));
    let files = ["-in", &from, "-out", &to];
    referee::run(test, "openssl", &[&sign[..], &by, &files, more].concat()).unwrap();
    let data = std::fs::read(to).unwrap();
    let mut bytes = [MODULE, &data, &[0, 0, 2, 0, 0, 0, 0, 0]].concat();
    bytes.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
    bytes.extend(b"~Module signature appended~\n");
    bytes
}

#[test]
fn openssls_signatures_are_read() {
    let test = "openssls_signatures_are_read";
    let (Some(key), Some(other)) = (Key::new(test, "site"), Key::new(test, "other")) else {
        return;
    };
    // Without attributes, which is sign-file's way, and with them.
    for more in [&["-md", "sha256", "-noattr"][..], &["-md", "sha256"]] {
        let bytes = sign(test, &key, more);
        let signature = read(&bytes).unwrap().unwrap();
        assert_eq!(signature.signer(), key.certificate().issuer_and_serial());
        signature.verify(key.certificate()).unwrap();
        let error = signature.verify(other.certificate()).unwrap_err();
        assert!(matches!(error, Error::OtherCertificate), "{error}");
        let mut changed = bytes.clone();
        changed[5] ^= 1;
        let error = read(&changed).unwrap().unwrap();
        let error = error.verify(key.certificate()).unwrap_err();
        assert!(
            matches!(error, Error::Invalid | Error::Attributes),
            "{error}"
        );
    }
    let bytes = sign(test, &key, &["-md", "sha512", "-noattr"]);
    let signature = read(&bytes).unwrap().unwrap();
    let error = signature.verify(key.certificate()).unwrap_err();
    assert!(matches!(error, Error::Digest), "{error}");
}

#[test]
fn damage_is_never_taken() {
    let test = "damage_is_never_taken";
    let Some(key) = Key::new(test, "site") else {
        return;
    };
    let good = sign(test, &key, &["-md", "sha256", "-noattr"]);
    proptest!(|(changes in proptest::collection::vec((0..good.len(), any::<u8>()), 1..8), cut in 0..good.len())| {
        let mut bytes = good.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        for bytes in [&bytes[..], &good[cut..], &good[..cut]] {
            if let Ok(Some(signature)) = read(bytes)
                && signature.verify(key.certificate()).is_ok()
            {
                prop_assert!(bytes.starts_with(MODULE));
            }
        }
    });
}
