//! Credential helpers: programs `docker-credential-NAME` that keep logins in a keychain or draw them from a cloud
//! (the protocol of docker-credential-helpers: `get`, the server on standard input, JSON on standard output).
//!
//! The one place where `seedbed` starts a program, and only when a registry asks for a
//! login and the user's own login file names the helper.

use super::Credential;
use anyhow::{Context, bail};
use contract::secret::Secret;
use serde::Deserialize;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

/// A helper may ask its user for a passphrase, or a cloud for a token.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long what a helper wrote may take to arrive after its end.
const GRACE: Duration = Duration::from_secs(2);
/// Logins are short.
const LIMIT: u64 = 1 << 20;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    username: String,
    secret: String,
}

/// Asks the helper `name` for the login to `server`; `None` if it has none.
pub(super) fn get(name: &str, server: &str) -> anyhow::Result<Option<Credential>> {
    let program = format!("docker-credential-{name}");
    let asking = || format!("asking {program} for the login to {server}");
    let good = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || !name.chars().all(good) {
        bail!("credential helper {name:?} is no name of a program");
    }
    let (succeeded, output) = run(&program, server).with_context(asking)?;
    if !succeeded {
        // What a helper prints when it knows nothing of the server.
        if String::from_utf8_lossy(&output).contains("credentials not found") {
            return Ok(None);
        }
        // Its output may hold part of a secret, so it is not shown.
        let hint = format!("it failed; run `echo {server} | {program} get` to see why");
        return Err(anyhow::anyhow!(hint)).with_context(asking);
    }
    let answer: Answer = serde_json::from_slice(&output)
        .map_err(|_| anyhow::anyhow!("its answer has no Username and Secret"))
        .with_context(asking)?;
    let secret = Secret::new(answer.secret);
    Ok(Some(match answer.username.as_str() {
        "<token>" => Credential::Identity(secret),
        _ => Credential::Basic {
            user: answer.username,
            password: secret,
        },
    }))
}

/// Whether the program succeeded, and what it printed.
fn run(program: &str, server: &str) -> anyhow::Result<(bool, Vec<u8>)> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("starting {program}, which has to be on PATH"))?;
    if let Some(mut input) = child.stdin.take() {
        // A helper that does not read is judged by what it answers.
        let _ = writeln!(input, "{server}");
    }
    let output = child.stdout.take();
    let (sender, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut output = output.map(|output| output.take(LIMIT));
        let mut piece = [0; 4096];
        while let Some(output) = &mut output {
            let read = output.read(&mut piece).map(|n| piece[..n].to_vec());
            let is_last = read.as_ref().map_or(true, Vec::is_empty);
            if sender.send(read).is_err() || is_last {
                return;
            }
        }
    });
    let succeeded = wait(&mut child, program)?;
    let (mut bytes, ended) = (Vec::new(), Instant::now());
    // Its answer is there now; but what it left running may hold its output open for ever.
    while let Ok(piece) = pieces.recv_timeout(GRACE.saturating_sub(ended.elapsed())) {
        bytes.extend(piece.context("reading its answer")?);
    }
    Ok((succeeded, bytes))
}

fn wait(child: &mut Child, program: &str) -> anyhow::Result<bool> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().context("waiting for it")? {
            return Ok(status.success());
        }
        if start.elapsed() > PATIENCE {
            child
                .kill()
                .with_context(|| format!("stopping {program}"))?;
            child.wait().context("waiting for it")?;
            bail!("{program} did not answer within {} s", PATIENCE.as_secs());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    /// R013.
    #[test]
    fn what_a_helper_leaves_running_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("docker-credential-test");
        fs::write(&program, "#!/bin/sh\nsleep 40 &\necho answer\n").unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let start = Instant::now();
        let (succeeded, output) = run(&program.to_string_lossy(), "registry.test").unwrap();
        assert!(succeeded && output == b"answer\n");
        assert!(start.elapsed() < Duration::from_secs(30));
    }
}
