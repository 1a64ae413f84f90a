//! Archives made by hand, one rule each, and random ones against two small models.

use super::{Layer, Limits, OPAQUE, archive, stack, unpack};
use crate::digest;
use crate::images::layout::Blob;
use formats::tree::{Content, Kind, Node, Tree};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::io::{self, Write};
use tar::EntryType;

/// An archive from calls of [`add`].
fn tar(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    build(&mut builder);
    builder.into_inner().unwrap()
}

/// An entry whose name is written byte by byte; `text` is a file's content or a link's target.
fn add(tar: &mut tar::Builder<Vec<u8>>, name: &str, kind: EntryType, mode: u32, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(5);
    header.set_gid(6);
    header.set_mtime(7);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    let data = kind == EntryType::Regular;
    if !data {
        header.as_old_mut().linkname[..text.len()].copy_from_slice(text.as_bytes());
    }
    let data = if data { text } else { "" };
    header.set_size(data.len() as u64);
    header.set_cksum();
    tar.append(&header, data.as_bytes()).unwrap();
}

fn file(tar: &mut tar::Builder<Vec<u8>>, name: &str, text: &str) {
    add(tar, name, EntryType::Regular, 0o644, text);
}

fn dir(tar: &mut tar::Builder<Vec<u8>>, name: &str, mode: u32) {
    add(tar, name, EntryType::Directory, mode, "");
}

fn unpacked(bytes: Vec<u8>) -> anyhow::Result<Layer> {
    unpack::unpack(&bytes.into(), Limits::DEFAULT)
}

fn alone(bytes: Vec<u8>) -> Tree {
    stack::settle(&unpacked(bytes).unwrap(), &[]).unwrap()
}

/// `upper` as it is on top of `lower`.
fn above(lower: Vec<u8>, upper: Vec<u8>) -> Tree {
    stack::settle(&unpacked(upper).unwrap(), &[&alone(lower)]).unwrap()
}

fn refuse(bytes: Vec<u8>, expected: &str) {
    let error = format!("{:#}", unpacked(bytes).unwrap_err());
    assert!(error.contains(expected), "{error}");
}

fn paths(tree: &Tree) -> Vec<String> {
    tree.iter().skip(1).map(|(path, _)| path).collect()
}

fn text(tree: &Tree, path: &str) -> String {
    match &tree.get(path).unwrap().kind {
        Kind::File(content) => String::from_utf8(content.to_vec().unwrap()).unwrap(),
        other => panic!("{path} is {other:?}"),
    }
}

fn is_whiteout(tree: &Tree, path: &str) -> bool {
    tree.get(path).is_some_and(super::is_whiteout)
}

fn is_opaque(tree: &Tree, path: &str) -> bool {
    tree.get(path).unwrap().meta.xattrs.get(OPAQUE) == Some(&b"y".to_vec())
}

#[test]
fn every_kind_of_entry_comes_out() {
    let long = format!("long/{}", "n".repeat(150));
    let tree = alone(tar(|tar| {
        dir(tar, "./", 0o750);
        dir(tar, "d/", 0o1777);
        file(tar, "d/f", "hello");
        add(tar, "d/hard", EntryType::Link, 0o600, "d/f");
        add(tar, "soft", EntryType::Symlink, 0o777, "/../d/f");
        add(tar, "null", EntryType::Char, 0o666, "");
        add(tar, "disk", EntryType::Block, 0o660, "");
        add(tar, "pipe", EntryType::Fifo, 0o600, "");
        // Values are bytes: line ends and what looks like another record.
        let value = b"\n\n9 path=x\n\0".as_slice();
        let records = [("SCHILY.xattr.user.a", value), ("mtime", b"-1.5")];
        tar.append_pax_extensions(records).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o4755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(2);
        tar.append_data(&mut header, &long, b"ok".as_slice())
            .unwrap();
    }));
    let expected = [
        "d", "d/f", "d/hard", "disk", "long", &long, "null", "pipe", "soft",
    ];
    assert_eq!(paths(&tree), expected);
    assert_eq!(tree.get("").unwrap().meta.mode, 0o750);
    let d = &tree.get("d").unwrap().meta;
    assert_eq!((d.mode, d.uid, d.gid, d.mtime), (0o1777, 5, 6, 7));
    assert_eq!(text(&tree, "d/hard"), "hello");
    assert_eq!(tree.get("d/hard").unwrap().meta.mode, 0o644);
    let link = &tree.get("soft").unwrap().kind;
    assert!(matches!(link, Kind::Symlink(target) if target == "/../d/f"));
    assert!(matches!(
        tree.get("null").unwrap().kind,
        Kind::CharDevice(1, 3)
    ));
    assert!(matches!(
        tree.get("disk").unwrap().kind,
        Kind::BlockDevice(1, 3)
    ));
    let found = &tree.get(&long).unwrap().meta;
    assert_eq!((found.mode, found.mtime), (0o4755, -2));
    assert_eq!(found.xattrs["user.a"], b"\n\n9 path=x\n\0");
    let implicit = &tree.get("long").unwrap().meta;
    assert_eq!((implicit.mode, implicit.uid), (0o755, 0));
}

