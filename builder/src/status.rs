//! How the machines of a site are: all are asked at once, and what they say is put together.
//!
//! [`ask`] has the effects. [`site`] makes one [`Site`] of the answers, and [`table`] and [`document`] what people and
//! programs read.

pub mod ask;
pub mod document;
pub mod site;
pub mod table;

use crate::status::ask::{Answer, Target, ask_all};
use crate::status::site::Site;
use contract::secret::Secret;
use contract::seed::Seed;
use contract::status::Known;
use std::collections::BTreeSet;
use std::time::Duration;

/// Asks `first`, and then those machines that the answers tell of and nobody has asked. Each time all have `patience`
/// together. Of `before`, machines that were there earlier, those that say nothing now count as silent.
pub fn survey(seed: &Seed, first: Vec<Target>, before: Vec<Known>, patience: Duration) -> Site {
    let secret = &seed.cluster.secret;
    let mut answers = ask_all(first, secret, patience);
    let others = unasked(&answers, &before);
    answers.extend(ask_others(others, secret, patience));
    Site::new(answers, before, seed.expect)
}

fn ask_others(others: Vec<Target>, secret: &Secret, patience: Duration) -> Vec<Answer> {
    match others.is_empty() {
        true => Vec::new(),
        false => ask_all(others, secret, patience),
    }
}

/// Machines with an address that answers tell of, or that were there before, and that were not asked.
fn unasked(answers: &[Answer], before: &[Known]) -> Vec<Target> {
    let mut asked = BTreeSet::new();
    let mut heard = BTreeSet::new();
    for answer in answers {
        asked.insert(site::place(&answer.target.address));
        if let Some(status) = answer.status() {
            heard.extend(status.host_name.clone());
            asked.extend(status.address.as_deref().map(site::place));
        }
    }
    let told = answers.iter().filter_map(Answer::status);
    let known = told.flat_map(|status| &status.machines).chain(before);
    let mut targets = Vec::new();
    for known in known.filter(|known| !heard.contains(&known.host_name)) {
        if let Some(address) = &known.address
            && asked.insert(site::place(address))
        {
            targets.push(Target {
                address: address.clone(),
                host_name: Some(known.host_name.clone()),
            });
        }
    }
    targets
}

#[cfg(test)]
mod tests;
