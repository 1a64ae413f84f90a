//! The snapshotter: each request planned on the model, carried out on the disk, then taken into the model.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::disk::{Disk, Owner};
use super::effects::Effects;
use super::filter::Filter;
use super::messages::Mount;
use super::model::{
    Failure, Kind, Model, Moment, Plan, REF, Record, Snapshot, Usage, Wish, wrong_kind,
};
use super::mounts::{Paths, Place};
use super::store::Store;

/// The mode of the top directory of what lies on nothing.
const TOP: u32 = 0o755;

/// All state of the process. Its methods may block; they may be called from many threads.
#[derive(Debug)]
pub(crate) struct Snapshotter<E> {
    store: Store,
    disk: Disk<E>,
    paths: Paths,
    /// Held while the disk changes, but not while files are counted or deleted.
    model: Mutex<Model>,
    clock: fn() -> Moment,
}

impl<E: Effects> Snapshotter<E> {
    /// Reads the snapshots from the disk and deletes what is none.
    pub(crate) fn start(
        store: Store,
        disk: Disk<E>,
        paths: Paths,
        clock: fn() -> Moment,
    ) -> anyhow::Result<Snapshotter<E>> {
        let found = disk.load()?;
        if let Err(error) = disk.sweep() {
            tracing::warn!("{error:#}; it stays until the next cleanup");
        }
        let (model, left_out) = Model::new(found.records, found.next);
        for name in left_out {
            tracing::error!(
                "snapshot {name} is not offered: the one that it lies on is missing, or another one has its name"
            );
        }
        Ok(Snapshotter {
            store,
            disk,
            paths,
            model: Mutex::new(model),
            clock,
        })
    }

    /// The model changes after the disk has, in one step, so a thread that failed has left it whole.
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many snapshots there are.
    pub(crate) fn count(&self) -> usize {
        self.model().records().count()
    }

    /// Makes an active snapshot or a view, and says how to mount it. `Exists` also means that the layer which
    /// it would be filled with is there: containerd then looks for it by [`REF`], and fetches nothing.
    pub(crate) fn make(
        &self,
        kind: Kind,
        name: String,
        parent: String,
        labels: BTreeMap<String, String>,
    ) -> Result<Vec<Mount>, Failure> {
        let wish = Wish {
            kind,
            name,
            parent: (!parent.is_empty()).then_some(parent),
            labels,
            now: (self.clock)(),
        };
        let mut model = self.model();
        let plan = model.plan(wish, |chain| self.store.find(chain).is_some())?;
        let id = model.next();
        match plan {
            Plan::Known(name) => Err(Failure::Exists(name)),
            Plan::Share(snapshot) => {
                let record = Record { id, snapshot };
                self.disk.make(&record, None)?;
                let name = record.snapshot.name.clone();
                model.put(None, record);
                Err(Failure::Exists(name))
            }
            Plan::Make(snapshot) => {
                // Known before anything is made: a layer may have gone.
                let below = self.places(&model, &snapshot)?;
                let owner = match (below.first(), kind) {
                    (None, _) => Some(Owner {
                        user: rustix::process::geteuid().as_raw(),
                        group: rustix::process::getegid().as_raw(),
                        mode: TOP,
                    }),
                    (Some(_), Kind::View | Kind::Committed) => None,
                    (Some(Place::Layer(layer)), _) => Some(Owner::of(&self.store.path(*layer))?),
                    (Some(Place::Own(id)), _) => Some(Owner::of(&self.disk.files(*id))?),
                };
                let record = Record { id, snapshot };
                self.disk.make(&record, owner)?;
                model.put(None, record);
                Ok(self.paths.mounts(id, kind, &below))
            }
        }
    }

    fn places(&self, model: &Model, snapshot: &Snapshot) -> Result<Vec<Place>, Failure> {
        let below = model.below(snapshot)?;
        let places = below.into_iter().map(|record| self.place(record));
        places.collect()
    }

    fn place(&self, record: &Record) -> Result<Place, Failure> {
        let Some(chain) = &record.snapshot.layer else {
            return Ok(Place::Own(record.id));
        };
        let layer = self.store.find(chain);
        layer.map(Place::Layer).ok_or_else(|| Failure::LayerGone {
            name: record.snapshot.name.clone(),
            chain: chain.clone(),
        })
    }

