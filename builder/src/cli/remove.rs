//! `seedbed remove`.

use crate::cli::args::RemoveArgs;
use crate::cli::seed::{machines, read};
use crate::peer::plain::plain;
use anyhow::bail;
use contract::peer::{Removal, Request, Response};

/// Asks the machines in turn, until one of the control plane answers for the cluster.
pub(super) fn remove(args: RemoveArgs) -> anyhow::Result<()> {
    let seed = read(&args.seed)?;
    let request = Request::Remove(Removal {
        machine: args.machine,
        dry_run: args.dry_run,
    });
    let addresses = match args.address {
        Some(address) => vec![address],
        None => machines(&seed)?,
    };
    let mut why = String::new();
    for at in addresses {
        match crate::peer::ask(&at, &seed.cluster.secret, &request) {
            Ok(Response::Document(told)) => {
                for line in told.lines() {
                    println!("{}", plain(line));
                }
                return Ok(());
            }
            Ok(Response::Barred(reason)) => bail!("{reason}"),
            Ok(Response::NotYet(reason) | Response::Refused(reason)) => {
                why += &format!("\n  {at}: {reason}");
            }
            Ok(other) => bail!(
                "{at} answers the question for a removal with {other:?}; do both sides have the same version?"
            ),
            Err(error) => why += &format!("\n  {error:#}"),
        }
    }
    bail!("no machine of the control plane removes it; name one with --address{why}")
}
