//! A file tree as a value: what every file system writer here takes, and every archive reader gives.
//!
//! A [`Tree`] maps absolute paths to nodes and knows nothing of any host file system. File bytes are not
//! held in memory: a [`Content`] names a range of an open file (usually an unpacked package in the build's
//! scratch space) or a short literal. Iteration is in byte order of the path, parents before children, so
//! that whatever is written from a tree is the same on every machine.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

/// The bytes of a regular file, read on demand.
#[derive(Clone, Debug)]
pub enum Content {
    /// Bytes made by the builder itself.
    Bytes(Arc<[u8]>),
    /// `len` bytes at `offset` of an open file that does not change during the build.
    Slice {
        /// The file that holds the bytes.
        file: Arc<File>,
        /// Where they start, in bytes.
        offset: u64,
        /// How many there are.
        len: u64,
    },
}

impl Content {
    /// Number of bytes.
    pub fn len(&self) -> u64 {
        match self {
            Content::Bytes(bytes) => bytes.len() as u64,
            Content::Slice { len, .. } => *len,
        }
    }

    /// Whether there is no byte at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Fills `buf` from `offset`; the caller stays within [`Content::len`], or gets `UnexpectedEof`.
    pub fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|end| *end <= self.len());
        if end.is_none() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self {
            Content::Bytes(bytes) => {
                let start = usize::try_from(offset).map_err(io::Error::other)?;
                buf.copy_from_slice(&bytes[start..start + buf.len()]);
                Ok(())
            }
            Content::Slice {
                file,
                offset: start,
                ..
            } => file.read_exact_at(buf, start + offset),
        }
    }

    /// A sequential reader over all the bytes.
    pub fn reader(&self) -> ContentReader<'_> {
        ContentReader {
            content: self,
            offset: 0,
        }
    }

    /// The `len` bytes at `offset`: of a file the same file, of bytes a copy.
    pub fn slice(&self, offset: u64, len: u64) -> io::Result<Content> {
        let end = offset.checked_add(len);
        if end.is_none_or(|end| end > self.len()) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self {
            Content::Bytes(_) => {
                let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
                self.read_exact_at(&mut bytes, offset)?;
                Ok(bytes.into())
            }
            Content::Slice {
                file,
                offset: start,
                ..
            } => Ok(Content::Slice {
                file: file.clone(),
                offset: start + offset,
                len,
            }),
        }
    }

    /// Hands the bytes from `start` on to `each`, in order and in chunks of at most 64 KiB, with the offset of
    /// each chunk. What cannot be read becomes an error by `unreadable`.
    pub fn read_chunks<E>(
        &self,
        start: u64,
        unreadable: impl Fn(io::Error) -> E,
        mut each: impl FnMut(u64, &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; 1 << 16];
        let mut offset = start;
        while offset < self.len() {
            let left = usize::try_from(self.len() - offset).unwrap_or(usize::MAX);
            let chunk = &mut buffer[..left.min(1 << 16)];
            self.read_exact_at(chunk, offset).map_err(&unreadable)?;
            each(offset, chunk)?;
            offset += chunk.len() as u64;
        }
        Ok(())
    }

    /// All bytes at once; meant for files known to be small.
    pub fn to_vec(&self) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(self.len()).map_err(io::Error::other)?];
        self.read_exact_at(&mut bytes, 0)?;
        Ok(bytes)
    }
}

impl From<Vec<u8>> for Content {
    fn from(bytes: Vec<u8>) -> Self {
        Content::Bytes(bytes.into())
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Content::Bytes(text.as_bytes().into())
    }
}

/// Reads a [`Content`] from its first byte to its last.
#[derive(Debug)]
pub struct ContentReader<'a> {
    content: &'a Content,
    offset: u64,
}

impl Read for ContentReader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.content.len().saturating_sub(self.offset);
        let n = usize::try_from(left).unwrap_or(usize::MAX).min(buf.len());
        self.content.read_exact_at(&mut buf[..n], self.offset)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl Seek for ContentReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let offset = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(by) => self.offset.checked_add_signed(by),
            SeekFrom::End(by) => self.content.len().checked_add_signed(by),
        };
        self.offset = offset.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.offset)
    }
}

/// What a path is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file. Hard links are separate entries that share [`Metadata`] and a cloned `Content`.
    File(Content),
    /// A symbolic link and its target, as written.
    Symlink(String),
    /// A character device, by major and minor number.
    CharDevice(u32, u32),
    /// A block device, by major and minor number.
    BlockDevice(u32, u32),
    /// A named pipe.
    Fifo,
}

/// Owner, mode, time and extended attributes of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// Permission bits with set-uid, set-gid and sticky: `mode & 0o7777`.
    pub mode: u16,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time, seconds since 1970.
    pub mtime: i64,
    /// Extended attributes by full name, such as `security.capability`.
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