    /// How to mount an active snapshot or a view.
    pub(crate) fn mounts(&self, name: &str) -> Result<Vec<Mount>, Failure> {
        let model = self.model();
        let Record { id, snapshot } = model.get(name)?;
        if snapshot.kind == Kind::Committed {
            return Err(wrong_kind(snapshot, "one that can be mounted"));
        }
        let below = self.places(&model, snapshot)?;
        Ok(self.paths.mounts(*id, snapshot.kind, &below))
    }

    /// Makes an active snapshot unchangeable, under another name.
    pub(crate) fn commit(
        &self,
        name: &str,
        key: &str,
        labels: BTreeMap<String, String>,
    ) -> Result<(), Failure> {
        let id = self.model().get(key)?.id;
        let usage = self.disk.usage(id)?;
        let mut model = self.model();
        let record = model.committed(key, name, labels, usage, (self.clock)())?;
        self.disk.update(&record)?;
        model.put(Some(key), record);
        drop(model);
        if let Err(error) = self.disk.delete_work(id) {
            tracing::warn!("{error:#}; it goes with its snapshot");
        }
        Ok(())
    }

    /// Forgets a snapshot on which nothing lies, and deletes its files.
    pub(crate) fn remove(&self, name: &str) -> Result<(), Failure> {
        let mut model = self.model();
        let id = model.removable(name)?.id;
        let retired = self.disk.retire(id)?;
        model.forget(name);
        drop(model);
        // It is removed; what remains of its files is the next cleanup's.
        if let Err(error) = self.disk.delete(&retired) {
            tracing::warn!("{error:#}; it stays until the next cleanup");
        }
        Ok(())
    }

    /// What is known of a snapshot.
    pub(crate) fn stat(&self, name: &str) -> Result<Snapshot, Failure> {
        Ok(self.model().get(name)?.snapshot.clone())
    }

    /// Changes labels; see [`Model::relabelled`].
    pub(crate) fn update(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        fields: &[String],
    ) -> Result<Snapshot, Failure> {
        let mut model = self.model();
        let record = model.relabelled(name, labels, fields, (self.clock)())?;
        self.disk.update(&record)?;
        let snapshot = record.snapshot.clone();
        model.put(Some(name), record);
        Ok(snapshot)
    }

    /// The snapshots that match any filter, or all without one.
    ///
    /// With filters, a snapshot whose layer has gone from the store has no [`REF`]: it must not be found when
    /// containerd looks for one that it can use. Without, everything is listed, or containerd's garbage
    /// collector would never see it.
    pub(crate) fn list(&self, filters: &[String]) -> Result<Vec<Snapshot>, Failure> {
        let filters: Vec<Filter> = filters
            .iter()
            .map(|text| Filter::parse(text))
            .collect::<Result<_, _>>()?;
        let model = self.model();
        let matching = model.records().filter(|record| {
            let gone = || self.place(record).is_err();
            let field = |path: &[String]| field(&record.snapshot, gone, path);
            filters.is_empty() || filters.iter().any(|filter| filter.matches(field))
        });
        Ok(matching.map(|record| record.snapshot.clone()).collect())
    }

    /// What a snapshot takes on DATA: nothing for a layer of the store.
    pub(crate) fn usage(&self, name: &str) -> Result<Usage, Failure> {
        let Record { id, snapshot } = self.model().get(name)?.clone();
        match snapshot.kind {
            Kind::Active => Ok(self.disk.usage(id)?),
            Kind::View | Kind::Committed => Ok(snapshot.usage),
        }
    }

    /// Deletes what removals have left behind.
    pub(crate) fn cleanup(&self) -> Result<(), Failure> {
        // Nothing is being made meanwhile.
        let _model = self.model();
        Ok(self.disk.sweep()?)
    }
}

fn field<'a>(
    snapshot: &'a Snapshot,
    gone: impl FnOnce() -> bool,
    path: &[String],
) -> Option<&'a str> {
    match path {
        [name] if name == "name" => Some(&snapshot.name),
        [parent] if parent == "parent" => Some(snapshot.parent.as_deref().unwrap_or_default()),
        [kind] if kind == "kind" => Some(snapshot.kind.word()),
        [labels, key @ ..] if labels == "labels" && !key.is_empty() => {
            let key = key.join(".");
            if key == REF && gone() {
                return None;
            }
            snapshot.labels.get(&key).map(String::as_str)
        }
        _ => None,
    }
}
