//! Runtime: containerd runs, and asks the registry on loopback for every image.
//!
//! Before: `/var/lib/containerd` is on DATA, and the snapshotter serves. After: containerd's configuration is in
//! `/etc/containerd` (memory), and `containerd.service` is active.

use crate::facts;
use crate::host::Host;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::containerd;
use crate::units;

const UNIT: &str = "containerd.service";
const SOCKET: &str = "/run/containerd/containerd.sock";
const CONFIG: &str = "/etc/containerd/config.toml";

/// The phase.
#[derive(Debug)]
pub struct Runtime;

impl Phase for Runtime {
    fn name(&self) -> &'static str {
        "runtime"
    }

    fn after(&self) -> &'static [&'static str] {
        &["snapshotter", "pod-range"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let config = containerd::config(&facts::manifest(host)?.pause);
        if host.read_text(CONFIG)?.as_ref() != Some(&config) {
            return Ok(State::Absent);
        }
        let serves = units::is_running(host, UNIT)? && host.exists(SOCKET);
        Ok(crate::phase::done_if(serves, "containerd does not run yet"))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let folder = format!("{}/_default", containerd::CERTS_D);
        host.create_dir(&folder, 0o755)?;
        let hosts = containerd::hosts(contract::port::REGISTRY);
        host.write_if_changed(&format!("{folder}/hosts.toml"), 0o644, hosts.as_bytes())?;
        let config = containerd::config(&facts::manifest(host)?.pause);
        host.write_if_changed(CONFIG, 0o644, config.as_bytes())?;
        if units::is_running(host, UNIT)? {
            return Ok(());
        }
        units::start(host, UNIT)?;
        Err(Trouble::Waiting(String::from(
            "containerd does not run yet",
        )))
    }
}
