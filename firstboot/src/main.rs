//! The `firstboot` service and command.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use firstboot::host::{Host, Linux};
use firstboot::machine::loader;
use firstboot::{balancer, initrd, peers, phases, registry, service, snapshotter, status};

/// Turns a machine that booted a Seedbed image, and a seed, into a Kubernetes node.
#[derive(Debug, Parser)]
#[command(name = "firstboot", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Bring this machine to Ready, and keep it there (firstboot.service).
    Run,
    /// Prepare /etc, /var, machine-id and clock before the real system starts (in the initrd only).
    Initrd,
    /// Serve the image's container images on loopback (seedbed-registry.service).
    Registry {
        /// The OCI image layout to serve.
        #[arg(long, default_value = contract::paths::STORE)]
        store: PathBuf,
        /// Where to listen.
        #[arg(long, default_value_t = SocketAddr::from(([127, 0, 0, 1], contract::port::REGISTRY)))]
        listen: SocketAddr,
    },
    /// Lead connections on loopback to an API server that answers (seedbed-balancer.service).
    Balancer {
        /// Where to listen; may be given several times.
        #[arg(long, default_values_t = balancer::LISTEN)]
        listen: Vec<SocketAddr>,
        /// The list of API servers, which may be replaced at any time.
        #[arg(long, default_value = contract::paths::BACKENDS)]
        backends: PathBuf,
        /// The authority of the API servers' certificates; without this file any certificate will do.
        #[arg(long, default_value = balancer::AUTHORITY)]
        authority: PathBuf,
    },
    /// Give containerd the file systems of containers, on the image's layers in place (seedbed-snapshotter.service).
    Snapshotter {
        /// The folder with `layers` and `chains`.
        #[arg(long, default_value = contract::paths::STORE)]
        store: PathBuf,
        /// Where snapshots are kept.
        #[arg(long, default_value = snapshotter::ROOT)]
        root: PathBuf,
        /// The folder of the socket.
        #[arg(long, default_value = snapshotter::RUN)]
        run: PathBuf,
    },
    /// Succeed if the machine may have been started from this disk (udev's rules).
    #[command(hide = true)]
    IsBooted {
        /// The disk's name, such as `sda`.
        disk: String,
    },
    /// Show the partitions of a CD that the machine was started from (in the initrd only).
    #[command(hide = true)]
    AttachCd {
        /// The CD's device.
        device: String,
    },
    /// Say that this machine could not start (emergency.service, which then restarts it).
    #[command(hide = true)]
    GiveUp,
    /// Print the phases of each role in their order.
    Plan,
    /// Print how far this machine has come, and how its parts are.
    Status {
        /// As JSON, for programs.
        #[arg(long)]
        json: bool,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SEEDBED_LOG")
                .unwrap_or_else(|_| "info".into()),
        )
        .without_time()
        .init();
    match run(&cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("firstboot: {error:#}");
            ExitCode::from(1)
        }
    }
}

fn run(command: &Command) -> anyhow::Result<()> {
    let host: &'static Linux = &Linux;
    match command {
        Command::Run => {
            peers::start(host);
            service::run(host)
        }
        Command::Initrd => initrd::prepare(host, &|line| println!("seedbed: {line}")),
        Command::Registry { store, listen } => registry::run(store, *listen),
        Command::Balancer {
            listen,
            backends,
            authority,
        } => balancer::run(listen, backends, authority),
        Command::Snapshotter { store, root, run } => snapshotter::run(store, root, run),
        Command::IsBooted { disk } => {
            let name = disk.trim_start_matches("/dev/");
            anyhow::ensure!(
                loader::is_booted(host, name)?,
                "the machine was not started from {name}"
            );
            Ok(())
        }
        Command::AttachCd { device } => loader::attach_cd(host, device),
        Command::GiveUp => {
            service::give_up(host);
            Ok(())
        }
        Command::Plan => {
            print_plans();
            Ok(())
        }
        Command::Status { json } => print_status(host, *json),
    }
}

fn print_plans() {
    for (title, plan) in [
        ("every machine", phases::COMMON),
        ("control plane", phases::CONTROL_PLANE),
        ("worker", phases::WORKER),
    ] {
        println!("{title}:");
        for phase in plan {
            println!("  {:<20} after {}", phase.name(), phase.after().join(", "));
        }
    }
}

fn print_status(host: &dyn Host, json: bool) -> anyhow::Result<()> {
    let status = status::told(host)?.ok_or_else(|| {
        anyhow::anyhow!(
            "there is no {}; firstboot.service writes it on a machine that runs Seedbed",
            contract::paths::STATUS
        )
    })?;
    match json {
        true => println!("{}", serde_json::to_string_pretty(&status)?),
        false => print!("{}", status::text::render(&status)),
    }
    Ok(())
}
