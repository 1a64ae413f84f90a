//! Mirrors by rewriting: for Debian archives, files and registries, in order, and never in a lock.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use assert_cmd::Command;
use builder::digest;
use builder::fixture::archive::FixtureArchive;
use builder::images::reference::Reference;
use loopback::command::{refuse, seedbed, succeed};
use loopback::registry;
use loopback::server::Server;
use loopback::small::{Small, archive};
use std::fs;

/// A profile whose sources are at a site that nobody here can reach.
fn small() -> Small {
    let small = Small::new();
    small.edit(
        "maxAgeDays: 36500}\n  files: {}\n",
        "maxAgeDays: 36500}\n    url: http://site.invalid/debian\n  files: {url: 'http://site.invalid'}\n",
    );
    small
}

/// `seedbed WHAT PROFILE`, with no place given but by the profile.
fn command(small: &Small, what: &str) -> Command {
    let mut command = seedbed(small.dir.path());
    command.arg(what).arg(small.profile());
    command
}

fn table(small: &Small, text: &str) {
    let folder = small.dir.path().join(".config/seedbed");
    fs::create_dir_all(&folder).unwrap();
    fs::write(
        folder.join("mirrors.yaml"),
        format!("version: 1\nrewrite:\n{text}"),
    )
    .unwrap();
}

/// A server with a part of what the small profile names.
fn mirror(archive: Option<&FixtureArchive>) -> Server {
    let server = Server::start();
    for (path, bytes) in archive.iter().flat_map(|archive| &archive.files) {
        server.put(&format!("/deb/{path}"), bytes.clone());
    }
    for (name, bytes) in [("tool", "tool"), ("pause", "pause")] {
        let bytes = bytes.as_bytes();
        server.put(&format!("/files/{name}"), bytes);
        server.put(&format!("/files/{name}.sha256"), digest::sha256(bytes));
    }
    server
}

/// R020, R030, R031: a lock made through a mirror is the lock made at the source, and mirrors stand in neither; one
/// that is fetched elsewhere is the same lock.
#[test]
fn a_mirror_enters_no_lock() {
    let small = small();
    let given = |small: &Small, command: &mut Command| {
        for (from, to) in [
            ("site.invalid/debian", "/debian"),
            ("site.invalid", "/files"),
        ] {
            let rule = format!("{from}={}", small.server.url(to));
            command.args(["--rewrite", &rule]);
        }
    };
    let mut lock = command(&small, "lock");
    given(&small, &mut lock);
    succeed(&mut lock);
    let through = fs::read_to_string(small.lock_path()).unwrap();
    let place = small.server.url("");
    assert!(
        !through.contains(place.trim_start_matches("http://")) && !through.contains("site.invalid")
    );

    // The same without rewriting, at places that are given.
    fs::remove_file(small.lock_path()).unwrap();
    succeed(&mut small.command("lock"));
    assert_eq!(fs::read_to_string(small.lock_path()).unwrap(), through);
    let mut fetch = command(&small, "fetch");
    given(&small, &mut fetch);
    succeed(&mut fetch);
}

/// R020: one mirror that is down, one that lacks a part, and the place itself last.
#[test]
fn mirrors_are_asked_in_order_and_the_place_itself_last() {
    let small = small();
    let down = Server::start().url("");
    let archive = archive().build().unwrap();
    let (part, rest) = (mirror(None), mirror(Some(&archive)));
    table(
        &small,
        &format!(
            "  - {{from: site.invalid/debian, to: ['{down}/x', '{0}/deb', '{1}/deb']}}\n  \
               - {{from: site.invalid, to: ['{0}/files'], only: true}}\n",
            part.url(""),
            rest.url("")
        ),
    );
    fs::write(small.profile().join("keyring.pgp"), &archive.keyring).unwrap();
    succeed(&mut command(&small, "lock"));
    assert!(
        part.take_log()
            .iter()
            .any(|asked| asked.path.starts_with("/deb/dists"))
    );
    succeed(&mut command(&small, "fetch"));
    let asked = rest.take_log();
    assert!(
        asked.iter().all(|asked| asked.path.starts_with("/deb/")),
        "{asked:?}"
    );
    assert!(
        asked
            .iter()
            .any(|asked| asked.path.starts_with("/deb/pool")),
        "{asked:?}"
    );
}

/// R020: with `only`, nobody else is asked, and the message names all who were.
#[test]
fn with_only_the_place_itself_is_not_asked() {
    let small = Small::new().done(&["lock"]);
    let (one, two) = (Server::start(), Server::start());
    let host = small
        .server
        .url("")
        .trim_start_matches("http://")
        .to_owned();
    table(
        &small,
        &format!(
            "  - {{from: '{host}', to: ['{}', '{}'], only: true}}\n",
            one.url(""),
            two.url("")
        ),
    );
    small.server.take_log();
    refuse(
        &mut small.command("fetch"),
        &[
            "none of 2 places gives it",
            &one.url("/files/tool"),
            &two.url("/files/tool"),
        ],
    );
    assert_eq!(small.server.take_log(), []);
    assert!(!one.take_log().is_empty() && !two.take_log().is_empty());
}

