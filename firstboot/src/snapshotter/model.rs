//! What snapshots there are, and what becomes of them: decisions without effects.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::store::ChainId;

/// The label by which containerd's unpacker says which chain ID it is about to make.
pub(crate) const REF: &str = "containerd.io/snapshot.ref";

/// What can be done with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Shown without write access.
    View,
    /// Written to, and committed or removed one day.
    Active,
    /// Never changes again; others lie on it.
    Committed,
}

impl Kind {
    /// As filters and messages call it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::View => "view",
            Kind::Active => "active",
            Kind::Committed => "committed",
        }
    }
}

/// A moment by the system's clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Moment {
    /// Since 1970.
    pub(crate) seconds: i64,
    /// Below a milliard.
    pub(crate) nanos: i32,
}

/// What a snapshot takes on DATA.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Usage {
    /// Bytes of whole blocks.
    pub(crate) bytes: u64,
    /// Files and directories, each counted once.
    pub(crate) inodes: u64,
}

/// What is kept of a snapshot; its number is the name of its directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Snapshot {
    /// containerd's name for it.
    pub(crate) name: String,
    /// The committed snapshot below it.
    pub(crate) parent: Option<String>,
    pub(crate) kind: Kind,
    pub(crate) created: Moment,
    pub(crate) updated: Moment,
    pub(crate) labels: BTreeMap<String, String>,
    /// Of a committed snapshot.
    pub(crate) usage: Usage,
    /// The layer of the store that it stands for; none if it has a directory of its own.
    pub(crate) layer: Option<ChainId>,
}

/// A snapshot with its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) id: u64,
    pub(crate) snapshot: Snapshot,
}

/// Why containerd does not get what it asks for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("there is no snapshot {0}")]
    Missing(String),
    #[error(
        "snapshot {name} stands for layer {chain}, which this image's store does not hold; remove the container \
         image that it belongs to and pull it again, or boot the image that holds it"
    )]
    LayerGone { name: String, chain: ChainId },
    #[error("there is a snapshot {0} already")]
    Exists(String),
    #[error("the request names no snapshot")]
    Nameless,
    #[error("snapshot {name} cannot lie on {parent}, which is {} and not committed", kind.word())]
    ParentOpen {
        name: String,
        parent: String,
        kind: Kind,
    },
    #[error("field {field} of snapshot {name} cannot be changed; labels can")]
    Fixed { name: String, field: String },
    #[error(transparent)]
    Filter(#[from] super::filter::FilterError),
    #[error("snapshot {name} is {}, and {wanted} is asked for", kind.word())]
    WrongKind {
        name: String,
        kind: Kind,
        wanted: &'static str,
    },
    #[error("snapshot {name} lies below {child}, which has to be removed first")]
    HasChild { name: String, child: String },
    #[error(transparent)]
    Disk(#[from] anyhow::Error),
}

/// A snapshot that is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    /// `View` or `Active`.
    pub(crate) kind: Kind,
    pub(crate) name: String,
    pub(crate) parent: Option<String>,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) now: Moment,
}

/// How a wish comes true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// The layer that it would be filled with is there, committed, under this name.
    Known(String),
    /// The store holds the layer that it would be filled with: it is committed at once.
    Share(Snapshot),
    /// It gets a directory of its own.
    Make(Snapshot),
}

/// All snapshots, by name.
#[derive(Debug, Default)]
pub(crate) struct Model {
    records: BTreeMap<String, Record>,
    next: u64,
}

impl Model {
    /// The snapshots that were read from the disk, where `next` is above every number that is in use; and the
    /// names of those that were left out, because a snapshot below them is missing.
    pub(crate) fn new(records: Vec<Record>, next: u64) -> (Model, BTreeSet<String>) {
        let mut by_name: BTreeMap<String, Record> = BTreeMap::new();
        let mut left_out = BTreeSet::new();
        for record in records {
            match by_name.entry(record.snapshot.name.clone()) {
                Entry::Occupied(taken) => {
                    left_out.insert(taken.key().clone());
                }
                Entry::Vacant(free) => {
                    free.insert(record);
                }
            }
        }
        loop {
            let hangs = |record: &&Record| match &record.snapshot.parent {
                Some(parent) => !by_name.contains_key(parent),
                None => false,
            };
            let Some(name) = by_name
                .values()
                .find(hangs)
                .map(|record| record.snapshot.name.clone())
            else {
                break;
            };
            by_name.remove(&name);
            left_out.insert(name);
        }
        let records = by_name;
        (Model { records, next }, left_out)
    }

    /// The number of the next snapshot to make.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// Every snapshot, by name.
    pub(crate) fn records(&self) -> impl Iterator<Item = &Record> {
        self.records.values()
    }

    /// The snapshot of this name.
    pub(crate) fn get(&self, name: &str) -> Result<&Record, Failure> {
        let record = self.records.get(name);
        record.ok_or_else(|| Failure::Missing(name.to_owned()))
    }

    /// The snapshots below this one, the nearest first.
    pub(crate) fn below(&self, snapshot: &Snapshot) -> Result<Vec<&Record>, Failure> {
        let mut below = Vec::new();
        let mut parent = snapshot.parent.as_ref();
        while let Some(name) = parent {
            let record = self.get(name)?;
            below.push(record);
            parent = record.snapshot.parent.as_ref();
        }
        Ok(below)
    }

