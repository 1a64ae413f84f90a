//! The stand that tests put a machine on: one disk over the image, one stick with a fresh seed, and a network
//! that leads nowhere but to this host's forwarded ports.

use crate::cluster::Cluster;
use crate::disk::{Disk, Stick};
use crate::environment::Environment;
use crate::machine::{Machine, Spec};
use crate::network::{self, Forward, Network, Nic};
use crate::report::Report;
use crate::seed;
use anyhow::Context;
use contract::partition::Arch;
use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tempfile::TempDir;

/// The API server's port.
pub(crate) const API: u16 = 6443;
/// How large machines' disks are, in GiB.
pub(crate) const DISK: u32 = 20;
/// How long a boot to Ready may take under software emulation on a busy host.
pub const BOOT: Duration = Duration::from_secs(900);
/// The same for a machine whose instructions are unlike the host's.
const FOREIGN_BOOT: Duration = Duration::from_secs(1800);

/// Machines of one process take turns: two at once would starve each other of processors, and of time.
static TURN: Mutex<()> = Mutex::new(());

/// The turn of one test's machines.
pub(crate) fn turn() -> MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A machine's description and everything around it.
#[derive(Debug)]
pub struct Stand {
    /// What the test was given.
    pub environment: Environment,
    /// What it measures.
    pub report: Report,
    /// The machine.
    pub spec: Spec,
    /// The seed, on this host.
    pub seed: PathBuf,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Stand {
    /// A stand for `test`, or `None` if the test is to be skipped, which has been said then.
    pub fn for_test(test: &str) -> anyhow::Result<Option<Self>> {
        let Some(environment) = Environment::for_test(test)? else {
            return Ok(None);
        };
        Self::new(test, environment).map(Some)
    }

    /// A stand with the image of `environment`.
    pub fn new(test: &str, environment: Environment) -> anyhow::Result<Self> {
        let turn = turn();
        let report = Report::new(test)?;
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let text = seed::text(test.replace('_', "-").as_str())?;
        let seed = folder.path().join("seed.yaml");
        fs::write(&seed, &text).with_context(|| format!("writing {}", seed.display()))?;

        let mut spec = Spec::new("machine", folder.path(), report.folder());
        spec.arch = environment.arch;
        let disk = folder.path().join("machine.qcow2");
        spec.disks
            .push(Disk::over(&environment.image, &disk, DISK)?);
        spec.sticks.push(Stick::fat(
            &folder.path().join("stick.img"),
            &[("seed.yaml", &text)],
        )?);
        let mut forwards = Vec::new();
        for guest in [API, contract::port::PEER] {
            forwards.push(Forward {
                host: network::free_port()?,
                guest,
            });
        }
        spec.nics.push(Nic::new(1, Network::Isolated(forwards)));
        Ok(Stand {
            environment,
            report,
            spec,
            seed,
            folder,
            _turn: turn,
        })
    }

    /// A path for a file that lasts as long as the stand.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The seed's text.
    pub fn seed_text(&self) -> anyhow::Result<String> {
        fs::read_to_string(&self.seed).with_context(|| format!("reading {}", self.seed.display()))
    }

    /// Puts in a stick, and no other, whose seed goes on with `more`.
    pub fn seed_with(&mut self, more: &str) -> anyhow::Result<()> {
        let text = self.seed_text()? + more;
        fs::write(&self.seed, &text).with_context(|| format!("writing {}", self.seed.display()))?;
        let stick = Stick::fat(&self.path("seed.img"), &[("seed.yaml", &text)])?;
        self.spec.sticks = vec![stick];
        Ok(())
    }

    /// Lets the machine reach this host, at [`network::HOST`].
    pub fn reach_host(&mut self) {
        for nic in &mut self.spec.nics {
            if let Network::Isolated(forwards) = &mut nic.network {
                nic.network = Network::Host(std::mem::take(forwards));
            }
        }
    }

    /// Gives the machine a new disk over the image, whose SEED partition holds the seed.
    pub fn seed_on_disk(&mut self) -> anyhow::Result<()> {
        let raw = self.path("seeded.raw");
        crate::disk::with_seed_partition(
            &self.environment.image,
            &raw,
            &[("seed.yaml", &self.seed_text()?)],
        )?;
        self.spec.disks[0] = Disk::over(&raw, &self.path("seeded.qcow2"), DISK)?;
        Ok(())
    }

    /// Boots `spec`, waits until it is Ready, and takes down the figures under `boot`.
    pub fn boot(&mut self, spec: &Spec, boot: &str) -> anyhow::Result<Machine> {
        let mut machine = Machine::start(spec, boot)?;
        let limit = match spec.arch {
            Arch::Amd64 => BOOT,
            Arch::Arm64 => FOREIGN_BOOT,
        };
        let ready = machine.wait_ready(limit);
        self.report.boot(boot, &machine);
        ready.map(|_| machine)
    }

    /// The cluster of a machine that is Ready, when its node says so, too.
    pub fn cluster(&self, machine: &mut Machine) -> anyhow::Result<Cluster> {
        let programs = (
            self.environment.seedbed.as_path(),
            self.environment.kubectl.as_path(),
        );
        let ports = (
            machine.spec().forwarded(contract::port::PEER)?,
            machine.spec().forwarded(API)?,
        );
        let cluster = Cluster::fetch(programs, &self.seed, ports, self.folder.path())?;
        machine.until("a Ready node", Duration::from_secs(120), || {
            let nodes = cluster.ready_nodes()?;
            Ok((nodes.len() == 1).then_some(()))
        })?;
        Ok(cluster)
    }
}
