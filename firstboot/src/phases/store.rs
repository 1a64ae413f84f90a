//! Store: the image registry on loopback answers.
//!
//! Before: nothing. After: the store is mounted and `seedbed-registry.service` serves it.

use crate::host::{Get, Host};
use crate::phase::{Outcome, Phase, State, Trouble};

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
            match host.get(&Get::loopback(contract::port::REGISTRY, "/v2/")) {
                Ok(reply) if reply.status == 200 => State::Done,
                Ok(reply) => {
                    State::Partial(format!("the registry answers with status {}", reply.status))
                }
                Err(_) => State::Absent,
            },
        )
    }

    /// The unit is wanted by sysinit.target and restarts by itself.
    fn apply(&self, _: &dyn Host) -> Outcome<()> {
        Err(Trouble::Waiting(String::from(
            "the image registry does not answer yet",
        )))
    }
}
