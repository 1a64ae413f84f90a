//! Questions to the API server: of the control plane's machines to their own, as its administrator; of workers to
//! any, as their kubelet.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contract::secret::Secret;
use serde_json::Value;

use crate::api_servers;
use crate::base64;
use crate::host::http::Tls;
use crate::host::{Host, Request};
use crate::phase::{Outcome, Trouble};

const CA: &str = "/etc/kubernetes/pki/ca.crt";
const ADMIN: &str = "/etc/kubernetes/admin.conf";
/// The certificate and key of the kubelet, in one file.
const KUBELET: &str = "/var/lib/kubelet/pki/kubelet-client-current.pem";

/// Whether `/readyz` says so; the reason if not.
pub fn ready(host: &dyn Host) -> Outcome<()> {
    let authority = host.read(CA)?.context("the cluster has no authority yet")?;
    let tls = Tls {
        authority,
        client: None,
    };
    match host.ask(&Request::loopback(api_servers::PORT, "/readyz").tls(tls)) {
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => Err(Trouble::Waiting(format!(
            "the API server answers, and is not ready (status {})",
            reply.status
        ))),
        Err(_) => Err(Trouble::Waiting(String::from(
            "the API server does not answer yet",
        ))),
    }
}

/// The object at `path`, or `None` if there is none.
pub fn object(host: &dyn Host, path: &str) -> Outcome<Option<Value>> {
    let authority = host.read(CA)?.context("the cluster has no authority yet")?;
    let (port, client) = match host.exists(ADMIN) {
        true => (api_servers::PORT, administrator(host)?),
        false => (contract::port::BALANCER, kubelet(host)?),
    };
    let client = Some(client);
    let request = Request {
        timeout: Duration::from_secs(10),
        ..Request::loopback(port, path).tls(Tls { authority, client })
    };
    let reply = host
        .ask(&request)
        .map_err(|error| Trouble::Waiting(format!("the API server does not answer: {error:#}")))?;
    match reply.status {
        200 => {
            let value = serde_json::from_slice(&reply.body)
                .with_context(|| format!("reading the API server's answer to {path}"))?;
            Ok(Some(value))
        }
        404 => Ok(None),
        status => Err(Trouble::Transient(anyhow!(
            "the API server answers {path} with status {status}"
        ))),
    }
}

/// The kubelet's certificate and key.
fn kubelet(host: &dyn Host) -> Result<(Vec<u8>, Secret)> {
    let pem = host
        .read_text(KUBELET)?
        .with_context(|| format!("{KUBELET} is missing"))?;
    Ok((pem.clone().into_bytes(), Secret::new(pem)))
}

/// The administrator's certificate and key out of his kubeconfig.
fn administrator(host: &dyn Host) -> Result<(Vec<u8>, Secret)> {
    let text = host
        .read_text(ADMIN)?
        .with_context(|| format!("{ADMIN} is missing"))?;
    let value = |key: &str| -> Result<Vec<u8>> {
        let mut lines = text.lines().map(str::trim);
        let line = lines.find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.and_then(|value| base64::decode(value.trim()))
            .with_context(|| format!("{ADMIN} has no {key}"))
    };
    let key = String::from_utf8(value("client-key-data")?)
        .context("the administrator's key is no PEM")?;
    Ok((value("client-certificate-data")?, Secret::new(key)))
}
