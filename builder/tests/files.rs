//! Files of a profile: what their publishers say of them, and what lets us at them.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::lock::{self, LockedFile};
use builder::{digest, profile};
use contract::partition::Arch;
use loopback::command::{refuse, succeed};
use loopback::server::{Answer, Server};
use loopback::small::Small;
use sha2::Digest as _;
use std::fs;

fn files(small: &Small) -> Vec<LockedFile> {
    let lock = lock::read(&profile::read(&small.profile()).unwrap()).unwrap();
    lock.arch[&Arch::Amd64].files.clone()
}

fn file(small: &Small, to: &str) -> LockedFile {
    files(small).into_iter().find(|file| file.to == to).unwrap()
}

/// R021, R030: version and architecture in the path, and every way to publish a digest.
#[test]
fn digests_come_from_what_the_publisher_publishes() {
    let small = Small::new();
    let bytes = b"a tool of its own";
    let (sha256, sha512) = (
        digest::sha256(bytes),
        digest::hex(&sha2::Sha512::digest(bytes)),
    );
    let base = "/files/v1.34.1/amd64";
    for name in ["plain", "listed", "long", "bsd"] {
        small.server.put(&format!("{base}/{name}"), *bytes);
    }
    small
        .server
        .put(&format!("{base}/plain.sha256"), sha256.clone());
    let other = "0".repeat(64);
    let list = format!("{other}  listed.sig\n{sha256} *listed\n");
    small.server.put("/files/v1.34.1/SHA256SUMS", list);
    small
        .server
        .put(&format!("{base}/long.sha512"), format!("{sha512}  long\n"));
    small
        .server
        .put("/files/sums", format!("SHA512 (bsd) = {sha512}\n"));
    let entry = |name: &str, sums: &str| {
        let path = format!("\"{{{{ version }}}}/{{{{ arch }}}}/{name}\"");
        format!("  - {{from: files, path: {path}, to: /usr/bin/{name}{sums}}}\n")
    };
    let entries = entry("plain", "")
        + &entry("listed", ", sums: \"{{ version }}/SHA256SUMS\"")
        + &entry("long", "")
        + &entry("bsd", ", sums: sums");
    small.edit("files:\n  - ", &format!("files:\n{entries}  - "));
    // A server may refuse to tell the size alone.
    small
        .server
        .fail(&format!("{base}/plain"), "405 Method Not Allowed", "", 1);
    // What is read is too large for where temporary files are.
    succeed(small.command("lock").env("TMPDIR", "/nonexistent"));
    let small = small.done(&["fetch"]);
    for name in ["plain", "listed", "long", "bsd"] {
        let locked = file(&small, &format!("/usr/bin/{name}"));
        assert_eq!(
            (locked.sha256, locked.size),
            (sha256.clone(), bytes.len() as u64),
            "{name}"
        );
        assert_eq!(locked.path, format!("v1.34.1/amd64/{name}"));
    }
    small.server.put(&format!("{base}/long"), "other bytes");
    let words = ["long", "is not what its publisher says", &sha512];
    refuse(&mut small.command("lock"), &words);
    small.server.put(&format!("{base}/long"), *bytes);
    small.server.put(&format!("{base}/plain"), "other bytes");
    small
        .server
        .fail(&format!("{base}/plain"), "405 Method Not Allowed", "", 1);
    let words = ["plain", "is not what its publisher says", &sha256];
    refuse(&mut small.command("lock"), &words);
}

/// R021: a digest that nobody published is taken only when that is asked for, and then held.
#[test]
fn trust_on_first_use_has_to_be_asked_for() {
    let small = Small::new();
    small.server.remove("/files/tool.sha256");
    let words = ["tool.sha256", "tool.sha512", "404", "--trust-on-first-use"];
    refuse(&mut small.command("lock"), &words);
    succeed(small.command("lock").arg("--trust-on-first-use"));
    let locked = file(&small, "/usr/bin/tool").sha256;
    assert_eq!(locked, digest::sha256(&small.server.bytes("/files/tool")));
    fs::remove_dir_all(small.store("sha256")).unwrap();
    small.server.put("/files/tool", "replaced since");
    refuse(
        &mut small.command("fetch"),
        &["tool", &locked, "is not what was locked"],
    );
}

/// R008: files of one's own, in a folder beside the profile.
#[test]
fn a_folder_of_ones_own_needs_no_digests() {
    let small = Small::new();
    small.edit("  files: {}\n", "  files: {}\n  own: {path: bin}\n");
    small.edit(
        "files:\n  - ",
        "files:\n  - {from: own, path: mine, to: /usr/bin/mine}\n  - ",
    );
    fs::create_dir(small.profile().join("bin")).unwrap();
    fs::write(small.profile().join("bin/mine"), "mine").unwrap();
    let small = small.done(&["lock", "fetch"]);
    let locked = file(&small, "/usr/bin/mine");
    assert_eq!(locked.sha256, digest::sha256(b"mine"));
    let text = fs::read_to_string(small.lock_path()).unwrap();
    assert!(
        !text.contains(&small.dir.path().display().to_string()),
        "no place is in a lock"
    );
}

