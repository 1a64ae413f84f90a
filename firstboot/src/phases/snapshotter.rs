//! Snapshotter: containerd will find its snapshotter's socket.
//!
//! Before: `/var/lib/containerd` is on DATA. After: `seedbed-snapshotter.service` runs and its socket is there.

use crate::host::Host;
use crate::phase::{Outcome, Phase, State, Trouble, done_if};
use crate::{snapshotter, units};

const UNIT: &str = "seedbed-snapshotter.service";

/// The phase.
#[derive(Debug)]
pub struct Snapshotter;

impl Phase for Snapshotter {
    fn name(&self) -> &'static str {
        "snapshotter"
    }

    fn after(&self) -> &'static [&'static str] {
        &["paths"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let socket = format!("{}/{}", snapshotter::RUN, snapshotter::SOCKET);
        let (runs, there) = (units::is_running(host, UNIT)?, host.exists(&socket));
        match runs || there {
            true => Ok(done_if(runs && there, "the snapshotter does not run yet")),
            false => Ok(State::Absent),
        }
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        if !units::is_running(host, UNIT)? {
            units::start(host, UNIT)?;
        }
        Err(Trouble::Waiting(String::from(
            "the snapshotter does not run yet",
        )))
    }
}
