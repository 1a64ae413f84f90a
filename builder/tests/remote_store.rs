//! A store that build hosts share: two hosts and a real registry, and one that fails in every way.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;
#[allow(dead_code)]
#[path = "support/team.rs"]
mod team;

use base64::Engine;
use builder::digest;
use loopback::command::{refuse, seedbed, succeed};
use loopback::docker_registry::{PASSWORD, Setup, USER};
use loopback::server::Server;
use std::fs;
use std::process::Stdio;
use std::time::Duration;
use team::{Host, NOWHERE, Team, digests, docker_registry, place, said};

/// The second host has no source at all, and gets everything; a third one builds from an empty store.
#[test]
fn a_second_host_needs_no_source() {
    let Some(registry) = docker_registry("a_second_host_needs_no_source", Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let first = team.host();
    let text = said(&mut first.fetch(&remote));
    let blobs = team.blobs();
    assert!(
        text.contains(&format!("{} blobs for amd64 sent to {remote}", blobs.len())),
        "{text}"
    );
    // Nothing is sent twice, and one question is enough to know that.
    let text = said(&mut first.fetch(&remote));
    assert!(!text.contains("sent to"), "{text}");

    team.small.server.take_log();
    let second = team.host();
    let text = said(&mut second.fetch_from(&remote, NOWHERE));
    assert!(
        text.contains(&format!("{0} of {0} missing blobs came", blobs.len())),
        "{text}"
    );
    assert!(second.has_everything());
    let mut build = seedbed(first.home.path());
    build.arg("build").arg(team.small.profile());
    build.arg("--out").arg(first.out());
    build.arg("--firstboot").arg(team.small.firstboot());
    succeed(&mut build);
    let third = team.host();
    succeed(&mut third.command("build", &remote));
    assert_eq!(digests(&third.out()), digests(&first.out()));
    assert_eq!(team.small.server.take_log(), []);
}

/// What no manifest names goes when a registry is cleared up; what a lock names stays.
#[test]
fn a_cleared_up_registry_still_has_the_lock() {
    let test = "a_cleared_up_registry_still_has_the_lock";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    succeed(&mut team.host().fetch(&remote));
    let stray = digest::sha256(b"stray");
    registry.put_blob("team/store", &stray, b"stray".to_vec());
    registry.collect_garbage();
    assert!(!registry.blob(&stray).exists());
    let host = team.host();
    succeed(&mut host.fetch_from(&remote, NOWHERE));
    assert!(host.has_everything());
}

/// A blob that a registry lost comes from its source, and is there again for the next host.
#[test]
fn what_is_lost_or_damaged_there_comes_from_its_source() {
    let test = "what_is_lost_or_damaged_there_comes_from_its_source";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    succeed(&mut team.host().fetch(&remote));
    let blobs: Vec<String> = team.blobs().into_keys().collect();
    fs::remove_file(registry.blob(&blobs[0])).unwrap();
    let mut bytes = fs::read(registry.blob(&blobs[1])).unwrap();
    bytes[0] ^= 1;
    fs::write(registry.blob(&blobs[1]), bytes).unwrap();

    let host = team.host();
    let text = said(&mut host.fetch(&remote));
    assert!(text.contains("is not what was locked"), "{text}");
    assert!(text.contains(&blobs[1]), "{text}");
    assert!(host.has_everything());
    assert!(registry.blob(&blobs[0]).exists());
}

/// Both hosts find nothing, send everything, and end well; so does whoever comes after them.
#[test]
fn two_hosts_fill_it_at_once() {
    let Some(registry) = docker_registry("two_hosts_fill_it_at_once", Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let hosts = [team.host(), team.host(), team.host()];
    std::thread::scope(|scope| {
        for host in &hosts {
            scope.spawn(|| {
                let text = said(&mut host.fetch(&remote));
                assert!(!text.contains("WARN"), "{text}");
            });
        }
    });
    let host = team.host();
    succeed(&mut host.fetch_from(&remote, NOWHERE));
    assert!(host.has_everything());
}

/// Whenever a host is killed, the next one goes on, and the store is good.
#[test]
fn a_killed_host_leaves_nothing_wrong() {
    let test = "a_killed_host_leaves_nothing_wrong";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let host = team.host();
    for round in 1..=8 {
        let fetch = host.fetch(&remote);
        let mut child = std::process::Command::new(fetch.get_program());
        child.args(fetch.get_args()).env_clear();
        child.env("HOME", host.home.path());
        child.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = child.spawn().unwrap();
        std::thread::sleep(Duration::from_millis(40 * round));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    succeed(&mut host.fetch(&remote));
    let next = team.host();
    succeed(&mut next.fetch_from(&remote, NOWHERE));
    assert!(next.has_everything());
}

/// A registry that fails in every way costs a message, and everything comes from its source.
#[test]
fn a_failing_registry_is_done_without() {
    let team = Team::new();
    let server = Server::start();
    let remote = server.url("/team/store").replace("http://", "");
    let source = &team.small.server;
    let blobs: Vec<(String, Vec<u8>)> = ["tool", "pause"]
        .map(|name| source.bytes(&format!("/files/{name}")))
        .map(|bytes| (digest::sha256(&bytes), bytes))
        .to_vec();
    let path = |sha256: &str| format!("/v2/team/store/blobs/sha256:{sha256}");
    let uploads = "/v2/team/store/blobs/uploads/";
    let attempt = |words: &[&str]| {
        let host = team.host();
        let text = said(&mut host.fetch(&remote));
        assert!(host.has_everything());
        for word in words {
            assert!(text.contains(word), "{word:?} is not in: {text}");
        }
        text
    };
    // Nothing is there, and nothing can be sent.
    attempt(&[
        "it does not have",
        "sending",
        "404",
        "run `seedbed fetch` again",
    ]);
    // Cut in the middle, again and again: what came is kept, and the source goes on from there.
    let (tool, bytes) = &blobs[0];
    server.put(&path(tool), bytes.clone());
    server.cut(&path(tool), 100_000, usize::MAX);
    source.take_log();
    attempt(&["tool", "looked for elsewhere"]);
    let asked = source.take_log();
    let resumed = asked.iter().any(|asked| {
        asked.path == "/files/tool" && asked.range.as_deref().is_some_and(|r| r != "bytes=0-")
    });
    assert!(resumed, "{asked:?}");
    // Other bytes of the same length.
    server.cut(&path(tool), 0, 0);
    server.put(&path(tool), vec![b'x'; bytes.len()]);
    attempt(&["is not what was locked", tool]);
    // Busy for a moment, and then not.
    server.put(&path(tool), bytes.clone());
    server.fail(
        &path(tool),
        "429 Too Many Requests",
        "Retry-After: 1\r\n",
        1,
    );
    attempt(&["1 of"]);
    // Down for good.
    server.fail(&path(tool), "500 Internal Server Error", "", usize::MAX);
    attempt(&["500", "looked for elsewhere"]);
    // Nobody may write.
    for status in ["405 Method Not Allowed", "403 Forbidden"] {
        server.fail(uploads, status, "", usize::MAX);
        attempt(&[&status[..3], "nothing more is sent", "may write to it"]);
    }
}

/// A registry that takes nothing is as good to read from as any.
#[test]
fn a_read_only_registry_is_no_failure() {
    let test = "a_read_only_registry_is_no_failure";
    let setup = Setup {
        read_only: true,
        ..Setup::default()
    };
    let Some(registry) = docker_registry(test, setup) else {
        return;
    };
    let team = Team::new();
    let host = team.host();
    let text = said(&mut host.fetch(&place(&registry)));
    assert!(host.has_everything());
    assert!(
        text.contains("405") && text.contains("nothing more is sent"),
        "{text}"
    );
}

/// Who cannot be reached is soon given up.
#[test]
fn an_unreachable_registry_is_given_up() {
    let team = Team::new();
    let host = team.host();
    let text = said(&mut host.fetch("127.0.0.1:1/team/store"));
    assert!(host.has_everything());
    assert!(text.contains("is not asked any more"), "{text}");
    let host = team.host();
    let words = ["is not in the store"];
    let text = refuse(&mut host.command("build", "127.0.0.1:1/team/store"), &words);
    assert!(text.contains("is not asked any more"), "{text}");
}

/// Who may write is who logged in, and nothing of the login is said.
#[test]
fn a_login_lets_in_and_shows_nowhere() {
    let login = Setup {
        login: true,
        ..Setup::default()
    };
    let Some(registry) = docker_registry("a_login_lets_in_and_shows_nowhere", login) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let log_in = |host: &Host<'_>, password: &str| {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
        let folder = host.home.path().join(".docker");
        fs::create_dir_all(&folder).unwrap();
        let text = format!(
            "{{\"auths\": {{\"{}\": {{\"auth\": \"{auth}\"}}}}}}",
            registry.host()
        );
        fs::write(folder.join("config.json"), text).unwrap();
        auth
    };
    let fetch = |password: &str| {
        let host = team.host();
        let auth = log_in(&host, password);
        let text = said(host.fetch(&remote).env("SEEDBED_LOG", "trace"));
        assert!(host.has_everything());
        assert!(!text.contains(password) && !text.contains(&auth), "{text}");
        text
    };
    let text = fetch("wrong-Passw0rd");
    assert!(
        text.contains("does not let") && text.contains("not asked any more"),
        "{text}"
    );
    fetch(PASSWORD);
    let host = team.host();
    log_in(&host, PASSWORD);
    succeed(&mut host.fetch_from(&remote, NOWHERE));
    assert!(host.has_everything());
}

/// With --offline nobody is asked, the remote store neither.
#[test]
fn offline_asks_no_remote_store() {
    let team = Team::new();
    let server = Server::start();
    let remote = server.url("/team/store").replace("http://", "");
    let host = team.host();
    refuse(
        host.command("fetch", &remote).arg("--offline"),
        &["--offline forbids"],
    );
    refuse(
        host.command("build", &remote).arg("--offline"),
        &["is not in the store"],
    );
    assert_eq!(server.take_log(), []);
    for (place, word) in [
        ("registry.example", "no registry"),
        ("r.example/x:v1", "without a tag"),
    ] {
        let output = host.command("fetch", place).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            output.status.code() == Some(2) && text.contains(word),
            "{text}"
        );
    }
}