#[test]
fn whiteouts_hide_what_is_below_and_nothing_else() {
    let lower = tar(|tar| {
        file(tar, "gone/a", "");
        file(tar, "replaced/a", "");
        file(tar, "file", "");
        file(tar, "opaque/a", "");
    });
    let upper = tar(|tar| {
        file(tar, "replaced/b", "");
        for name in [
            ".wh.gone",
            ".wh.replaced",
            ".wh.file",
            ".wh.never",
            "new/.wh.x",
        ] {
            file(tar, name, "");
        }
        file(tar, "file", "new");
        file(tar, "opaque/.wh..wh..opq", "");
        file(tar, "opaque/.wh.a", "");
        file(tar, "opaque/b", "");
    });
    let tree = above(lower, upper);
    let expected = [
        "file",
        "gone",
        "new",
        "opaque",
        "opaque/b",
        "replaced",
        "replaced/b",
    ];
    assert_eq!(paths(&tree), expected);
    assert!(is_whiteout(&tree, "gone"));
    assert_eq!(text(&tree, "file"), "new");
    assert!(is_opaque(&tree, "replaced") && is_opaque(&tree, "opaque"));
    assert!(!tree.get("new").unwrap().meta.xattrs.contains_key(OPAQUE));
}

#[test]
fn an_opaque_root_becomes_whiteouts() {
    let lower = tar(|tar| {
        file(tar, "a", "");
        file(tar, "both/a", "");
    });
    let upper = tar(|tar| {
        file(tar, ".wh..wh..opq", "");
        file(tar, "both/b", "");
    });
    let tree = above(lower, upper);
    assert_eq!(paths(&tree), ["a", "both", "both/b"]);
    assert!(is_whiteout(&tree, "a") && is_opaque(&tree, "both"));
}

#[test]
fn directories_that_are_not_described_take_after_those_below() {
    let lower = || tar(|tar| dir(tar, "tmp/", 0o1777));
    let upper = tar(|tar| file(tar, "tmp/x", ""));
    let tree = above(lower(), upper);
    let meta = &tree.get("tmp").unwrap().meta;
    assert_eq!((meta.mode, meta.uid), (0o1777, 5));
    let replaced = tar(|tar| {
        file(tar, ".wh.tmp", "");
        file(tar, "tmp/x", "");
    });
    let tree = above(lower(), replaced);
    assert_eq!(tree.get("tmp").unwrap().meta.mode, 0o755);
}

#[test]
fn hostile_archives_are_refused_by_entry() {
    use EntryType as T;
    for (name, kind, target, expected) in [
        ("/etc/x", T::Regular, "", "\"/etc/x\" is an absolute path"),
        ("a/../../b", T::Regular, "", "leads out of the layer"),
        ("a", T::Link, "../b", "leads out of the layer"),
        (
            "a",
            T::Link,
            "b",
            "hard link to \"b\", which does not come before it",
        ),
        ("a", T::new(b'S'), "", "sparse"),
        (
            "a",
            T::new(b'V'),
            "",
            "entries of type 'V' are not supported",
        ),
        (".wh.", T::Regular, "", "called like a whiteout"),
        (".wh...", T::Regular, "", "called like a whiteout"),
        (".wh..wh.plnk", T::Regular, "", "called like a whiteout"),
        (
            ".wh.d/",
            T::Directory,
            "",
            "directory called like a whiteout",
        ),
        (".wh.d/f", T::Regular, "", "below a whiteout"),
    ] {
        let one = tar(|tar| add(tar, name, kind, 0o644, target));
        if expected == "sparse" {
            assert!(unpacked(one).is_err());
            continue;
        }
        refuse(one, expected);
    }
    refuse(
        tar(|tar| {
            add(tar, "a", T::Symlink, 0o777, "/etc");
            file(tar, "a/passwd", "");
        }),
        "reading entry \"a/passwd\": its path leads through \"a\", a symbolic link to \"/etc\"",
    );
    refuse(
        tar(|tar| {
            file(tar, "a", "");
            file(tar, "a/b/c", "");
        }),
        "leads through \"a\", which is no directory",
    );
    refuse(
        tar(|tar| {
            file(tar, "a/b", "");
            file(tar, "a", "");
        }),
        "twice, as a directory and as something else",
    );
    refuse(
        tar(|tar| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(T::Char);
            header.set_size(0);
            header.set_device_major(0).unwrap();
            header.set_device_minor(0).unwrap();
            tar.append_data(&mut header, "dev/zero", io::empty())
                .unwrap();
        }),
        "reading entry \"dev/zero\": overlayfs takes a character device 0/0 for a whiteout",
    );
    refuse(
        tar(|tar| {
            let record = ("SCHILY.xattr.trusted.overlay.redirect", b"/x".as_slice());
            tar.append_pax_extensions([record]).unwrap();
            dir(tar, "a", 0o755);
        }),
        "attribute trusted.overlay.redirect is overlayfs's own",
    );
}

