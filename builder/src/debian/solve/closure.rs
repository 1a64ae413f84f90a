//! The growing set of chosen packages, and how each came in.

use super::explain::{Root, Suggestion, Way};
use super::index::{Id, Index, relations};
use super::{Base, Exclusion, Fault, LockedPackage, Problem, Solution, Waived};
use crate::debian::packages::Priority;
use crate::debian::relation::{AnyOf, Relation};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How deep [`Closure::is_installable`] looks; beyond that it hopes.
const DEPTH: usize = 200;

/// Who asked for a package.
#[derive(Clone, Copy)]
enum Because {
    Root(Root),
    Package(Id),
}

/// A relation with more than one answer, put off.
struct Choice<'a> {
    by: Id,
    group: AnyOf<'a>,
}

pub(super) struct Closure<'p, 'a> {
    problem: &'p Problem<'a>,
    index: &'p Index<'a>,
    /// If set, nothing else is chosen.
    within: Option<BTreeSet<Id>>,
    excluded: BTreeMap<&'p str, &'p Exclusion>,
    chosen: BTreeMap<Id, Because>,
    fresh: VecDeque<Id>,
    choices: VecDeque<Choice<'a>>,
    waived: BTreeSet<Waived>,
    installable: BTreeMap<Id, bool>,
}

impl<'p, 'a> Closure<'p, 'a> {
    /// Nothing is chosen yet; `within`, if given, is closed and holds all that will be.
    pub(super) fn new(
        problem: &'p Problem<'a>,
        index: &'p Index<'a>,
        within: Option<BTreeSet<Id>>,
    ) -> Self {
        let exclude = problem.exclude.iter();
        Closure {
            problem,
            index,
            within,
            excluded: exclude
                .map(|exclusion| (exclusion.package.as_str(), exclusion))
                .collect(),
            chosen: BTreeMap::new(),
            fresh: VecDeque::new(),
            choices: VecDeque::new(),
            waived: BTreeSet::new(),
            installable: BTreeMap::new(),
        }
    }

    /// What has been chosen.
    pub(super) fn chosen(&self) -> BTreeSet<Id> {
        self.chosen.keys().copied().collect()
    }

    /// Chooses the roots.
    pub(super) fn start(&mut self, faults: &mut Vec<Fault>) {
        for request in self.problem.requests {
            if let Some(exclusion) = self.excluded.get(request.name.as_str()) {
                faults.push(Fault::Excluded {
                    name: request.name.clone(),
                    reason: exclusion.reason.clone(),
                });
            } else if let Some(id) = self.index.candidate(&request.name) {
                self.choose(id, Because::Root(Root::Profile));
            }
        }
        for id in self.index.candidates() {
            let package = self.index.package(id);
            let required = package.priority == Priority::Required;
            let root = match self.problem.base {
                Base::Essential | Base::Required if package.essential => Root::Essential,
                Base::Required if required => Root::Required,
                _ => continue,
            };
            if !self.excluded.contains_key(package.name) {
                self.choose(id, Because::Root(root));
            }
        }
    }

    fn choose(&mut self, id: Id, because: Because) {
        if self.chosen.contains_key(&id) {
            return;
        }
        self.chosen.insert(id, because);
        self.fresh.push_back(id);
    }

    /// Follows relations until all are satisfied or at fault.
    pub(super) fn complete(&mut self, faults: &mut Vec<Fault>) {
        loop {
            if let Some(id) = self.fresh.pop_front() {
                for group in self.needs(id, faults) {
                    self.follow(id, group, faults);
                }
            } else if let Some(choice) = self.choices.pop_front() {
                self.decide(choice);
            } else {
                return;
            }
        }
    }

