//! Secure Boot: keys are drawn, boot programs signed in a build, by a key or by a program, judged by sbverify, and
//! the same image is made again without the key.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;

use builder::digest;
use builder::secure_boot::{self, Key};
use formats::signer::Signer;
use loopback::command::{refuse, seedbed, succeed};
use loopback::machine::small_machine;
use loopback::small::Small;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

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
        let key = Key::read(&folder, name, None).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert!(key.certificate().verify(b"message", &signature));
        assert!(!key.certificate().verify(b"massage", &signature));
        let update = fs::read(folder.join(format!("{name}.auth"))).unwrap();
        assert_eq!(update[..7], [0xea, 7, 2, 3, 4, 5, 6]);
        assert!(update.ends_with(key.certificate().der()));
    }
    let error = secure_boot::new_keys(&folder, TIME).unwrap_err();
    assert!(
        error.to_string().ends_with("a key is never overwritten"),
        "{error}"
    );
    fs::copy(folder.join("KEK.key"), folder.join("db.key")).unwrap();
    let error = Key::read(&folder, "db", None).unwrap_err();
    assert!(
        error.to_string().contains("not the key of the certificate"),
        "{error}"
    );
}

/// A locked small machine, and a folder of keys beside it.
fn with_keys() -> (Small, PathBuf) {
    let small = small_machine().done(&["lock", "fetch"]);
    let keys = small.dir.path().join("keys");
    let mut new = seedbed(small.dir.path());
    succeed(new.args(["keys", "new", "--secure-boot"]).arg(&keys));
    (small, keys)
}

/// Builds with these arguments after `--secure-boot KEYS`; gives the image's digest.
fn build(small: &Small, keys: &Path, more: &[&str]) -> String {
    let mut build = small.command("build");
    succeed(build.arg("--secure-boot").arg(keys).args(more));
    digest::sha256_of(fs::File::open(image(small)).unwrap())
        .unwrap()
        .0
}

fn image(small: &Small) -> PathBuf {
    small.out().join("seedbed-small-amd64.raw")
}

/// A file of the ESP.
fn cat(small: &Small, path: &str) -> Vec<u8> {
    let mut cat = seedbed(small.dir.path());
    cat.arg("cat").arg(image(small)).arg(format!("ESP:/{path}"));
    let output = cat.output().unwrap();
    assert!(output.status.success(), "{path}: {output:?}");
    output.stdout
}

/// The path of the kernel image on the ESP.
fn uki(small: &Small) -> String {
    let mut inspect = seedbed(small.dir.path());
    let report = succeed(inspect.arg("inspect").arg(image(small)).arg("--json"));
    let report: Value = serde_json::from_str(&report).unwrap();
    report["boot"][0]["path"].as_str().unwrap().to_owned()
}

fn verify(small: &Small, more: &[&str]) -> assert_cmd::Command {
    let mut verify = seedbed(small.dir.path());
    verify.arg("verify").arg(image(small)).args(more);
    verify
}