    /// Decides how a wish comes true; `in_store` says whether the store holds a layer.
    ///
    /// A snapshot that stands for a layer is named by the layer's chain ID, and so is shared by all of
    /// containerd's namespaces. If that name is taken, because the same layer lies on another snapshot too, it
    /// has the name that was asked for: containerd looks for it by label and parent, not by name.
    pub(crate) fn plan(
        &self,
        wish: Wish,
        in_store: impl Fn(&ChainId) -> bool,
    ) -> Result<Plan, Failure> {
        if wish.name.is_empty() {
            return Err(Failure::Nameless);
        }
        if let Some(parent) = &wish.parent {
            let kind = self.get(parent)?.snapshot.kind;
            if kind != Kind::Committed {
                return Err(Failure::ParentOpen {
                    name: wish.name,
                    parent: parent.clone(),
                    kind,
                });
            }
        }
        let reference = match wish.kind {
            Kind::Active => wish.labels.get(REF),
            Kind::View | Kind::Committed => None,
        };
        if let Some(reference) = reference
            && let Some(known) = self.known(reference, &wish.parent, &in_store)
        {
            return Ok(Plan::Known(known.to_owned()));
        }
        if self.records.contains_key(&wish.name) {
            return Err(Failure::Exists(wish.name));
        }
        let layer = reference
            .and_then(|text| ChainId::parse(text))
            .filter(in_store);
        let snapshot = Snapshot {
            name: wish.name,
            parent: wish.parent,
            kind: wish.kind,
            created: wish.now,
            updated: wish.now,
            labels: wish.labels,
            usage: Usage::default(),
            layer,
        };
        Ok(match &snapshot.layer {
            None => Plan::Make(snapshot),
            Some(chain) => {
                let chain = chain.to_string();
                let name = match self.records.contains_key(&chain) {
                    true => snapshot.name,
                    false => chain,
                };
                Plan::Share(Snapshot {
                    name,
                    kind: Kind::Committed,
                    ..snapshot
                })
            }
        })
    }

    /// The committed snapshot that is this layer on this parent, unless it stands for a layer that has gone.
    fn known(
        &self,
        reference: &str,
        parent: &Option<String>,
        in_store: impl Fn(&ChainId) -> bool,
    ) -> Option<&str> {
        let fits = |record: &&Record| {
            let snapshot = &record.snapshot;
            snapshot.kind == Kind::Committed
                && snapshot.parent == *parent
                && snapshot.labels.get(REF).map(String::as_str) == Some(reference)
                && snapshot.layer.as_ref().is_none_or(&in_store)
        };
        let record = self.records.values().find(fits)?;
        Some(&record.snapshot.name)
    }

    /// The snapshot as it is once committed under `name`.
    pub(crate) fn committed(
        &self,
        key: &str,
        name: &str,
        labels: BTreeMap<String, String>,
        usage: Usage,
        now: Moment,
    ) -> Result<Record, Failure> {
        let Record { id, snapshot } = self.get(key)?;
        if name.is_empty() {
            return Err(Failure::Nameless);
        }
        if snapshot.kind != Kind::Active {
            return Err(wrong_kind(snapshot, "an active one"));
        }
        if self.records.contains_key(name) {
            return Err(Failure::Exists(name.to_owned()));
        }
        let snapshot = Snapshot {
            name: name.to_owned(),
            parent: snapshot.parent.clone(),
            kind: Kind::Committed,
            created: now,
            updated: now,
            labels,
            usage,
            layer: None,
        };
        Ok(Record { id: *id, snapshot })
    }

    /// The snapshot with its labels changed. `fields` are `labels` or `labels.KEY`; none means all labels. An
    /// empty value removes the label.
    pub(crate) fn relabelled(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        fields: &[String],
        now: Moment,
    ) -> Result<Record, Failure> {
        let mut record = self.get(name)?.clone();
        let mut changed = match fields {
            [] => labels.clone(),
            _ => record.snapshot.labels,
        };
        for field in fields {
            if field == "labels" {
                changed = labels.clone();
            } else if let Some(key) = field.strip_prefix("labels.") {
                let value = labels.get(key).cloned().unwrap_or_default();
                changed.insert(key.to_owned(), value);
            } else {
                return Err(Failure::Fixed {
                    name: name.to_owned(),
                    field: field.clone(),
                });
            }
        }
        changed.retain(|_, value| !value.is_empty());
        record.snapshot.labels = changed;
        record.snapshot.updated = now;
        Ok(record)
    }

    /// The snapshot, if nothing lies on it.
    pub(crate) fn removable(&self, name: &str) -> Result<&Record, Failure> {
        let record = self.get(name)?;
        let on_it = |other: &&Record| other.snapshot.parent.as_deref() == Some(name);
        match self.records.values().find(on_it) {
            None => Ok(record),
            Some(child) => Err(Failure::HasChild {
                name: name.to_owned(),
                child: child.snapshot.name.clone(),
            }),
        }
    }

    /// Takes in what is on the disk now, in the place of what was called `before`.
    pub(crate) fn put(&mut self, before: Option<&str>, record: Record) {
        if let Some(before) = before {
            self.records.remove(before);
        }
        self.next = self.next.max(record.id + 1);
        self.records.insert(record.snapshot.name.clone(), record);
    }

    /// Forgets a snapshot.
    pub(crate) fn forget(&mut self, name: &str) {
        self.records.remove(name);
    }
}

/// The failure of asking for a snapshot of another kind.
pub(crate) fn wrong_kind(snapshot: &Snapshot, wanted: &'static str) -> Failure {
    Failure::WrongKind {
        name: snapshot.name.clone(),
        kind: snapshot.kind,
        wanted,
    }
}
