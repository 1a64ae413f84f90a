//! Standing: a machine that is a member asks whether it still is, before it runs anything for the cluster but etcd, which
//! does not take back one that was removed.
//!
//! It may have been removed while it was off, and its certificates are good all the same. Who was removed says so and stays out.
//! If nobody answers for a while, the machine goes on: a site that starts as a whole, or is cut in two, has to work. It
//! is asked then from time to time, until somebody answers ([`crate::agent`]).

use std::time::Duration;

use anyhow::Context;
use contract::peer::{Request, Response};

use crate::birth;
use crate::host::{Cmd, Host};
use crate::ledger::{self, Membership};
use crate::neighbours;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::units;

const ETCD: &str = "etcd.service";
/// What came of the question in this boot: [`TOLD`], or something else if nobody answered in time.
const SETTLED: &str = "/run/seedbed/standing";
/// Somebody has told that this machine is a member.
const TOLD: &str = "told\n";
/// Nobody has told anything, and the machine went on.
const UNTOLD: &str = "nobody answered\n";
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
            Ok(()) => Ok(()),
            Err(Trouble::Permanent(why)) => {
                // It would be started again and again, and told each time that it is a member no more.
                if units::is_running(host, ETCD)? {
                    host.run(&Cmd::new("/usr/bin/systemctl").args(["--no-block", "stop", ETCD]))?;
                }
                Err(Trouble::Permanent(why))
            }
            Err(trouble) if !is_late(host)? => Err(Trouble::Waiting(trouble.to_string())),
            Err(trouble) => {
                tracing::warn!("nobody tells whether this machine is still a member: {trouble}");
                Ok(host.write(SETTLED, 0o644, UNTOLD.as_bytes())?)
            }
        }
    }
}

/// Whether the machine went on in this boot, and whether anybody has told that it may.
pub fn settled(host: &dyn Host) -> anyhow::Result<Option<bool>> {
    let text = host.read_text(SETTLED)?;
    Ok(text.map(|text| text == TOLD))
}

/// Asks another machine of the control plane whether this one is still a member, and notes that it is; a permanent trouble
/// if not. One that is no member yet is on its way, and the only machine of a control plane cannot be removed.
pub fn ask(host: &dyn Host) -> Outcome<()> {
    let birth = birth::decided(host)?;
    let alone = birth.seats.iter().all(|seat| *seat == birth.me);
    let asks = !alone && ledger::read::<Membership>(host)?.is_some();
    if asks {
        match neighbours::ask_control_plane(host, &birth, &Request::Standing)? {
            Response::Done => {}
            other => {
                return Err(Trouble::Transient(anyhow::anyhow!(
                    "the control plane answers the question for this machine's standing with {other:?}"
                )));
            }
        }
    }
    host.write_if_changed(SETTLED, 0o644, TOLD.as_bytes())?;
    Ok(())
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
