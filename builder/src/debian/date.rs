//! Points in time as archives state them, in whole seconds, and as locks keep them.
//!
//! There is no clock here: "now" is always given by the caller.

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Seconds since 1970-01-01T00:00:00Z; written as RFC 3339 in locks and messages.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schemars(with = "String")]
pub struct Date(i64);

/// Why a text is not a date.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("{0:?} is not a date")]
pub struct DateError(String);

impl Date {
    /// From seconds since 1970.
    pub fn from_unix(seconds: i64) -> Self {
        Date(seconds)
    }

    /// Seconds since 1970.
    pub fn unix(self) -> i64 {
        self.0
    }

    /// Parses the form of `Release` files: `Sat, 15 Nov 2025 10:03:10 UTC`.
    pub fn parse_release(text: &str) -> Result<Self, DateError> {
        let zones = [" UTC", " GMT", " +0000", " Z"];
        let local = zones.iter().find_map(|zone| text.trim().strip_suffix(zone));
        let parsed = local
            .and_then(|local| NaiveDateTime::parse_from_str(local, "%a, %d %b %Y %H:%M:%S").ok());
        parsed
            .map(|date| Date(date.and_utc().timestamp()))
            .ok_or_else(|| DateError(text.to_owned()))
    }

    /// The form of `Release` files.
    pub fn render_release(self) -> String {
        match DateTime::<Utc>::from_timestamp(self.0, 0) {
            Some(date) => date.format("%a, %d %b %Y %H:%M:%S UTC").to_string(),
            None => self.0.to_string(),
        }
    }

    /// This date and `seconds` more.
    pub fn plus(self, seconds: u64) -> Self {
        Date(self.0.saturating_add_unsigned(seconds))
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match DateTime::<Utc>::from_timestamp(self.0, 0) {
            Some(date) => write!(f, "{}", date.format("%Y-%m-%dT%H:%M:%SZ")),
            None => write!(f, "@{}", self.0),
        }
    }
}

impl FromStr for Date {
    type Err = DateError;

    fn from_str(text: &str) -> Result<Self, DateError> {
        let parsed = DateTime::parse_from_rfc3339(text);
        parsed
            .map(|date| Date(date.timestamp()))
            .map_err(|_| DateError(text.to_owned()))
    }
}

impl TryFrom<String> for Date {
    type Error = DateError;

    fn try_from(text: String) -> Result<Self, DateError> {
        text.parse()
    }
}

impl From<Date> for String {
    fn from(date: Date) -> String {
        date.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: Option<&str>) {
        let found = Date::parse_release(text).ok().map(|date| date.to_string());
        assert_eq!(found.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn the_form_of_release_files() {
        check(
            "Sat, 15 Nov 2025 10:03:10 UTC",
            Some("2025-11-15T10:03:10Z"),
        );
        check(
            "Sat, 15 Nov 2025 10:03:10 +0000",
            Some("2025-11-15T10:03:10Z"),
        );
        check(
            "Sat,  1 Nov 2025 00:00:00 GMT",
            Some("2025-11-01T00:00:00Z"),
        );
        check("Sun, 15 Nov 2025 10:03:10 UTC", None);
        check("Sat, 15 Nov 2025 10:03:10 +0200", None);
        check("Sat, 31 Feb 2025 10:03:10 UTC", None);
        check("", None);
    }

    proptest! {
        #[test]
        fn both_forms_round_trip(seconds in 0i64..10_000_000_000) {
            let date = Date::from_unix(seconds);
            prop_assert_eq!(Date::parse_release(&date.render_release()), Ok(date));
            prop_assert_eq!(date.to_string().parse(), Ok(date));
        }
    }
}
