//! From an uncompressed archive to a [`Layer`]. Contents are slices of the archive.
//!
//! What an unpacker would have to guess about is refused, and so is what leads out of the layer: absolute paths,
//! `..`, paths through symbolic links, a path that is a directory and something else, and names and attributes
//! that mean something to overlayfs.

use super::headers::{self, Entry, Walk};
use super::{Layer, Limits, OPAQUE, RESERVED, ancestors, is_directory};
use anyhow::{Context, bail};
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use std::collections::{BTreeMap, BTreeSet};
use tar::EntryType;

const WHITEOUT: &str = ".wh.";
const OPAQUE_MARKER: &str = ".wh..wh..opq";
/// Names that AUFS kept for itself, and images of its time may have.
const AUFS: &str = ".wh..wh.";

/// Reads the layer in `archive`.
pub fn unpack(archive: &Content, limits: Limits) -> anyhow::Result<Layer> {
    let mut reading = Reading {
        archive,
        tree: Tree::new(),
        described: BTreeSet::new(),
        whiteouts: BTreeSet::new(),
        opaque: BTreeSet::new(),
    };
    let mut walk = Walk::new(archive, limits);
    let mut last = String::new();
    loop {
        let entry = walk.next().with_context(|| match last.as_str() {
            "" => "reading the first entry".to_owned(),
            last => format!("reading the entry after {last:?}"),
        })?;
        let Some(entry) = entry else { break };
        reading
            .take(&entry)
            .with_context(|| format!("reading entry {:?}", entry.path))?;
        last = entry.path;
    }
    Ok(reading.finish())
}

struct Reading<'a> {
    archive: &'a Content,
    tree: Tree,
    /// Directories that have an entry of their own.
    described: BTreeSet<String>,
    whiteouts: BTreeSet<String>,
    opaque: BTreeSet<String>,
}

impl Reading<'_> {
    fn take(&mut self, entry: &Entry) -> anyhow::Result<()> {
        let path = normalise(&entry.path)?;
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", &path));
        if ancestors(&path).any(|above| file_name(above).starts_with(WHITEOUT)) {
            bail!("it lies below a whiteout");
        }
        let mtime = mtime(entry)?;
        self.make_parents(&path, mtime)?;
        if last.starts_with(WHITEOUT) {
            return self.take_whiteout(entry, parent, last);
        }
        let node = self.node(entry, mtime)?;
        if let Some(before) = self.tree.get(&path)
            && is_directory(before) != is_directory(&node)
        {
            bail!("the path is there twice, as a directory and as something else");
        }
        if is_directory(&node) {
            self.described.insert(path.clone());
        }
        self.tree.insert(&path, node)?;
        Ok(())
    }

    fn take_whiteout(&mut self, entry: &Entry, parent: &str, last: &str) -> anyhow::Result<()> {
        if is_directory_entry(entry) {
            bail!("it is a directory called like a whiteout");
        }
        if last == OPAQUE_MARKER {
            self.opaque.insert(parent.to_owned());
            return Ok(());
        }
        let hidden = last.strip_prefix(WHITEOUT).unwrap_or(last);
        if last.starts_with(AUFS) || matches!(hidden, "" | "." | "..") {
            bail!("it is called like a whiteout, and is none");
        }
        let path = format!("{parent}/{hidden}");
        self.whiteouts
            .insert(path.trim_start_matches('/').to_owned());
        Ok(())
    }

    /// Directories on the way to `path` that have no entry yet; they may still get one.
    fn make_parents(&mut self, path: &str, mtime: i64) -> anyhow::Result<()> {
        for above in ancestors(path) {
            match self.tree.get(above).map(|node| &node.kind) {
                Some(Kind::Directory) => {}
                Some(Kind::Symlink(target)) => {
                    bail!("its path leads through {above:?}, a symbolic link to {target:?}")
                }
                Some(_) => bail!("its path leads through {above:?}, which is no directory"),
                None => {
                    let meta = Metadata {
                        mtime,
                        ..Metadata::root(0o755)
                    };
                    let kind = Kind::Directory;
                    self.tree.insert(above, Node { kind, meta })?;
                }
            }
        }
        Ok(())
    }

    fn node(&self, entry: &Entry, mtime: i64) -> anyhow::Result<Node> {
        let kind = match entry.header.entry_type() {
            _ if is_directory_entry(entry) => Kind::Directory,
            EntryType::Regular | EntryType::Continuous => {
                let content = self.archive.slice(entry.offset, entry.size);
                Kind::File(content.with_context(|| {
                    let size = entry.size;
                    format!("the archive ends before the {size} bytes of the file do")
                })?)
            }
            EntryType::Link => {
                let target = normalise(&entry.link)?;
                return match self.tree.get(&target) {
                    Some(node) if !is_directory(node) => Ok(node.clone()),
                    Some(_) => bail!("it is a hard link to {target:?}, a directory"),
                    None => bail!(
                        "it is a hard link to {target:?}, which does not come before it in this layer"
                    ),
                };
            }
            EntryType::Symlink => Kind::Symlink(entry.link.clone()),
            EntryType::Char => match device(&entry.header)? {
                (0, 0) => bail!("overlayfs takes a character device 0/0 for a whiteout"),
                (major, minor) => Kind::CharDevice(major, minor),
            },
            EntryType::Block => {
                device(&entry.header).map(|(major, minor)| Kind::BlockDevice(major, minor))?
            }
            EntryType::Fifo => Kind::Fifo,
            other => bail!(
                "entries of type {:?} are not supported",
                char::from(other.as_byte())
            ),
        };
        let meta = metadata(entry, mtime)?;
        Ok(Node { kind, meta })
    }

    fn finish(mut self) -> Layer {
        let opaque_root = self.opaque.remove("");
        let mut replaced = BTreeSet::new();
        for path in &self.whiteouts {
            if self.tree.get(path).is_some_and(is_directory) {
                replaced.insert(path.clone());
            }
        }
        if opaque_root {
            let top = self.tree.children("");
            replaced.extend(
                top.filter(|(_, node)| is_directory(node))
                    .map(|(name, _)| name),
            );
        }
        self.opaque.extend(replaced.iter().cloned());
        for path in &self.opaque {
            if let Some(node) = self.tree.get_mut(path) {
                node.meta.xattrs.insert(OPAQUE.to_owned(), b"y".to_vec());
            }
        }
        // What lies below is out of reach there: nothing to inherit, and nothing to hide.
        let hidden = |path: &str| ancestors(path).any(|above| self.opaque.contains(above));
        let undescribed = |path: &String| !self.described.contains(path);
        let directories = self.tree.iter().filter(|(_, node)| is_directory(node));
        let implicit = directories
            .map(|(path, _)| path)
            .filter(|path| undescribed(path) && !replaced.contains(path) && !hidden(path))
            .collect();
        self.whiteouts
            .retain(|path| self.tree.get(path).is_none() && !hidden(path));
        Layer {
            implicit,
            whiteouts: self.whiteouts,
            opaque_root,
            tree: self.tree,
        }
    }
}

