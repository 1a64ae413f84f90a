//! What takes the space: groups of items, which are packages, container images and the like, and within each the
//! folders and files.

use crate::contents::{Contents, File};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use std::collections::BTreeMap;

/// Items of one kind.
#[derive(Serialize)]
pub(super) struct Group {
    pub(super) name: &'static str,
    /// Its class in the style sheet.
    #[serde(rename = "kind")]
    pub(super) class: &'static str,
    /// By size, the largest first.
    pub(super) items: Vec<Item>,
}

impl Group {
    pub(super) fn bytes(&self) -> u64 {
        self.items.iter().map(Item::bytes).sum()
    }

    /// How many there are.
    pub(super) fn files(&self) -> usize {
        self.items.iter().map(|item| item.top.files).sum()
    }
}

/// A package, a container image or whatever else is one tile.
pub(super) struct Item {
    pub(super) name: String,
    /// Its version or the like.
    about: String,
    top: Folder,
}

impl Item {
    pub(super) fn new<'a>(
        name: &str,
        about: &str,
        files: impl IntoIterator<Item = (&'a str, u64)>,
    ) -> Self {
        let mut top = Folder::default();
        for (path, bytes) in files {
            top.add(path, bytes);
        }
        Item {
            name: name.to_owned(),
            about: about.to_owned(),
            top,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.top.bytes
    }
}

impl Serialize for Item {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.name, &self.about, &self.top).serialize(serializer)
    }
}

/// A folder, or a file if nothing is in it. As JSON a file is its size, and a folder an object.
#[derive(Default)]
pub(super) struct Folder {
    /// With all that is in it.
    bytes: u64,
    /// How many files are in it.
    files: usize,
    inside: BTreeMap<String, Folder>,
}

impl Folder {
    fn add(&mut self, path: &str, bytes: u64) {
        let mut folder = self;
        folder.bytes += bytes;
        folder.files += 1;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            folder = folder.inside.entry(name.to_owned()).or_default();
            folder.bytes += bytes;
            folder.files += 1;
        }
    }
}

impl Serialize for Folder {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.inside.is_empty() {
            return serializer.serialize_u64(self.bytes);
        }
        let mut map = serializer.serialize_map(None)?;
        for (name, folder) in &self.inside {
            map.serialize_entry(name, folder)?;
        }
        // Where one layer has a file and another a folder of that name.
        let within: u64 = self.inside.values().map(|folder| folder.bytes).sum();
        if within < self.bytes {
            map.serialize_entry("", &(self.bytes - within))?;
        }
        map.end()
    }
}

/// All that takes space, by kind, the largest first.
pub(super) fn groups(contents: &Contents) -> Vec<Group> {
    let packages = contents.packages.iter().map(|package| {
        let files = package.files.iter().map(pair);
        Item::new(&package.name, &package.version, files)
    });
    let made = Item::new(
        "overlays and indices",
        "made by the build",
        contents.made.iter().map(pair),
    );
    let sources = contents.files.iter().map(|file| {
        let version = file.version().unwrap_or_default();
        Item::new(file.name(), version, [(file.path.as_str(), file.bytes)])
    });
    // As they are in the store.
    let images = contents.images.iter().map(|image| {
        let blobs = image.blobs.iter();
        let blobs = blobs.map(|blob| (format!("blobs/sha256/{}", blob.sha256), blob.bytes));
        let layers = image.layers.iter();
        let layers = layers.map(|file| (format!("layers/{}", file.path), file.bytes));
        let all: Vec<_> = blobs.chain(layers).collect();
        let all = all.iter().map(|(path, bytes)| (path.as_str(), *bytes));
        Item::new(&image.name, "", all)
    });
    let boot = contents.boot.iter();
    let boot = boot.map(|file| Item::new(&file.path, "", [pair(file)]));
    let groups = [
        ("Packages", "os", packages.chain([made]).collect::<Vec<_>>()),
        ("Container images", "containers", images.collect()),
        ("Files of sources", "sources", sources.collect()),
        ("Boot", "boot", boot.collect()),
    ];
    let group = |(name, class, mut items): (_, _, Vec<Item>)| {
        items.retain(|item| item.bytes() > 0);
        items.sort_by(|a, b| (b.bytes(), &a.name).cmp(&(a.bytes(), &b.name)));
        Group { name, class, items }
    };
    let mut groups: Vec<Group> = groups.into_iter().map(group).collect();
    groups.retain(|group| !group.items.is_empty());
    groups.sort_by_key(|group| std::cmp::Reverse(group.bytes()));
    groups
}

fn pair(file: &File) -> (&str, u64) {
    (&file.path, file.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_add_up() {
        let files = [
            ("usr/bin/a", 5),
            ("usr/lib/b", 2),
            ("etc", 1),
            ("/etc/x", 3),
        ];
        let item = Item::new("n", "v", files);
        assert_eq!((item.bytes(), item.top.files), (11, 4));
        assert_eq!(
            serde_json::to_string(&item).unwrap(),
            r#"["n","v",{"etc":{"x":3,"":1},"usr":{"bin":{"a":5},"lib":{"b":2}}}]"#
        );
    }
}
