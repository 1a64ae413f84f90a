//! Assembly: what the machines of this site have agreed on, and what this one is in it.
//!
//! The agreement itself goes on beside the phases, in [`crate::assembly::driver`]; these wait for it, and make of
//! it what is not taken back.

use anyhow::anyhow;
use contract::paths::{DATA, STATE};

use crate::api_servers;
use crate::birth;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Epoch, EtcdMember, Membership, Role};
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::pki;
use crate::units;

/// It is certain what this machine is to do.
#[derive(Debug)]
pub struct Assembly;

/// What this machine is to do, once that is certain.
pub fn role(host: &dyn Host) -> anyhow::Result<Option<Role>> {
    if let Some(membership) = ledger::read::<Membership>(host)? {
        return Ok(Some(membership.role));
    }
    Ok(birth::read(host)?.and_then(|birth| birth.role()))
}

impl Phase for Assembly {
    fn name(&self) -> &'static str {
        "assembly"
    }

    fn after(&self) -> &'static [&'static str] {
        &["clock", "network", "paths"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        if role(host)?.is_none() {
            let why = host.read_text(birth::WHY)?.unwrap_or_default();
            return Err(Trouble::Waiting(match why.trim() {
                "" => String::from("looking for the other machines"),
                why => why.to_owned(),
            }));
        }
        let (birth, epoch) = (birth::decided(host)?, ledger::read::<Epoch>(host)?);
        Ok(match epoch {
            Some(epoch) if epoch == birth.work() => State::Done,
            Some(_) => State::Partial(String::from("what an earlier attempt made is still there")),
            None => State::Absent,
        })
    }

    /// What an attempt made that was given up is disposable: nobody has joined it.
    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let birth = birth::decided(host)?;
        if ledger::read::<Epoch>(host)?.is_some_and(|epoch| epoch != birth.work()) {
            if ledger::read::<Membership>(host)?.is_some() {
                return Err(Trouble::Permanent(anyhow!(
                    "this machine is a member of a cluster that was founded, and the machines have agreed on another \
                     one; nothing of it is erased. See \"What stops a birth\" in docs/assembly.md"
                )));
            }
            for unit in ["kubelet.service", "etcd.service"] {
                if units::is_running(host, unit)? {
                    host.run(&Cmd::new("/usr/bin/systemctl").args(["--no-block", "reboot"]))?;
                    return Err(Trouble::Waiting(format!(
                        "another attempt begins, and {unit} still works for an earlier one; the machine restarts"
                    )));
                }
            }
            for folder in [
                format!("{STATE}/kubernetes"),
                format!("{DATA}/etcd"),
                format!("{DATA}/kubelet"),
            ] {
                erase(host, &folder)?;
            }
            for file in [
                super::etcd::FOUNDED,
                super::etcd::STARTED,
                super::cni::RANGES,
                api_servers::KEPT,
            ] {
                host.remove(file)?;
            }
            ledger::forget::<EtcdMember>(host)?;
            ledger::forget::<Epoch>(host)?;
        }
        Ok(ledger::decide(host, &birth.work())?)
    }
}

/// Empties a folder that programs write; the folder itself is mounted elsewhere.
pub(super) fn erase(host: &dyn Host, folder: &str) -> anyhow::Result<()> {
    let find = Cmd::new("/usr/bin/find").arg(folder);
    host.run(&find.args(["-xdev", "-mindepth", "1", "-delete"]))?;
    Ok(())
}

/// The cluster is founded, and this machine is a member of it.
#[derive(Debug)]
pub struct Founded;

impl Phase for Founded {
    fn name(&self) -> &'static str {
        "founded"
    }

    /// A worker is a member once the control plane has let it in.
    fn after(&self) -> &'static [&'static str] {
        &["assembly", "join"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(match ledger::read::<Membership>(host)? {
            Some(_) => State::Done,
            None => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let birth = birth::decided(host)?;
        let (Some(authority), Some(role)) = (birth.authority, birth.role()) else {
            return Err(Trouble::Waiting(String::from(
                "the machines of the control plane are founding the cluster",
            )));
        };
        if let Some(pair) = pki::read(host, &format!("{}/ca", pki::PKI))?
            && pki::fingerprint(&pair.public)? != authority
        {
            return Err(Trouble::Permanent(anyhow!(
                "this machine has another authority than the cluster that was founded"
            )));
        }
        let membership = Membership {
            version: 1,
            role,
            cluster: birth.cluster,
            authority: crate::machine::identity::hex(&authority),
        };
        Ok(ledger::decide(host, &membership)?)
    }
}
