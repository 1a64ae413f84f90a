//! The site as programs read it.

use crate::status::site::{Site, Standing};
use contract::status::Status;
use serde::Serialize;

/// What `seedbed status --json` prints.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Document<'a> {
    /// Version of this document: 1.
    pub version: u32,
    /// Whether every machine is Ready.
    pub ready: bool,
    /// The table's last line.
    pub summary: String,
    /// How many machines the seed expects.
    pub expected: u32,
    /// Every machine that answers or that is known.
    pub machines: Vec<Entry<'a>>,
}

/// A machine.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry<'a> {
    /// Its host name.
    pub host_name: Option<&'a str>,
    /// Its cluster address; before there is one, where it was asked.
    pub address: Option<&'a str>,
    /// Whether it answers.
    pub answers: bool,
    /// Whether it is Ready, and all its parts are healthy.
    pub ready: bool,
    /// Why there is no status.
    pub why: Option<&'a str>,
    /// How far its clock is ahead of that of this computer, in milliseconds.
    pub clock_skew_ms: Option<i64>,
    /// Its own words.
    pub status: Option<&'a Status>,
}

/// The document of a site.
pub fn document(site: &Site) -> Document<'_> {
    let machines = site.machines.iter().map(|machine| {
        let (answers, why, skew) = match &machine.standing {
            Standing::Told { skew, .. } => (true, None, *skew),
            Standing::Early(why) => (true, Some(why.as_str()), None),
            Standing::Silent(why) => (false, Some(why.as_str()), None),
        };
        Entry {
            host_name: machine.host_name.as_deref(),
            address: machine.address.as_deref(),
            answers,
            ready: machine.is_ready(),
            why,
            clock_skew_ms: skew,
            status: machine.status(),
        }
    });
    Document {
        version: 1,
        ready: site.is_ready(),
        summary: site.summary(),
        expected: site.expected,
        machines: machines.collect(),
    }
}