impl Metadata {
    /// Owned by root, no extended attributes, time 0.
    pub fn root(mode: u16) -> Self {
        Metadata {
            mode,
            uid: 0,
            gid: 0,
            mtime: 0,
            xattrs: BTreeMap::new(),
        }
    }
}

/// One entry of a [`Tree`].
#[derive(Clone, Debug)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Whose it is.
    pub meta: Metadata,
}

/// Why an entry cannot be put into a tree.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    /// The path is not of the form `a/b/c`.
    #[error("path {0:?} is not relative and normalised")]
    Path(String),
    /// A parent of the path exists and is no directory.
    #[error("{path:?} cannot be created: its parent {parent:?} is not a directory")]
    Parent {
        /// The path that was to be created.
        path: String,
        /// The parent in the way.
        parent: String,
    },
    /// A directory with entries would be replaced by something else.
    #[error("{0:?} is a directory with entries and cannot be replaced")]
    Occupied(String),
}

/// A whole file tree. Paths are relative to its root, normalised and without a leading slash:
/// `usr/bin/kubelet`; the root itself is the empty path and always exists.
#[derive(Clone, Debug)]
pub struct Tree {
    nodes: BTreeMap<PathKey, Node>,
}

/// A path ordered component by component, so that a directory is followed by all that is below it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct PathKey(Vec<String>);

impl PathKey {
    fn parse(path: &str) -> Result<Self, TreeError> {
        if path.is_empty() {
            return Ok(PathKey(Vec::new()));
        }
        let parts: Vec<String> = path.split('/').map(str::to_owned).collect();
        let bad =
            |part: &String| part.is_empty() || part == "." || part == ".." || part.contains('\0');
        if parts.iter().any(bad) {
            return Err(TreeError::Path(path.to_owned()));
        }
        Ok(PathKey(parts))
    }
}

impl Default for Tree {
    fn default() -> Self {
        Tree::new()
    }
}

impl Tree {
    /// A tree with nothing but its root directory, mode 0755.
    pub fn new() -> Self {
        let root = Node {
            kind: Kind::Directory,
            meta: Metadata::root(0o755),
        };
        Tree {
            nodes: BTreeMap::from([(PathKey(Vec::new()), root)]),
        }
    }

    /// Puts `node` at `path`, replacing what was there. Parents that are missing become directories of
    /// root with mode 0755. Symbolic links in the path are **not** followed: resolving them is the
    /// caller's matter (see [`Tree::resolve`]).
    pub fn insert(&mut self, path: &str, node: Node) -> Result<(), TreeError> {
        let key = PathKey::parse(path)?;
        for depth in 1..key.0.len() {
            let parent = PathKey(key.0[..depth].to_vec());
            let mtime = node.meta.mtime;
            let entry = self.nodes.entry(parent).or_insert_with(|| Node {
                kind: Kind::Directory,
                meta: Metadata {
                    mtime,
                    ..Metadata::root(0o755)
                },
            });
            if !matches!(entry.kind, Kind::Directory) {
                return Err(TreeError::Parent {
                    path: path.to_owned(),
                    parent: key.0[..depth].join("/"),
                });
            }
        }
        if !matches!(node.kind, Kind::Directory) && self.has_children(&key) {
            return Err(TreeError::Occupied(path.to_owned()));
        }
        self.nodes.insert(key, node);
        Ok(())
    }

    /// Puts a regular file of root there, with `mode` and time 0.
    pub fn insert_file(
        &mut self,
        path: &str,
        mode: u16,
        content: impl Into<Content>,
    ) -> Result<(), TreeError> {
        self.insert(
            path,
            Node {
                kind: Kind::File(content.into()),
                meta: Metadata::root(mode),
            },
        )
    }

    /// Puts a symbolic link of root there.
    pub fn insert_symlink(&mut self, path: &str, target: &str) -> Result<(), TreeError> {
        self.insert(
            path,
            Node {
                kind: Kind::Symlink(target.to_owned()),
                meta: Metadata::root(0o777),
            },
        )
    }

    /// Puts a directory of root there, or changes the mode of the one that is there.
    pub fn insert_dir(&mut self, path: &str, mode: u16) -> Result<(), TreeError> {
        self.insert(
            path,
            Node {
                kind: Kind::Directory,
                meta: Metadata::root(mode),
            },
        )
    }

