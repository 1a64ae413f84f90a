//! The smallest profile that has one of everything: a package, a file, and a composed image.

use super::DATE;
use super::command::{seedbed, succeed};
use super::server::Server;
use assert_cmd::Command;
use builder::debian::date::Date;
use builder::digest;
use builder::fixture::archive::ArchivePlan;
use builder::fixture::deb::Deb;
use std::fs;
use std::path::PathBuf;

const PROFILE: &str = "\
version: 1
name: small
arch: [amd64]
sources:
  debian:
    debian: {suite: trixie, components: [main], keyring: keyring.pgp, maxAgeDays: 36500}
  files: {}
kubernetes:
  version: v1.34.1
  imageRepository: registry.example
  pause: registry.example/pause:1
packages:
  - app
files:
  - {from: files, path: tool, to: /usr/bin/tool}
images:
  - name: registry.example/pause:1
    from:
      files:
        /pause: {from: files, path: pause}
      entrypoint: [/pause]
";

/// The profile in a folder of its own, and a server with what it names.
pub struct Small {
    /// Serves `/debian` and `/files`.
    pub server: Server,
    /// The home of the program; the profile is in it.
    pub dir: tempfile::TempDir,
}

/// The archive's packages.
pub fn debs() -> Vec<Deb> {
    let app = Deb::new("app", "1").file("/usr/bin/app", "#!/bin/app", 0o755);
    vec![app.field("Depends", "library"), Deb::new("library", "2")]
}

/// An archive of [`debs`], signed at [`DATE`].
pub fn archive() -> ArchivePlan {
    ArchivePlan::new("trixie", Date::from_unix(DATE), debs())
}

impl Small {
    /// With everything in order.
    pub fn new() -> Self {
        Self::with(&archive())
    }

    /// With another archive.
    pub fn with(archive: &ArchivePlan) -> Self {
        let small = Small {
            server: Server::start(),
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir_all(small.profile()).unwrap();
        fs::create_dir_all(small.dir.path().join("overlays/initrd")).unwrap();
        small.write(PROFILE);
        fs::write(small.firstboot(), "firstboot").unwrap();
        small.put_archive(archive);
        for name in ["tool", "pause"] {
            // Larger than any limit that a test sets.
            small.put_file(name, format!("{name} ").repeat(300_000).as_bytes());
        }
        small
    }

    /// Replaces the archive, and the keyring that the profile trusts.
    pub fn put_archive(&self, plan: &ArchivePlan) {
        let archive = plan.build().unwrap();
        for (path, bytes) in &archive.files {
            self.server.put(&format!("/debian/{path}"), bytes.clone());
        }
        fs::write(self.profile().join("keyring.pgp"), &archive.keyring).unwrap();
    }

    /// Serves a file of the source `files` with its digest, which it gives.
    pub fn put_file(&self, name: &str, bytes: &[u8]) -> String {
        let sha256 = digest::sha256(bytes);
        self.server.put(&format!("/files/{name}"), bytes);
        self.server
            .put(&format!("/files/{name}.sha256"), sha256.clone());
        sha256
    }

    /// The profile's folder.
    pub fn profile(&self) -> PathBuf {
        self.dir.path().join("profiles/small")
    }

    /// The folder that builds write to.
    pub fn out(&self) -> PathBuf {
        self.dir.path().join("out")
    }

    /// What stands for the firstboot program.
    pub fn firstboot(&self) -> PathBuf {
        self.dir.path().join("firstboot")
    }

    /// The lock's path.
    pub fn lock_path(&self) -> PathBuf {
        self.profile().join("profile.lock")
    }

    /// A folder of the store: `sha256` or `partial`.
    pub fn store(&self, part: &str) -> PathBuf {
        self.dir.path().join(".cache/seedbed/store").join(part)
    }

    /// The profile's text.
    pub fn text(&self) -> String {
        fs::read_to_string(self.profile().join("profile.yaml")).unwrap()
    }

    /// Replaces the profile's text.
    pub fn write(&self, text: &str) {
        fs::write(self.profile().join("profile.yaml"), text).unwrap();
    }

    /// Replaces one place of the profile's text.
    pub fn edit(&self, from: &str, to: &str) {
        let text = self.text();
        assert_eq!(text.matches(from).count(), 1, "{from:?}");
        self.write(&text.replace(from, to));
    }

    /// `seedbed WHAT PROFILE` with all that it needs.
    pub fn command(&self, what: &str) -> Command {
        self.give(seedbed(self.dir.path()), what)
    }

    /// Appends what to do to a command line.
    pub fn give(&self, mut command: Command, what: &str) -> Command {
        command.args([what.as_ref(), self.profile().as_os_str()]);
        match what {
            "lock" | "fetch" => {
                for source in ["debian", "files"] {
                    let url = self.server.url(&format!("/{source}"));
                    command.args(["--source", &format!("{source}={url}")]);
                }
            }
            "build" => {
                command.arg("--out").arg(self.out());
                command.arg("--firstboot").arg(self.firstboot());
            }
            _ => {}
        }
        command
    }

    /// Goes through these steps, all of which succeed.
    pub fn done(self, steps: &[&str]) -> Self {
        for step in steps {
            succeed(&mut self.command(step));
        }
        self
    }

    /// The names below a folder, hidden ones too; none if there is no folder.
    pub fn names(&self, folder: PathBuf) -> Vec<String> {
        let Ok(entries) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let names = entries.map(|entry| name(entry).into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }
}
