//! A store that build hosts share: two hosts and a real registry, and one that fails in every way.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;

use assert_cmd::Command;
use base64::Engine;
use builder::digest;
use builder::images::reference::Reference;
use loopback::command::{refuse, seedbed, succeed};
use loopback::docker_registry::{DockerRegistry, PASSWORD, Setup, USER};
use loopback::machine::small_machine;
use loopback::registry;
use loopback::server::Server;
use loopback::small::Small;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::time::Duration;

const IMAGE: &str = "registry.test/app:1";
/// Where nobody listens.
const NOWHERE: &str = "http://127.0.0.1:1";

/// A locked profile with one of everything, and where its sources are.
struct Team {
    small: Small,
}

impl Team {
    /// Everything is locked, and the store of who locked it is gone.
    fn new() -> Self {
        let small = small_machine();
        small.edit("images:\n", &format!("images:\n  - name: {IMAGE}\n"));
        let layers = vec![layer("one"), layer("two")];
        registry::serve_layers(&small.server, &Reference::parse(IMAGE).unwrap(), layers);
        let place = format!("registry.test={}", small.server.url(""));
        succeed(small.command("lock").args(["--source", &place]));
        fs::remove_dir_all(small.dir.path().join(".cache")).unwrap();
        Team { small }
    }

    /// A host with nothing on it but the programs and the profile.
    fn host(&self) -> Host<'_> {
        Host {
            team: self,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Digests and sizes of all blobs of the lock.
    fn blobs(&self) -> BTreeMap<String, u64> {
        let text = fs::read(self.small.lock_path()).unwrap();
        let mut found = BTreeMap::new();
        let mut todo: Vec<Value> = vec![serde_json::from_slice(&text).unwrap()];
        while let Some(value) = todo.pop() {
            if let (Some(sha256), Some(size)) = (value["sha256"].as_str(), value["size"].as_u64()) {
                found.insert(sha256.to_owned(), size);
            }
            match value {
                Value::Object(map) => todo.extend(map.into_iter().map(|(_, value)| value)),
                Value::Array(list) => todo.extend(list),
                _ => {}
            }
        }
        found
    }
}

struct Host<'a> {
    team: &'a Team,
    home: tempfile::TempDir,
}

impl Host<'_> {
    /// `seedbed WHAT` with the remote store.
    fn command(&self, what: &str, remote: &str) -> Command {
        let mut command = seedbed(self.home.path());
        command.arg(what).arg(self.team.small.profile());
        command.args(["--remote-store", remote]);
        if what == "build" {
            command.arg("--out").arg(self.out());
            command.arg("--firstboot").arg(self.team.small.firstboot());
        }
        command
    }

    /// `seedbed fetch` with the sources at their servers.
    fn fetch(&self, remote: &str) -> Command {
        let server = &self.team.small.server;
        self.fetch_from(remote, &server.url(""))
    }

    fn fetch_from(&self, remote: &str, base: &str) -> Command {
        let mut command = self.command("fetch", remote);
        for (name, path) in [
            ("debian", "/debian"),
            ("files", "/files"),
            ("registry.test", ""),
        ] {
            command.args(["--source", &format!("{name}={base}{path}")]);
        }
        command
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    fn store(&self) -> PathBuf {
        self.home.path().join(".cache/seedbed/store")
    }

    fn has_everything(&self) -> bool {
        let blobs = self.team.blobs();
        let there = |(sha256, size): (&String, &u64)| {
            let path = self.store().join("sha256").join(sha256);
            fs::metadata(path).is_ok_and(|meta| meta.len() == *size)
        };
        blobs.iter().all(there)
    }
}

/// A compressed layer with one file.
fn layer(text: &str) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(text.len() as u64);
    tar.append_data(&mut header, text, text.as_bytes()).unwrap();
    tar.into_inner().unwrap().finish().unwrap()
}

/// The digests of all files in a folder, by name.
fn digests(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap();
    let digest = |path: &Path| digest::sha256_of(fs::File::open(path).unwrap()).unwrap().0;
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (name(&path), digest(&path))).collect()
}

/// What a command that succeeded said on both streams.
fn said(command: &mut Command) -> String {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = String::from_utf8_lossy(&[stdout, stderr].concat()).into_owned();
    assert!(status.success(), "{text}");
    assert!(!text.contains("panicked"), "{text}");
    text
}

/// The server, or a word that it is not there.
fn docker_registry(test: &str, setup: Setup) -> Option<DockerRegistry> {
    let started = DockerRegistry::start(setup);
    if started.is_none() {
        support::skip(test, "docker-registry is not installed");
    }
    started
}

fn place(registry: &DockerRegistry) -> String {
    format!("{}/team/store", registry.host())
}

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

/// `seedbed build` that shares results.
fn build(host: &Host<'_>, remote: &str, sharing: &str) -> Command {
    let mut command = host.command("build", remote);
    command.args(["--remote-store-results", sharing, "--format", "raw,qcow2"]);
    command
}

