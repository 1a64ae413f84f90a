//! Runs the host's tools to their end, with a deadline.

use crate::process;
use anyhow::{Context, bail};
use std::ffi::OsStr;
use std::fmt::Write;
use std::io::Read;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How much of a failed tool's standard error its message shows.
const TAIL: usize = 1024;

/// A tool of the host and its arguments.
#[derive(Debug)]
pub struct Tool {
    line: String,
    command: Command,
    limit: Duration,
}

/// What a tool left.
#[derive(Clone, Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Tool {
    /// The program, by name or path, with a minute to do its work.
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let program = program.as_ref().to_string_lossy();
        let mut command = process::bound(&program);
        // Debian keeps mkfs.fat and its like out of a user's search path.
        if let Some(path) = std::env::var_os("PATH") {
            let path = path.to_string_lossy();
            command.env("PATH", format!("{path}:/usr/sbin:/sbin"));
        }
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Tool {
            line: program.into_owned(),
            command,
            limit: Duration::from_secs(60),
        }
    }

    /// One more argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let _ = write!(self.line, " {}", arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// More arguments.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Tool::arg)
    }

    /// A variable of its environment.
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it, and fails unless it succeeds.
    pub fn run(self) -> anyhow::Result<Finished> {
        let line = self.line.clone();
        let finished = self.finish()?;
        if !finished.status.success() {
            let tail = finished.stderr.len().saturating_sub(TAIL);
            let tail = (tail..=finished.stderr.len()).find_map(|at| finished.stderr.get(at..));
            bail!(
                "`{line}` ended with {}: {}",
                finished.status,
                tail.unwrap_or_default().trim()
            );
        }
        Ok(finished)
    }

    /// Runs it to its end, good or bad; fails only if it cannot start or takes too long.
    pub fn finish(self) -> anyhow::Result<Finished> {
        let Tool {
            line,
            command,
            limit,
        } = self;
        let deadline = Instant::now() + limit;
        let mut child = process::start(command)?;
        let stdout = collect(child.stdout.take());
        let stderr = collect(child.stderr.take());
        // Both streams end when the program does.
        let rest = || deadline.saturating_duration_since(Instant::now());
        let texts = stdout
            .recv_timeout(rest())
            .and_then(|out| Ok((out, stderr.recv_timeout(rest())?)));
        let Ok((stdout, stderr)) = texts else {
            let _ = child.kill();
            let _ = child.wait();
            bail!("`{line}` took more than {} s", limit.as_secs());
        };
        let status = child
            .wait()
            .with_context(|| format!("waiting for `{line}`"))?;
        Ok(Finished {
            status,
            stdout,
            stderr,
        })
    }
}

/// Reads a stream to its end on a thread of its own.
fn collect(stream: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error still tells something.
            let _ = stream.read_to_end(&mut bytes);
        }
        let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
    });
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_names_the_whole_line_and_what_the_tool_said() {
        let error = Tool::new("ls").arg("/no/such/folder").run().unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("`ls /no/such/folder`") && text.contains("No such file"),
            "{text}"
        );
    }

    #[test]
    fn a_tool_that_hangs_is_ended() {
        let tool = Tool::new("tail").args(["-f", "/dev/null"]);
        let error = tool.limit(Duration::from_millis(200)).run().unwrap_err();
        assert!(format!("{error:#}").contains("took more than"), "{error:#}");
    }
}
