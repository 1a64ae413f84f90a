//! kubeadm's phases that need no API server: configuration, certificates, kubeconfigs, static pods.
//!
//! Before: `/etc/kubernetes` is on STATE, host name and cluster address are decided. After: everything that
//! kubelet needs to bring the control plane up. What a power cut left half written is removed first, because
//! kubeadm keeps whatever file exists.

use anyhow::{Result, anyhow};

use crate::facts::Facts;
use crate::host::Host;
use crate::kubeadm::{self, config};
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::pki::PKI;

/// `kubeadm.yaml` is rendered.
#[derive(Debug)]
pub struct Configuration;

impl Phase for Configuration {
    fn name(&self) -> &'static str {
        "kubeadm-config"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let wanted = render(host)?;
        Ok(match host.read_text(kubeadm::CONFIG)? {
            Some(text) if text == wanted => State::Done,
            Some(_) => State::Partial(String::from("it differs from what the seed says")),
            None => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(host.write(kubeadm::CONFIG, 0o600, render(host)?.as_bytes())?)
    }
}

fn render(host: &dyn Host) -> Outcome<String> {
    let facts = Facts::read(host)?;
    config::render(&facts).map_err(|error| Trouble::Permanent(anyhow!(error)))
}

/// Keys and certificates of the cluster.
#[derive(Debug)]
pub struct Certificates;

/// Pairs of `.crt` and `.key` that kubeadm makes; the authorities are there before, or it would make some, too.
const PAIRS: [&str; 3] = [
    "apiserver",
    "apiserver-kubelet-client",
    "front-proxy-client",
];

impl Phase for Certificates {
    fn name(&self) -> &'static str {
        "certificates"
    }

    fn after(&self) -> &'static [&'static str] {
        &["authorities", "kubeadm-config"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let mut lacking = Vec::new();
        for name in PAIRS {
            if !(whole_pem(host, &format!("{PKI}/{name}.crt"))?
                && whole_pem(host, &format!("{PKI}/{name}.key"))?)
            {
                lacking.push(name);
            }
        }
        Ok(match lacking.len() {
            0 => State::Done,
            n if n == PAIRS.len() => State::Absent,
            _ => State::Partial(format!("missing or damaged: {}", lacking.join(", "))),
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        for name in PAIRS {
            let (public, key) = (format!("{PKI}/{name}.crt"), format!("{PKI}/{name}.key"));
            if whole_pem(host, &public)? && whole_pem(host, &key)? {
                continue;
            }
            host.remove(&public)?;
            host.remove(&key)?;
        }
        Ok(kubeadm::init_phase(host, &["certs", "all"])?)
    }
}

fn whole_pem(host: &dyn Host, path: &str) -> Result<bool> {
    let text = host.read(path)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    Ok(text.contains("-----BEGIN ") && text.trim_end().ends_with("-----"))
}

/// The kubeconfigs of administrator, kubelet, controller manager and scheduler.
#[derive(Debug)]
pub struct Kubeconfigs;

const KUBECONFIGS: [&str; 4] = ["admin", "kubelet", "controller-manager", "scheduler"];

impl Phase for Kubeconfigs {
    fn name(&self) -> &'static str {
        "kubeconfigs"
    }

    fn after(&self) -> &'static [&'static str] {
        &["certificates"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let mut lacking = Vec::new();
        for name in KUBECONFIGS {
            if !whole_kubeconfig(host, name)? {
                lacking.push(name);
            }
        }
        Ok(match lacking.len() {
            0 => State::Done,
            n if n == KUBECONFIGS.len() => State::Absent,
            _ => State::Partial(format!("missing or damaged: {}", lacking.join(", "))),
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        for name in KUBECONFIGS {
            if !whole_kubeconfig(host, name)? {
                host.remove(&format!("/etc/kubernetes/{name}.conf"))?;
            }
        }
        Ok(kubeadm::init_phase(host, &["kubeconfig", "all"])?)
    }
}

/// The client's key is the last thing in the file.
fn whole_kubeconfig(host: &dyn Host, name: &str) -> Result<bool> {
    let text = host
        .read(&format!("/etc/kubernetes/{name}.conf"))?
        .unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().last().unwrap_or_default().trim_start();
    Ok(last.starts_with("client-key") && text.ends_with('\n'))
}

/// The API server's static pod.
#[derive(Debug)]
pub struct ApiServer;

impl Phase for ApiServer {
    fn name(&self) -> &'static str {
        "control-plane"
    }

    fn after(&self) -> &'static [&'static str] {
        // An API server that does not reach etcd gives up and is started again later and later.
        &["kubeconfigs", "audit"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        written(host, &["apiserver"])
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(kubeadm::init_phase(host, &["control-plane", "apiserver"])?)
    }
}

/// The static pods of controller manager and scheduler. They come once the API server is ready: before, they
/// could only ask in vain, and take the processors from it that it needs to start.
#[derive(Debug)]
pub struct Controllers;

const CONTROLLERS: [&str; 2] = ["controller-manager", "scheduler"];

impl Phase for Controllers {
    fn name(&self) -> &'static str {
        "controllers"
    }

    fn after(&self) -> &'static [&'static str] {
        &["api-server"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        written(host, &CONTROLLERS)
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        for name in CONTROLLERS {
            kubeadm::init_phase(host, &["control-plane", name])?;
        }
        Ok(())
    }
}

/// Whether the static pods of these components are there as a whole.
fn written(host: &dyn Host, components: &[&str]) -> Outcome<State> {
    let mut lacking = Vec::new();
    for name in components {
        let path = format!("/etc/kubernetes/manifests/kube-{name}.yaml");
        let text = host.read(&path)?.unwrap_or_default();
        // kubeadm writes the status last.
        let text = String::from_utf8_lossy(&text);
        if !text.trim_end().ends_with("status: {}") {
            lacking.push(*name);
        }
    }
    Ok(match lacking.len() {
        0 => State::Done,
        n if n == components.len() => State::Absent,
        _ => State::Partial(format!("missing or damaged: {}", lacking.join(", "))),
    })
}
