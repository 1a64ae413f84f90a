//! What the tests on composed root trees share.

use formats::tree::{Content, Kind, Metadata, Node, Tree};
use std::fs::{self, File};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Reads the directory `top` of the host as a tree. Files that cannot be opened are left out.
pub(crate) fn load(top: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut todo = vec![String::new()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(top.join(&directory)).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = format!("{directory}/{name}")
                .trim_start_matches('/')
                .to_owned();
            let meta = fs::symlink_metadata(entry.path()).unwrap();
            let kind = if meta.is_dir() {
                todo.push(path.clone());
                Kind::Directory
            } else if meta.is_symlink() {
                Kind::Symlink(
                    fs::read_link(entry.path())
                        .unwrap()
                        .into_os_string()
                        .into_string()
                        .unwrap(),
                )
            } else if meta.is_file() {
                let Ok(file) = File::open(entry.path()) else {
                    continue;
                };
                Kind::File(Content::Slice {
                    file: Arc::new(file),
                    offset: 0,
                    len: meta.len(),
                })
            } else if meta.file_type().is_fifo() {
                Kind::Fifo
            } else {
                continue;
            };
            let mode = u16::try_from(meta.mode() & 0o7777).unwrap();
            let meta = Metadata {
                uid: meta.uid(),
                gid: meta.gid(),
                mtime: meta.mtime(),
                ..Metadata::root(mode)
            };
            tree.insert(&path, Node { kind, meta }).unwrap();
        }
    }
    tree
}

/// The bytes of a regular file of the tree.
pub(crate) fn bytes(tree: &Tree, path: &str) -> Vec<u8> {
    match &tree
        .get(path)
        .unwrap_or_else(|| panic!("{path} is missing"))
        .kind
    {
        Kind::File(content) => content.to_vec().unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

/// The Debian root file system that `SEEDBED_TEST_ROOT` names, as installed by Debian's own tools; without it,
/// prints that `test` is skipped.
pub(crate) fn test_root(test: &str) -> Option<PathBuf> {
    let root = std::env::var_os("SEEDBED_TEST_ROOT").map(PathBuf::from);
    if root.is_none() {
        println!("SKIP {test}: SEEDBED_TEST_ROOT names no Debian root file system");
    }
    root
}

/// Whether `tool` runs on this host; if not, says that `test` is skipped.
pub(crate) fn has_tool(test: &str, tool: &str) -> bool {
    let found = Command::new(tool).arg("--version").output().is_ok();
    if !found {
        skip(test, &format!("{tool} is not installed"));
    }
    found
}

/// Says that `test` is skipped, or fails where referees are required.
pub(crate) fn skip(test: &str, reason: &str) {
    assert!(
        std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
        "{test}: {reason}"
    );
    println!("SKIP {test}: {reason}");
}
