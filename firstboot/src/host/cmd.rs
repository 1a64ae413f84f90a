//! A program to run: absolute path, arguments, environment, time limit. No shell, ever.

use std::fmt;
use std::time::Duration;

/// What a program that ended with status 0 wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// A command line as a value. `Display` writes it for people, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cmd {
    program: &'static str,
    args: Vec<Arg>,
    env: Vec<(&'static str, String)>,
    timeout: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Arg {
    Plain(String),
    Secret(contract::secret::Secret),
}

impl Cmd {
    /// A command without arguments and with a limit of 60 s.
    pub fn new(program: &'static str) -> Self {
        debug_assert!(program.starts_with('/'), "programs are absolute paths");
        Cmd {
            program,
            args: Vec::new(),
            env: Vec::new(),
            timeout: Duration::from_secs(60),
        }
    }

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(Arg::Plain(arg.into()));
        self
    }

    /// Adds arguments.
    pub fn args<T: Into<String>>(mut self, args: impl IntoIterator<Item = T>) -> Self {
        self.args
            .extend(args.into_iter().map(|arg| Arg::Plain(arg.into())));
        self
    }

    /// Adds an argument that no message shows.
    pub fn secret(mut self, secret: contract::secret::Secret) -> Self {
        self.args.push(Arg::Secret(secret));
        self
    }

    /// Sets an environment variable; the program sees only `PATH` and these.
    pub fn env(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.env.push((name, value.into()));
        self
    }

    /// Sets the time after which the program is killed.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The program's absolute path.
    pub fn program(&self) -> &'static str {
        self.program
    }

    /// The arguments as the program gets them, secrets included.
    pub fn exposed_args(&self) -> impl Iterator<Item = &str> {
        self.args.iter().map(|arg| match arg {
            Arg::Plain(text) => text.as_str(),
            Arg::Secret(secret) => secret.expose(),
        })
    }

    /// The environment beside `PATH`.
    pub fn environment(&self) -> &[(&'static str, String)] {
        &self.env
    }

    /// The time limit.
    pub fn limit(&self) -> Duration {
        self.timeout
    }

    /// `text` with every secret of this command line taken out.
    pub fn redact(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for arg in &self.args {
            if let Arg::Secret(secret) = arg
                && !secret.expose().is_empty()
            {
                text = text.replace(secret.expose(), "[redacted]");
            }
        }
        text
    }
}

impl fmt::Display for Cmd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program)?;
        for arg in &self.args {
            match arg {
                Arg::Secret(_) => f.write_str(" [redacted]")?,
                Arg::Plain(text) if text.is_empty() || text.contains([' ', '\'', '"', '\n']) => {
                    write!(f, " {text:?}")?;
                }
                Arg::Plain(text) => write!(f, " {text}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::Cmd;
    use contract::secret::Secret;

    #[test]
    fn secrets_show_nowhere() {
        let cmd = Cmd::new("/usr/bin/x")
            .args(["--token", "a b"])
            .secret(Secret::new("hunter2"));
        assert_eq!(cmd.to_string(), r#"/usr/bin/x --token "a b" [redacted]"#);
        assert!(!format!("{cmd:?}").contains("hunter2"));
        assert_eq!(cmd.redact("no hunter2!"), "no [redacted]!");
        assert_eq!(
            cmd.exposed_args().collect::<Vec<_>>(),
            ["--token", "a b", "hunter2"]
        );
    }
}
