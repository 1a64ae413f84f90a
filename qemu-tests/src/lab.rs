//! A laboratory: several machines on one site, as namespaces of this host's own kernel.
//!
//! Each machine runs the image's root, from systemd on, with all its programs, at this host's own speed; so what many
//! machines do together can be tried often. What it is not, QEMU is for: there is no firmware, kernel, initrd or
//! dm-verity, STATE and DATA are folders of the host, and a power cut loses nothing that was written.
//!
//! The site is a network namespace with two switches, and nothing on it but the machines and this host, where an
//! operator's programs run. It needs root, a raw image, and control groups of version 1.

mod host;
mod machine;

pub use machine::Machine;

use crate::cluster::Cluster;
use crate::command::Tool;
use crate::environment::Environment;
use crate::report::{results, say};
use crate::stand;
use anyhow::{Context, bail};
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::MutexGuard;
use std::thread;
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The network namespace of the site.
const SITE: &str = "seedbed-laboratory";
/// What makes `ip` run a program there.
const ON_SITE: [&str; 3] = ["netns", "exec", SITE];
/// The name of each machine's card.
pub const INTERFACE: &str = "lan0";
/// This host's address on the site: the last of those that machines draw from.
const OPERATOR: &str = "172.29.255.254/16";
/// How often a question is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(250);

/// Machines, powered off, and the site.
#[derive(Debug)]
pub struct Lab {
    /// The machines, by number less one.
    pub machines: Vec<Machine>,
    /// What the test was given.
    pub environment: Environment,
    test: String,
    seed: String,
    figures: BTreeMap<String, f64>,
    image: host::Image,
    folder: TempDir,
    _lock: File,
    _turn: MutexGuard<'static, ()>,
}

impl Lab {
    /// A site with so many machines for `test`, all with `seed`; `None` if the test is to be skipped, which has been
    /// said then.
    pub fn for_test(test: &str, machines: u8, seed: String) -> anyhow::Result<Option<Self>> {
        let Some(environment) = Environment::for_test(test)? else {
            return Ok(None);
        };
        if let Some(lack) = host::lacks() {
            say(&format!("SKIP {test}: {lack}"));
            return Ok(None);
        }
        let turn = stand::turn();
        let lock = host::take()?;
        let folder = tempfile::tempdir().context("making a temporary folder")?;
        fs::write(folder.path().join("seed.yaml"), &seed).context("writing the seed")?;
        let image = host::Image::mount(&environment.image)?;
        host::set_up_site(OPERATOR)?;
        Ok(Some(Lab {
            machines: (1..=machines)
                .map(|number| Machine::new(number, folder.path()))
                .collect(),
            environment,
            test: test.to_owned(),
            seed,
            figures: BTreeMap::new(),
            image,
            folder,
            _lock: lock,
            _turn: turn,
        }))
    }

    /// The seed, on this host.
    pub fn seed(&self) -> PathBuf {
        self.folder.path().join("seed.yaml")
    }

    /// Powers a machine on.
    pub fn power_on(&mut self, machine: usize) -> anyhow::Result<()> {
        let seed = self.seed.clone();
        self.power_on_with(machine, &seed)
    }

    /// Powers a machine on that was given another seed.
    pub fn power_on_with(&mut self, machine: usize, seed: &str) -> anyhow::Result<()> {
        self.machines[machine].power_on(&self.image, seed)
    }

    /// Cuts a machine's power.
    pub fn power_off(&mut self, machine: usize) -> anyhow::Result<()> {
        self.machines[machine].power_off()
    }

    /// Takes the disk's content away from a machine that is off.
    pub fn wipe(&mut self, machine: usize) -> anyhow::Result<()> {
        self.machines[machine].wipe()
    }

    /// Plugs these machines into the second switch, where they reach only each other.
    pub fn split(&self, machines: &[usize]) -> anyhow::Result<()> {
        machines
            .iter()
            .try_for_each(|machine| host::plug(self.machines[*machine].number, 1))
    }

    /// Plugs them into the first switch again.
    pub fn heal(&self, machines: &[usize]) -> anyhow::Result<()> {
        machines
            .iter()
            .try_for_each(|machine| host::plug(self.machines[*machine].number, 0))
    }

    /// Waits until `question` has an answer; one that fails is asked again. If none comes in time, or a machine
    /// ends by itself, what was said last is told, and what the machines say of themselves.
    pub fn until<T>(
        &mut self,
        what: &str,
        limit: Duration,
        mut question: impl FnMut(&Self) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<T> {
        let deadline = Instant::now() + limit;
        loop {
            let answer = question(self);
            if let Ok(Some(answer)) = answer {
                return Ok(answer);
            }
            let ended = self.machines.iter_mut().any(Machine::has_ended);
            if ended || Instant::now() >= deadline {
                let last = answer.err().map(|error| format!(": {error:#}"));
                let machines: Vec<String> = self.machines.iter().map(Machine::tell).collect();
                let when = match ended {
                    true => String::from("before a machine ended"),
                    false => format!("within {} s", limit.as_secs()),
                };
                bail!(
                    "no sign of {what} {when}{}\n{}",
                    last.unwrap_or_default(),
                    machines.join("\n")
                );
            }
            thread::sleep(ASK_AGAIN);
        }
    }

    /// Waits until these machines are Ready.
    pub fn ready(&mut self, machines: &[usize], limit: Duration) -> anyhow::Result<()> {
        self.until(&format!("machines {machines:?} Ready"), limit, |lab| {
            let ready = |machine: &usize| lab.machines[*machine].is_ready();
            Ok(machines.iter().all(ready).then_some(()))
        })
    }

    /// A program of this host, run on the site.
    pub fn host_tool(&self, program: impl AsRef<OsStr>) -> Tool {
        Tool::new("ip").args(ON_SITE).arg(program)
    }

    /// The cluster as an operator on the site finds it, who has the seed and knows no address.
    pub fn cluster(&self) -> anyhow::Result<Cluster> {
        let programs = (
            self.environment.seedbed.as_path(),
            self.environment.kubectl.as_path(),
        );
        let before = ["ip"].into_iter().chain(ON_SITE);
        let before = before.map(String::from).collect();
        Cluster::find(before, programs, &self.seed(), self.folder.path())
    }

    /// The same cluster, asked through a machine's own load balancer.
    pub fn through(&self, cluster: &Cluster, machine: usize) -> anyhow::Result<Cluster> {
        let process = self.machines[machine].first_process();
        let process = process.with_context(|| format!("machine {machine} is off"))?;
        let before = ["nsenter", "--net", "--target", &process.to_string()];
        Ok(cluster.through(before.map(String::from).into(), contract::port::BALANCER))
    }

    /// Takes down a figure, and prints it.
    pub fn figure(&mut self, name: &str, value: f64) {
        say(&format!("{}: {name}: {value:.1}", self.test));
        self.figures.insert(name.to_owned(), value);
    }

    /// Writes `qemu-results/TEST.json`.
    pub fn finish(self) -> anyhow::Result<()> {
        let folder = results()?;
        fs::create_dir_all(&folder).with_context(|| format!("creating {}", folder.display()))?;
        let path = folder.join(format!("{}.json", self.test));
        let text = serde_json::to_string_pretty(&self.figures).context("writing down figures")?;
        fs::write(&path, text + "\n").with_context(|| format!("writing {}", path.display()))?;
        say(&format!("{}: figures are in {}", self.test, path.display()));
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.machines.clear();
        host::take_down_site();
    }
}
