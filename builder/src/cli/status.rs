//! `seedbed status`.

use crate::cli::STDOUT;
use crate::cli::args::status::StatusArgs;
use crate::cli::seed;
use crate::discovery::{self, Found};
use crate::peer::plain::plain;
use crate::status::ask::Target;
use crate::status::document::document;
use crate::status::site::Site;
use crate::status::{survey, table};
use anyhow::{Context, bail};
use contract::seed::Seed;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

/// How long machines on the local network have to be found.
const SEARCH: Duration = Duration::from_secs(2);

/// How long they have then, together, to answer. A machine takes up to two seconds to look at itself.
const PATIENCE: Duration = Duration::from_secs(5);

/// Between two looks.
const PAUSE: Duration = Duration::from_secs(2);

/// Puts the cursor into the first column of the first line (ECMA-48: CUP).
const HOME: &str = "\x1b[H";

/// Erases to the end of the line (ECMA-48: EL).
const ERASE_LINE: &str = "\x1b[K";

/// Erases to the end of the screen (ECMA-48: ED).
const ERASE_BELOW: &str = "\x1b[J";

pub(super) fn status(args: StatusArgs) -> anyhow::Result<()> {
    let seed = seed::read(&args.seed)?;
    let mut known = Vec::new();
    loop {
        let site = survey(&seed, targets(&seed, &args.address)?, known, PATIENCE);
        let text = match (args.json, args.watch) {
            (true, true) => serde_json::to_string(&document(&site))? + "\n",
            (true, false) => serde_json::to_string_pretty(&document(&site))? + "\n",
            (false, true) if io::stdout().is_terminal() => redraw(&table::render(&site)),
            (false, true) => table::render(&site) + "\n",
            (false, false) => table::render(&site),
        };
        let mut stdout = io::stdout().lock();
        stdout
            .write_all(text.as_bytes())
            .and_then(|()| stdout.flush())
            .context(STDOUT)?;
        drop(stdout);
        if !args.watch {
            return verdict(&site);
        }
        known = site.known();
        std::thread::sleep(PAUSE);
    }
}

/// The exit status tells scripts what the table tells people.
fn verdict(site: &Site) -> anyhow::Result<()> {
    if site.machines.is_empty() {
        bail!("no machine of this seed answers on the local network: name one with --address");
    }
    if !site.is_ready() {
        bail!("not every machine is Ready");
    }
    Ok(())
}

/// The machines that are named, or else those that answer on the local network.
fn targets(seed: &Seed, named: &[String]) -> anyhow::Result<Vec<Target>> {
    let named: Vec<Target> = named
        .iter()
        .map(|address| Target {
            address: address.clone(),
            host_name: None,
        })
        .collect();
    if !named.is_empty() {
        return Ok(named);
    }
    let mut targets: Vec<Target> = discovery::find(seed, SEARCH)?.iter().map(target).collect();
    // A machine that was started again may be heard of twice.
    targets.sort_by(|a, b| a.address.cmp(&b.address));
    targets.dedup_by(|a, b| a.address == b.address);
    Ok(targets)
}

fn target(found: &Found) -> Target {
    Target {
        address: found.channel().to_string(),
        host_name: Some(plain(&found.beacon.host_name)).filter(|name| !name.is_empty()),
    }
}

/// The text in place of what the terminal shows.
fn redraw(text: &str) -> String {
    let lines = text.lines().map(|line| format!("{line}{ERASE_LINE}\n"));
    format!("{HOME}{}{ERASE_BELOW}", lines.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::redraw;

    #[test]
    fn nothing_of_the_last_table_is_left() {
        assert_eq!(redraw("a\nb\n"), "\x1b[Ha\x1b[K\nb\x1b[K\n\x1b[J");
    }
}
