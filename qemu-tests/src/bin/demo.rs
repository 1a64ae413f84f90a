//! Boots an image with a seed stick, waits until its node is Ready, and shows the cluster.

use anyhow::Context;
use clap::Parser;
use contract::journal::Step;
use contract::partition::Arch;
use qemu_tests::environment::Environment;
use qemu_tests::events::Observed;
use qemu_tests::machine::Machine;
use qemu_tests::stand::{BOOT, Stand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Boot an image in QEMU with a seed on a USB stick, wait for Ready, and print nodes and pods
#[derive(Parser)]
#[command(name = "seedbed-demo", version)]
struct Args {
    /// The image, raw or qcow2; it is only read
    #[arg(long, env = "SEEDBED_IMAGE")]
    image: PathBuf,
    /// kubectl of the image's Kubernetes version
    #[arg(long, env = "SEEDBED_KUBECTL")]
    kubectl: PathBuf,
    /// The seedbed command
    #[arg(long, env = "SEEDBED_BIN")]
    seedbed: PathBuf,
    /// Keep the machine running, and print how to reach it, until Ctrl-C
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    match demo(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn demo(args: Args) -> anyhow::Result<()> {
    let file = |path: PathBuf| {
        path.canonicalize()
            .with_context(|| format!("looking for {}", path.display()))
    };
    let environment = Environment {
        image: file(args.image)?,
        arch: Arch::Amd64,
        kubectl: file(args.kubectl)?,
        seedbed: file(args.seedbed)?,
    };
    let mut stand = Stand::new("demo", environment)?;
    println!("powering on: 2 processors, 4 GiB, 20 GiB disk, a USB stick with this seed.yaml:");
    for line in stand.seed_text()?.lines() {
        // A demonstration's secret is worth nothing, but nobody should get used to the sight.
        let shown = line
            .split_once("secret: ")
            .map(|(indent, _)| format!("{indent}secret: [redacted]"));
        println!("    {}", shown.as_deref().unwrap_or(line));
    }
    println!(
        "the console is written to {}",
        stand.report.folder().join("machine-first.log").display()
    );

    let mut machine = Machine::start(&stand.spec, "first")?;
    let mut progress = Progress::default();
    let ready = machine.wait_for("every phase to be done", BOOT, |seen| {
        progress.show(seen);
        seen.ready()
    });
    progress.end();
    stand.report.boot("first", &machine);
    println!("Ready {:.1} s after power-on", ready?);

    let cluster = stand.cluster(&mut machine)?;
    print!("{}", cluster.kubectl(&["get", "nodes", "-o", "wide"])?);
    print!("{}", cluster.kubectl(&["get", "pods", "-A", "-o", "wide"])?);
    stand.report.clone().finish()?;
    if args.keep {
        println!("the machine runs until Ctrl-C; in another terminal:");
        println!(
            "    {} --kubeconfig {} get nodes",
            stand.environment.kubectl.display(),
            stand.path("kubeconfig").display()
        );
        machine.wait_for("its end", Duration::from_secs(365 * 24 * 3600), |seen| {
            seen.ended.then_some(())
        })?;
    }
    machine.quit().map(drop)
}

/// Phases as they come: a line for each on a pipe, one line that changes on a terminal.
#[derive(Default)]
struct Progress {
    shown: usize,
    console: usize,
    terminal: bool,
}

impl Progress {
    fn show(&mut self, seen: &Observed) {
        self.terminal = std::io::stdout().is_terminal();
        for line in &seen.transitions[self.shown..] {
            self.clear();
            let (at, phase, why) = (line.at, &line.phase, &line.why);
            match line.event {
                Step::Done => println!("{at:8.1} s  {phase}"),
                Step::Waiting => println!("{at:8.1} s  {phase} waits: {why}"),
                Step::Retry => println!("{at:8.1} s  {phase} is tried again: {why}"),
                Step::Failed => println!("{at:8.1} s  {phase} FAILED: {why}"),
                Step::Note => println!("{at:8.1} s  {phase}: {why}"),
                Step::Begin | Step::Apply | Step::Ready => {}
            }
        }
        self.shown = seen.transitions.len();
        if self.terminal && self.console < seen.console.len() {
            self.clear();
            let line = seen.console.last().map_or("", String::as_str);
            let short: String = line.chars().take(78).collect();
            print!("{short}");
        }
        self.console = seen.console.len();
        // A terminal that is gone is no reason to stop.
        let _ = std::io::stdout().flush();
    }

    fn clear(&self) {
        if self.terminal {
            print!("\r\x1b[K");
        }
    }

    fn end(&self) {
        self.clear();
    }
}
