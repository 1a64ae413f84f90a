//! Updates of Secure Boot's variables, compared byte for byte with those of efitools.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/keys.rs"]
mod keys;
#[path = "support/referee.rs"]
mod referee;

use formats::efi_variables::{self, Variable};
use formats::signer::Signer;
use keys::Key;

const OWNER: &str = "0a4c1f5e-8d3b-4c62-9f10-2b7a6d5e4c3b";
/// 2026-02-03 04:05:06 UTC.
const TIME: i64 = 1_770_091_506;

fn owner() -> [u8; 16] {
    let number = u128::from_str_radix(&OWNER.replace('-', ""), 16).unwrap();
    number.to_be_bytes()
}

#[test]
fn efitools_make_the_same_updates() {
    let test = "efi_variables::efitools_make_the_same_updates";
    let Some(platform) = Key::new(test, "platform") else {
        return;
    };
    let exchange = Key::new(test, "key exchange").unwrap();
    let database = Key::new(test, "database").unwrap();
    for (variable, holds, signer) in [
        (Variable::PlatformKey, &platform, &platform),
        (Variable::KeyExchangeKey, &exchange, &platform),
        (Variable::Database, &database, &exchange),
    ] {
        let list = efi_variables::signature_lists(owner(), &[holds.certificate()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        let (esl, auth) = (path("list"), path("update"));
        let certificate = holds.pem();
        let args = ["-g", OWNER, &certificate, &esl];
        if referee::run(test, "cert-to-efi-sig-list", &args).is_none() {
            return;
        }
        assert_eq!(std::fs::read(&esl).unwrap(), list);

        let (key, certificate) = (signer.key(), signer.pem());
        let keys = ["-g", OWNER, "-k", &key, "-c", &certificate];
        let files = ["-t", "2026-02-03 04:05:06", variable.name(), &esl, &auth];
        referee::run(test, "sign-efi-sig-list", &[&keys[..], &files].concat());
        let reference = std::fs::read(&auth).unwrap();
        let update = efi_variables::signed_update(variable, TIME, &list, signer).unwrap();
        let name = variable.name();
        assert_eq!(update[..16], reference[..16], "{name}: EFI_TIME");
        assert_eq!(update[16..], reference[16..], "{name}: certificate");
    }
}
