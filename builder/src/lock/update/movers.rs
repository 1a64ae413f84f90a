//! Which packages have to move with those that shall.
//!
//! The solver is asked with a choice of records: of every locked package that stays, its own alone. If that has no
//! answer, packages are let go whose relations forbid it, and then it is asked again: who cannot live with a new
//! version, and whom a new version cannot live with.

use crate::debian::archive::Records;
use crate::debian::packages::Package;
use crate::debian::relation::{self, AnyOf, Operator, Relation};
use crate::debian::solve::LockedPackage;
use crate::debian::version;
use std::collections::{BTreeMap, BTreeSet};

/// Solves over `records`, which hold every package of `held` in its locked version, with all of `moving` moved, and
/// of the others only those that have to. `solve` answers what the profile asks for over the records it is given.
///
/// # Errors
/// There is no answer although all have moved that the relations let go.
pub(super) fn solve<'h>(
    held: &'h [LockedPackage],
    mut moving: BTreeSet<&'h str>,
    records: &Records<'_>,
    architecture: &str,
    solve: impl Fn(&Records<'_>) -> anyhow::Result<Vec<LockedPackage>>,
) -> anyhow::Result<Vec<LockedPackage>> {
    let by_name = held.iter().map(|package| (package.name.as_str(), package));
    let held: BTreeMap<&str, &LockedPackage> = by_name.collect();
    loop {
        let choice = |others| {
            records.only(|archive, package| match held.get(package.name) {
                None => others,
                Some(_) if moving.contains(package.name) => true,
                Some(locked) => locked.archive == archive && locked.sha256 == package.sha256,
            })
        };
        // Without packages that are not locked yet first, so that a choice is answered as it was.
        if let Ok(found) = solve(&choice(false)) {
            return Ok(found);
        }
        let all = choice(true);
        let error = match solve(&all) {
            Ok(found) => return Ok(found),
            Err(error) => error,
        };
        let mut forced = forced(&held, &moving, &Best::of(&all, architecture), records);
        forced.retain(|name| !moving.contains(name));
        if forced.is_empty() {
            return Err(error);
        }
        moving.append(&mut forced);
    }
}

/// The record of each name that would be chosen, and who provides what.
struct Best<'a> {
    architecture: &'a str,
    records: BTreeMap<&'a str, &'a Package<'a>>,
    providers: BTreeMap<&'a str, Vec<(&'a Package<'a>, Option<&'a str>)>>,
}

impl<'a> Best<'a> {
    fn of(all: &'a Records<'a>, architecture: &'a str) -> Self {
        let mut records: BTreeMap<&str, &Package<'_>> = BTreeMap::new();
        for (_, package) in all.iter() {
            let best = records.entry(package.name).or_insert(package);
            if version::compare(package.version, best.version).is_gt() {
                *best = package;
            }
        }
        let mut providers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for package in records.values().copied() {
            for (name, version) in provided(package) {
                providers.entry(name).or_default().push((package, version));
            }
        }
        Best {
            architecture,
            records,
            providers,
        }
    }

    /// The records that satisfy a relation.
    fn targets(&self, relation: &Relation<'_>) -> Vec<&'a Package<'a>> {
        let real = self.records.get(relation.name).copied();
        let real = real.filter(|package| relation.accepts(package.version));
        let providers = self.providers.get(relation.name).into_iter().flatten();
        let providers = providers.filter(|(_, version)| fits(relation, *version));
        real.into_iter().chain(providers.map(|(p, _)| *p)).collect()
    }

    /// The relations of fields that concern the architecture. The solver reports those that cannot be read.
    fn relations(&self, fields: [&'a str; 2]) -> Vec<AnyOf<'a>> {
        let groups = fields
            .into_iter()
            .flat_map(|field| relation::parse(field).unwrap_or_default());
        let concerned = groups.map(|mut group| {
            group
                .0
                .retain(|relation| relation.applies_to(self.architecture));
            group
        });
        concerned.filter(|group| !group.0.is_empty()).collect()
    }
}

/// Names that a package provides, with the versions.
fn provided<'a>(package: &Package<'a>) -> Vec<(&'a str, Option<&'a str>)> {
    let groups = relation::parse(package.provides).unwrap_or_default();
    let relations = groups.into_iter().flat_map(|group| group.0);
    let equal = |relation: Relation<'a>| {
        let version = relation
            .version
            .filter(|(operator, _)| *operator == Operator::Equal);
        (relation.name, version.map(|(_, version)| version))
    };
    relations.map(equal).collect()
}

/// Whether a name provided in `version`, or in none, satisfies a relation with it.
fn fits(relation: &Relation<'_>, version: Option<&str>) -> bool {
    version.map_or(relation.version.is_none(), |version| {
        relation.accepts(version)
    })
}

/// The held packages that cannot stay as they are.
fn forced<'h>(
    held: &BTreeMap<&'h str, &'h LockedPackage>,
    moving: &BTreeSet<&'h str>,
    best: &Best<'_>,
    records: &Records<'_>,
) -> BTreeSet<&'h str> {
    let mut forced = BTreeSet::new();
    for &name in held.keys() {
        let Some(package) = best.records.get(name) else {
            continue;
        };
        for group in best.relations([package.pre_depends, package.depends]) {
            if group
                .0
                .iter()
                .any(|relation| !best.targets(relation).is_empty())
            {
                continue;
            }
            forced.insert(name);
            // Whoever would satisfy it in another version.
            for (_, candidate) in records.iter() {
                let Some((&other, _)) = held.get_key_value(candidate.name) else {
                    continue;
                };
                let real = |r: &Relation<'_>| r.name == other && r.accepts(candidate.version);
                let names = provided(candidate);
                let virtual_one = |r: &Relation<'_>| {
                    names
                        .iter()
                        .any(|(name, version)| *name == r.name && fits(r, *version))
                };
                if group.0.iter().any(|r| real(r) || virtual_one(r)) {
                    forced.insert(other);
                }
            }
        }
        for relation in best
            .relations([package.conflicts, package.breaks])
            .iter()
            .flat_map(|g| &g.0)
        {
            for target in best.targets(relation) {
                let Some((&other, _)) = held.get_key_value(target.name) else {
                    continue;
                };
                if other != name && moving.contains(name) != moving.contains(other) {
                    forced.extend([name, other]);
                }
            }
        }
    }
    forced
}
