//! kubelet: its configuration, the service, and the certificate that renews itself.
//!
//! Before: `/var/lib/kubelet` is on DATA, kubeconfigs exist. After: `kubelet.service` runs.

use crate::host::Host;
use crate::kubeadm;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::units;

/// Its unit.
pub(super) const UNIT: &str = "kubelet.service";
const CONFIG: &str = "/var/lib/kubelet/config.yaml";
const FLAGS: &str = "/var/lib/kubelet/kubeadm-flags.env";
const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
/// The link to the certificate and key that kubelet uses now.
pub(super) const CURRENT: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// kubeadm has written kubelet's configuration.
#[derive(Debug)]
pub struct Configuration;

impl Phase for Configuration {
    fn name(&self) -> &'static str {
        "kubelet-config"
    }

    fn after(&self) -> &'static [&'static str] {
        &["kubeconfigs", "join", "kubeadm-config"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let config = host.read_text(CONFIG)?.unwrap_or_default();
        let flags = host.read_text(FLAGS)?.unwrap_or_default();
        // Both end with a newline, and neither is empty, when written to the end.
        Ok(match config.ends_with('\n') && flags.ends_with('\n') {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        kubeadm::init_phase(host, &["kubelet-start"])?;
        Ok(host.sync("/var/lib/kubelet")?)
    }
}

/// The service runs.
#[derive(Debug)]
pub struct Kubelet;

impl Phase for Kubelet {
    fn name(&self) -> &'static str {
        "kubelet"
    }

    fn after(&self) -> &'static [&'static str] {
        &[
            "kubelet-config",
            "images",
            "control-plane",
            "api-servers",
            "queue",
            "standing",
            "etcd",
            "runtime",
            "store",
        ]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(match units::is_running(host, UNIT)? {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        units::start(host, UNIT)?;
        Err(Trouble::Waiting(String::from("kubelet does not run yet")))
    }
}

/// kubelet's kubeconfig names the certificate that kubelet renews by itself. The running kubelet has it already,
/// so nothing is restarted.
#[derive(Debug)]
pub struct Finalize;

impl Phase for Finalize {
    fn name(&self) -> &'static str {
        "kubelet-finalize"
    }

    fn after(&self) -> &'static [&'static str] {
        &["bootstrap-token"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let text = host.read_text(KUBECONFIG)?.unwrap_or_default();
        Ok(match text.contains(CURRENT) {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        if !host.exists(CURRENT) {
            return Err(Trouble::Waiting(format!(
                "kubelet has not written {CURRENT} yet"
            )));
        }
        Ok(kubeadm::init_phase(host, &["kubelet-finalize", "all"])?)
    }
}
