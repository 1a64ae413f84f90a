//! etcd's certificates, which kubeadm does not make when etcd is external to it.
//!
//! Before: the authorities are there and the cluster address is decided. After: etcd's server and peer
//! certificate, a health-check client and the API server's client are in `/etc/kubernetes/pki`, every pair valid
//! for this machine. A pair that a power cut left half is made again.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::Context;

use crate::facts::Facts;
use crate::host::Host;
use crate::phase::{Outcome, Phase, State};
use crate::pki::{self, Subject};
use crate::render::etcd::PKI;

struct Leaf {
    /// Path without `.crt` and `.key`.
    path: &'static str,
    name: Option<&'static str>,
    /// Whether it serves, and thus names the machine; all are clients too.
    serves: bool,
}

const LEAVES: [Leaf; 4] = [
    Leaf {
        path: "/etc/kubernetes/pki/etcd/server",
        name: None,
        serves: true,
    },
    Leaf {
        path: "/etc/kubernetes/pki/etcd/peer",
        name: None,
        serves: true,
    },
    Leaf {
        path: "/etc/kubernetes/pki/etcd/healthcheck-client",
        name: Some("kube-etcd-healthcheck-client"),
        serves: false,
    },
    Leaf {
        path: "/etc/kubernetes/pki/apiserver-etcd-client",
        name: Some("kube-apiserver-etcd-client"),
        serves: false,
    },
];

/// The phase.
#[derive(Debug)]
pub struct EtcdCertificates;

impl Phase for EtcdCertificates {
    fn name(&self) -> &'static str {
        "etcd-certificates"
    }

    fn after(&self) -> &'static [&'static str] {
        &["authorities"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        for leaf in &LEAVES {
            if pki::read(host, leaf.path)?.is_none() {
                return Ok(State::Partial(format!(
                    "{}.crt is missing or damaged",
                    leaf.path
                )));
            }
        }
        Ok(State::Done)
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let facts = Facts::read(host)?;
        let authority =
            pki::read(host, &format!("{PKI}/ca"))?.context("etcd's authority is not there yet")?;
        let host_name = facts.identity.host_name.as_str();
        let names = ["localhost", host_name];
        let addresses: [IpAddr; 3] = [
            Ipv4Addr::LOCALHOST.into(),
            Ipv6Addr::LOCALHOST.into(),
            facts.address.address,
        ];
        for leaf in &LEAVES {
            if pki::read(host, leaf.path)?.is_none() {
                let subject = Subject {
                    name: leaf.name.unwrap_or(host_name),
                    group: None,
                    serves: leaf.serves.then_some((&names, &addresses)),
                };
                let pair = pki::issue(&authority, &subject, pki::now(host)?)?;
                pki::write(host, leaf.path, &pair)?;
            }
        }
        Ok(())
    }
}
