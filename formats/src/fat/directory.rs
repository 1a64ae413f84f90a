//! Directories as they are written: the names in each, and their entries.

use super::boot::Boot;
use super::name::{self, ShortName};
use super::time::Stamp;
use super::write::{Error, ROOT_ENTRIES, Run};
use super::{ATTRIBUTE_ARCHIVE, ATTRIBUTE_DIRECTORY, ATTRIBUTE_LABEL, ENTRY, Kind, MAX_ENTRIES};
use crate::bytes::put;
use crate::tree::{self, Tree};
use std::collections::{BTreeMap, BTreeSet};

/// An entry of a directory with its names.
pub(super) struct Named {
    name: String,
    short: ShortName,
    long: bool,
}

/// The names in every directory.
pub(super) fn directories(tree: &Tree) -> Result<BTreeMap<String, Vec<Named>>, Error> {
    let mut directories = BTreeMap::new();
    for (path, node) in tree.iter() {
        match &node.kind {
            tree::Kind::Directory => directories.insert(path.clone(), names(tree, &path)?),
            tree::Kind::File(_) => continue,
            _ => return Err(Error::NodeKind(path)),
        };
    }
    Ok(directories)
}

/// The names in one directory. Those that are 8.3 names themselves come before aliases are chosen.
fn names(tree: &Tree, path: &str) -> Result<Vec<Named>, Error> {
    let names: Vec<String> = tree.children(path).map(|(name, _)| name).collect();
    let mut folded = BTreeMap::new();
    for name in &names {
        if let Some(why) = name::fault(name) {
            let path = join(path, name);
            return Err(Error::Name { path, why });
        }
        if let Some(other) = folded.insert(name::fold(name), name) {
            return Err(Error::SameName(join(path, other), join(path, name)));
        }
    }
    let mut taken: BTreeSet<ShortName> =
        names.iter().filter_map(|name| name::exact(name)).collect();
    let mut named = Vec::new();
    for name in names {
        let exact = name::exact(&name);
        let short = exact.or_else(|| name::alias(&name, &taken));
        let Some(short) = short else {
            let (path, why) = (join(path, &name), "every 8.3 name for it is taken");
            return Err(Error::Name { path, why });
        };
        taken.insert(short);
        let long = exact.is_none();
        named.push(Named { name, short, long });
    }
    Ok(named)
}

fn join(directory: &str, name: &str) -> String {
    match directory {
        "" => name.to_owned(),
        directory => format!("{directory}/{name}"),
    }
}

/// Bytes of a directory's entries, among them the label in the root, and `.` and `..` elsewhere.
pub(super) fn directory_size(boot: &Boot, path: &str, names: &[Named]) -> Result<u64, Error> {
    let of = |named: &Named| match named.long {
        true => 1 + name::long_entries(&named.name),
        false => 1,
    };
    let own = if path.is_empty() { 1 } else { 2 };
    let entries = own + names.iter().map(of).sum::<usize>();
    let most = match path.is_empty() && boot.kind != Kind::Fat32 {
        true => ROOT_ENTRIES as usize,
        false => MAX_ENTRIES,
    };
    if entries > most {
        return Err(Error::DirectoryFull {
            path: path.to_owned(),
            entries,
            most,
        });
    }
    Ok((entries * ENTRY) as u64)
}

/// The bytes of a directory.
pub(super) fn directory(
    boot: &Boot,
    tree: &Tree,
    path: &str,
    names: &[Named],
    runs: &BTreeMap<String, Run>,
    stamp: Stamp,
) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut push = |short: &ShortName, attributes: u8, first: u32, size: u64| {
        bytes.extend_from_slice(&entry(short, attributes, first, size, stamp));
    };
    if path.is_empty() {
        push(&boot.label, ATTRIBUTE_LABEL, 0, 0);
    } else {
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        // The root is cluster 0 to its children, whatever cluster it has.
        let first = if parent.is_empty() {
            0
        } else {
            runs[parent].first
        };
        push(b".          ", ATTRIBUTE_DIRECTORY, runs[path].first, 0);
        push(b"..         ", ATTRIBUTE_DIRECTORY, first, 0);
    }
    for Named { name, short, long } in names {
        let child = join(path, name);
        let (attributes, size) = match tree.get(&child).map(|node| &node.kind) {
            Some(tree::Kind::File(content)) => (ATTRIBUTE_ARCHIVE, content.len()),
            _ => (ATTRIBUTE_DIRECTORY, 0),
        };
        if *long {
            let parts = name::encode_long(name, short);
            bytes.extend(parts.into_iter().flatten());
        }
        let first = runs[&child].first;
        bytes.extend_from_slice(&entry(short, attributes, first, size, stamp));
    }
    bytes
}

fn entry(short: &ShortName, attributes: u8, first: u32, size: u64, stamp: Stamp) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    put(&mut entry, 0, short);
    put(&mut entry, 11, &[attributes]);
    for (at, field) in [
        (14, stamp.time),
        (16, stamp.date),
        (18, stamp.date),
        (20, (first >> 16) as u16),
        (22, stamp.time),
        (24, stamp.date),
        (26, first as u16),
    ] {
        put(&mut entry, at, &field.to_le_bytes());
    }
    // plan() has refused files of 4 GiB and more.
    put(&mut entry, 28, &(size as u32).to_le_bytes());
    entry
}
