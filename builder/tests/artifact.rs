//! Images as OCI artifacts, pushed to Debian's `docker-registry` and pulled from it.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use base64::Engine;
use builder::digest;
use loopback::command::{refuse, seedbed, succeed};
use loopback::docker_registry::{DockerRegistry, PASSWORD, Setup, USER};
use serde_json::{Value, json};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

/// A registry with nothing in it, and a home for whoever uses it.
struct Registry {
    server: DockerRegistry,
    dir: tempfile::TempDir,
}

impl Registry {
    fn start(test: &str) -> Option<Self> {
        Self::set_up(test, Setup::default())
    }

    fn set_up(test: &str, setup: Setup) -> Option<Self> {
        let Some(server) = DockerRegistry::start(setup) else {
            let required = std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() == Ok("1");
            assert!(!required, "{test}: docker-registry is not installed");
            println!("SKIP {test}: docker-registry is not installed");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        Some(Registry { server, dir })
    }

    fn reference(&self, rest: &str) -> String {
        format!("{}/{rest}", self.server.host())
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn seedbed(&self, args: &[&str], path: &Path) -> assert_cmd::Command {
        let mut command = seedbed(self.dir.path());
        command.args(args).arg(path);
        command
    }

    fn push(&self, to: &str, path: &Path) -> Value {
        let to = self.reference(to);
        let told = succeed(&mut self.seedbed(&["push", "--json", "--to", &to], path));
        // Lines of progress come first.
        serde_json::from_str(told.lines().last().unwrap()).unwrap()
    }

    fn pull(&self, from: &str, path: &Path) -> Value {
        let from = self.reference(from);
        let told = succeed(&mut self.seedbed(&["pull", "--json", &from, "--output"], path));
        serde_json::from_str(&told).unwrap()
    }

    /// Where the registry keeps a blob.
    fn blob(&self, sha256: &str) -> PathBuf {
        let data = self.server.dir().join("data");
        let blobs = data.join("docker/registry/v2/blobs/sha256");
        blobs.join(&sha256[..2]).join(sha256).join("data")
    }

    /// The manifest with that digest, as the registry keeps it.
    fn manifest(&self, digest: &str) -> Value {
        let sha256 = digest.strip_prefix("sha256:").unwrap();
        serde_json::from_slice(&fs::read(self.blob(sha256)).unwrap()).unwrap()
    }
}

/// Files as a build leaves them.
fn outputs(folder: &Path, files: &[(&str, Vec<u8>)]) {
    fs::create_dir_all(folder).unwrap();
    let mut sums = String::new();
    for (name, bytes) in files {
        fs::write(folder.join(name), bytes).unwrap();
        sums += &format!("{}  {name}\n", digest::sha256(bytes));
    }
    fs::write(folder.join("SHA256SUMS"), sums).unwrap();
}

/// More than a buffer's worth.
fn disk(byte: u8) -> Vec<u8> {
    [byte].repeat(3_000_000)
}

fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let name =
        |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string().unwrap();
    let mut names: Vec<String> = entries.map(name).collect();
    names.sort();
    names
}

/// The digest in `REGISTRY/REPOSITORY:TAG@DIGEST`.
fn digest_of(pushed: &Value) -> String {
    pushed["reference"]
        .as_str()
        .unwrap()
        .split_once('@')
        .unwrap()
        .1
        .to_owned()
}

#[test]
fn what_is_pushed_can_be_pulled() {
    let Some(registry) = Registry::start("what_is_pushed_can_be_pulled") else {
        return;
    };
    let out = registry.folder("out");
    let image = "seedbed-x-amd64.raw";
    outputs(
        &out,
        &[
            (image, disk(1)),
            ("manifest.json", b"{}\n".to_vec()),
            ("empty.txt", Vec::new()),
        ],
    );
    fs::write(out.join("stray"), "not of the build").unwrap();
    let pushed = registry.push("team/x:v1", &out);
    // Four files and the empty config.
    assert_eq!((&pushed["sent"], &pushed["there"]), (&json!(5), &json!(0)));

    let manifest = registry.manifest(&digest_of(&pushed));
    assert_eq!(manifest["artifactType"], "application/vnd.seedbed.image.v1");
    assert_eq!(
        manifest["config"]["mediaType"],
        "application/vnd.oci.empty.v1+json"
    );
    let title = |layer: &Value| layer["annotations"]["org.opencontainers.image.title"].clone();
    let layers = manifest["layers"].as_array().unwrap();
    let titles: Vec<Value> = layers.iter().map(title).collect();
    assert_eq!(titles, ["SHA256SUMS", "empty.txt", "manifest.json", image]);

    // Nothing is sent twice, not even under another tag.
    let again = registry.push("team/x:v2", &out);
    assert_eq!(
        (&again["sent"], digest_of(&again)),
        (&json!(0), digest_of(&pushed))
    );

    let back = registry.folder("back");
    for from in [
        "team/x:v1".to_owned(),
        format!("team/x@{}", digest_of(&pushed)),
    ] {
        let pulled = registry.pull(&from, &back);
        assert_eq!(pulled["digest"], digest_of(&pushed));
    }
    assert_eq!(
        names(&back),
        ["SHA256SUMS", "empty.txt", "manifest.json", image]
    );
    for name in names(&back) {
        assert_eq!(
            fs::read(back.join(&name)).unwrap(),
            fs::read(out.join(&name)).unwrap()
        );
    }
    assert_eq!(registry.pull("team/x:v1", &back)["there"], 4);
    fs::remove_file(back.join(image)).unwrap();
    assert_eq!(registry.pull("team/x:v1", &back)["there"], 3);
    fs::write(back.join(image), "mine").unwrap();
    let from = registry.reference("team/x:v1");
    let mut command = registry.seedbed(&["pull", &from, "--output"], &back);
    refuse(&mut command, &[image, "other contents"]);
    assert_eq!(fs::read(back.join(image)).unwrap(), b"mine");

    // What changed is sent, and no more.
    outputs(
        &out,
        &[(image, disk(2)), ("manifest.json", b"{}\n".to_vec())],
    );
    let changed = registry.push("team/x:v1", &out);
    assert_eq!(
        (&changed["sent"], &changed["there"]),
        (&json!(2), &json!(2))
    );
    assert_ne!(digest_of(&changed), digest_of(&pushed));
}

#[test]
fn architectures_have_manifests_of_their_own() {
    let Some(registry) = Registry::start("architectures_have_manifests_of_their_own") else {
        return;
    };
    let out = registry.folder("out");
    let (amd64, arm64) = ("seedbed-x-amd64.qcow2", "seedbed-x-arm64.qcow2");
    outputs(
        &out,
        &[
            (amd64, disk(1)),
            (arm64, disk(2)),
            ("report.html", b"report".to_vec()),
        ],
    );
    let pushed = registry.push("x:v1", &out);
    let index = registry.manifest(&digest_of(&pushed));
    let platforms: Vec<&Value> = index["manifests"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| &entry["platform"])
        .collect();
    let expected = ["amd64", "arm64"].map(|arch| json!({"architecture": arch, "os": "linux"}));
    assert_eq!(platforms, expected.each_ref());
    let one = registry.folder("one");
    let from = registry.reference("x:v1");
    succeed(&mut registry.seedbed(&["pull", "--arch", "arm64", &from, "--output"], &one));
    assert_eq!(names(&one), ["SHA256SUMS", "report.html", arm64]);
    let all = registry.folder("all");
    registry.pull("x:v1", &all);
    assert_eq!(names(&all), ["SHA256SUMS", "report.html", amd64, arm64]);
}

#[test]
fn what_is_damaged_is_neither_pushed_nor_pulled() {
    let Some(registry) = Registry::start("what_is_damaged_is_neither_pushed_nor_pulled") else {
        return;
    };
    let out = registry.folder("out");
    let image = "seedbed-x-amd64.raw";
    outputs(&out, &[(image, disk(1))]);
    let to = registry.reference("x:v1");
    fs::write(out.join(image), disk(9)).unwrap();
    let mut command = registry.seedbed(&["push", "--to", &to], &out);
    refuse(&mut command, &[image, "SHA256SUMS"]);
    let back = registry.folder("back");
    let pull = || registry.seedbed(&["pull", &to, "--output"], &back);
    refuse(&mut pull(), &["x:v1"]);
    fs::write(out.join(image), disk(1)).unwrap();
    registry.push("x:v1", &out);
    let mut bytes = disk(1);
    bytes[2_000_000] ^= 1;
    fs::write(registry.blob(&digest::sha256(&disk(1))), bytes).unwrap();
    refuse(&mut pull(), &[image, "x:v1"]);
    assert_eq!(names(&back), ["SHA256SUMS"]);
}

/// Who may write is who logged in with docker or podman, and nobody else.
#[test]
fn a_login_lets_push_and_pull_in() {
    let test = "a_login_lets_push_and_pull_in";
    let login = Setup {
        login: true,
        ..Setup::default()
    };
    let Some(registry) = Registry::set_up(test, login) else {
        return;
    };
    let out = registry.folder("out");
    let image = "seedbed-x-amd64.raw";
    outputs(&out, &[(image, disk(1))]);
    let to = registry.reference("team/x:v1");
    let push = || registry.seedbed(&["push", "--to", &to], &out);
    refuse(&mut push(), &["team/x:v1", "no login for it"]);
    let host = registry.server.host();
    let log_in = |password: &str| {
        let auth = base64::engine::general_purpose::STANDARD.encode(format!("{USER}:{password}"));
        let file = registry.folder(".docker/config.json");
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, json!({"auths": {host: {"auth": auth}}}).to_string()).unwrap();
    };
    log_in("another");
    let said = refuse(
        &mut push(),
        &["does not let", ".docker/config.json", "team/x"],
    );
    assert!(!said.contains("another"), "{said}");
    log_in(PASSWORD);
    registry.push("team/x:v1", &out);
    let back = registry.folder("back");
    registry.pull("team/x:v1", &back);
    assert_eq!(fs::read(back.join(image)).unwrap(), disk(1));
}

#[test]
fn references_and_registries_that_lead_nowhere() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "file").unwrap();
    let push = |to: &str| {
        let mut command = seedbed(home.path());
        command.args(["push", "--to", to]).arg(&file);
        command
    };
    let digest = format!("sha256:{}", "0".repeat(64));
    for (to, word) in [
        ("registry.example/x/", "slash"),
        ("registry.example:x/y:v1", "port"),
        ("registry.example/a/B/c:v1", "\"B\""),
        ("::1/x:v1", "brackets"),
        ("x:v1", "no registry"),
        ("http://registry.example/x:v1", "leave out"),
        ("registry.example/x", "no tag"),
        (&format!("registry.example/x:v1@{digest}"), "tag alone"),
    ] {
        refuse(&mut push(to), &[to, word]);
    }
    // Nobody listens there: it was closed again.
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    refuse(
        &mut push(&format!("{address}/x:v1")),
        &[&address.to_string()],
    );
}