    fn needs(&self, id: Id, faults: &mut Vec<Fault>) -> Vec<AnyOf<'a>> {
        let package = self.index.package(id);
        let architecture = self.problem.architecture;
        let mut groups = relations(
            package,
            "Pre-Depends",
            package.pre_depends,
            architecture,
            faults,
        );
        groups.extend(relations(
            package,
            "Depends",
            package.depends,
            architecture,
            faults,
        ));
        groups
    }

    /// Answers a relation that has one answer, puts it off if there are more, and faults if there is none.
    fn follow(&mut self, by: Id, group: AnyOf<'a>, faults: &mut Vec<Fault>) {
        if self.is_satisfied(&group) || self.waive(by, &group) {
            return;
        }
        match self.answers(&group).as_slice() {
            [] => faults.push(Fault::Unsatisfiable {
                package: self.label(by),
                way: self.way(by),
                relation: group.to_string(),
                why: self.why_not(&group),
            }),
            [only] => self.choose(*only, Because::Package(by)),
            _ => self.choices.push_back(Choice { by, group }),
        }
    }

    fn decide(&mut self, choice: Choice<'a>) {
        if self.is_satisfied(&choice.group) {
            return;
        }
        let answers = self.answers(&choice.group);
        let good = answers
            .iter()
            .find(|id| !self.is_unwelcome(**id) && self.is_installable(**id, DEPTH));
        // If none is good, the first shows best what is wrong.
        if let Some(id) = good.or(answers.first()) {
            self.choose(*id, Because::Package(choice.by));
        }
    }

    fn targets(&self, relation: &Relation<'_>) -> Vec<Id> {
        self.index.targets(relation, self.problem.architecture)
    }

    fn is_satisfied(&self, group: &AnyOf<'_>) -> bool {
        let mut relations = group.0.iter();
        relations.any(|relation| {
            self.targets(relation)
                .iter()
                .any(|id| self.chosen.contains_key(id))
        })
    }

    /// Whether an excluded package counts as if it were there; notes it.
    fn waive(&mut self, by: Id, group: &AnyOf<'_>) -> bool {
        for relation in &group.0 {
            let names = self
                .targets(relation)
                .into_iter()
                .map(|id| self.index.package(id).name);
            // A package that no archive has can be waived too.
            let mut names = names.chain(
                [relation.name]
                    .into_iter()
                    .filter(|name| self.index.candidate(name).is_none()),
            );
            if let Some(excluded) =
                names.find(|name| self.excluded.get(name).is_some_and(|e| e.waive))
            {
                self.waived.insert(Waived {
                    package: self.index.package(by).name.to_owned(),
                    relation: group.to_string(),
                    excluded: excluded.to_owned(),
                });
                return true;
            }
        }
        false
    }

    /// All packages that would satisfy a relation and are not excluded, in order of preference.
    fn answers(&self, group: &AnyOf<'_>) -> Vec<Id> {
        let mut answers = Vec::new();
        for id in group.0.iter().flat_map(|relation| self.targets(relation)) {
            let excluded = self.excluded.contains_key(self.index.package(id).name);
            let within = self.within.as_ref().is_none_or(|set| set.contains(&id));
            if !excluded && within && !answers.contains(&id) {
                answers.push(id);
            }
        }
        answers
    }

    /// Whether a package and those chosen exclude each other.
    fn is_unwelcome(&self, id: Id) -> bool {
        let mut chosen = self.chosen.keys();
        let hit = |by: Id, of: Id| {
            self.hostile(by, &mut Vec::new())
                .iter()
                .any(|(_, r)| self.targets(r).contains(&of))
        };
        chosen.any(|other| hit(id, *other) || hit(*other, id))
    }

    /// Whether all that a package needs exists, as far as can be seen without choosing.
    fn is_installable(&mut self, id: Id, depth: usize) -> bool {
        if let Some(known) = self.installable.get(&id) {
            return *known;
        }
        if depth == 0 || self.chosen.contains_key(&id) {
            return true;
        }
        // Packages that need each other are installable unless something else is missing.
        self.installable.insert(id, true);
        let possible = self.needs(id, &mut Vec::new()).iter().all(|group| {
            self.is_satisfied(group)
                || group
                    .0
                    .iter()
                    .any(|r| self.excluded.get(r.name).is_some_and(|e| e.waive))
                || self
                    .answers(group)
                    .into_iter()
                    .any(|answer| self.is_installable(answer, depth - 1))
        });
        self.installable.insert(id, possible);
        possible
    }

    /// What a package cannot live with.
    fn hostile(&self, id: Id, faults: &mut Vec<Fault>) -> Vec<(&'static str, Relation<'a>)> {
        let package = self.index.package(id);
        let fields = [
            ("conflicts with", "Conflicts", package.conflicts),
            ("breaks", "Breaks", package.breaks),
        ];
        let mut all = Vec::new();
        for (verb, field, text) in fields {
            let groups = relations(package, field, text, self.problem.architecture, faults);
            all.extend(
                groups
                    .into_iter()
                    .flat_map(|group| group.0)
                    .map(|relation| (verb, relation)),
            );
        }
        all
    }

    /// Reports chosen packages that exclude each other.
    pub(super) fn check_conflicts(&self, faults: &mut Vec<Fault>) {
        for &id in self.chosen.keys() {
            for (verb, relation) in self.hostile(id, faults) {
                for other in self.targets(&relation) {
                    if other != id && self.chosen.contains_key(&other) {
                        faults.push(Fault::Conflict {
                            package: self.label(id),
                            verb,
                            relation: relation.to_string(),
                            other: self.label(other),
                            way: self.way(id),
                            other_way: self.way(other),
                        });
                    }
                }
            }
        }
    }

    fn label(&self, id: Id) -> String {
        let package = self.index.package(id);
        format!("{} {}", package.name, package.version)
    }

    fn way(&self, id: Id) -> Way {
        let mut names = vec![self.index.package(id).name.to_owned()];
        let mut at = id;
        let root = loop {
            match self.chosen.get(&at) {
                Some(Because::Package(by)) => {
                    names.push(self.index.package(*by).name.to_owned());
                    at = *by;
                }
                Some(Because::Root(root)) => break *root,
                None => break Root::Profile,
            }
        };
        names.reverse();
        Way { root, names }
    }

    fn why_not(&self, group: &AnyOf<'_>) -> String {
        let reasons: Vec<String> = group
            .0
            .iter()
            .map(|relation| self.why_not_one(relation))
            .collect();
        reasons.join("; ")
    }

    fn why_not_one(&self, relation: &Relation<'_>) -> String {
        let name = relation.name;
        if let Some(exclusion) = self.excluded.get(name) {
            return format!("{name} is excluded ({})", exclusion.reason);
        }
        if let Some(id) = self.index.candidate(name) {
            let record = &self.index.records[id];
            let version = record.package.version;
            let found = format!("{name} is at version {version} in {}", record.archive);
            if let Some(qualifier) = relation.qualifier.filter(|_| relation.accepts(version)) {
                return format!("{found} and does not serve {name}:{qualifier}");
            }
            return match self.index.elsewhere(relation) {
                Some(other) => {
                    let (archive, version) = (other.archive, other.package.version);
                    format!("{found}; to have the other, ask for {name}/{archive}={version}")
                }
                None => format!("{found}, and no archive has another that fits"),
            };
        }
        let providers = self.targets(relation);
        if let Some(id) = providers.first() {
            let provider = self.index.package(*id).name;
            let reason = self
                .excluded
                .get(provider)
                .map_or("no reason", |exclusion| &exclusion.reason);
            return format!("{name} is provided by {provider}, which is excluded ({reason})");
        }
        if self.index.is_provided(name) {
            return format!("{name} is provided, but not in this version");
        }
        let available = self.index.available(name);
        if !available.is_empty() {
            return format!("a priority below 0 forbids {name}; to have it, ask for {available}");
        }
        let nearest = self.index.nearest(name);
        format!("there is no package {name}{}", Suggestion(&nearest))
    }

    pub(super) fn into_solution(self) -> Solution {
        let lock = |(id, because): (&Id, &Because)| {
            let record = &self.index.records[*id];
            let package = record.package;
            LockedPackage {
                name: package.name.to_owned(),
                version: package.version.to_owned(),
                architecture: package.architecture.to_owned(),
                archive: record.archive.to_owned(),
                path: package.filename.to_owned(),
                size: package.size,
                sha256: package.sha256.to_owned(),
                because: match because {
                    Because::Root(Root::Profile) => "profile".to_owned(),
                    Because::Root(Root::Essential) => "essential".to_owned(),
                    Because::Root(Root::Required) => "required".to_owned(),
                    Because::Package(by) => self.index.package(*by).name.to_owned(),
                },
            }
        };
        let mut packages: Vec<LockedPackage> = self.chosen.iter().map(lock).collect();
        packages.sort();
        Solution {
            packages,
            waived: self.waived.into_iter().collect(),
        }
    }
}
