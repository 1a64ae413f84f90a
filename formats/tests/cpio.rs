//! Archives: written, listed by cpio, read back, and mutated.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/referee.rs"]
mod referee;

use formats::cpio::{self, Error, Padding, ReadError};
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use proptest::prelude::*;
use std::sync::Arc;

fn sample() -> Tree {
    let mut tree = Tree::new();
    let meta = |mode, mtime| Metadata {
        mtime,
        ..Metadata::root(mode)
    };
    tree.insert_file(
        "usr/lib/systemd/systemd",
        0o755,
        "x".repeat(70_001).as_str(),
    )
    .unwrap();
    tree.insert_symlink("init", "usr/lib/systemd/systemd")
        .unwrap();
    tree.insert_dir("usr/bin", 0o755).unwrap();
    tree.insert_dir("tmp", 0o1777).unwrap();
    let node = |kind, meta| Node { kind, meta };
    tree.insert("dev/console", node(Kind::CharDevice(5, 1), meta(0o600, 7)))
        .unwrap();
    tree.insert("dev/vda", node(Kind::BlockDevice(254, 0), meta(0o660, 8)))
        .unwrap();
    tree.insert("run/pipe", node(Kind::Fifo, meta(0o644, 86_400)))
        .unwrap();
    tree
}

fn archive(tree: &Tree, padding: Padding) -> Vec<u8> {
    let mut bytes = Vec::new();
    let size = cpio::write(tree, &mut bytes, padding).unwrap();
    assert_eq!(size, bytes.len() as u64);
    bytes
}

/// One line an entry, with everything that an archive holds.
fn dump(tree: &Tree) -> String {
    let line = |(path, node): (String, &Node)| {
        let kind = match &node.kind {
            Kind::File(content) => {
                format!("file {:08x}", crc32fast::hash(&content.to_vec().unwrap()))
            }
            other => format!("{other:?}"),
        };
        let Metadata {
            mode,
            uid,
            gid,
            mtime,
            ..
        } = node.meta;
        format!("{path:?} {mode:o} {uid}:{gid} @{mtime} {kind}\n")
    };
    tree.iter().map(line).collect()
}

#[test]
fn what_is_written_reads_back() {
    let tree = sample();
    for (padding, unit) in [(Padding::Word, 4), (Padding::Block, 512)] {
        let bytes = archive(&tree, padding);
        assert_eq!(bytes.len() % unit, 0);
        assert_eq!(
            dump(&cpio::read(&bytes.clone().into()).unwrap()),
            dump(&tree)
        );
        let file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut &file, &[b"before".as_slice(), &bytes].concat()).unwrap();
        let content = Content::Slice {
            file: Arc::new(file),
            offset: 6,
            len: bytes.len() as u64,
        };
        assert_eq!(dump(&cpio::read(&content).unwrap()), dump(&tree));
    }
}

#[test]
fn the_bytes_stay_the_same() {
    // The same profile is to give the same image with every build of this program: a change here is a
    // change of every image's digest, and belongs in the changelog.
    assert_eq!(
        crc32fast::hash(&archive(&sample(), Padding::Block)),
        0x0acd_bebb
    );
}

#[test]
fn cpio_lists_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive(&sample(), Padding::Block)).unwrap();
    let args = [
        "-itv",
        "--numeric-uid-gid",
        "-F",
        file.path().to_str().unwrap(),
    ];
    let Some(text) = referee::run("cpio::cpio_lists_it", "cpio", &args) else {
        return;
    };
    let lines: Vec<Vec<&str>> = text
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    for expected in [
        ["drwxr-xr-x", "6", "."],
        ["crw-------", "1", "dev/console"],
        ["brw-rw----", "1", "dev/vda"],
        ["prw-r--r--", "1", "run/pipe"],
        ["drwxrwxrwt", "2", "tmp"],
        ["drwxr-xr-x", "4", "usr"],
        ["-rwxr-xr-x", "1", "usr/lib/systemd/systemd"],
        ["lrwxrwxrwx", "1", "usr/lib/systemd/systemd"],
    ] {
        let found = |line: &&Vec<&str>| {
            line.len() > 2 && [line[0], line[1], line[line.len() - 1]] == expected
        };
        assert!(
            lines.iter().any(|line| found(&line)),
            "{expected:?} is not in\n{text}"
        );
    }
    assert!(
        text.contains(" 70001 Jan  1  1970 usr/lib/systemd/systemd"),
        "{text}"
    );
}

