//! Several machines on one segment that no server is on, all with the same seed.
//!
//! Each has a card on the segment and a second one, over which this host, and nothing else, reaches its API server
//! and its peers' channel.

use crate::cluster::Cluster;
use crate::disk::{Disk, Stick};
use crate::environment::Environment;
use crate::machine::{Machine, Spec};
use crate::network::{self, Forward, Network, Nic};
use crate::report::Report;
use crate::seed;
use crate::stand::{self, API, DISK};
use anyhow::Context;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::MutexGuard;
use tempfile::TempDir;

/// The name of the card on the segment: the first in QEMU's q35 board, after one disk and the USB controller.
pub const INTERFACE: &str = "enp0s3";

/// How the machines are sized, and what their seed says beyond the usual.
#[derive(Clone, Debug)]
pub struct Plan {
    /// How many machines.
    pub machines: u8,
    /// How many of them are control planes.
    pub control_planes: u8,
    /// Memory of each, in MiB.
    pub memory_mib: u32,
}

/// The machines, powered off, and everything around them.
#[derive(Debug)]
pub struct Fleet {
    /// What the test was given.
    pub environment: Environment,
    /// What it measures.
    pub report: Report,
    /// The machines.
    pub specs: Vec<Spec>,
    /// The seed, on this host.
    pub seed: PathBuf,
    folder: TempDir,
    _turn: MutexGuard<'static, ()>,
}

impl Fleet {
    /// Machines for `test`, or `None` if the test is to be skipped, which has been said then.
    pub fn for_test(test: &str, plan: &Plan) -> anyhow::Result<Option<Self>> {
        let Some(environment) = Environment::for_test(test)? else {
            return Ok(None);
        };
        Self::new(test, environment, plan).map(Some)
    }

    /// Machines with the image of `environment`.
    pub fn new(test: &str, environment: Environment, plan: &Plan) -> anyhow::Result<Self> {
        let turn = stand::turn();
        let report = Report::new(test)?;
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        let text = seed::site(&test.replace('_', "-"), plan)?;
        let seed = folder.path().join("seed.yaml");
        fs::write(&seed, &text).with_context(|| format!("writing {}", seed.display()))?;
        let segment = network::free_port()?;
        let mut specs = Vec::new();
        for number in 1..=plan.machines {
            specs.push(spec(
                number,
                plan,
                (folder.path(), report.folder()),
                &environment,
                (&text, segment),
            )?);
        }
        Ok(Fleet {
            environment,
            report,
            specs,
            seed,
            folder,
            _turn: turn,
        })
    }

    /// Powers all machines on, in the order of their numbers.
    pub fn start(&self, boot: &str) -> anyhow::Result<Vec<Machine>> {
        let start = |spec| Machine::start(spec, boot);
        self.specs.iter().map(start).collect()
    }

    /// The cluster, asked through this machine's API server.
    pub fn cluster(&self, machine: &Machine) -> anyhow::Result<Cluster> {
        let programs = (
            self.environment.seedbed.as_path(),
            self.environment.kubectl.as_path(),
        );
        let spec = machine.spec();
        let ports = (spec.forwarded(contract::port::PEER)?, spec.forwarded(API)?);
        let folder = self.folder.path().join(format!("kubeconfig-{}", spec.name));
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        Cluster::fetch(programs, &self.seed, ports, &folder)
    }

    /// Gives a machine an empty disk over the image again.
    pub fn wipe(&mut self, number: usize) -> anyhow::Result<()> {
        let disk = self.folder.path().join(format!("wiped-{number}.qcow2"));
        self.specs[number].disks[0] = Disk::over(&self.environment.image, &disk, DISK)?;
        Ok(())
    }
}

fn spec(
    number: u8,
    plan: &Plan,
    (folder, logs): (&Path, &Path),
    environment: &Environment,
    (seed, segment): (&str, u16),
) -> anyhow::Result<Spec> {
    let name = format!("machine-{number}");
    let mut spec = Spec::new(&name, folder, logs);
    spec.memory_mib = plan.memory_mib;
    let file = |kind: &str| folder.join(format!("{name}.{kind}"));
    spec.disks
        .push(Disk::over(&environment.image, &file("qcow2"), DISK)?);
    spec.sticks
        .push(Stick::fat(&file("stick"), &[("seed.yaml", seed)])?);
    let mut forwards = Vec::new();
    for guest in [API, contract::port::PEER] {
        forwards.push(Forward {
            host: network::free_port()?,
            guest,
        });
    }
    spec.nics.push(Nic::new(number, Network::Segment(segment)));
    spec.nics
        .push(Nic::new(number + 100, Network::Isolated(forwards)));
    Ok(spec)
}
