//! Which record stands for each name, and who provides what.

use super::{Fault, Problem, Request, candidate, nearest};
use crate::debian::packages::{MultiArch, Package};
use crate::debian::relation::{self, AnyOf, Operator, Relation};
use std::collections::BTreeMap;

/// A record by its place in [`Index::records`].
pub(super) type Id = usize;

/// A record and the archive that it comes from.
pub(super) struct Record<'a> {
    pub(super) archive: &'a str,
    pub(super) suite: &'a str,
    /// Below zero: never chosen, unless a request names it.
    pub(super) priority: i32,
    pub(super) package: &'a Package<'a>,
}

/// All records for one architecture.
pub(super) struct Index<'a> {
    pub(super) records: Vec<Record<'a>>,
    /// All records of each name, in the order of archives.
    by_name: BTreeMap<&'a str, Vec<Id>>,
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
            records.extend(usable.map(|package| {
                let mut record = Record {
                    archive: archive.name,
                    suite: archive.suite,
                    priority: 0,
                    package,
                };
                record.priority = candidate::priority(&record, problem.pins, archive.priority);
                record
            }));
        }
        let mut by_name: BTreeMap<&str, Vec<Id>> = BTreeMap::new();
        for (id, record) in records.iter().enumerate() {
            by_name.entry(record.package.name).or_default().push(id);
        }
        let allowed = |ids: &[Id]| {
            let ids = ids.iter().copied();
            candidate::best(&records, ids.filter(|id| records[*id].priority >= 0))
        };
        let candidates = by_name
            .iter()
            .filter_map(|(name, ids)| Some((*name, allowed(ids)?)))
            .collect();
        let mut index = Index {
            records,
            by_name,
            candidates,
            providers: BTreeMap::new(),
        };
        for request in problem.requests {
            index.pin(request, faults);
        }
        index.list_providers(faults);
        index
    }

    /// Makes the record that a request asks for the candidate; faults if there is none.
    fn pin(&mut self, request: &Request, faults: &mut Vec<Fault>) {
        let Some((name, ids)) = self.by_name.get_key_value(request.name.as_str()) else {
            let name = request.name.clone();
            let providers = self.some_providers(&name);
            faults.push(if providers.is_empty() {
                let nearest = self.nearest(&name);
                Fault::Missing { name, nearest }
            } else {
                Fault::Virtual { name, providers }
            });
            return;
        };
        if request.is_open() && self.candidates.contains_key(name) {
            return;
        }
        let fits = |id: &Id| {
            let record = &self.records[*id];
            let named = request.accepts(record.package.version, record.archive, record.suite);
            named && (record.priority >= 0 || !request.is_open())
        };
        match candidate::best(&self.records, ids.iter().copied().filter(fits)) {
            Some(id) => {
                self.candidates.insert(name, id);
            }
            None => {
                let available = self.available(name);
                faults.push(if request.is_open() {
                    let name = request.name.clone();
                    Fault::Forbidden { name, available }
                } else {
                    let wanted = request.to_string();
                    Fault::Pin { wanted, available }
                });
            }
        }
    }

    /// All versions of a name, as requests that name them.
    pub(super) fn available(&self, name: &str) -> String {
        let ids = self.by_name.get(name).into_iter().flatten();
        let request = |id: &Id| {
            let record = &self.records[*id];
            format!("{name}/{}={}", record.archive, record.package.version)
        };
        ids.map(request).collect::<Vec<_>>().join(", ")
    }

    /// The record that a relation would accept, were it the candidate of its name.
    pub(super) fn elsewhere(&self, relation: &Relation<'_>) -> Option<&Record<'a>> {
        let ids = self.by_name.get(relation.name).into_iter().flatten();
        let mut records = ids.map(|id| &self.records[*id]);
        records.find(|record| relation.accepts(record.package.version))
    }

    /// Up to three packages that provide a name which no package has, by name.
    fn some_providers(&self, name: &str) -> Vec<String> {
        let provides = |id: &&Id| {
            let groups = relation::parse(self.records[**id].package.provides);
            let mut provided = groups.iter().flatten().flat_map(|group| &group.0);
            provided.any(|provided| provided.name == name)
        };
        let ids = self.candidates.values().filter(provides).take(3);
        ids.map(|id| self.records[*id].package.name.to_owned())
            .collect()
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
            .filter(|(id, version)| {
                version.map_or(relation.version.is_none(), |v| relation.accepts(v))
                    && serves(self.package(*id), relation.qualifier, architecture)
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

/// Whether a package serves a relation with this architecture qualifier. There is one architecture only, so that
/// `native` asks for nothing more; `any` is for packages alone that say `Multi-Arch: allowed`, as dpkg has it.
fn serves(package: &Package<'_>, qualifier: Option<&str>, architecture: &str) -> bool {
    match qualifier {
        None | Some("native") => true,
        Some("any") => package.multi_arch == MultiArch::Allowed,
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
