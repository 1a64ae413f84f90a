//! systemd's units, through `systemctl`.

use anyhow::Result;

use crate::host::{Cmd, Host};

const SYSTEMCTL: &str = "/usr/bin/systemctl";
/// Units that are rendered on the machine; gone at the next boot.
pub const RUNTIME: &str = "/run/systemd/system";

/// Whether the service has a process: its control group is populated (cgroup v2). Polling this starts no
/// program, which `systemctl is-active` would.
pub fn is_running(host: &dyn Host, service: &str) -> Result<bool> {
    let events = host.read_text(&format!(
        "/sys/fs/cgroup/system.slice/{service}/cgroup.events"
    ))?;
    Ok(events
        .unwrap_or_default()
        .lines()
        .any(|line| line == "populated 1"))
}

/// Asks for the unit and does not wait for it.
pub fn start(host: &dyn Host, unit: &str) -> Result<()> {
    host.run(&Cmd::new(SYSTEMCTL).args(["--no-block", "start", unit]))?;
    Ok(())
}

/// Lets systemd read its unit files again.
pub fn reload(host: &dyn Host) -> Result<()> {
    host.run(&Cmd::new(SYSTEMCTL).arg("daemon-reload"))?;
    Ok(())
}
