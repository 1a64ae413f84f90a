//! What differs between two maps: the one form in which comparisons of images and of locks are told.

use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// Something that is different in the second one, new in it (no `before`) or gone from it (no `after`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Change<T> {
    /// What it is about.
    pub name: String,
    /// What the first one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub before: Option<T>,
    /// What the second one has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub after: Option<T>,
}

/// The entries that differ, by name.
pub fn changes<T: Clone + PartialEq>(
    a: &BTreeMap<String, T>,
    b: &BTreeMap<String, T>,
) -> Vec<Change<T>> {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differs = names
        .into_iter()
        .filter(|name| a.get(*name) != b.get(*name));
    let change = |name: &String| Change {
        name: name.clone(),
        before: a.get(name).cloned(),
        after: b.get(name).cloned(),
    };
    differs.map(change).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_differs_is_told() {
        let map = |all: &[(&str, u64)]| {
            all.iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect::<BTreeMap<_, _>>()
        };
        let found = changes(
            &map(&[("a", 1), ("b", 2), ("c", 3)]),
            &map(&[("b", 2), ("c", 4), ("d", 5)]),
        );
        let found: Vec<_> = found
            .iter()
            .map(|c| (c.name.as_str(), c.before, c.after))
            .collect();
        assert_eq!(
            found,
            [
                ("a", Some(1), None),
                ("c", Some(3), Some(4)),
                ("d", None, Some(5))
            ]
        );
    }
}
