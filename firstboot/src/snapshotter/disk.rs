//! Snapshots on DATA.
//!
//! Each has a directory, named by its number:
//!
//! ```text
//! snapshots/17/snapshot.json    what is known of it
//! snapshots/17/fs/              its files (not for a layer of the store, nor for a view of something)
//! snapshots/17/work/            overlayfs's own (of an active one)
//! ```
//!
//! There is nothing else: no index, no database. A directory is made under a `new-` name and gets its number once
//! it is whole and on the disk; it loses its number, for a `removed-` name, before anything in it is deleted; and
//! `snapshot.json` is replaced at once. So whenever the power is cut, a directory with a number is a whole
//! snapshot, and every other one is rubbish, which [`Disk::sweep`] takes away.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::effects::Effects;
use super::model::{Kind, Record, Snapshot, Usage};

const FILE: &str = "snapshot.json";
const NEW: &str = "new-";
const REMOVED: &str = "removed-";

/// Owner and mode of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: u32,
    pub(crate) group: u32,
    /// Permission bits.
    pub(crate) mode: u32,
}

impl Owner {
    /// Those of an existing directory.
    pub(crate) fn of(path: &Path) -> Result<Owner> {
        let metadata = fs::metadata(path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Owner {
            user: metadata.uid(),
            group: metadata.gid(),
            mode: metadata.permissions().mode() & 0o7777,
        })
    }
}

/// What was found at the start.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) records: Vec<Record>,
    /// Above every number that is in use.
    pub(crate) next: u64,
}

/// The directories of all snapshots.
#[derive(Debug)]
pub(crate) struct Disk<E> {
    snapshots: PathBuf,
    effects: E,
    /// Locked as long as this value lives.
    _lock: File,
}

