//! From command-line arguments to requests, and from results to what people and programs read.

pub mod arch;
pub mod args;
mod artifact;
mod bake;
mod bundle;
mod diff;
mod images;
mod inspect;
mod keys;
mod lock;
mod lock_diff;
mod look;
mod remove;
mod seed;
mod status;
mod verify;

use args::{Args, Command};

/// A failed write to standard output, as a pipe that its reader left.
const STDOUT: &str = "writing to standard output";

/// Carries out what was asked for.
pub fn run(args: Args) -> anyhow::Result<()> {
    match args.command {
        Command::Lock(args) => lock::lock(args),
        Command::Fetch(args) => bake::fetch(args),
        Command::Build(args) => bake::build(args),
        Command::Bundle(args) => bundle::bundle(args),
        Command::Check(args) => bake::check(args),
        Command::Images(args) => images::images(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Ls(args) => look::ls(args),
        Command::Cat(args) => look::cat(args),
        Command::Diff(args) => diff::diff(args),
        Command::Verify(args) => verify::verify(args),
        Command::Keys(args) => keys::keys(args),
        Command::Addon(args) => keys::addon(args),
        Command::Push(args) => artifact::push(args),
        Command::Pull(args) => artifact::pull(args),
        Command::Seed(args) => seed::run(args),
        Command::Kubeconfig(args) => seed::kubeconfig(args),
        Command::Status(args) => status::status(args),
        Command::Remove(args) => remove::remove(args),
        Command::Schema(args) => args::schema(args),
        Command::Completions { shell } => args::completions(shell),
        Command::Man { out } => args::man(&out),
    }
}
