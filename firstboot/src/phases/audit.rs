//! Audit: what the API server is to write down, and where.
//!
//! Before: STATE and DATA are mounted, the machine has a seat. After: the policy is on STATE, and the log has a folder
//! on DATA that only root reads.

use anyhow::Context;
use contract::seed::kubernetes::Audit;

use crate::facts;
use crate::host::Host;
use crate::phase::{Outcome, Phase, State, done_if};
use crate::render::audit;

/// The phase.
#[derive(Debug)]
pub struct AuditPhase;

impl Phase for AuditPhase {
    fn name(&self) -> &'static str {
        "audit"
    }

    fn after(&self) -> &'static [&'static str] {
        &["assembly", "paths"]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        let seed = facts::seed(host)?.context("there is no seed yet")?;
        if seed.kubernetes.audit == Audit::None {
            return Ok(State::Done);
        }
        Ok(match host.read_text(audit::POLICY)? {
            Some(text) if text == audit::policy() => done_if(
                host.exists(audit::LOG_FOLDER),
                "the log's folder is missing",
            ),
            Some(_) => State::Partial(String::from("it is another image's policy")),
            None => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        // The API server makes files that everybody could read.
        host.create_dir(audit::LOG_FOLDER, 0o700)?;
        host.create_dir(audit::FOLDER, 0o700)?;
        Ok(host.write(audit::POLICY, 0o600, audit::policy().as_bytes())?)
    }
}
