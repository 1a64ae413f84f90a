//! The mounts that show a snapshot, as a plan that containerd carries out.
//!
//! The kernel takes all options of a mount in one page. So lower directories go by short links beside the
//! snapshotter's socket: `l` for the store's layers, `s` for snapshots on DATA. They have a folder in common,
//! too, from which containerd names them if the options get longer than it likes.

use std::path::{Path, PathBuf};

use super::messages::Mount;
use super::model::Kind;
use super::store::Layer;

/// The link to the store's layers.
pub(crate) const LAYERS: &str = "l";
/// The link to the snapshots' directories.
pub(crate) const SNAPSHOTS: &str = "s";

/// Where a snapshot's files are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In the store.
    Layer(Layer),
    /// In the directory of this number.
    Own(u64),
}

/// What the paths of mounts start with.
#[derive(Clone, Debug)]
pub(crate) struct Paths {
    /// Holds the two links.
    pub(crate) run: PathBuf,
    /// The snapshots' directories by their real name: what is written goes by no link.
    pub(crate) snapshots: PathBuf,
    /// The kernel's overlayfs knows `index`, which must be off: layers are shared by many mounts.
    pub(crate) index: bool,
}

impl Paths {
    fn lower(&self, place: &Place) -> String {
        match place {
            Place::Layer(layer) => text(&self.run.join(LAYERS).join(layer.to_string())),
            Place::Own(id) => text(&self.run.join(SNAPSHOTS).join(format!("{id}/fs"))),
        }
    }

    fn own(&self, id: u64, part: &str) -> String {
        text(&self.snapshots.join(format!("{id}/{part}")))
    }

    /// The mounts of the active snapshot or view `id` on the snapshots `below` it, the nearest first.
    pub(crate) fn mounts(&self, id: u64, kind: Kind, below: &[Place]) -> Vec<Mount> {
        let active = kind == Kind::Active;
        let mount = match below {
            [] => bind(self.own(id, "fs"), if active { "rw" } else { "ro" }),
            [one] if !active => bind(self.lower(one), "ro"),
            _ => {
                let mut options = Vec::new();
                if self.index {
                    options.push(String::from("index=off"));
                }
                if active {
                    options.push(format!("workdir={}", self.own(id, "work")));
                    options.push(format!("upperdir={}", self.own(id, "fs")));
                }
                let lower: Vec<String> = below.iter().map(|place| self.lower(place)).collect();
                options.push(format!("lowerdir={}", lower.join(":")));
                Mount {
                    kind: String::from("overlay"),
                    source: String::from("overlay"),
                    options,
                }
            }
        };
        vec![mount]
    }
}

fn bind(source: String, access: &str) -> Mount {
    Mount {
        kind: String::from("bind"),
        source,
        options: vec![access.to_owned(), String::from("rbind")],
    }
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
