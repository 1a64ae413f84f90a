//! The command line of what asks all machines.

use clap::Args;
use std::path::PathBuf;

/// `seedbed status`.
#[derive(Clone, Debug, Args)]
pub struct StatusArgs {
    /// The cluster's seed.
    #[arg(long)]
    pub seed: PathBuf,
    /// A machine of the cluster: HOST or HOST:PORT; may be given several times. It tells of the others, which are asked
    /// at their cluster addresses [default: all on the local network].
    #[arg(long)]
    pub address: Vec<String>,
    /// Look again and again, until interrupted: on a terminal the table stays in its place, elsewhere each follows the
    /// last.
    #[arg(long)]
    pub watch: bool,
    /// Print the document for programs; with --watch, one on each line.
    #[arg(long)]
    pub json: bool,
}
