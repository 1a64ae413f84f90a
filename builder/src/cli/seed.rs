//! `seedbed seed …` and `seedbed kubeconfig`.

use crate::cli::args::{KubeconfigArgs, SeedCommand};
use crate::discovery::Found;
use crate::output::Unfinished;
use anyhow::{Context, anyhow, bail};
use contract::document::text;
use contract::guid::Guid;
use contract::peer::{Request, Response};
use contract::seed::join::join_text;
use contract::seed::{self, Seed};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a machine that is not ready yet is asked again.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two questions to it.
const PAUSE: Duration = Duration::from_secs(5);

/// How long machines on the local network have to answer.
const SEARCH: Duration = Duration::from_secs(2);

pub(super) fn run(command: SeedCommand) -> anyhow::Result<()> {
    match command {
        SeedCommand::New { name, out } => new(&name, &out),
        SeedCommand::Join {
            seed,
            address,
            id,
            out,
        } => join(&seed, address.as_deref(), id.as_deref(), &out),
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
    create(out, &text)
}

/// Writes the join seed of the cluster that machines tell of.
fn join(seed: &Path, address: Option<&str>, id: Option<&str>, out: &Path) -> anyhow::Result<()> {
    let name = seed.display().to_string();
    let bytes = fs::read(seed).with_context(|| format!("reading seed {name}"))?;
    let founding = text(&name, &bytes)?;
    let id: Guid = match id {
        Some(id) => id
            .parse()
            .context("reading --id: copy it whole from clusterId of a machine's status")?,
        None => cluster_id(&seed::parse(&name, founding)?, address)?,
    };
    create(out, &join_text(&name, founding, id)?)
}

/// The id of the cluster, by the machine at `address` or by all that are found.
fn cluster_id(seed: &Seed, address: Option<&str>) -> anyhow::Result<Guid> {
    let addresses = match address {
        Some(address) => vec![address.to_owned()],
        None => machines(seed)?,
    };
    let mut ids: BTreeMap<Guid, String> = BTreeMap::new();
    let mut why = Vec::new();
    for at in addresses {
        match told_id(&at, seed) {
            Ok(Some(id)) => drop(ids.entry(id).or_insert(at)),
            Ok(None) => why.push(format!("{at}: it is no member of a cluster yet")),
            Err(error) => why.push(format!("{error:#}")),
        }
    }
    let told: Vec<String> = ids.iter().map(|(id, at)| format!("{id} by {at}")).collect();
    match ids.pop_first() {
        Some((id, _)) if ids.is_empty() => Ok(id),
        Some(_) => bail!(
            "the machines tell of different clusters ({}): keep one of them, and reset the machines of the other with a new seed",
            told.join(", ")
        ),
        None => bail!(
            "no machine of this seed tells the id of its cluster; name one with --address{}",
            why.iter()
                .map(|why| format!("\n  {why}"))
                .collect::<String>()
        ),
    }
}

/// The id that a machine's status has, if it is a member.
fn told_id(at: &str, seed: &Seed) -> anyhow::Result<Option<Guid>> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        cluster_id: Option<String>,
    }
    let text = match crate::peer::ask(at, &seed.cluster.secret, &Request::Status)? {
        Response::Document(text) => text,
        Response::NotYet(why) | Response::Refused(why) => bail!("{at}: {why}"),
        other => bail!("{at} answers the question for its status with {other:?}"),
    };
    let status: Status =
        serde_json::from_str(&text).with_context(|| format!("reading the status of {at}"))?;
    let id = status.cluster_id.map(|id| id.parse());
    id.transpose()
        .with_context(|| format!("reading the status of {at}"))
}

/// Writes a seed to a file that is not there yet.
fn create(out: &Path, text: &str) -> anyhow::Result<()> {
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

pub(super) fn read(path: &Path) -> anyhow::Result<Seed> {
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
    let (address, document) = wait_for_kubeconfig(&seed, args.address.as_deref())?;
    let server = args
        .server
        .clone()
        .unwrap_or_else(|| format!("https://{}:6443", host(&address)));
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

/// Asks the machine at `address`, or each that is found, until one has the kubeconfig; also which one.
fn wait_for_kubeconfig(seed: &Seed, address: Option<&str>) -> anyhow::Result<(String, String)> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let addresses = match address {
            Some(address) => vec![address.to_owned()],
            None => machines(seed)?,
        };
        let mut why = None;
        for at in addresses {
            match crate::peer::ask(&at, &seed.cluster.secret, &Request::Kubeconfig) {
                Ok(Response::Document(document)) => return Ok((at, document)),
                Ok(Response::NotYet(reason)) => {
                    eprintln!("{at}: {reason}");
                    why = Some(anyhow!("{at}: {reason}"));
                }
                // Of several, another one may do better.
                Ok(Response::Refused(reason)) if address.is_none() => eprintln!("{at}: {reason}"),
                Err(error) if address.is_none() => eprintln!("{error:#}"),
                Ok(Response::Refused(reason)) => bail!("{at}: {reason}"),
                Ok(other) => bail!(
                    "{at} answers the question for a kubeconfig with {other:?}; do both sides have the same version?"
                ),
                Err(error) => return Err(error),
            }
        }
        if Instant::now() >= deadline {
            return Err(why.unwrap_or_else(|| {
                anyhow!("no machine of this seed gives a kubeconfig: name one with --address")
            }));
        }
        std::thread::sleep(PAUSE);
    }
}

/// Where the channels of the machines on the local network are, those of the control plane first.
pub(super) fn machines(seed: &Seed) -> anyhow::Result<Vec<String>> {
    let mut found = crate::discovery::find(seed, SEARCH)?;
    found.sort_by_key(|found| !found.beacon.roles.control_plane);
    if found.is_empty() {
        eprintln!("no machine of this seed answers on the local network yet");
    }
    let address = |found: &Found| found.channel().to_string();
    Ok(found.iter().map(address).collect())
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
