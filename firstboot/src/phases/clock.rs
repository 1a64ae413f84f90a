//! Clock: no earlier than the image's lock, and than the last time that this machine knew.
//!
//! Before: whatever the firmware says. After: a time in which certificates are valid; saved on STATE from
//! time to time by [`save`].

use anyhow::Result;

use crate::facts;
use crate::host::Host;
use crate::phase::{Outcome, Phase, State};

const SAVED: &str = "/run/seedbed/state/time";

/// The phase.
#[derive(Debug)]
pub struct Clock;

impl Phase for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    fn after(&self) -> &'static [&'static str] {
        &[]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let least = least(host, facts::manifest(host)?.epoch)?;
        Ok(match host.now() {
            now if now < least => {
                State::Partial(format!("the clock says {now}, which is before {least}"))
            }
            _ => State::Done,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        Ok(host.set_clock(least(host, facts::manifest(host)?.epoch)?)?)
    }
}

/// The earliest time that this machine believes in, in seconds since 1970.
pub fn least(host: &dyn Host, epoch: u64) -> Result<u64> {
    let saved = host.read_text(SAVED)?.unwrap_or_default();
    Ok(saved.trim().parse().unwrap_or(0).max(epoch))
}

/// Saves the present time, so that the next boot does not believe in an earlier one.
pub fn save(host: &dyn Host) -> Result<()> {
    host.write(SAVED, 0o600, format!("{}\n", host.now()).as_bytes())
}
