//! Build hosts that share a remote store: a locked profile, and hosts with nothing on them.

use crate::loopback::command::{seedbed, succeed};
use crate::loopback::docker_registry::{DockerRegistry, Setup};
use crate::loopback::machine::small_machine;
use crate::loopback::registry;
use crate::loopback::small::Small;
use crate::support;
use assert_cmd::Command;
use builder::digest;
use builder::images::reference::Reference;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

const IMAGE: &str = "registry.test/app:1";
/// Where nobody listens.
pub(crate) const NOWHERE: &str = "http://127.0.0.1:1";

/// A locked profile with one of everything, and where its sources are.
pub(crate) struct Team {
    pub(crate) small: Small,
}

impl Team {
    /// Everything is locked, and the store of who locked it is gone.
    pub(crate) fn new() -> Self {
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
    pub(crate) fn host(&self) -> Host<'_> {
        Host {
            team: self,
            home: tempfile::tempdir().unwrap(),
        }
    }

    /// Digests and sizes of all blobs of the lock.
    pub(crate) fn blobs(&self) -> BTreeMap<String, u64> {
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

/// A build host.
pub(crate) struct Host<'a> {
    team: &'a Team,
    /// Its user's home.
    pub(crate) home: tempfile::TempDir,
}

impl Host<'_> {
    /// `seedbed WHAT` with the remote store.
    pub(crate) fn command(&self, what: &str, remote: &str) -> Command {
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
    pub(crate) fn fetch(&self, remote: &str) -> Command {
        let server = &self.team.small.server;
        self.fetch_from(remote, &server.url(""))
    }

    pub(crate) fn fetch_from(&self, remote: &str, base: &str) -> Command {
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

    pub(crate) fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.home.path().join(".cache/seedbed/store")
    }

    pub(crate) fn has_everything(&self) -> bool {
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
pub(crate) fn digests(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder).unwrap();
    let digest = |path: &Path| digest::sha256_of(fs::File::open(path).unwrap()).unwrap().0;
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.map(|path| (name(&path), digest(&path))).collect()
}

/// What a command that succeeded said on both streams.
pub(crate) fn said(command: &mut Command) -> String {
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
pub(crate) fn docker_registry(test: &str, setup: Setup) -> Option<DockerRegistry> {
    let started = DockerRegistry::start(setup);
    if started.is_none() {
        support::skip(test, "docker-registry is not installed");
    }
    started
}

pub(crate) fn place(registry: &DockerRegistry) -> String {
    format!("{}/team/store", registry.host())
}
