//! The one door to the world: every effect of `firstboot` goes through [`Host`].
//!
//! There are two implementations: [`Linux`], the machine itself, and a recording fake in memory that the tests
//! of the phases run on. Nothing here knows what a phase is.

pub mod cmd;
#[cfg(test)]
pub(crate) mod fake;
mod files;
pub mod http;
mod linux;
pub mod mounts;

use std::fs::File;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use contract::peer;
use contract::peer::keys::{PrivateKey, PublicKey};
use contract::secret::Secret;

pub use cmd::{Cmd, Output};
pub use http::{Reply, Request};
pub use linux::Linux;

/// A mount to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount<'a> {
    /// Device or directory; for `tmpfs` and `overlay` only a name.
    pub source: &'a str,
    /// Where.
    pub target: &'a str,
    /// File system type; `None` binds `source`.
    pub fstype: Option<&'a str>,
    /// File system options, comma-separated.
    pub options: &'a str,
    /// Mounted without write access.
    pub read_only: bool,
}

impl<'a> Mount<'a> {
    /// Shows the directory `source` at `target` too.
    pub fn bind(source: &'a str, target: &'a str) -> Self {
        Mount {
            source,
            target,
            fstype: None,
            options: "",
            read_only: false,
        }
    }

    /// A file system of type `fstype` on `source`.
    pub fn of(fstype: &'a str, source: &'a str, target: &'a str) -> Self {
        Mount {
            source,
            target,
            fstype: Some(fstype),
            options: "",
            read_only: false,
        }
    }
}

/// A question to another machine, over the peers' channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Where it is.
    pub address: SocketAddr,
    /// The cluster secret.
    pub secret: Secret,
    /// This machine's key.
    pub own: PrivateKey,
    /// The other machine's.
    pub theirs: PublicKey,
    /// The question.
    pub request: peer::Request,
}

/// Every effect that phases have. Paths are absolute. All of it may block; nothing of it may hang for ever.
pub trait Host: Sync {
    /// Runs a program to its end; anything but status 0 is an error that names command, status and the end of stderr.
    fn run(&self, cmd: &Cmd) -> Result<Output>;

    /// The whole file, or `None` if there is none.
    fn read(&self, path: &str) -> Result<Option<Vec<u8>>>;

    /// `len` bytes at `offset` of a file or block device.
    fn read_at(&self, path: &str, offset: u64, len: usize) -> Result<Vec<u8>>;

    /// Opens a whole disk or a device on it; to `write`, only if nobody else uses it.
    fn open_disk(&self, path: &str, write: bool) -> Result<File>;

    /// Replaces the file at once: temporary file, fsync, rename, fsync of the directory.
    fn write(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<()>;

    /// Appends one piece to a file, which is made with mode 0600 if missing; no fsync.
    fn append(&self, path: &str, bytes: &[u8]) -> Result<()>;

    /// Writes to a device that someone may be listening on; gives up within a fifth of a second, and never makes
    /// a file. Says whether everything was written.
    fn announce(&self, device: &str, bytes: &[u8]) -> bool;

    /// Copies a file with its mode, at once.
    fn copy(&self, from: &str, to: &str) -> Result<()>;

    /// Makes the directory and its parents; an existing one gets the mode.
    fn create_dir(&self, path: &str, mode: u32) -> Result<()>;

    /// Removes a file or a symbolic link; a missing one is fine.
    fn remove(&self, path: &str) -> Result<()>;

    /// The names in a directory, sorted; none if it does not exist.
    fn list(&self, path: &str) -> Result<Vec<String>>;

    /// Whether anything is at the path (links followed).
    fn exists(&self, path: &str) -> bool;

    /// The target of a symbolic link, as written; `None` if there is none.
    fn read_link(&self, path: &str) -> Result<Option<String>>;

    /// Makes a symbolic link, replacing the file or link that is there.
    fn symlink(&self, target: &str, path: &str) -> Result<()>;

    /// Major and minor number of a device node.
    fn device_number(&self, path: &str) -> Result<(u32, u32)>;

    /// Mounts.
    fn mount(&self, mount: &Mount<'_>) -> Result<()>;

    /// Unmounts.
    fn unmount(&self, target: &str) -> Result<()>;

    /// Brings everything written on the file system that holds `path` to the disk.
    fn sync(&self, path: &str) -> Result<()>;

    /// Sets the kernel's host name.
    fn set_host_name(&self, name: &str) -> Result<()>;

    /// Time since 1970, by the system's clock.
    fn clock(&self) -> Duration;

    /// Sets the system's clock.
    fn set_clock(&self, seconds: u64) -> Result<()>;

    /// Time since power-on.
    fn uptime(&self) -> Duration;

    /// 16 bytes nobody can guess.
    fn random(&self) -> Result<[u8; 16]>;

    /// One HTTP request to this machine.
    fn ask(&self, request: &Request) -> Result<Reply>;

    /// One question to another machine.
    fn call(&self, call: &Call) -> Result<peer::Response>;

    /// Waits; only the engine and the waits with a deadline call it.
    fn sleep(&self, time: Duration);

    /// Whole seconds since 1970, by the system's clock.
    fn now(&self) -> u64 {
        self.clock().as_secs()
    }

    /// The whole file as text, or `None` if there is none.
    fn read_text(&self, path: &str) -> Result<Option<String>> {
        let Some(bytes) = self.read(path)? else {
            return Ok(None);
        };
        let text = String::from_utf8(bytes)
            .map_err(|_| anyhow::anyhow!("reading {path}: it is not UTF-8 text"))?;
        Ok(Some(text))
    }

    /// Writes the file unless it has these bytes already; says whether it wrote.
    fn write_if_changed(&self, path: &str, mode: u32, bytes: &[u8]) -> Result<bool> {
        if self.read(path)?.as_deref() == Some(bytes) {
            return Ok(false);
        }
        self.write(path, mode, bytes)?;
        Ok(true)
    }
}

/// The folder that holds `path`.
pub fn parent(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some(("", _)) | None => "/",
        Some((parent, _)) => parent,
    }
}