/// The layers of the result in the registry's folder, by their titles; the first has none.
fn result_layers(registry: &DockerRegistry) -> Vec<(String, String)> {
    let tags = registry
        .dir()
        .join("data/docker/registry/v2/repositories/team/store/_manifests/tags");
    let tags = fs::read_dir(tags).unwrap().map(|tag| tag.unwrap().path());
    let mut results = tags.filter(|tag| {
        let name = tag.file_name().unwrap().to_str().unwrap();
        name.starts_with("cache-")
    });
    let link = fs::read_to_string(results.next().unwrap().join("current/link")).unwrap();
    assert!(results.next().is_none());
    let manifest = fs::read(registry.blob(link.strip_prefix("sha256:").unwrap())).unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    let layer = |layer: &Value| {
        let title = &layer["annotations"]["org.opencontainers.image.title"];
        let digest = layer["digest"].as_str().unwrap();
        (
            title.as_str().unwrap_or_default().to_owned(),
            digest.strip_prefix("sha256:").unwrap().to_owned(),
        )
    };
    manifest["layers"].as_array().unwrap().iter().map(layer).collect()
}

/// A second host with the same inputs takes the outputs, byte for byte, and needs no blob.
#[test]
fn a_second_build_takes_what_the_first_made() {
    let test = "a_second_build_takes_what_the_first_made";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let first = team.host();
    succeed(&mut first.fetch(&remote));
    let text = said(&mut build(&first, &remote, "read-write"));
    assert!(!text.contains("taken from") && !text.contains("WARN"), "{text}");
    let expected = digests(&first.out());

    let second = team.host();
    let text = said(&mut build(&second, &remote, "read"));
    assert!(text.contains(&format!("taken from remote store {remote}")), "{text}");
    assert_eq!(digests(&second.out()), expected);
    assert_eq!(fs::read_dir(second.store().join("sha256")).unwrap().count(), 0);
    let text = said(&mut build(&second, &remote, "read"));
    assert!(text.contains("unchanged"), "{text}");
    // What is not there any more is taken again.
    fs::remove_file(second.out().join("seedbed-small-amd64.raw")).unwrap();
    said(&mut build(&second, &remote, "read"));
    assert_eq!(digests(&second.out()), expected);

    // Nobody takes what was not asked for.
    let third = team.host();
    let text = said(&mut build(&third, &remote, "off"));
    assert!(!text.contains("taken from"), "{text}");
    assert_eq!(digests(&third.out()), expected);
    // Another firstboot is another image.
    let other = team.host();
    let firstboot = other.home.path().join("firstboot");
    fs::write(&firstboot, "another").unwrap();
    let mut command = seedbed(other.home.path());
    command.arg("build").arg(team.small.profile());
    command.args(["--remote-store", &remote, "--remote-store-results", "read"]);
    command.args(["--format", "raw,qcow2"]);
    command.arg("--out").arg(other.out()).arg("--firstboot").arg(firstboot);
    let text = said(&mut command);
    assert!(!text.contains("taken from"), "{text}");
}

/// A result that is damaged or of other inputs is refused, and one that only its writer can have meant is taken by those
/// alone who asked for results.
#[test]
fn a_bad_result_is_refused_and_built_here() {
    let test = "a_bad_result_is_refused_and_built_here";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let first = team.host();
    succeed(&mut first.fetch(&remote));
    succeed(&mut build(&first, &remote, "read-write"));
    let expected = digests(&first.out());
    let layers = result_layers(&registry);
    assert_eq!(layers.len(), 3);
    for (title, sha256) in &layers {
        let path = registry.blob(sha256);
        let good = fs::read(&path).unwrap();
        let mut bad = good.clone();
        let middle = bad.len() / 2;
        bad[middle] ^= 1;
        fs::write(&path, bad).unwrap();
        let host = team.host();
        let text = said(&mut build(&host, &remote, "read"));
        assert!(text.contains("sent other bytes") && text.contains("it is built here"), "{title}: {text}");
        assert!(!text.contains("taken from"), "{text}");
        assert_eq!(digests(&host.out()), expected);
        fs::write(&path, good).unwrap();
    }
    said(&mut build(&team.host(), &remote, "read"));
}

/// What holds a secret is not shared, and nobody without TLS is believed.
#[test]
fn what_is_not_shared() {
    let test = "what_is_not_shared";
    let Some(registry) = docker_registry(test, Setup::default()) else {
        return;
    };
    let team = Team::new();
    let remote = place(&registry);
    let host = team.host();
    succeed(&mut host.fetch(&remote));
    let seed = host.home.path().join("seed.yaml");
    let mut new = seedbed(host.home.path());
    succeed(new.args(["seed", "new", "plant"]).arg("--out").arg(&seed));
    succeed(build(&host, &remote, "read-write").arg("--seed").arg(&seed));
    succeed(build(&host, &remote, "read-write").arg("--no-cache"));
    let tags = registry
        .dir()
        .join("data/docker/registry/v2/repositories/team/store/_manifests/tags");
    assert_eq!(fs::read_dir(tags).unwrap().count(), 1);
    let words = ["has no TLS", "--remote-store-results"];
    refuse(&mut build(&host, "http://registry.example/x", "read"), &words);
}
