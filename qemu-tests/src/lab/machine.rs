//! One machine of the laboratory.

use super::host::{self, Groups};
use super::{INTERFACE, SITE};
use crate::command::Tool;
use crate::process;
use anyhow::{Context, bail};
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

/// What becomes the machine's systemd.
const POWER_ON: &str = include_str!("power_on.sh");
/// What stands before the image's runc.
const RUNC: &str = include_str!("runc.sh");
/// How many lines of the journal a failure shows.
const TAIL: &str = "30";

/// A machine, on or off.
#[derive(Debug)]
pub struct Machine {
    /// Its number, from 1.
    pub number: u8,
    folder: PathBuf,
    groups: Groups,
    running: Option<Child>,
}

impl Machine {
    /// A machine that was never powered on, with its folder below `folder`.
    pub(super) fn new(number: u8, folder: &Path) -> Self {
        Machine {
            number,
            folder: folder.join(format!("machine-{number}")),
            groups: Groups::new(number),
            running: None,
        }
    }

    /// Whether it is on.
    pub fn is_on(&self) -> bool {
        self.running.is_some()
    }

    /// Powers it on, with `seed` in it.
    pub(super) fn power_on(&mut self, image: &host::Image, seed: &str) -> anyhow::Result<()> {
        if self.running.is_some() {
            bail!("machine {} is on already", self.number);
        }
        self.prepare(image, seed)?;
        let mut command = self.groups.command("unshare")?;
        // Its clock of uptime begins at zero.
        let uptime = host::uptime()?;
        command
            .args([
                "--mount", "--pid", "--uts", "--ipc", "--net", "--cgroup", "--time",
            ])
            .args(["--fork", "--kill-child", "--propagation", "private"])
            .arg(format!("--boottime=-{uptime}"))
            .arg(format!("--monotonic=-{uptime}"))
            .args(["--", "bash", "-c", POWER_ON])
            .env("NUMBER", self.number.to_string())
            .env("MAC", format!("52:54:00:00:01:{:02x}", self.number))
            .env("MACHINE", &self.folder)
            .env("IMAGE", image.folder())
            .env("DISK", image.disk())
            .env("SITE", SITE)
            .env("INTERFACE", INTERFACE)
            .env("CONTROLLERS", host::CONTROLLERS.join(" "))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(self.folder.join("power-on.log"))?);
        self.running = Some(process::start(command)?);
        Ok(())
    }

    /// Whether it was powered on and its systemd has ended all the same.
    pub(super) fn has_ended(&mut self) -> bool {
        let ended = self.running.as_mut().map(Child::try_wait);
        ended.is_some_and(|ended| !matches!(ended, Ok(None)))
    }

    /// Cuts its power. What it wrote is in the host's cache, and stays.
    pub(super) fn power_off(&mut self) -> anyhow::Result<()> {
        let Some(mut running) = self.running.take() else {
            return Ok(());
        };
        // The first process of a namespace takes all others with it.
        running.kill().context("ending a machine")?;
        running.wait().context("waiting for a machine's end")?;
        self.groups.remove()
    }

    /// Takes its disk's content away; it must be off.
    pub(super) fn wipe(&self) -> anyhow::Result<()> {
        for name in ["state", "data"] {
            let folder = self.folder.join(name);
            fs::remove_dir_all(&folder).with_context(|| format!("wiping {}", folder.display()))?;
        }
        Ok(())
    }

    fn prepare(&self, image: &host::Image, seed: &str) -> anyhow::Result<()> {
        let path = |name: &str| self.folder.join(name);
        for name in [
            "root",
            "scratch",
            "brought/usr/lib/seedbed",
            "brought/usr/sbin",
        ] {
            fs::create_dir_all(path(name)).with_context(|| format!("creating {name}"))?;
        }
        fs::write(path("brought/usr/lib/seedbed/seed.yaml"), seed).context("writing the seed")?;
        let runc = path("brought/usr/sbin/runc");
        fs::write(&runc, RUNC).context("writing runc's front")?;
        fs::set_permissions(&runc, fs::Permissions::from_mode(0o755))?;
        fs::copy(
            image.folder().join("root/usr/sbin/runc"),
            path("brought/usr/sbin/runc.image"),
        )
        .context("copying the image's runc")?;
        let console = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path("console"));
        console.context("creating the console")?;
        if !path("state").exists() {
            let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_nanos();
            let incarnation = format!("{since:032x}\n");
            for name in ["state", "data"] {
                fs::create_dir_all(path(name)).with_context(|| format!("creating {name}"))?;
                fs::set_permissions(path(name), fs::Permissions::from_mode(0o700))?;
                fs::write(path(name).join("incarnation"), &incarnation)?;
            }
            fs::create_dir(path("state/ledger")).context("creating the ledger's folder")?;
        }
        Ok(())
    }

    /// The status document, if it is on and `firstboot` has written one.
    pub fn status(&self) -> Option<Value> {
        let path = self.inside()?.join("run/seedbed/status.json");
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// A JSON document on its STATE, such as `ledger/membership.json`, if it is there; whether the machine is on or off.
    pub fn kept(&self, path: &str) -> Option<Value> {
        let path = self.folder.join("state").join(path);
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Whether it says that it is Ready.
    pub fn is_ready(&self) -> bool {
        self.status()
            .is_some_and(|status| status["state"] == "ready")
    }

    /// Seconds after power-on when a phase was done.
    pub fn done(&self, phase: &str) -> Option<f64> {
        let status = self.status()?;
        let phases = status["phases"].as_array()?;
        let phase = phases.iter().find(|one| one["name"] == phase)?;
        phase["finished"].as_f64()
    }

    /// The cluster's name for it.
    pub fn host_name(&self) -> Option<String> {
        Some(self.status()?["hostName"].as_str()?.to_owned())
    }

    /// Its root, as this host sees it while it is on.
    fn inside(&self) -> Option<PathBuf> {
        Some(PathBuf::from(format!(
            "/proc/{}/root",
            self.first_process()?
        )))
    }

    /// The host's number of its systemd.
    pub(super) fn first_process(&self) -> Option<u32> {
        let parent = self.running.as_ref()?.id();
        let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        children.ok()?.split_whitespace().next()?.parse().ok()
    }

    /// A program of the machine's own, run in it.
    pub fn tool(&self, program: &str) -> anyhow::Result<Tool> {
        let process = self.first_process();
        let process = process.with_context(|| format!("machine {} is off", self.number))?;
        Ok(Tool::new("nsenter")
            .args(["--target", &process.to_string()])
            .args([
                "--mount", "--pid", "--uts", "--ipc", "--net", "--root", "--wd",
            ])
            .args(["--", "env", "-i", "PATH=/usr/sbin:/usr/bin", program]))
    }

    /// What it says of itself, for a test that failed.
    pub(super) fn tell(&self) -> String {
        let said = |program: &str, arguments: &[&str]| match self.tool(program) {
            Ok(tool) => match tool.args(arguments).finish() {
                Ok(finished) => finished.stdout + &finished.stderr,
                Err(error) => format!("{error:#}\n"),
            },
            Err(error) => format!("{error:#}\n"),
        };
        let log = fs::read_to_string(self.folder.join("power-on.log")).unwrap_or_default();
        format!(
            "machine {}:\n{log}{}{}",
            self.number,
            said("firstboot", &["status"]),
            said(
                "journalctl",
                &["--no-pager", "--lines", TAIL, "--unit", "firstboot"]
            ),
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // The laboratory tells of what is left when the next one is set up.
        let _ = self.power_off();
    }
}
