//! Signing by another program, so that a key can stay in a hardware module or a service.
//!
//! The program is started with one argument, the key's name (`db`; for updates of variables also `PK` and `KEK`).
//! It reads the message from standard input to its end, writes its signature to standard output (RSASSA-PKCS1-v1_5
//! with SHA-256, as many bytes as the modulus has, nothing else), and ends with 0. What it writes to standard
//! error is shown. No time is set to it: somebody may have to touch a token first.

use anyhow::{Context, bail};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that signs with the key of that name.
#[derive(Clone, Debug)]
pub(super) struct Program {
    path: PathBuf,
    key: String,
}

impl Program {
    pub(super) fn new(path: &Path, key: &str) -> Self {
        Program {
            path: path.to_owned(),
            key: key.to_owned(),
        }
    }

    /// What the program gives for `message`; whether it is a signature is for the caller to check.
    pub(super) fn sign(&self, message: &[u8]) -> anyhow::Result<Vec<u8>> {
        let (path, key) = (self.path.display(), &self.key);
        let mut child = Command::new(&self.path)
            .arg(key)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting signer {path}"))?;
        // Messages are shorter than any pipe, so that writing waits for nobody who waits for us.
        let written = child.stdin.take().map(|mut pipe| pipe.write_all(message));
        let output = child.wait_with_output();
        let output = output.with_context(|| format!("running signer {path}"))?;
        if !output.status.success() {
            bail!(
                "signer {path} gave no signature by key {key}: {}",
                output.status
            );
        }
        match written {
            // It knew enough without reading; the signature tells whether that is so.
            Some(Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            Some(result) => {
                result.with_context(|| format!("handing signer {path} what to sign"))?;
            }
            None => {}
        }
        Ok(output.stdout)
    }
}