/// A program that signs with the key of its argument's name in `keys`; it keeps a list of these names.
fn signer(small: &Small, keys: &Path) -> PathBuf {
    let path = small.dir.path().join("signer");
    let text = format!(
        "#!/bin/sh\necho \"$1\" >> {0}.calls\nexec openssl dgst -sha256 -sign {1}/\"$1\".key\n",
        path.display(),
        keys.display()
    );
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn a_build_signs_what_firmware_starts() {
    let test = "secure_boot::a_build_signs_what_firmware_starts";
    let (small, keys) = with_keys();
    let text = keys.to_str().unwrap();
    let first = build(&small, &keys, &[]);
    let programs = ["EFI/BOOT/BOOTX64.EFI".to_owned(), uki(&small)];
    for name in ["PK.auth", "KEK.auth", "db.auth"] {
        let on_esp = cat(&small, &format!("loader/keys/auto/{name}"));
        assert_eq!(on_esp, fs::read(keys.join(name)).unwrap(), "{name}");
    }
    let conf = String::from_utf8(cat(&small, "loader/loader.conf")).unwrap();
    assert_eq!(conf, "timeout 0\neditor no\nsecure-boot-enroll if-safe\n");
    for program in &programs {
        sbverify(test, &cat(&small, program), &keys.join("db.crt"));
    }

    // What is verified, by whose certificate, and by whom it was not signed.
    let db = format!("{text}/db.crt");
    for more in [&[][..], &["--secure-boot-certificate", &db]] {
        let good = succeed(&mut verify(&small, more));
        assert!(good.contains("good: Secure Boot (certificate "), "{good}");
    }
    let other = format!("{text}/KEK.crt");
    refuse(
        &mut verify(&small, &["--secure-boot-certificate", &other]),
        &["EFI/BOOT/BOOTX64.EFI", "made by another certificate"],
    );

    // Built again: from the cache, without it, and by whoever has no key.
    let mut again = small.command("build");
    let text = succeed(again.arg("--secure-boot").arg(&keys));
    assert!(text.contains("unchanged"), "{text}");
    assert_eq!(build(&small, &keys, &["--no-cache"]), first);
    let mut rebuild = verify(&small, &["--rebuild"]);
    rebuild.arg(small.profile());
    rebuild.arg("--firstboot").arg(small.firstboot());
    let good = succeed(&mut rebuild);
    assert!(good.contains("good: rebuild"), "{good}");

    // No private key is anywhere in what was written.
    let secret = fs::read_to_string(keys.join("db.key")).unwrap();
    let line = secret.lines().nth(3).unwrap();
    let mut grep = Command::new("grep");
    let grep = grep.args(["-rlF", line]).arg(small.out());
    let found = grep.arg(small.dir.path().join(".cache")).output().unwrap();
    assert_eq!(found.status.code(), Some(1), "{found:?}");

    // Other keys, another image; without any, what was there before.
    let others = small.dir.path().join("others");
    secure_boot::new_keys(&others, TIME).unwrap();
    assert_ne!(build(&small, &others, &[]), first);
    assert_ne!(build(&small, &keys, &["--enroll", "force"]), first);
    succeed(&mut small.command("build"));
    let unsigned = succeed(&mut verify(&small, &[]));
    assert!(unsigned.contains("note: nobody signed"), "{unsigned}");
    refuse(
        &mut verify(&small, &["--secure-boot-certificate", &db]),
        &["nobody signed EFI/BOOT/BOOTX64.EFI, EFI/Linux/seedbed-"],
    );
}

/// Whether sbverify takes the signature.
fn sbverify(test: &str, program: &[u8], certificate: &Path) {
    if !support::has_tool(test, "sbverify") {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("program.efi");
    fs::write(&path, program).unwrap();
    let mut sbverify = Command::new("sbverify");
    let output = sbverify.arg("--cert").arg(certificate).arg(&path);
    let output = output.output().unwrap();
    assert!(output.status.success(), "{output:?}");
}

#[test]
fn a_program_signs_in_place_of_a_key() {
    let test = "secure_boot::a_program_signs_in_place_of_a_key";
    if !support::has_tool(test, "openssl") {
        return;
    }
    let (small, keys) = with_keys();
    let by_key = build(&small, &keys, &[]);
    // The folder that the build sees holds no private key.
    let public = small.dir.path().join("public");
    fs::create_dir(&public).unwrap();
    for name in ["PK.crt", "KEK.crt", "db.crt"] {
        fs::copy(keys.join(name), public.join(name)).unwrap();
    }
    let signer = signer(&small, &keys);
    let signer_text = signer.to_str().unwrap();
    let calls = || {
        let text = fs::read_to_string(small.dir.path().join("signer.calls"));
        let text = text.unwrap_or_default();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    refuse(
        small.command("build").arg("--secure-boot").arg(&public),
        &["public/db.key"],
    );
    let mut enroll = seedbed(small.dir.path());
    enroll.args(["keys", "enroll"]).arg(&public);
    succeed(enroll.args(["--signer", signer_text]));
    assert_eq!(calls(), ["PK", "PK", "KEK"]);
    // Only their date is another.
    for name in ["PK.auth", "KEK.auth", "db.auth"] {
        fs::copy(keys.join(name), public.join(name)).unwrap();
    }
    let by_program = build(&small, &public, &["--no-cache", "--signer", signer_text]);
    assert_eq!(by_program, by_key);
    assert_eq!(calls()[3..], ["db", "db"]);

    // A program that signs with another key, and one that fails, make no image.
    let other = small.dir.path().join("other");
    secure_boot::new_keys(&other, TIME).unwrap();
    for (text, words) in [
        (
            format!(
                "#!/bin/sh\nexec openssl dgst -sha256 -sign {}/db.key\n",
                other.display()
            ),
            &[
                "signing EFI/BOOT/BOOTX64.EFI",
                "do key and certificate belong together?",
            ][..],
        ),
        (
            "#!/bin/sh\nexit 7\n".to_owned(),
            &["signer ", "gave no signature by key db", "exit status: 7"],
        ),
    ] {
        fs::write(&signer, text).unwrap();
        let mut build = small.command("build");
        build.args(["--no-cache", "--signer", signer_text]);
        refuse(build.arg("--secure-boot").arg(&public), words);
    }
}

#[test]
fn a_folder_that_would_make_no_machine_start_is_refused() {
    let (small, keys) = with_keys();
    let refused = |words: &[&str]| {
        refuse(
            small.command("build").arg("--secure-boot").arg(&keys),
            words,
        );
    };
    let update = fs::read(keys.join("db.auth")).unwrap();
    fs::copy(keys.join("KEK.auth"), keys.join("db.auth")).unwrap();
    refused(&["does not hold the certificate", "seedbed keys enroll"]);
    fs::remove_file(keys.join("db.auth")).unwrap();
    refused(&["lacks db.auth"]);
    fs::write(keys.join("db.auth"), update).unwrap();
    fs::copy(keys.join("KEK.key"), keys.join("db.key")).unwrap();
    refused(&["db.key is not the key of the certificate db.crt"]);
    assert_eq!(small.names(small.out()), [""; 0]);
}

#[test]
fn an_addon_carries_the_arguments_of_a_site() {
    let test = "secure_boot::an_addon_carries_the_arguments_of_a_site";
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("keys");
    secure_boot::new_keys(&keys, TIME).unwrap();
    let addon = |name: &str, cmdline: &str| {
        let mut command = seedbed(dir.path());
        command.args(["addon", "--cmdline", cmdline, "--secure-boot"]);
        command.arg(&keys).arg("--out").arg(dir.path().join(name));
        command
    };
    succeed(&mut addon("site.addon.efi", "console=ttyS1,115200"));
    let bytes = fs::read(dir.path().join("site.addon.efi")).unwrap();
    sbverify(test, &bytes, &keys.join("db.crt"));
    let sections = formats::uki::read(&bytes.clone().into()).unwrap();
    let (row, content) = sections.last().unwrap();
    assert_eq!(row.name, ".cmdline");
    assert_eq!(content.to_vec().unwrap(), b"console=ttyS1,115200");
    succeed(&mut addon("again.addon.efi", "console=ttyS1,115200"));
    assert_eq!(fs::read(dir.path().join("again.addon.efi")).unwrap(), bytes);
    refuse(&mut addon("site.efi", "quiet"), &["ends with .addon.efi"]);
    refuse(
        &mut addon("root.addon.efi", "roothash=00"),
        &["roothash=00 is the image's own"],
    );
    assert!(!dir.path().join("root.addon.efi").exists());
}
