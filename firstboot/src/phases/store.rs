//! Store: the image registry on loopback answers.
//!
//! Before: nothing. After: the store is mounted and `seedbed-registry.service` serves it.

use crate::host::{Cmd, Host, Request};
use crate::phase::{Outcome, Phase, State, Trouble};

const DMSETUP: &str = "/usr/sbin/dmsetup";
/// What the verity target says of a device of which a block was not what its hash says.
const CORRUPTED: &str = "C";

/// The phase.
#[derive(Debug)]
pub struct Store;

impl Phase for Store {
    fn name(&self) -> &'static str {
        "store"
    }

    fn after(&self) -> &'static [&'static str] {
        &[]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(
            match host.ask(&Request::loopback(contract::port::REGISTRY, "/v2/")) {
                Ok(reply) if reply.status == 200 => State::Done,
                Ok(reply) => {
                    State::Partial(format!("the registry answers with status {}", reply.status))
                }
                Err(_) => State::Absent,
            },
        )
    }

    /// The unit is wanted by sysinit.target and restarts by itself.
    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        if is_corrupted(host) {
            return Err(Trouble::Permanent(anyhow::anyhow!(
                "dm-verity found a block of the partition STORE that is not what its root hash vouches for: the disk is damaged, or somebody changed it; write the image to it again"
            )));
        }
        Err(Trouble::Waiting(String::from(
            "the image registry does not answer yet",
        )))
    }
}

/// Whether dm-verity refused a block of the store. No device yet, or no answer, is no evidence.
fn is_corrupted(host: &dyn Host) -> bool {
    let status = host.run(&Cmd::new(DMSETUP).args(["status", "--target", "verity", "store"]));
    status.is_ok_and(|output| output.stdout.split_whitespace().nth(3) == Some(CORRUPTED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fake::Fake;

    fn trouble(status: &'static str) -> Trouble {
        let host = Fake::default();
        host.rule(DMSETUP, move |_, _| Ok(status.to_owned()));
        Store.apply(&host).unwrap_err()
    }

    #[test]
    fn a_damaged_store_is_no_matter_of_waiting() {
        assert!(matches!(trouble("0 2048 verity V\n"), Trouble::Waiting(_)));
        assert!(matches!(trouble(""), Trouble::Waiting(_)));
        let damaged = trouble("0 2048 verity C\n");
        assert!(matches!(damaged, Trouble::Permanent(_)), "{damaged}");
        assert!(damaged.to_string().contains("dm-verity"), "{damaged}");
    }
}
