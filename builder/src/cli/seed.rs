//! `seedbed seed …` and `seedbed kubeconfig`.

use crate::cli::args::{KubeconfigArgs, SeedCommand};
use crate::output::Unfinished;
use anyhow::{Context, bail};
use contract::document::text;
use contract::peer::{Request, Response};
use contract::seed::{self, Seed};
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a machine that is not ready yet is asked again.
const PATIENCE: Duration = Duration::from_secs(600);

pub(super) fn run(command: SeedCommand) -> anyhow::Result<()> {
    match command {
        SeedCommand::New { name, out } => new(&name, &out),
        SeedCommand::Check { file } => {
            let seed = read(&file)?;
            println!("{}: good", file.display());
            print!("{}", seed.explain());
            Ok(())
        }
    }
}

fn new(name: &str, out: &Path) -> anyhow::Result<()> {
    let mut bytes = [0; seed::SECRET_BYTES];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("drawing a secret")?;
    let text = seed::new_text(name, &bytes);
    // A name that makes no valid seed is reported with the same words as in a file.
    seed::parse(&out.display().to_string(), &text)?;
    let file = File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(out);
    let mut file = match file {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => bail!(
            "{} exists already, and its secret may be a cluster's: move it away, or give another --out",
            out.display()
        ),
        file => file.with_context(|| format!("creating {}", out.display()))?,
    };
    let written = file
        .write_all(text.as_bytes())
        .and_then(|()| file.sync_all());
    if let Err(error) = written {
        // It was made here, and half a seed is none.
        let _ = fs::remove_file(out);
        return Err(error).with_context(|| format!("writing {}", out.display()));
    }
    println!("wrote {}: keep it as you keep a key", out.display());
    Ok(())
}

fn read(path: &Path) -> anyhow::Result<Seed> {
    let bytes = fs::read(path).with_context(|| format!("reading seed {}", path.display()))?;
    let name = path.display().to_string();
    Ok(seed::parse(&name, text(&name, &bytes)?)?)
}

/// The host of `HOST` or `HOST:PORT`, as it stands in a URL: an IPv6 address in brackets.
fn host(address: &str) -> String {
    if address.parse::<std::net::Ipv6Addr>().is_ok() {
        return format!("[{address}]");
    }
    match address.rsplit_once(':') {
        Some((host, _)) => host.to_owned(),
        None => address.to_owned(),
    }
}

pub(super) fn kubeconfig(args: KubeconfigArgs) -> anyhow::Result<()> {
    let seed = read(&args.seed)?;
    let server = args
        .server
        .clone()
        .unwrap_or_else(|| format!("https://{}:6443", host(&args.address)));
    let deadline = Instant::now() + PATIENCE;
    let document = loop {
        match crate::peer::ask(&args.address, &seed.cluster.secret, &Request::Kubeconfig)? {
            Response::Document(document) => break document,
            Response::NotYet(reason) if Instant::now() < deadline => {
                eprintln!("{}: {reason}", args.address);
                std::thread::sleep(Duration::from_secs(5));
            }
            Response::NotYet(reason) | Response::Refused(reason) => {
                bail!("{}: {reason}", args.address)
            }
            other => bail!(
                "{} answers the question for a kubeconfig with {other:?}; do both sides have the same version?",
                args.address
            ),
        }
    };
    let document = crate::peer::with_server(&document, &server)?;
    match &args.out {
        None => std::io::stdout()
            .write_all(document.as_bytes())
            .context("writing the kubeconfig"),
        Some(path) => {
            let file = Unfinished::create_private(path)?;
            file.file()
                .write_all(document.as_bytes())
                .with_context(|| format!("writing {}", path.display()))?;
            file.finish()?;
            println!("wrote {}: keep it as you keep a key", path.display());
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::host;

    #[test]
    fn hosts_of_all_forms_of_address() {
        for (address, expected) in [
            ("10.0.0.5", "10.0.0.5"),
            ("cp.example:7444", "cp.example"),
            ("fd00::5", "[fd00::5]"),
            ("[fd00::5]:7444", "[fd00::5]"),
        ] {
            assert_eq!(host(address), expected);
        }
    }
}
