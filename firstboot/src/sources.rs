//! Where a seed comes from: sticks, the SEED partition of the disk that was booted, other disks, and the image
//! itself, in this order. What someone brought goes before what was shipped.
//!
//! [`volume`] finds the volumes and reads them without mounting; [`select`] decides, and has no effects.
//! Whatever was looked at and not taken is reported with its reason. Nothing here waits: who finds no seed
//! asks again.

mod select;
mod volume;

use crate::host::Host;
use contract::paths::EMBEDDED_SEED;
use contract::seed::Seed;
use select::{Candidate, Rank};

/// What a search came to.
#[derive(Debug, Default)]
pub struct Search {
    /// The seed to take.
    pub found: Option<Found>,
    /// Sources that were looked at and could not be taken.
    pub rejected: Vec<Rejected>,
}

/// A seed that makes sense, and where it was.
#[derive(Debug)]
pub struct Found {
    /// The seed.
    pub seed: Seed,
    /// Its text, for the ledger.
    pub text: String,
    /// Where it was, for people: `seed.yaml on the stick sdb1 (KINGSTON)`.
    pub origin: String,
    /// SHA-256 of the text, in hexadecimal.
    pub digest: String,
}

/// A source that could not be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Where, for people.
    pub origin: String,
    /// Why: one line, or file, line and caret for each fault.
    pub reason: String,
}

/// Looks everywhere once, and changes nothing.
pub fn find(host: &dyn Host) -> Search {
    let mut candidates = volume::candidates(host);
    let origin = String::from("the image");
    match host.read(EMBEDDED_SEED) {
        Ok(None) => {}
        Ok(Some(bytes)) => candidates.push(Candidate {
            rank: Rank::Image,
            origin,
            content: Ok(bytes),
        }),
        Err(error) => {
            let content = Err(format!("{error:#}"));
            candidates.push(Candidate {
                rank: Rank::Image,
                origin,
                content,
            });
        }
    }
    select::select(candidates)
}

#[cfg(test)]
mod tests;
