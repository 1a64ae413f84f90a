//! Join: a worker gets its kubelet's certificate from the control plane.
//!
//! Before: the cluster is founded, which the machine knows. After: the cluster's authority, kubelet's kubeconfig and its first certificate are
//! there, and it is known where API servers are. kubelet renews the certificate by itself.

use anyhow::{Context, anyhow};
use contract::peer::{self, Request, Response};
use serde_json::json;

use crate::api_servers;
use crate::birth;
use crate::facts;
use crate::host::Host;
use crate::ledger::{self, Identity};
use crate::neighbours;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::pki::{self, PKI};

const KUBECONFIG: &str = "/etc/kubernetes/kubelet.conf";
const FOLDER: &str = "/var/lib/kubelet/pki";
/// kubelet puts the next ones beside it, and moves the link.
const FIRST: &str = "kubelet-client-joined.pem";

/// The phase.
#[derive(Debug)]
pub struct JoinPhase;

impl Phase for JoinPhase {
    fn name(&self) -> &'static str {
        "join"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly", "paths"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let there = |path: &str| host.exists(path);
        let (config, authority) = (there(KUBECONFIG), there(&format!("{PKI}/ca.crt")));
        let certificate = there(super::kubelet::CURRENT);
        Ok(match (config, authority, certificate) {
            (true, true, true) => State::Done,
            (false, false, false) => State::Absent,
            _ => State::Partial(String::from("a file of kubelet's is missing")),
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let birth = birth::decided(host)?;
        let seed = facts::seed(host)?.context("there is no seed yet")?;
        let identity: Identity = ledger::decided(host)?;
        let asked = pki::request()?;
        let request = Request::Join(peer::Join {
            host_name: identity.host_name.clone(),
            request: asked.public,
            joins: seed.joins(),
        });
        let admission = match neighbours::ask_control_plane(host, &birth, &request)? {
            Response::Admission(admission) => admission,
            other => {
                return Err(Trouble::Transient(anyhow!(
                    "the control plane answers the question for a certificate with {other:?}"
                )));
            }
        };
        if Some(pki::fingerprint(&admission.authority)?) != birth.authority {
            return Err(Trouble::Transient(anyhow!(
                "the control plane answers with another authority than the cluster was founded with"
            )));
        }
        host.create_dir(PKI, 0o755)?;
        host.create_dir(FOLDER, 0o700)?;
        host.write(
            &format!("{PKI}/ca.crt"),
            0o644,
            admission.authority.as_bytes(),
        )?;
        api_servers::keep(host, &admission.api_servers)?;
        let pem = admission.certificate + &asked.key;
        host.write(&format!("{FOLDER}/{FIRST}"), 0o600, pem.as_bytes())?;
        host.symlink(&format!("{FOLDER}/{FIRST}"), super::kubelet::CURRENT)?;
        Ok(host.write(KUBECONFIG, 0o600, kubeconfig(&identity).as_bytes())?)
    }
}

/// kubelet's kubeconfig, as kubeadm leaves it behind.
fn kubeconfig(identity: &Identity) -> String {
    let server = format!(
        "https://{}:{}",
        identity.endpoint(),
        contract::port::BALANCER
    );
    let user = format!("system:node:{}", identity.host_name);
    let (cluster, pem) = (&identity.cluster, super::kubelet::CURRENT);
    let document = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": cluster, "cluster": {
            "certificate-authority": format!("{PKI}/ca.crt"), "server": server,
        } }],
        "users": [{ "name": user, "user": { "client-certificate": pem, "client-key": pem } }],
        "contexts": [{ "name": user, "context": { "cluster": cluster, "user": user } }],
        "current-context": user,
    });
    format!("{document:#}\n")
}