    /// The entry at exactly this path, symbolic links not followed.
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(&PathKey::parse(path).ok()?)
    }

    /// As [`Tree::get`], to change it.
    pub fn get_mut(&mut self, path: &str) -> Option<&mut Node> {
        self.nodes.get_mut(&PathKey::parse(path).ok()?)
    }

    /// The path that `path` leads to when every symbolic link on the way is followed (as the kernel would,
    /// with this tree as `/`), whether or not the last component exists. `None` after 40 links.
    pub fn resolve(&self, path: &str) -> Option<String> {
        let mut todo: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut done: Vec<String> = Vec::new();
        let mut links = 0;
        while let Some(part) = todo.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    done.pop();
                    continue;
                }
                _ => done.push(part),
            }
            let Some(Node {
                kind: Kind::Symlink(target),
                ..
            }) = self.nodes.get(&PathKey(done.clone()))
            else {
                continue;
            };
            links += 1;
            if links > 40 {
                return None;
            }
            if target.starts_with('/') {
                done.clear();
            } else {
                done.pop();
            }
            todo.extend(target.split('/').rev().map(str::to_owned));
        }
        Some(done.join("/"))
    }

    /// Takes away the entry and, if it is a directory, everything below it. Says whether there was one.
    pub fn remove(&mut self, path: &str) -> bool {
        let Ok(key) = PathKey::parse(path) else {
            return false;
        };
        let doomed: Vec<PathKey> = self
            .below(key.clone())
            .map(|(key, _)| key.clone())
            .collect();
        for child in doomed {
            self.nodes.remove(&child);
        }
        self.nodes.remove(&key).is_some()
    }

    /// All entries with their paths, parents first, in a fixed order; the root comes first as `""`.
    pub fn iter(&self) -> impl Iterator<Item = (String, &Node)> {
        self.nodes.iter().map(|(key, node)| (key.0.join("/"), node))
    }

    /// All entries, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (String, &mut Node)> {
        self.nodes
            .iter_mut()
            .map(|(key, node)| (key.0.join("/"), node))
    }

    /// Everything below the directory `path` (itself left out), as full paths.
    pub fn descendants(&self, path: &str) -> impl Iterator<Item = (String, &Node)> {
        let key = PathKey::parse(path).unwrap_or(PathKey(vec![String::from("\0")]));
        self.below(key).map(|(key, node)| (key.0.join("/"), node))
    }

    /// The names and entries directly in the directory `path`.
    pub fn children(&self, path: &str) -> impl Iterator<Item = (String, &Node)> {
        let key = PathKey::parse(path).unwrap_or(PathKey(vec![String::from("\0")]));
        let depth = key.0.len() + 1;
        let direct = self
            .below(key)
            .filter(move |(child, _)| child.0.len() == depth);
        direct.map(move |(child, node)| (child.0[depth - 1].clone(), node))
    }

    /// How many entries there are, the root included.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there is nothing but the root.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() <= 1
    }

    fn below(&self, key: PathKey) -> impl Iterator<Item = (&PathKey, &Node)> {
        let after = (
            std::ops::Bound::Excluded(key.clone()),
            std::ops::Bound::Unbounded,
        );
        self.nodes
            .range(after)
            .take_while(move |(child, _)| child.0.starts_with(&key.0))
    }

    fn has_children(&self, key: &PathKey) -> bool {
        self.below(key.clone()).next().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(entries: &[(&str, Option<&str>)]) -> Tree {
        let mut tree = Tree::new();
        for (path, link) in entries {
            match link {
                Some(target) => tree.insert_symlink(path, target).unwrap(),
                None => tree.insert_file(path, 0o644, "x").unwrap(),
            }
        }
        tree
    }

    #[test]
    fn a_directory_is_followed_by_what_is_below_it() {
        let tree = tree(&[("a-b", None), ("a/z", None), ("a/b/c", None)]);
        let paths: Vec<String> = tree.iter().map(|(path, _)| path).collect();
        assert_eq!(paths, ["", "a", "a/b", "a/b/c", "a/z", "a-b"]);
        assert_eq!(
            tree.children("a").map(|(name, _)| name).collect::<Vec<_>>(),
            ["b", "z"]
        );
    }

    #[test]
    fn links_resolve_with_the_tree_as_root() {
        let tree = tree(&[
            ("bin", Some("usr/bin")),
            ("usr/bin/sh", Some("/bin/dash")),
            ("loop", Some("loop")),
        ]);
        assert_eq!(tree.resolve("bin/sh").as_deref(), Some("usr/bin/dash"));
        assert_eq!(tree.resolve("/bin/../../etc/x").as_deref(), Some("etc/x"));
        assert_eq!(tree.resolve("loop"), None);
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let mut tree = tree(&[("a", None), ("d/x", None)]);
        assert!(matches!(
            tree.insert_file("a/b", 0o644, ""),
            Err(TreeError::Parent { .. })
        ));
        assert!(matches!(
            tree.insert_file("d", 0o644, ""),
            Err(TreeError::Occupied(_))
        ));
        assert!(matches!(
            tree.insert_file("d/../x", 0o644, ""),
            Err(TreeError::Path(_))
        ));
        assert!(tree.remove("d") && tree.get("d/x").is_none());
    }
}
