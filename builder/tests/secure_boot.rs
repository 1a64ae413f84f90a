//! Keys of Secure Boot: drawn, read back, and signed with.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

use builder::secure_boot::{self, Key};
use formats::signer::Signer;
use std::os::unix::fs::PermissionsExt;

/// 2026-02-03 04:05:06 UTC.
const TIME: i64 = 1_770_091_506;

#[test]
fn keys_are_drawn_and_sign() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("keys");
    let written = secure_boot::new_keys(&folder, TIME).unwrap();
    assert_eq!(written.len(), 9);
    for path in &written {
        let metadata = path.metadata().unwrap();
        let private = path.extension().unwrap() == "key";
        let mode = metadata.permissions().mode() & 0o777;
        assert_eq!(private, mode == 0o600, "{}", path.display());
    }
    for name in ["PK", "KEK", "db"] {
        let key = Key::read(&folder, name).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(key.certificate().verify(b"message", &signature));
        assert!(!key.certificate().verify(b"massage", &signature));
        let update = std::fs::read(folder.join(format!("{name}.auth"))).unwrap();
        assert_eq!(update[..7], [0xea, 7, 2, 3, 4, 5, 6]);
        assert!(update.ends_with(key.certificate().der()));
    }
    let error = secure_boot::new_keys(&folder, TIME).unwrap_err();
    assert!(
        error.to_string().ends_with("a key is never overwritten"),
        "{error}"
    );
}