impl<E: Effects> Disk<E> {
    /// Opens the folder `root`, makes it if it is missing, and locks it against a second snapshotter.
    pub(crate) fn open(root: &Path, effects: E) -> Result<Disk<E>> {
        let snapshots = root.join("snapshots");
        let making = || format!("making {}", snapshots.display());
        fs::create_dir_all(&snapshots).with_context(making)?;
        for folder in [root, &snapshots] {
            fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).with_context(making)?;
        }
        let lock = File::open(root).with_context(|| format!("opening {}", root.display()))?;
        lock.try_lock()
            .with_context(|| format!("locking {}: another snapshotter uses it", root.display()))?;
        Ok(Disk {
            snapshots,
            effects,
            _lock: lock,
        })
    }

    /// The folder of all snapshots.
    pub(crate) fn snapshots(&self) -> &Path {
        &self.snapshots
    }

    /// The files of a snapshot.
    pub(crate) fn files(&self, id: u64) -> PathBuf {
        self.at(id).join("fs")
    }

    fn at(&self, id: u64) -> PathBuf {
        self.snapshots.join(id.to_string())
    }

    /// Reads what is there. A snapshot whose file cannot be read is damage, not rubbish: it is left as it is,
    /// reported, and not offered.
    pub(crate) fn load(&self) -> Result<Found> {
        let mut found = Found {
            records: Vec::new(),
            next: 1,
        };
        for name in self.names()? {
            let rubbish = name.strip_prefix(NEW).or(name.strip_prefix(REMOVED));
            let Ok(id) = rubbish.unwrap_or(&name).parse::<u64>() else {
                continue;
            };
            // Rubbish that cannot be deleted must not be in the way either.
            found.next = found.next.max(id + 1);
            if rubbish.is_some() {
                continue;
            }
            match self.read(id) {
                Ok(snapshot) => found.records.push(Record { id, snapshot }),
                Err(error) => tracing::error!(
                    "{error:#}; this snapshot is not offered, remove its folder when nothing needs it"
                ),
            }
        }
        Ok(found)
    }

    fn read(&self, id: u64) -> Result<Snapshot> {
        let path = self.at(id).join(FILE);
        let reading = || format!("reading {}", path.display());
        let bytes = fs::read(&path).with_context(reading)?;
        serde_json::from_slice(&bytes).with_context(reading)
    }

    fn names(&self) -> Result<Vec<String>> {
        let listing = || format!("listing {}", self.snapshots.display());
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.snapshots).with_context(listing)? {
            let name = entry.with_context(listing)?.file_name();
            names.push(name.to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    /// Makes the directory of a new snapshot; `owner` is that of its `fs`, if it gets one.
    pub(crate) fn make(&self, record: &Record, owner: Option<Owner>) -> Result<()> {
        let Record { id, snapshot } = record;
        let new = self.snapshots.join(format!("{NEW}{id}"));
        let run = || -> Result<()> {
            // What an attempt that failed has left.
            self.effects.remove_tree(&new)?;
            self.effects.make_dir(&new, 0o700)?;
            if let Some(owner) = owner {
                let files = new.join("fs");
                self.effects.make_dir(&files, owner.mode)?;
                self.effects.set_owner(&files, owner.user, owner.group)?;
                if snapshot.kind == Kind::Active {
                    self.effects.make_dir(&new.join("work"), 0o711)?;
                }
            }
            let bytes = serde_json::to_vec(snapshot)?;
            self.effects.write(&new.join(FILE), &bytes)?;
            self.effects.sync_dir(&new)?;
            self.effects.rename(&new, &self.at(*id))?;
            self.effects.sync_dir(&self.snapshots)
        };
        run().with_context(|| format!("making snapshot {} in {}", snapshot.name, new.display()))
    }

    /// Replaces what is known of a snapshot.
    pub(crate) fn update(&self, record: &Record) -> Result<()> {
        let folder = self.at(record.id);
        let new = folder.join(format!("{NEW}{FILE}"));
        let run = || -> Result<()> {
            let bytes = serde_json::to_vec(&record.snapshot)?;
            self.effects.write(&new, &bytes)?;
            self.effects.rename(&new, &folder.join(FILE))?;
            self.effects.sync_dir(&folder)
        };
        run().with_context(|| format!("writing {}", folder.join(FILE).display()))
    }

    /// Deletes overlayfs's own directory of a snapshot that is not written to any more.
    pub(crate) fn delete_work(&self, id: u64) -> Result<()> {
        self.effects.remove_tree(&self.at(id).join("work"))
    }

    /// Takes the number from a snapshot's directory, which then can be given to [`Disk::delete`].
    pub(crate) fn retire(&self, id: u64) -> Result<PathBuf> {
        let (from, to) = (self.at(id), self.snapshots.join(format!("{REMOVED}{id}")));
        self.effects
            .rename(&from, &to)
            .and_then(|()| self.effects.sync_dir(&self.snapshots))
            .with_context(|| format!("removing {}", from.display()))?;
        Ok(to)
    }

    /// Deletes what is no snapshot any more.
    pub(crate) fn delete(&self, path: &Path) -> Result<()> {
        self.effects.remove_tree(path)
    }

    /// Deletes everything that has no number.
    pub(crate) fn sweep(&self) -> Result<()> {
        for name in self.names()? {
            if name.starts_with(NEW) || name.starts_with(REMOVED) {
                self.delete(&self.snapshots.join(name))?;
            }
        }
        Ok(())
    }

    /// What a snapshot's files take. Files that vanish meanwhile are not counted.
    pub(crate) fn usage(&self, id: u64) -> Result<Usage> {
        let mut usage = Usage::default();
        let mut seen = BTreeSet::new();
        let mut folders = vec![self.files(id)];
        while let Some(folder) = folders.pop() {
            let reading = || format!("measuring {}", folder.display());
            let Some(metadata) =
                unless_missing(fs::symlink_metadata(&folder)).with_context(reading)?
            else {
                continue;
            };
            count(&mut usage, &metadata);
            let Some(entries) = unless_missing(fs::read_dir(&folder)).with_context(reading)? else {
                continue;
            };
            for entry in entries {
                let entry = entry.with_context(reading)?;
                let Some(metadata) = unless_missing(entry.metadata()).with_context(reading)? else {
                    continue;
                };
                if metadata.is_dir() {
                    folders.push(entry.path());
                } else if metadata.nlink() < 2 || seen.insert(metadata.ino()) {
                    count(&mut usage, &metadata);
                }
            }
        }
        Ok(usage)
    }
}

fn count(usage: &mut Usage, metadata: &fs::Metadata) {
    usage.bytes += metadata.blocks() * 512;
    usage.inodes += 1;
}

fn unless_missing<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