/// R019, R020: a mirror that sends other bytes is passed over, whole or half.
#[test]
fn a_mirror_with_other_bytes_is_passed_over() {
    let small = Small::new().done(&["lock"]);
    let good = small.server.bytes("/files/tool");
    let bad = Server::start();
    let lie = vec![b'x'; good.len()];
    bad.put("/files/tool", lie.clone());
    let host = small
        .server
        .url("")
        .trim_start_matches("http://")
        .to_owned();
    let rule = format!("{host}={}", bad.url(""));
    succeed(small.command("fetch").args(["--rewrite", &rule]));
    let stored = small.store("sha256").join(digest::sha256(&good));
    assert_eq!(fs::read(&stored).unwrap(), good);

    // A half of it is no better than the whole.
    fs::remove_file(&stored).unwrap();
    fs::write(
        small.store("partial").join(digest::sha256(&good)),
        &lie[..1000],
    )
    .unwrap();
    succeed(&mut small.command("fetch"));
    assert_eq!(fs::read(&stored).unwrap(), good);
    assert_eq!(small.names(small.store("partial")), [""; 0]);
}

/// R020: images are rewritten by the beginning of their name, to a registry and to a place in it.
#[test]
fn a_registry_is_rewritten_with_a_path() {
    let small = Small::new();
    small.edit(
        "images:\n",
        "images:\n  - name: registry.invalid/team/app:1\n",
    );
    let proxy = Server::start();
    let there = Reference::parse("proxy.test/cache/app:1").unwrap();
    let served = registry::serve(&proxy, &there, &registry::OCI, "amd64");
    table(
        &small,
        &format!(
            "  - {{from: registry.invalid/team, to: ['{}/cache'], only: true}}\n",
            proxy.url("")
        ),
    );
    let small = small.done(&["lock", "fetch"]);
    let lock = fs::read_to_string(small.lock_path()).unwrap();
    assert!(lock.contains("registry.invalid/team/app:1") && lock.contains(&served.manifest));
    assert!(!lock.contains("cache") && !lock.contains("127.0.0.1"));
    for (sha256, bytes) in &served.blobs {
        assert_eq!(
            fs::read(small.store("sha256").join(sha256)).unwrap(),
            *bytes
        );
    }
}

/// R020, R013: a mirror of a registry has a login of its own, what it lacks comes from the place itself, and the lock
/// does not know it.
#[test]
fn a_mirror_of_a_registry_has_its_own_login_and_need_not_have_all() {
    let small = Small::new();
    small.edit(
        "images:\n",
        "images:\n  - name: registry.test/team/app:1\n  - name: registry.test/team/rest:1\n",
    );
    let mirror = Server::start();
    mirror.guard();
    let serve = |server: &Server, name: &str| {
        registry::serve(
            server,
            &Reference::parse(name).unwrap(),
            &registry::OCI,
            "amd64",
        )
    };
    let app = serve(&mirror, "mirror.test/cache/app:1");
    let rest = serve(&small.server, "registry.test/team/rest:1");
    let place = small.server.url("");
    let host = |url: &str| url.trim_start_matches("http://").to_owned();
    let (from, to) = (host(&place), mirror.url(""));
    table(
        &small,
        &format!("  - {{from: '{from}/team', to: ['{to}/cache']}}\n"),
    );
    let logins = small.dir.path().join(".docker");
    fs::create_dir_all(&logins).unwrap();
    // base64 of user:word
    let login = format!(
        "{{\"auths\": {{\"{}\": {{\"auth\": \"dXNlcjp3b3Jk\"}}}}}}",
        host(&to)
    );
    fs::write(logins.join("config.json"), login).unwrap();
    for what in ["lock", "fetch"] {
        let place = format!("registry.test={place}");
        succeed(small.command(what).args(["--source", &place]));
    }
    let asked = mirror.take_log();
    let mut tokens = asked.iter().filter(|asked| asked.path == "/token");
    assert!(tokens.all(|asked| asked.authorization.as_deref() == Some("Basic dXNlcjp3b3Jk")));
    assert!(asked.iter().any(|asked| asked.path == "/token"));
    let asked = small.server.take_log();
    assert!(
        asked
            .iter()
            .all(|asked| asked.authorization.is_none() && !asked.path.contains("team/app"))
    );
    let lock = fs::read_to_string(small.lock_path()).unwrap();
    for name in ["registry.test/team/app:1", &app.manifest, &rest.manifest] {
        assert!(lock.contains(name), "{name}");
    }
    assert!(!lock.contains("cache") && !lock.contains("127.0.0.1"));
    for (sha256, bytes) in app.blobs.iter().chain(&rest.blobs) {
        assert_eq!(
            fs::read(small.store("sha256").join(sha256)).unwrap(),
            *bytes
        );
    }
}