#[test]
fn damaged_archives_are_refused() {
    let whole = tar(|tar| {
        file(tar, "first", "");
        file(tar, "second", &"x".repeat(4000));
    });
    refuse(
        whole[..2048].to_vec(),
        "reading entry \"second\": the archive ends before the 4000 bytes",
    );
    refuse(
        whole[..700].to_vec(),
        "reading the entry after \"first\": the archive ends within",
    );
    let mut wrong = whole.clone();
    wrong[512 + 3] ^= 1;
    refuse(wrong, "the header at byte 512 has a wrong checksum");
    let records = tar(|tar| tar.append_pax_extensions([("a", b"b".as_slice())]).unwrap());
    refuse(records, "the archive ends before the entry at byte");
    let small = Limits {
        headers: 1000,
        ..Limits::DEFAULT
    };
    let error = unpack::unpack(&whole.into(), small).unwrap_err();
    assert!(
        format!("{error:#}").contains("more than 1000 bytes"),
        "{error:#}"
    );
}

fn blob(kind: &str, bytes: Vec<u8>) -> Blob {
    Blob {
        media_type: format!("application/vnd.{kind}"),
        sha256: digest::sha256(&bytes),
        content: bytes.into(),
    }
}

#[test]
fn every_media_type_is_opened_and_checked_against_its_diff_id() {
    let plain = tar(|tar| file(tar, "a", &"b".repeat(10_000)));
    let diff_id = format!("sha256:{}", digest::sha256(&plain));
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let gzip = gzip.finish().unwrap();
    let zstd = zstd::encode_all(plain.as_slice(), 1).unwrap();
    let scratch = std::env::temp_dir();
    let open = |blob: &Blob, diff_id: &str, limits| archive::open(blob, diff_id, &scratch, limits);
    for (kind, bytes) in [
        ("oci.image.layer.v1.tar", &plain),
        ("oci.image.layer.v1.tar+gzip", &gzip),
        ("oci.image.layer.v1.tar+zstd", &zstd),
        ("docker.image.rootfs.diff.tar", &plain),
        ("docker.image.rootfs.diff.tar.gzip", &gzip),
    ] {
        let blob = blob(kind, bytes.clone());
        let opened = open(&blob, &diff_id, Limits::DEFAULT).unwrap();
        assert_eq!(opened.to_vec().unwrap(), plain);
        let error = open(&blob, "sha256:other", Limits::DEFAULT).unwrap_err();
        assert!(
            error.to_string().contains("config says sha256:other"),
            "{error}"
        );
    }
    let refuse = |blob: Blob, archive: u64, expected: &str| {
        let limits = Limits {
            archive,
            ..Limits::DEFAULT
        };
        let error = open(&blob, &diff_id, limits).unwrap_err();
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    };
    for bomb in [("tar+gzip", &gzip), ("tar+zstd", &zstd)] {
        let bomb = blob(&format!("oci.image.layer.v1.{}", bomb.0), bomb.1.clone());
        refuse(bomb, 5000, "more than 5000 bytes");
    }
    let cut = blob(
        "oci.image.layer.v1.tar+gzip",
        gzip[..gzip.len() - 9].to_vec(),
    );
    refuse(cut, 1 << 20, "decompressing the layer");
    for kind in [
        "oci.image.layer.nondistributable.v1.tar+gzip",
        "docker.image.rootfs.foreign.diff.tar.gzip",
    ] {
        refuse(blob(kind, gzip.clone()), 1 << 20, "does not hand on");
    }
    refuse(blob("wasm", gzip), 1 << 20, "is not known");
}

#[derive(Clone, Debug)]
enum Step {
    Directory(String, u32),
    File(String, String),
    Link(String, String),
    Whiteout(String),
    Opaque(String),
}

fn pack(steps: &[Step]) -> Vec<u8> {
    tar(|tar| {
        for step in steps {
            match step {
                Step::Directory(path, mode) => dir(tar, path, *mode),
                Step::File(path, text) => file(tar, path, text),
                Step::Link(path, to) => add(tar, path, EntryType::Link, 0, to),
                Step::Whiteout(path) => {
                    let (parent, name) = path.rsplit_once('/').unwrap_or((".", path));
                    file(tar, &format!("{parent}/.wh.{name}"), "");
                }
                Step::Opaque(path) => file(tar, &format!("./{path}/.wh..wh..opq"), ""),
            }
        }
    })
}

