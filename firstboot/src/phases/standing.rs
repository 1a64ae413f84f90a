//! Standing: a machine that is a member asks whether it still is, before it runs anything for the cluster.
//!
//! It may have been removed while it was off, and its certificates are good all the same. Who was removed says so and stays out.
//! If nobody answers for a while, the machine goes on: a site that starts as a whole, or is cut in two, has to work.

use std::time::Duration;

use anyhow::Context;
use contract::peer::{Request, Response};

use crate::birth;
use crate::host::Host;
use crate::ledger::{self, Membership};
use crate::neighbours;
use crate::phase::{Outcome, Phase, State, Trouble};

/// It is there once the question is settled in this boot.
pub const SETTLED: &str = "/run/seedbed/standing";
/// When this machine began to ask, in seconds of uptime.
const SINCE: &str = "/run/seedbed/standing-since";
/// How long it asks at most.
const PATIENCE: Duration = Duration::from_secs(60);

/// The phase.
#[derive(Debug)]
pub struct Standing;

impl Phase for Standing {
    fn name(&self) -> &'static str {
        "standing"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly", "join", "etcd"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(match host.exists(SETTLED) {
            true => State::Done,
            false => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        match ask(host) {
            // Nobody can remove the only machine of a control plane.
            Ok(()) => {}
            Err(Trouble::Permanent(why)) => return Err(Trouble::Permanent(why)),
            Err(trouble) if !is_late(host)? => return Err(Trouble::Waiting(trouble.to_string())),
            Err(trouble) => {
                tracing::warn!("nobody tells whether this machine is still a member: {trouble}");
            }
        }
        Ok(host.write(SETTLED, 0o644, b"")?)
    }
}

/// Whether this machine is still a member, as another machine of the control plane knows; a permanent trouble if not.
/// One that is no member yet, or has no other to ask, is.
pub fn ask(host: &dyn Host) -> Outcome<()> {
    let birth = birth::decided(host)?;
    let alone = birth.seats.iter().all(|seat| *seat == birth.me);
    if alone || ledger::read::<Membership>(host)?.is_none() {
        return Ok(());
    }
    match neighbours::ask_control_plane(host, &birth, &Request::Standing)? {
        Response::Done => Ok(()),
        other => Err(Trouble::Transient(anyhow::anyhow!(
            "the control plane answers the question for this machine's standing with {other:?}"
        ))),
    }
}

fn is_late(host: &dyn Host) -> Outcome<bool> {
    let since = host.read_text(SINCE)?.unwrap_or_default();
    let now = host.uptime().as_secs();
    let Ok(since) = since.trim().parse::<u64>() else {
        host.write(SINCE, 0o644, format!("{now}\n").as_bytes())
            .context("noting since when the machine asks")?;
        return Ok(false);
    };
    Ok(now.saturating_sub(since) >= PATIENCE.as_secs())
}
