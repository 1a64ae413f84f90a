//! Authorities: what every machine of the control plane has, and no other.
//!
//! Before: the machine has a seat. After: the cluster's authority, the aggregation layer's, etcd's, and the keys
//! of service accounts are in `/etc/kubernetes/pki`, and the key of the cluster's Secrets is beside it. One machine
//! makes them; the others ask a machine that has them, over the peers' channel. They are never made again once the
//! cluster is founded.

use anyhow::{Result, anyhow};
use contract::peer::keys::EncryptionKey;
use contract::peer::{Authorities, Pair, Request, Response};

use crate::birth::{self, Birth};
use crate::host::Host;
use crate::ledger::{self, EtcdMember};
use crate::neighbours;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::pki::{self, PKI};
use crate::render::encryption;

const SERVICE_ACCOUNT: &str = "sa";

/// The phase.
#[derive(Debug)]
pub struct AuthoritiesPhase;

impl Phase for AuthoritiesPhase {
    fn name(&self) -> &'static str {
        "authorities"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly", "paths"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        if read(host)?.is_some() {
            return Ok(State::Done);
        }
        match ledger::read::<EtcdMember>(host)? {
            None => Ok(State::Absent),
            Some(_) => Err(Trouble::Permanent(anyhow!(
                "an authority below {PKI}, or the key in {}, is missing or damaged, and etcd was founded with it; \
                 restore STATE, or found the cluster anew if an image without encryption of Secrets founded it",
                encryption::CONFIG
            ))),
        }
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let birth = birth::decided(host)?;
        host.create_dir(&format!("{PKI}/etcd"), 0o755)?;
        if birth.initialises() && birth.authority.is_none() {
            return Ok(make(host)?);
        }
        let authorities = fetch(host, &birth)?;
        for (path, pair) in [
            ("ca", &authorities.kubernetes),
            ("front-proxy-ca", &authorities.front_proxy),
            ("etcd/ca", &authorities.etcd),
        ] {
            pki::write(host, &format!("{PKI}/{path}"), pair)?;
        }
        write_service_account(host, &authorities.service_account)?;
        Ok(write_encryption(host, &authorities.encryption)?)
    }
}

/// All of them, if all are there and whole.
pub fn read(host: &dyn Host) -> Result<Option<Authorities>> {
    let pair = |path: &str| pki::read(host, &format!("{PKI}/{path}"));
    let (Some(kubernetes), Some(front_proxy), Some(etcd), Some(service_account), Some(encryption)) = (
        pair("ca")?,
        pair("front-proxy-ca")?,
        pair("etcd/ca")?,
        service_account(host)?,
        encryption(host)?,
    ) else {
        return Ok(None);
    };
    Ok(Some(Authorities {
        kubernetes,
        front_proxy,
        etcd,
        service_account,
        encryption,
    }))
}

/// What is there already stays: a power cut may have come between two of them.
fn make(host: &dyn Host) -> Result<()> {
    for (path, name) in [
        ("ca", "kubernetes"),
        ("front-proxy-ca", "front-proxy-ca"),
        ("etcd/ca", "etcd-ca"),
    ] {
        let path = format!("{PKI}/{path}");
        if pki::read(host, &path)?.is_none() {
            pki::write(host, &path, &pki::authority(name, pki::now(host)?)?)?;
        }
    }
    if service_account(host)?.is_none() {
        write_service_account(host, &pki::keys()?)?;
    }
    if encryption(host)?.is_none() {
        let halves = [host.random()?, host.random()?];
        let mut key = [0; 32];
        key.copy_from_slice(halves.as_flattened());
        write_encryption(host, &EncryptionKey::new(key))?;
    }
    Ok(())
}

fn fetch(host: &dyn Host, birth: &Birth) -> Outcome<Authorities> {
    let authorities = match neighbours::ask_control_plane(host, birth, &Request::Authorities)? {
        Response::Authorities(authorities) => authorities,
        other => {
            return Err(Trouble::Transient(anyhow!(
                "the control plane answers the question for its authorities with {other:?}"
            )));
        }
    };
    if let Some(authority) = birth.authority
        && pki::fingerprint(&authorities.kubernetes.public)? != authority
    {
        return Err(Trouble::Transient(anyhow!(
            "the control plane answers with another authority than the cluster was founded with"
        )));
    }
    Ok(*authorities)
}

fn service_account(host: &dyn Host) -> Result<Option<Pair>> {
    let part = |kind: &str| host.read_text(&format!("{PKI}/{SERVICE_ACCOUNT}.{kind}"));
    let (Some(public), Some(key)) = (part("pub")?, part("key")?) else {
        return Ok(None);
    };
    let whole = |text: &str| text.trim_end().ends_with("-----");
    Ok((whole(&public) && whole(&key)).then_some(Pair { public, key }))
}

fn write_service_account(host: &dyn Host, pair: &Pair) -> Result<()> {
    let path = |kind: &str| format!("{PKI}/{SERVICE_ACCOUNT}.{kind}");
    host.write(&path("key"), 0o600, pair.key.as_bytes())?;
    host.write(&path("pub"), 0o644, pair.public.as_bytes())
}

fn encryption(host: &dyn Host) -> Result<Option<EncryptionKey>> {
    let text = host.read_text(encryption::CONFIG)?;
    Ok(text.and_then(|text| encryption::key(&text)))
}

fn write_encryption(host: &dyn Host, key: &EncryptionKey) -> Result<()> {
    host.create_dir(encryption::FOLDER, 0o700)?;
    let text = encryption::configuration(key);
    host.write(encryption::CONFIG, 0o600, text.as_bytes())
}