/// What is seen at a path: a file's text or nothing for a directory, and the mode.
type View = BTreeMap<String, (Option<String>, u32)>;

/// A root file system to which one layer is applied after the other, as an unpacker would.
fn apply(view: &mut View, steps: &[Step]) {
    let below = |path: &str, other: &str| path.is_empty() || other.starts_with(&format!("{path}/"));
    for step in steps {
        match step {
            Step::Whiteout(path) => view.retain(|other, _| other != path && !below(path, other)),
            Step::Opaque(path) => view.retain(|other, _| !below(path, other)),
            _ => {}
        }
    }
    for step in steps {
        let (path, found) = match step {
            Step::Directory(path, mode) => (path.clone(), Some((None, *mode))),
            Step::File(path, text) => (path.clone(), Some((Some(text.clone()), 0o644))),
            Step::Link(path, to) => (path.clone(), view.get(to).cloned()),
            Step::Whiteout(path) => (path.clone(), None),
            Step::Opaque(path) => (format!("{path}/x").trim_start_matches('/').to_owned(), None),
        };
        for above in super::ancestors(&path) {
            if view.get(above).is_none_or(|(text, _)| text.is_some()) {
                view.insert(above.to_owned(), (None, 0o755));
            }
        }
        if let Some(found) = found {
            if found.0.is_some() {
                view.retain(|other, _| !below(&path, other));
            }
            view.insert(path, found);
        }
    }
}

/// What overlayfs shows in a directory of `layers`, the uppermost first.
fn merged(layers: &[&Tree], directory: &str, view: &mut View) {
    let names: std::collections::BTreeSet<String> = layers
        .iter()
        .flat_map(|tree| tree.children(directory).map(|(name, _)| name))
        .collect();
    for name in names {
        let path = format!("{directory}/{name}");
        let path = path.trim_start_matches('/');
        let found: Vec<(&Tree, &Node)> = layers
            .iter()
            .filter_map(|tree| Some((*tree, tree.get(path)?)))
            .collect();
        let node = found[0].1;
        let text = match &node.kind {
            // A directory of one layer alone is shown as it is.
            Kind::CharDevice(0, 0) if layers.len() > 1 => continue,
            Kind::CharDevice(..) => Some("a whiteout shows".to_owned()),
            Kind::File(content) => Some(String::from_utf8(content.to_vec().unwrap()).unwrap()),
            _ => None,
        };
        let is_directory = text.is_none();
        view.insert(path.to_owned(), (text, u32::from(node.meta.mode)));
        if is_directory {
            let mut down = Vec::new();
            for (tree, node) in found {
                if !super::is_directory(node) {
                    break;
                }
                down.push(tree);
                if super::is_opaque(&node.meta) {
                    break;
                }
            }
            merged(&down, path, view);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    let path = || "[ab](/[ab]){0,2}";
    prop_oneof![
        2 => (path(), prop::sample::select(vec![0o700, 0o755, 0o1777])).prop_map(|(p, m)| Step::Directory(p, m)),
        4 => (path(), "[a-z]{1,3}").prop_map(|(p, t)| Step::File(p, t)),
        1 => (path(), path()).prop_map(|(p, t)| Step::Link(p, t)),
        2 => path().prop_map(Step::Whiteout),
        1 => prop_oneof![path(), Just(String::new())].prop_map(Step::Opaque),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn stacked_layers_show_what_applied_archives_leave(
        layers in prop::collection::vec(prop::collection::vec(step(), 0..6), 1..5),
    ) {
        let mut view = View::new();
        let mut below: Vec<Tree> = Vec::new();
        for steps in layers {
            // A layer with a path that is a directory and something else is refused.
            let Ok(layer) = unpacked(pack(&steps)) else { continue };
            apply(&mut view, &steps);
            let lower: Vec<&Tree> = below.iter().collect();
            let tree = stack::settle(&layer, &lower).unwrap();
            below.insert(0, tree);
        }
        let mut shown = View::new();
        merged(&below.iter().collect::<Vec<_>>(), "", &mut shown);
        prop_assert_eq!(shown, view);
    }

    #[test]
    fn no_mutation_makes_the_reader_panic(
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 1..20),
    ) {
        let mut bytes = tar(|tar| {
            let record = ("SCHILY.xattr.user.a", b"b".as_slice());
            tar.append_pax_extensions([record]).unwrap();
            file(tar, "a/b", "c");
            file(tar, ".wh.d", "");
        });
        for (at, byte) in changes {
            let at = at % bytes.len();
            bytes[at] = byte;
        }
        let _ = unpack::unpack(&Content::from(bytes), Limits::DEFAULT);
    }
}
