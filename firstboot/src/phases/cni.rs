//! Pod network: the built-in bridge has this node's pod range.
//!
//! Before: the node object exists. After: `/etc/cni/net.d` (memory) holds the configuration for the range that
//! the controller manager gave this node; STATE remembers the range, so that later boots need not ask.

use crate::host::Host;
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::render::cni;

const FOLDER: &str = "/etc/cni/net.d";
const CONFIG: &str = "/etc/cni/net.d/10-seedbed.conflist";
/// What was observed last, one range a line; not a decision, hence not in the ledger.
const SEEN: &str = "/run/seedbed/state/pod-ranges";

/// The phase.
#[derive(Debug)]
pub struct PodNetwork;

impl Phase for PodNetwork {
    fn name(&self) -> &'static str {
        "pod-network"
    }

    fn after(&self) -> &'static [&'static str] {
        &["node"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let Some(ranges) = seen(host)? else {
            return Ok(State::Absent);
        };
        let config = host.read_text(CONFIG)?;
        Ok(crate::phase::done_if(
            config.as_ref() == Some(&cni::conflist(&ranges)),
            "it is not configured",
        ))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let ranges = match seen(host)? {
            Some(ranges) => ranges,
            None => {
                let ranges = given(host)?;
                host.write(SEEN, 0o600, (ranges.join("\n") + "\n").as_bytes())?;
                ranges
            }
        };
        host.create_dir(FOLDER, 0o755)?;
        Ok(host.write(CONFIG, 0o644, cni::conflist(&ranges).as_bytes())?)
    }
}

fn seen(host: &dyn Host) -> Outcome<Option<Vec<String>>> {
    let text = host.read_text(SEEN)?.unwrap_or_default();
    let ranges: Vec<String> = text.lines().map(str::to_owned).collect();
    Ok((!ranges.is_empty()).then_some(ranges))
}

fn given(host: &dyn Host) -> Outcome<Vec<String>> {
    let node = super::control_plane::node(host)?.unwrap_or_default();
    let ranges: Vec<String> = match node["spec"]["podCIDRs"].as_array() {
        Some(ranges) => ranges
            .iter()
            .filter_map(|range| range.as_str())
            .map(str::to_owned)
            .collect(),
        None => Vec::new(),
    };
    match ranges.is_empty() {
        true => Err(Trouble::Waiting(String::from(
            "the controller manager has given no pod range yet",
        ))),
        false => Ok(ranges),
    }
}
