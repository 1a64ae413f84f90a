//! Debian's `docker-registry`: a registry on this host's loopback, for as long as a test needs it.

use crate::network;
use crate::process;
use anyhow::{Context, bail};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Stdio};
use std::thread;

/// The program, where Debian puts it.
const PROGRAM: &str = "/usr/bin/docker-registry";
/// What it says on standard error as soon as it answers.
const LISTENING: &str = "listening on";

/// A registry without TLS and without logins. Dropping it ends it; what it keeps stays in its folder.
#[derive(Debug)]
pub struct Registry {
    port: u16,
    child: Child,
}

impl Registry {
    /// Starts a registry that keeps everything in `folder`, which is made, and waits until it answers.
    ///
    /// # Errors
    /// The program is not installed, or ends by itself; the message has what it said last.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let creating = || format!("creating {}", folder.display());
        fs::create_dir_all(folder).with_context(creating)?;
        let port = network::free_port()?;
        let data = folder.join("data");
        let config = format!(
            "version: 0.1\nlog: {{level: info}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '127.0.0.1:{port}'}}\n",
            data.display()
        );
        let path = folder.join("config.yml");
        fs::write(&path, config).with_context(|| format!("writing {}", path.display()))?;
        let mut command = process::bound(PROGRAM);
        command.arg("serve").arg(&path);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped());
        let mut child = process::start(command)?;
        let stderr = child.stderr.take();
        let mut registry = Registry { port, child };
        let stderr = stderr.with_context(|| format!("{PROGRAM}: standard error is not piped"))?;
        registry.wait(stderr)?;
        Ok(registry)
    }

    /// The port of this host's loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn wait(&mut self, stderr: impl std::io::Read + Send + 'static) -> anyhow::Result<()> {
        let mut lines = BufReader::new(stderr).lines();
        let mut last = String::new();
        for line in lines.by_ref() {
            last = line.with_context(|| format!("reading what {PROGRAM} says"))?;
            if last.contains(LISTENING) {
                // It would stop if nobody took its messages.
                thread::spawn(move || lines.for_each(drop));
                return Ok(());
            }
        }
        let status = self.child.wait().context("waiting for it to end")?;
        bail!("{PROGRAM} ended with {status}: {last}")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