#[test]
fn what_the_format_cannot_hold_is_refused_by_name() {
    let check = |change: fn(&mut Metadata), expected: &str| {
        let mut tree = sample();
        change(&mut tree.get_mut("usr/bin").unwrap().meta);
        let error = cpio::write(&tree, &mut Vec::new(), Padding::Word).unwrap_err();
        assert_eq!(error.to_string(), expected);
    };
    check(
        |meta| meta.mtime = 1 << 32,
        "\"usr/bin\" cannot be put into a cpio archive: its modification time, 4294967296, does not fit in 32 bits",
    );
    check(
        |meta| meta.mtime = -1,
        "\"usr/bin\" cannot be put into a cpio archive: its modification time, -1, does not fit in 32 bits",
    );
    check(
        |meta| drop(meta.xattrs.insert("security.capability".into(), vec![1])),
        "\"usr/bin\" cannot be put into a cpio archive with its extended attribute security.capability",
    );
    let mut tree = sample();
    let content = Content::Slice {
        file: Arc::new(tempfile::tempfile().unwrap()),
        offset: 0,
        len: 5,
    };
    tree.insert_file("short", 0o644, content).unwrap();
    let error = cpio::write(&tree, &mut Vec::new(), Padding::Word).unwrap_err();
    assert!(matches!(error, Error::Read { path, .. } if path == "short"));
}

#[test]
fn damage_is_an_error_with_its_place() {
    let good = archive(&sample(), Padding::Word);
    let cut = good[..good.len() - 200].to_vec();
    assert!(matches!(
        cpio::read(&cut.into()),
        Err(ReadError::Read { .. })
    ));
    let mut bad = good.clone();
    bad[6] = b'+';
    assert!(matches!(cpio::read(&bad.into()), Err(ReadError::Header(0))));
    let mut bad = good;
    bad[94..102].copy_from_slice(b"ffffffff");
    assert!(matches!(cpio::read(&bad.into()), Err(ReadError::Name(0))));
}

#[test]
fn duplicate_entries_are_refused_by_name() {
    let mut tree = Tree::new();
    tree.insert_file("a", 0o644, "1").unwrap();
    tree.insert_file("b", 0o644, "2").unwrap();
    let mut bytes = archive(&tree, Padding::Word);
    let second = bytes.windows(2).rposition(|name| name == b"b\0").unwrap();
    bytes[second] = b'a';
    let error = cpio::read(&bytes.into()).unwrap_err();
    assert_eq!(error.to_string(), "\"a\" is twice in the cpio archive");
}

#[test]
fn paths_out_of_the_tree_are_refused() {
    let mut tree = Tree::new();
    tree.insert_file("a/bb/c", 0o644, "1").unwrap();
    let mut bytes = archive(&tree, Padding::Word);
    let at = bytes
        .windows(6)
        .rposition(|name| name == b"a/bb/c")
        .unwrap();
    bytes[at..at + 6].copy_from_slice(b"a/../c");
    assert!(matches!(cpio::read(&bytes.into()), Err(ReadError::Tree(_))));
}

proptest! {
    #[test]
    fn no_bytes_make_the_reader_panic(
        edits in prop::collection::vec((0..2000_usize, any::<u8>()), 0..10),
        digits in prop::collection::vec((0..110_usize, prop::sample::select(b"0123456789abcdefABCDEF".to_vec())), 0..10),
        len in 0..80_000_usize,
    ) {
        let mut bytes = archive(&sample(), Padding::Word);
        for (at, byte) in edits.into_iter().chain(digits) {
            bytes[at] = byte;
        }
        bytes.truncate(len);
        let _ = cpio::read(&bytes.into());
    }
}