/// R013: headers from the environment, `.netrc`, and credentials in a URL; each goes to its own place alone.
#[test]
fn credentials_of_files_go_to_their_place_and_show_nowhere() {
    let small = Small::new();
    let elsewhere = Server::start();
    // The file itself is on another server, as with release pages that redirect to a store of objects.
    let bytes = small.server.bytes("/files/tool");
    elsewhere.put("/tool", bytes);
    small.server.answer(
        "/files/tool",
        Answer::Redirect(elsewhere.url("/tool?signature=S3cret-query")),
    );
    let header = "  files: {headers: {Private-Token: {env: FIXTURE_TOKEN, prefix: \"t-\"}}}\n";
    small.edit("  files: {}\n", header);
    refuse(
        &mut small.command("lock"),
        &["Private-Token", "FIXTURE_TOKEN", "not set"],
    );
    let secrets = [
        "Header-S3cret",
        "Url-S3cret",
        "Netrc-S3cret",
        "S3cret-query",
    ];
    let base64 = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode("ann:Url-S3cret")
    };
    let mut said = String::new();
    let url = small
        .server
        .url("/files")
        .replace("http://", "http://ann:Url-S3cret@");
    for what in ["lock", "fetch"] {
        let mut command = small.command(what);
        command.args(["--source", &format!("files={url}")]);
        command
            .env("FIXTURE_TOKEN", "Header-S3cret")
            .env("SEEDBED_LOG", "trace");
        let output = command.output().unwrap();
        said += &String::from_utf8_lossy(&[output.stdout, output.stderr].concat());
        assert!(output.status.success(), "{said}");
    }
    let asked = small.server.take_log();
    let tool = asked
        .iter()
        .find(|asked| asked.path == "/files/tool.sha256")
        .unwrap();
    assert_eq!(tool.private_token.as_deref(), Some("t-Header-S3cret"));
    assert_eq!(tool.authorization, Some(format!("Basic {base64}")));
    let archive = asked
        .iter()
        .find(|asked| asked.path.starts_with("/debian/"))
        .unwrap();
    // The same server, but not the place that the header is for.
    assert_eq!(
        (&archive.authorization, &archive.private_token),
        (&None, &None)
    );
    let there = elsewhere.take_log();
    assert!(!there.is_empty());
    for asked in &there {
        assert_eq!((&asked.private_token, &asked.authorization), (&None, &None));
    }

    // A fault names the place without what is secret in its name.
    elsewhere.remove("/tool");
    fs::remove_dir_all(small.store("sha256")).unwrap();
    fs::write(
        small.dir.path().join(".netrc"),
        "machine 127.0.0.1 login bob password Netrc-S3cret\n",
    )
    .unwrap();
    let mut command = small.command("fetch");
    command
        .args(["--source", &format!("files={url}")])
        .env("SEEDBED_LOG", "trace");
    said += &refuse(
        command.env("FIXTURE_TOKEN", "Header-S3cret"),
        &["tool", "404"],
    );
    let asked = elsewhere.take_log();
    let netrc = asked[0].authorization.as_deref().unwrap();
    assert!(
        netrc.starts_with("Basic "),
        "the host has an entry of its own: {netrc}"
    );

    let lock = fs::read_to_string(small.lock_path()).unwrap();
    for secret in secrets.iter().chain([&base64.as_str()]) {
        assert!(!said.contains(secret), "a secret is in what was said");
        assert!(!lock.contains(secret), "a secret is in the lock");
    }
}

/// R020: what a server cannot be asked directly goes through the proxy that the environment names.
#[test]
fn proxies_come_from_the_environment() {
    let small = Small::new();
    let proxy = Server::start();
    for name in ["tool", "tool.sha256", "pause", "pause.sha256"] {
        // A proxy is asked for whole URLs.
        let bytes = small.server.bytes(&format!("/files/{name}"));
        proxy.put(&format!("http://files.test/{name}"), bytes);
    }
    for what in ["lock", "fetch"] {
        let mut command = small.command(what);
        command.args(["--source", "files=http://files.test"]);
        command
            .env("http_proxy", proxy.url(""))
            .env("no_proxy", "127.0.0.1");
        succeed(&mut command);
    }
    assert!(
        proxy
            .take_log()
            .iter()
            .all(|asked| asked.path.starts_with("http://files.test/"))
    );
    assert!(
        !fs::read_to_string(small.lock_path())
            .unwrap()
            .contains("files.test")
    );
}
