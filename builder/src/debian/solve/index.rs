//! Which record stands for each name, and who provides what.

use super::{Fault, Problem, Request, nearest};
use crate::debian::packages::Package;
use crate::debian::relation::{self, AnyOf, Operator, Relation};
use crate::debian::version;
use std::collections::BTreeMap;

/// A record by its place in [`Index::records`].
pub(super) type Id = usize;

/// A record and the archive that it comes from.
pub(super) struct Record<'a> {
    pub(super) archive: &'a str,
    pub(super) package: &'a Package<'a>,
}

/// All records for one architecture.
pub(super) struct Index<'a> {
    pub(super) records: Vec<Record<'a>>,
    /// The one record that may be chosen, for each name.
    candidates: BTreeMap<&'a str, Id>,
    /// Candidates that provide a name, in order of preference, with the version provided.
    providers: BTreeMap<&'a str, Vec<(Id, Option<&'a str>)>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(problem: &Problem<'a>, faults: &mut Vec<Fault>) -> Self {
        let mut records = Vec::new();
        for archive in problem.archives {
            let usable = archive
                .packages
                .iter()
                .filter(|package| [problem.architecture, "all"].contains(&package.architecture));
            records.extend(usable.map(|package| Record {
                archive: archive.name,
                package,
            }));
        }
        let mut index = Index {
            records,
            candidates: BTreeMap::new(),
            providers: BTreeMap::new(),
        };
        index.choose_highest();
        for request in problem.requests {
            index.pin(request, faults);
        }
        index.list_providers(faults);
        index
    }

    fn choose_highest(&mut self) {
        for (id, record) in self.records.iter().enumerate() {
            let package = record.package;
            let best = self.candidates.entry(package.name).or_insert(id);
            let best_version = self.records[*best].package.version;
            if version::compare(package.version, best_version).is_gt() {
                *best = id;
            }
        }
    }

    /// Makes the record that a request asks for the candidate; faults if there is none.
    fn pin(&mut self, request: &Request, faults: &mut Vec<Fault>) {
        let Some((name, _)) = self.candidates.get_key_value(request.name.as_str()) else {
            faults.push(Fault::Missing {
                name: request.name.clone(),
                nearest: self.nearest(&request.name),
            });
            return;
        };
        let name = *name;
        let ids = (0..self.records.len()).filter(|id| self.records[*id].package.name == name);
        let fits = |id: &Id| {
            let record = &self.records[*id];
            let version = request.version.as_deref();
            let archive = request.archive.as_deref();
            version.is_none_or(|version| version::compare(version, record.package.version).is_eq())
                && archive.is_none_or(|archive| archive == record.archive)
        };
        // Of equal versions the last maximum would win; the first archive is to.
        let best = ids.clone().filter(fits).rev().max_by(|a, b| {
            version::compare(
                self.records[*a].package.version,
                self.records[*b].package.version,
            )
        });
        match best {
            Some(id) if request.version.is_some() || request.archive.is_some() => {
                self.candidates.insert(name, id);
            }
            Some(_) => {}
            None => {
                let available: Vec<String> = ids
                    .map(|id| {
                        format!(
                            "{}/{}={}",
                            name, self.records[id].archive, self.records[id].package.version
                        )
                    })
                    .collect();
                faults.push(Fault::Pin {
                    wanted: request.to_string(),
                    available: available.join(", "),
                });
            }
        }
    }

    fn list_providers(&mut self, faults: &mut Vec<Fault>) {
        for &id in self.candidates.values() {
            let package = self.records[id].package;
            if package.provides.is_empty() {
                continue;
            }
            match relation::parse(package.provides) {
                Ok(groups) => {
                    for provided in groups.iter().flat_map(|group| &group.0) {
                        let version = provided
                            .version
                            .filter(|(operator, _)| *operator == Operator::Equal)
                            .map(|(_, version)| version);
                        self.providers
                            .entry(provided.name)
                            .or_default()
                            .push((id, version));
                    }
                }
                Err(source) => faults.push(Fault::Malformed {
                    package: package.name.to_owned(),
                    field: "Provides",
                    source,
                }),
            }
        }
        let records = &self.records;
        for list in self.providers.values_mut() {
            list.sort_by_key(|(id, _)| {
                let package = records[*id].package;
                (!package.essential, package.priority, package.name)
            });
        }
    }

    pub(super) fn package(&self, id: Id) -> &'a Package<'a> {
        self.records[id].package
    }

    /// The record that may be chosen for a name.
    pub(super) fn candidate(&self, name: &str) -> Option<Id> {
        self.candidates.get(name).copied()
    }

    /// All candidates, by name.
    pub(super) fn candidates(&self) -> impl Iterator<Item = Id> + '_ {
        self.candidates.values().copied()
    }

    /// Names like `name`.
    pub(super) fn nearest(&self, name: &str) -> Vec<String> {
        nearest::nearest(name, self.candidates.keys().copied())
    }

    /// Whether anybody provides `name`.
    pub(super) fn is_provided(&self, name: &str) -> bool {
        self.providers.contains_key(name)
    }

    /// All candidates that satisfy a relation, in order of preference: the package itself, then providers.
    pub(super) fn targets(&self, relation: &Relation<'_>, architecture: &str) -> Vec<Id> {
        let real = self.candidate(relation.name).into_iter().filter(|id| {
            let package = self.package(*id);
            relation.accepts(package.version) && serves(package, relation.qualifier, architecture)
        });
        let providers = self.providers.get(relation.name).into_iter().flatten();
        let virtual_ones = providers
            // A provider of no version never satisfies a relation with one.
            .filter(|(_, version)| {
                version.map_or(relation.version.is_none(), |v| relation.accepts(v))
            })
            .map(|(id, _)| *id);
        let mut targets = Vec::new();
        for id in real.chain(virtual_ones) {
            if !targets.contains(&id) {
                targets.push(id);
            }
        }
        targets
    }
}

/// Whether a package serves a relation with this architecture qualifier. There is one architecture only, so `any`
/// and `native` ask for nothing more.
fn serves(package: &Package<'_>, qualifier: Option<&str>, architecture: &str) -> bool {
    match qualifier {
        None | Some("any" | "native") => true,
        Some(wanted) => {
            wanted == package.architecture
                || (package.architecture == "all" && wanted == architecture)
        }
    }
}

/// The relations of a field that concern `architecture`; an unreadable field is a fault and counts as empty.
pub(super) fn relations<'a>(
    package: &Package<'a>,
    field: &'static str,
    text: &'a str,
    architecture: &str,
    faults: &mut Vec<Fault>,
) -> Vec<AnyOf<'a>> {
    let groups = relation::parse(text).unwrap_or_else(|source| {
        faults.push(Fault::Malformed {
            package: package.name.to_owned(),
            field,
            source,
        });
        Vec::new()
    });
    let concerned = groups.into_iter().map(|mut group| {
        group.0.retain(|relation| relation.applies_to(architecture));
        group
    });
    concerned.filter(|group| !group.0.is_empty()).collect()
}
