//! etcd's certificates, which kubeadm does not make when etcd is external to it.
//!
//! Before: `/etc/kubernetes` is on STATE and the cluster address is decided. After: etcd's own authority, its
//! server and peer certificate, a health-check client and the API server's client are in
//! `/etc/kubernetes/pki`, every pair valid for this machine. A pair that a power cut left half is made again;
//! the authority never, once etcd was founded.

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose as Usage, IsCa, Issuer,
    KeyPair, KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::facts::Facts;
use crate::host::Host;
use crate::ledger::{self, EtcdMember};
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::etcd::PKI;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// Ten years for the authority, one for what it signs.
const AUTHORITY: Duration = Duration::from_secs(3650 * 24 * 3600);
const LEAF: Duration = Duration::from_secs(365 * 24 * 3600);

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
        &["clock", "paths", "network"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let authority = pair(host, &format!("{PKI}/ca"))?;
        if authority.is_none() {
            return match ledger::read::<EtcdMember>(host)? {
                None => Ok(State::Absent),
                Some(_) => Err(Trouble::Permanent(anyhow!(
                    "{PKI}/ca.crt or ca.key is missing or damaged, and etcd was founded with it; restore STATE"
                ))),
            };
        }
        for leaf in &LEAVES {
            if pair(host, leaf.path)?.is_none() {
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
        let now =
            OffsetDateTime::from_unix_timestamp(i64::try_from(host.now()).unwrap_or(i64::MAX))
                .context("the clock is out of range")?;
        host.create_dir(PKI, 0o755)?;
        let path = format!("{PKI}/ca");
        let (certificate, key) = match pair(host, &path)? {
            Some(pair) => pair,
            None => {
                let made = authority(now)?;
                store(host, &path, &made)?;
                made
            }
        };
        let key = KeyPair::from_pem(&key).context("reading etcd's authority key")?;
        let issuer =
            Issuer::from_ca_cert_pem(&certificate, key).context("reading etcd's authority")?;
        for leaf in &LEAVES {
            if pair(host, leaf.path)?.is_none() {
                store(host, leaf.path, &sign(leaf, &facts, &issuer, now)?)?;
            }
        }
        Ok(())
    }
}

type Pair = (String, String);

/// Certificate and key, if both are there, whole, and belong together.
fn pair(host: &dyn Host, path: &str) -> Result<Option<Pair>> {
    let certificate = host.read_text(&format!("{path}.crt"))?;
    let key = host.read_text(&format!("{path}.key"))?;
    let (Some(certificate), Some(key)) = (certificate, key) else {
        return Ok(None);
    };
    let same = || -> Option<bool> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(certificate.as_bytes()).ok()?;
        let parsed = pem.parse_x509().ok()?;
        let pair = KeyPair::from_pem(&key).ok()?;
        Some(parsed.public_key().raw == rcgen::PublicKeyData::subject_public_key_info(&pair))
    };
    Ok((same() == Some(true)).then_some((certificate, key)))
}

/// The key first: a certificate without its key would look like an authority kept elsewhere.
fn store(host: &dyn Host, path: &str, (certificate, key): &Pair) -> Result<()> {
    host.write(&format!("{path}.key"), 0o600, key.as_bytes())?;
    host.write(&format!("{path}.crt"), 0o644, certificate.as_bytes())
}

fn authority(now: OffsetDateTime) -> Result<Pair> {
    let key = KeyPair::generate().context("drawing etcd's authority key")?;
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "etcd-ca");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
        KeyUsagePurpose::KeyCertSign,
    ];
    (params.not_before, params.not_after) = (now - DAY, now + AUTHORITY);
    let certificate = params
        .self_signed(&key)
        .context("signing etcd's authority")?;
    Ok((certificate.pem(), key.serialize_pem()))
}

fn sign(
    leaf: &Leaf,
    facts: &Facts,
    issuer: &Issuer<'_, KeyPair>,
    now: OffsetDateTime,
) -> Result<Pair> {
    let making = || format!("making {}.crt", leaf.path);
    let key = KeyPair::generate().with_context(making)?;
    let mut params = CertificateParams::default();
    let host_name = facts.identity.host_name.as_str();
    params
        .distinguished_name
        .push(DnType::CommonName, leaf.name.unwrap_or(host_name));
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.extended_key_usages = vec![Usage::ClientAuth];
    if leaf.serves {
        params.extended_key_usages.insert(0, Usage::ServerAuth);
        for name in ["localhost", host_name] {
            let name = name.try_into().with_context(making)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        let loopback = [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
        let addresses = loopback.into_iter().chain([facts.address.address]);
        params
            .subject_alt_names
            .extend(addresses.map(SanType::IpAddress));
    }
    (params.not_before, params.not_after) = (now - DAY, now + LEAF);
    let certificate = params.signed_by(&key, issuer).with_context(making)?;
    Ok((certificate.pem(), key.serialize_pem()))
}
