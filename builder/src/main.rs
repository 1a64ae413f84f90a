//! The `seedbed` command: parse, set up logging, run, report.

use builder::cli;
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = cli::args::Args::parse();
    let level = if args.verbose {
        "seedbed=debug,builder=debug"
    } else {
        "warn"
    };
    let filter =
        tracing_subscriber::EnvFilter::try_from_env("SEEDBED_LOG").unwrap_or_else(|_| level.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
    match cli::run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("seedbed: {error:#}");
            ExitCode::from(1)
        }
    }
}
