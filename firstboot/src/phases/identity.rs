//! Identity: who this machine is, decided once.
//!
//! Before: STATE is mounted and a seed was found. After: the ledger holds the seed, the identity and the keys of
//! the machine's channel, the kernel and `/etc/hostname` have the host name. A seed of another cluster is refused.

use anyhow::{Context, Result};
use contract::peer::keys::KeyPair;

use crate::facts;
use crate::host::Host;
use crate::ledger::{self, ChannelKey, Identity};
use crate::machine::identity;
use crate::phase::{Outcome, Phase, State};

const HOST_NAME: &str = "/etc/hostname";
const KERNEL_HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The phase.
#[derive(Debug)]
pub struct IdentityPhase;

impl Phase for IdentityPhase {
    fn name(&self) -> &'static str {
        "identity"
    }

    fn after(&self) -> &'static [&'static str] {
        &["clock", "disks"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let Some(identity) = ledger::read::<Identity>(host)? else {
            return Ok(State::Absent);
        };
        if ledger::read::<ChannelKey>(host)?.is_none() {
            return Ok(State::Partial(String::from("it has no keys yet")));
        }
        let is = |path: &str| -> Result<bool> {
            Ok(host.read_text(path)?.unwrap_or_default().trim() == identity.host_name)
        };
        let named = is(HOST_NAME)? && is(KERNEL_HOST_NAME)?;
        Ok(crate::phase::done_if(named, "the host name is not set"))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let identity = match ledger::read::<Identity>(host)? {
            Some(identity) => identity,
            None => decide(host)?,
        };
        if ledger::read::<ChannelKey>(host)?.is_none() {
            let drawn = KeyPair::draw().context("drawing the machine's keys")?;
            let keys = ChannelKey {
                version: 1,
                private: drawn.private,
                public: drawn.public,
            };
            ledger::decide(host, &keys)?;
        }
        host.set_host_name(&identity.host_name)?;
        let line = format!("{}\n", identity.host_name);
        Ok(host.write(HOST_NAME, 0o644, line.as_bytes())?)
    }
}

/// The seed goes first: an identity without its seed could not be used after a power cut.
fn decide(host: &dyn Host) -> Result<Identity> {
    if ledger::seed(host)?.is_none() {
        let text = host
            .read_text(facts::FOUND_SEED)?
            .context("there is no seed yet")?;
        ledger::accept_seed(host, &text)?;
    }
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let machine = match identity::digest(&identity::facts(host)?) {
        Some(digest) => digest,
        None => identity::hex(&host.random()?),
    };
    let machine_id = host
        .read_text("/etc/machine-id")?
        .context("the machine has no /etc/machine-id")?;
    let identity = Identity {
        version: 1,
        machine_id: machine_id.trim().to_owned(),
        incarnation: super::disks::drawn(host)?,
        host_name: seed.hostname(&machine),
        cluster: seed.cluster.name.clone(),
        machine,
    };
    ledger::decide(host, &identity)?;
    Ok(identity)
}
