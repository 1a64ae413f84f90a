//! API servers: the load balancer on this machine knows where they are.
//!
//! Before: it is certain what the machine is to do. After: whoever asks `api.<cluster>.internal` reaches one.

use anyhow::Context;
use contract::paths::BACKENDS;

use crate::api_servers;
use crate::host::Host;
use crate::phase::{Outcome, Phase, State, done_if};

/// The phase.
#[derive(Debug)]
pub struct ApiServers;

impl Phase for ApiServers {
    fn name(&self) -> &'static str {
        "api-servers"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly", "join"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let role =
            super::assembly::role(host)?.context("it is not certain what this machine is to do")?;
        let told = host.read_text(BACKENDS)?;
        Ok(done_if(
            told == Some(api_servers::document(host, role)?),
            "the load balancer does not know them",
        ))
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        let role =
            super::assembly::role(host)?.context("it is not certain what this machine is to do")?;
        Ok(api_servers::tell(host, role)?)
    }
}
