//! kubeadm: its configuration as a value, and the command line of its phases.

pub mod config;

use std::time::Duration;

use anyhow::Result;

use crate::host::{Cmd, Host};

const KUBEADM: &str = "/usr/bin/kubeadm";
/// Where the rendered configuration is; it holds no secret.
pub const CONFIG: &str = "/run/seedbed/kubeadm.yaml";

/// Runs one of `kubeadm init`'s phases, such as `["certs", "all"]`, and brings what it wrote to the disk.
pub fn init_phase(host: &dyn Host, phase: &[&str]) -> Result<()> {
    let command = Cmd::new(KUBEADM)
        .args(["init", "phase"])
        .args(phase.iter().copied())
        .args(["--config", CONFIG])
        // Without systemctl on its path kubeadm leaves services alone: starting kubelet is a phase of its own, and
        // a reload of all units, which kubeadm asks for each time, costs seconds on a small machine.
        .env("PATH", "/var/empty")
        .timeout(Duration::from_secs(300));
    host.run(&command)?;
    host.sync("/etc/kubernetes")
}