/// Whether the entry is a directory; the oldest archives have no type of their own for it.
fn is_directory_entry(entry: &Entry) -> bool {
    match entry.header.entry_type() {
        EntryType::Directory => true,
        EntryType::Regular => entry.path.ends_with('/'),
        _ => false,
    }
}

/// The entry's time in seconds, rounded down: files' times have no fractions here.
fn mtime(entry: &Entry) -> anyhow::Result<i64> {
    let Some(record) = entry.records.get("mtime").filter(|value| !value.is_empty()) else {
        return i64::try_from(entry.header.mtime()?).context("its time is too large");
    };
    let text = headers::utf8(record)?;
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let seconds: i64 = whole
        .parse()
        .with_context(|| format!("its time {text:?} is no number"))?;
    let down = whole.starts_with('-') && fraction.bytes().any(|digit| digit != b'0');
    Ok(seconds.saturating_sub(i64::from(down)))
}

fn metadata(entry: &Entry, mtime: i64) -> anyhow::Result<Metadata> {
    let mut xattrs = BTreeMap::new();
    for (key, value) in &entry.records {
        if key.starts_with("GNU.sparse.") {
            bail!("sparse files are not supported");
        }
        let Some(name) = key.strip_prefix("SCHILY.xattr.") else {
            continue;
        };
        if name.starts_with(RESERVED) {
            bail!("attribute {name} is overlayfs's own");
        }
        xattrs.insert(name.to_owned(), value.clone());
    }
    let header = &entry.header;
    let id = |number: u64| u32::try_from(number).context("an owner's number is too large");
    Ok(Metadata {
        mode: u16::try_from(header.mode()? & 0o7777)?,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime,
        xattrs,
    })
}

fn device(header: &tar::Header) -> anyhow::Result<(u32, u32)> {
    let major = header.device_major()?.context("no major number")?;
    let minor = header.device_minor()?.context("no minor number")?;
    Ok((major, minor))
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

/// `./usr/bin/` becomes `usr/bin`; what could lead out of the layer is refused.
fn normalise(path: &str) -> anyhow::Result<String> {
    if path.starts_with('/') {
        bail!("{path:?} is an absolute path");
    }
    let parts = path.split('/');
    let parts: Vec<&str> = parts
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") || path.contains('\0') {
        bail!("{path:?} leads out of the layer");
    }
    Ok(parts.join("/"))
}
