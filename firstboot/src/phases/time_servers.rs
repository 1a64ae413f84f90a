//! Time servers: systemd-timesyncd asks those that the seed names.
//!
//! Before: the network is configured. After: the service runs with the seed's list, or there is none and it is
//! left alone. Nothing waits for an answer: a machine whose servers are silent lives by its own clock, which
//! [`super::clock`] keeps from lying in the past.

use anyhow::Context;

use crate::facts;
use crate::host::Host;
use crate::phase::{Outcome, Phase, State, Trouble, done_if};
use crate::units;

const UNIT: &str = "systemd-timesyncd.service";
const FOLDER: &str = "/run/systemd/timesyncd.conf.d";
const CONFIG: &str = "/run/systemd/timesyncd.conf.d/00-seedbed.conf";

/// The phase.
#[derive(Debug)]
pub struct TimeServers;

impl Phase for TimeServers {
    fn name(&self) -> &'static str {
        "time-servers"
    }

    fn after(&self) -> &'static [&'static str] {
        &["clock", "network"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let Some(config) = config(host)? else {
            return Ok(State::Done);
        };
        if host.read_text(CONFIG)?.as_ref() != Some(&config) {
            return Ok(State::Absent);
        }
        Ok(done_if(
            units::is_running(host, UNIT)?,
            "systemd-timesyncd does not run yet",
        ))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let Some(config) = config(host)? else {
            return Ok(());
        };
        host.create_dir(FOLDER, 0o755)?;
        host.write_if_changed(CONFIG, 0o644, config.as_bytes())?;
        units::start(host, UNIT)?;
        Err(Trouble::Waiting(String::from(
            "systemd-timesyncd does not run yet",
        )))
    }
}

/// The service's configuration (`timesyncd.conf(5)`), if the seed names a server. Its own list of servers on the
/// internet is switched off.
fn config(host: &dyn Host) -> anyhow::Result<Option<String>> {
    let seed = facts::seed(host)?.context("there is no seed yet")?;
    let servers = seed.time_servers.join(" ");
    let text = format!("[Time]\nNTP={servers}\nFallbackNTP=\n");
    Ok((!servers.is_empty()).then_some(text))
}
