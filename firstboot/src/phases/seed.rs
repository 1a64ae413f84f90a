//! Seed: the ledger's, or one that is found somewhere.
//!
//! Before: nothing. After: a valid seed is in the ledger, or, on a machine without one, in memory at
//! [`facts::FOUND_SEED`], from where `identity` accepts it. It never touches a disk, but for the ledger's seed, whose
//! place a join seed takes on a machine that is no member yet.

use crate::facts;
use crate::host::Host;
use crate::ledger::{self, EtcdMember, Membership};
use crate::phase::{Outcome, Phase, State, Trouble};
use crate::sources;

/// The phase.
#[derive(Debug)]
pub struct SeedPhase;

impl Phase for SeedPhase {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn after(&self) -> &'static [&'static str] {
        &[]
    }

    fn observe(&self, host: &dyn Host) -> Outcome<State> {
        Ok(match facts::seed(host)? {
            Some(_) if join_seed(host)?.is_some() => State::Partial(String::from(
                "a join seed takes the place of the founding seed",
            )),
            Some(_) => State::Done,
            None => State::Absent,
        })
    }

    fn apply(&self, host: &dyn Host) -> Outcome<()> {
        if let Some(text) = join_seed(host)? {
            return Ok(ledger::replace_seed(host, &text)?);
        }
        let search = sources::find(host);
        let Some(found) = search.found else {
            return Err(Trouble::Waiting(why_none(&search.rejected)));
        };
        Ok(host.write(facts::FOUND_SEED, 0o600, found.text.as_bytes())?)
    }
}

/// The text of a join seed that was brought to a machine whose ledger has the founding seed of the same cluster, and
/// which is no member: the cluster did not take it.
fn join_seed(host: &dyn Host) -> anyhow::Result<Option<String>> {
    let undecided = ledger::seed(host)?.is_some()
        && ledger::read::<Membership>(host)?.is_none()
        && ledger::read::<EtcdMember>(host)?.is_none();
    let Some(founding) = facts::seed(host)?.filter(|seed| undecided && !seed.joins()) else {
        return Ok(None);
    };
    let found = sources::find(host).found;
    let found =
        found.filter(|found| found.seed.joins() && found.seed.is_of_the_same_cluster(&founding));
    Ok(found.map(|found| found.text))
}

fn why_none(rejected: &[sources::Rejected]) -> String {
    let mut why = String::from(
        "no seed yet; put seed.yaml at the top of a FAT-formatted USB stick, or on the partition SEED",
    );
    for one in rejected {
        why += &format!("\n  {} was not taken: {}", one.origin, one.reason);
    }
    why
}

/// What is to be said about a seed that is attached to a machine whose ledger has one: another cluster's is
/// refused, another text of the same cluster is not applied. `None` if there is nothing to say.
pub fn contradiction(host: &dyn Host) -> anyhow::Result<Option<String>> {
    let (Some(text), Some(founding)) = (ledger::seed(host)?, facts::seed(host)?) else {
        return Ok(None);
    };
    let Some(found) = sources::find(host).found else {
        return Ok(None);
    };
    let same = founding.is_of_the_same_cluster(&found.seed);
    Ok(match same {
        _ if found.text == text => None,
        true => Some(format!(
            "{} differs from the seed that this machine was founded with, and is not applied",
            found.origin
        )),
        false => Some(format!(
            "{} is for another cluster, {}; this machine belongs to {} and refuses it",
            found.origin, found.seed.cluster.name, founding.cluster.name
        )),
    })
}
