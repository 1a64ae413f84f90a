//! erofs images: written, refereed by erofs-utils, read back, damaged and mutated.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by panicking, in its helpers too"
)]

#[path = "support/image.rs"]
mod image;
#[path = "support/referee.rs"]
mod referee;

use formats::erofs::read::{self, FileType, Image, Layout};
use formats::erofs::{self, Error, Options, dump};
use formats::read_at::ReadAt;
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use proptest::prelude::*;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;
use std::sync::Arc;

const EPOCH: i64 = 1_700_000_000;
/// `cap_net_raw=ep` as the kernel stores it; it refuses to show a value that it does not understand.
const CAPABILITY: &[u8; 20] = b"\x01\0\0\x02\0\x20\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn options() -> Options {
    Options {
        uuid: *b"\x01\x23\x45\x67\x89\xab\x4c\xde\x8f\x01\x23\x45\x67\x89\xab\xcd",
        epoch: EPOCH,
        label: "seedbed-root".to_owned(),
        clamp_mtimes: true,
        hard_links: false,
    }
}

fn meta(mode: u16, uid: u32, gid: u32, mtime: i64) -> Metadata {
    Metadata {
        uid,
        gid,
        mtime,
        ..Metadata::root(mode)
    }
}

fn put(tree: &mut Tree, path: &str, kind: Kind, meta: Metadata) {
    tree.insert(path, Node { kind, meta }).unwrap();
}

/// Bytes in which a misplaced block would show.
fn pattern(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// One of everything, and the sizes at which layouts change.
fn sample() -> Tree {
    let mut tree = Tree::new();
    for len in [
        0, 1, 31, 4000, 4032, 4064, 4095, 4096, 4097, 8191, 8192, 100_000,
    ] {
        let content = Content::from(pattern(len as u64, len));
        let path = format!("sizes/{len}");
        put(
            &mut tree,
            &path,
            Kind::File(content),
            meta(0o644, 0, 0, EPOCH),
        );
    }
    for i in 0..5000 {
        let path = format!("many/entry-{i}-{}", "x".repeat(i % 60));
        put(
            &mut tree,
            &path,
            Kind::File("".into()),
            meta(0o600, 0, 0, EPOCH),
        );
    }
    for (i, name) in ["!", "-", ".a", "..b", "z"].into_iter().enumerate() {
        let mtime = [0, -1, EPOCH - 1, EPOCH, EPOCH + 1][i];
        let path = format!("order/{name}");
        put(
            &mut tree,
            &path,
            Kind::File(name.into()),
            meta(0o640, 7, 8, mtime),
        );
    }
    let long = "n".repeat(255);
    tree.insert_file(&format!("names/{long}"), 0o644, "long")
        .unwrap();
    tree.insert_file("names/größe-日本語-🦀", 0o644, "wide")
        .unwrap();
    tree.insert_file(&format!("deep/{}end", "d/".repeat(300)), 0o644, "deep")
        .unwrap();
    tree.insert_dir("tmp", 0o1777).unwrap();
    tree.insert_file("bin/su", 0o4755, "set-uid").unwrap();
    let big_ids = meta(0o600, 70_000, u32::MAX - 1, EPOCH);
    put(&mut tree, "big-ids", Kind::File("ids".into()), big_ids);
    tree.insert_symlink("lib", "usr/lib").unwrap();
    tree.insert_symlink("long-link", &"t/".repeat(2047))
        .unwrap();
    tree.insert_symlink("up/loop", "../up/loop").unwrap();
    tree.insert_symlink("up/su", "/up/../bin/su").unwrap();
    put(
        &mut tree,
        "dev/null",
        Kind::CharDevice(1, 3),
        meta(0o666, 0, 0, EPOCH),
    );
    put(
        &mut tree,
        "dev/disk",
        Kind::BlockDevice(259, 70_000),
        meta(0o660, 0, 6, EPOCH),
    );
    put(&mut tree, "dev/pipe", Kind::Fifo, meta(0o600, 0, 0, EPOCH));
    let mut capable = meta(0o755, 0, 0, EPOCH);
    capable
        .xattrs
        .insert("security.capability".to_owned(), CAPABILITY.to_vec());
    capable
        .xattrs
        .insert("user.seedbed.note".to_owned(), b"value".to_vec());
    put(&mut tree, "bin/ping", Kind::File("ping".into()), capable);
    let mut heavy = meta(0o755, 0, 0, EPOCH);
    for i in 0..3 {
        heavy
            .xattrs
            .insert(format!("trusted.heavy{i}"), pattern(i, 3000));
    }
    put(
        &mut tree,
        "heavy",
        Kind::File(pattern(9, 5000).into()),
        heavy.clone(),
    );
    put(&mut tree, "heavy-dir", Kind::Directory, heavy.clone());
    put(
        &mut tree,
        "heavy-link",
        Kind::Symlink("bin/su".to_owned()),
        Metadata {
            mode: 0o777,
            ..heavy
        },
    );
    let shared = Content::from(pattern(3, 20_000));
    put(
        &mut tree,
        "shared/a",
        Kind::File(shared.clone()),
        meta(0o644, 0, 0, EPOCH),
    );
    put(
        &mut tree,
        "shared/b",
        Kind::File(shared),
        meta(0o644, 0, 0, EPOCH),
    );
    tree
}

fn image_of(tree: &Tree) -> Vec<u8> {
    let plan = erofs::plan(tree, &options()).unwrap();
    image::bytes(&plan)
}

/// Everything that an image should say about an entry, as [`dump::line`] would, without the size of directories.
fn assert_same(tree: &Tree, image: &Image<impl ReadAt>) {
    let walked: Vec<_> = image.walk().map(Result::unwrap).collect();
    let expected: Vec<String> = tree.iter().map(|(path, _)| path).collect();
    let found: Vec<&str> = walked.iter().map(|walked| walked.path.as_str()).collect();
    assert_eq!(found, expected);
    for ((path, node), walked) in tree.iter().zip(&walked) {
        let inode = &walked.inode;
        let mtime = node.meta.mtime.min(EPOCH);
        let expected = Metadata {
            mtime,
            ..node.meta.clone()
        };
        assert_eq!(image.metadata(inode).unwrap(), expected, "{path}");
        let kind = match &node.kind {
            Kind::Directory => {
                let is_directory = |node: &Node| matches!(node.kind, Kind::Directory);
                let below = tree.children(&path).filter(|(_, node)| is_directory(node));
                assert_eq!(inode.nlink() as usize, 2 + below.count(), "{path}");
                FileType::Directory
            }
            Kind::File(content) => {
                let mut data = Vec::new();
                image.reader(inode).read_to_end(&mut data).unwrap();
                assert_eq!(data, content.to_vec().unwrap(), "{path}");
                FileType::Regular
            }
            Kind::Symlink(target) => {
                assert_eq!(&image.read_link(inode).unwrap(), target);
                FileType::Symlink
            }
            Kind::CharDevice(major, minor) => {
                assert_eq!(inode.device(), Some((*major, *minor)));
                FileType::CharDevice
            }
            Kind::BlockDevice(major, minor) => {
                assert_eq!(inode.device(), Some((*major, *minor)));
                FileType::BlockDevice
            }
            Kind::Fifo => FileType::Fifo,
        };
        assert_eq!(inode.kind(), kind, "{path}");
    }
}

#[test]
fn what_is_written_is_read_back() {
    let tree = sample();
    let bytes = image_of(&tree);
    let image = Image::open(bytes).unwrap();
    assert_same(&tree, &image);
    assert_eq!(image.superblock().uuid, options().uuid);
    assert_eq!(&image.superblock().label, b"seedbed-root\0\0\0\0");
}

#[test]
fn the_reference_reader_finds_no_fault() {
    let test = "erofs::the_reference_reader_finds_no_fault";
    let file = image::file(&image_of(&sample()));
    let path = file.path().to_str().unwrap();
    let Some(text) = referee::run(test, "fsck.erofs", &["-d3", path]) else {
        return;
    };
    assert!(text.contains("No errors found"), "{text}");
    let Some(text) = referee::run(test, "dump.erofs", &["-s", path]) else {
        return;
    };
    let uuid = "01234567-89ab-4cde-8f01-23456789abcd";
    assert!(text.contains(uuid), "{text}");
}

#[test]
fn the_reference_reader_extracts_what_was_put_in() {
    let test = "erofs::the_reference_reader_extracts_what_was_put_in";
    let dir = tempfile::tempdir().unwrap();
    let is_root = fs::metadata(dir.path()).unwrap().uid() == 0;
    let mut tree = sample();
    // A host path may not have that many bytes, or that many directories for the time it takes.
    tree.remove("many");
    if !is_root {
        tree.remove("dev");
    }
    let file = image::file(&image_of(&tree));
    let out = dir.path().join("out");
    let extract = format!("--extract={}", out.display());
    let args = ["--preserve", &extract, file.path().to_str().unwrap()];
    if referee::run(test, "fsck.erofs", &args[usize::from(!is_root)..]).is_none() {
        return;
    }
    for (path, node) in tree.iter() {
        assert_extracted(&out.join(&path), &node.kind, &node.meta, is_root);
    }
}

fn assert_extracted(path: &Path, kind: &Kind, meta: &Metadata, is_root: bool) {
    let found = fs::symlink_metadata(path).unwrap();
    let is_link = matches!(kind, Kind::Symlink(_));
    match kind {
        Kind::Directory => assert!(found.is_dir()),
        Kind::File(content) => {
            assert_eq!(
                fs::read(path).unwrap(),
                content.to_vec().unwrap(),
                "{path:?}"
            );
        }
        Kind::Symlink(target) => assert_eq!(fs::read_link(path).unwrap(), Path::new(target)),
        Kind::CharDevice(..) => assert!(found.file_type().is_char_device()),
        Kind::BlockDevice(..) => assert!(found.file_type().is_block_device()),
        Kind::Fifo => assert!(found.file_type().is_fifo()),
    }
    if is_root {
        assert_eq!((found.uid(), found.gid()), (meta.uid, meta.gid), "{path:?}");
        if !is_link {
            // This reader sets the mode before the owner, and Linux then clears set-uid and set-gid.
            let kept = 0o1777;
            assert_eq!(found.mode() & kept, u32::from(meta.mode) & kept, "{path:?}");
        }
    }
}

#[test]
fn an_image_of_the_reference_writer_is_read() {
    let test = "erofs::an_image_of_the_reference_writer_is_read";
    let dir = tempfile::tempdir().unwrap();
    let (root, image) = (dir.path().join("root"), dir.path().join("image"));
    let mut expected = Vec::new();
    for (name, len) in [("a", 0), ("b/c", 4095), ("b/d", 4096), ("b/e/f", 70_000)] {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, pattern(len as u64, len)).unwrap();
        expected.push((name, len));
    }
    let args = [image.to_str().unwrap(), root.to_str().unwrap()];
    if referee::run(test, "mkfs.erofs", &args).is_none() {
        return;
    }
    let image = Image::open(File::open(image).unwrap()).unwrap();
    let mut found = Vec::new();
    for walked in image.walk().map(Result::unwrap) {
        if walked.inode.kind() == FileType::Regular {
            let mut data = Vec::new();
            image.reader(&walked.inode).read_to_end(&mut data).unwrap();
            assert_eq!(data, pattern(data.len() as u64, data.len()));
            found.push((walked.path, data.len()));
        }
    }
    let found: Vec<(&str, usize)> = found
        .iter()
        .map(|(path, len)| (path.as_str(), *len))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn the_same_tree_gives_the_same_bytes() {
    assert!(image_of(&sample()) == image_of(&sample()));
}

#[test]
fn files_of_the_same_content_share_their_blocks() {
    let tree = sample();
    let plan = erofs::plan(&tree, &options()).unwrap();
    // 20 000 bytes are four blocks and a tail.
    assert_eq!(plan.summary().shared, 4 * 4096);
    let image = Image::open(image_of(&tree)).unwrap();
    let place = |path| image.lookup(path).unwrap().data_position().unwrap();
    assert_eq!(place("shared/a"), place("shared/b"));
}

#[test]
fn hard_links_are_names_of_one_inode() {
    let mut tree = Tree::new();
    let content = Content::from(pattern(4, 9000));
    let paths = ["a/first", "a/second", "b/third"];
    for path in paths {
        let kind = Kind::File(content.clone());
        put(&mut tree, path, kind, meta(0o644, 1, 2, EPOCH));
    }
    let kind = Kind::File(content);
    put(&mut tree, "b/mode", kind, meta(0o755, 1, 2, EPOCH));
    let kind = Kind::File(pattern(4, 9000).into());
    put(&mut tree, "b/copy", kind, meta(0o644, 1, 2, EPOCH));
    let options = Options {
        hard_links: true,
        ..options()
    };
    let mut bytes = Vec::new();
    let summary = erofs::write(&tree, &options, &mut bytes).unwrap();
    // The root, two directories, and three files.
    assert_eq!(summary.inodes, 6);
    assert_eq!(summary.shared, 2 * 4096);
    let file = image::file(&bytes);
    let image = Image::open(bytes).unwrap();
    assert_same(&tree, &image);
    let first = image.lookup(paths[0]).unwrap();
    assert_eq!(first.nlink(), 3);
    for path in paths {
        assert_eq!(image.lookup(path).unwrap(), first);
    }
    for path in ["b/mode", "b/copy"] {
        assert_eq!(image.lookup(path).unwrap().nlink(), 1);
    }
    let test = "erofs::hard_links_are_names_of_one_inode";
    let path = file.path().to_str().unwrap();
    if let Some(text) = referee::run(test, "fsck.erofs", &["-d3", path]) {
        assert!(text.contains("No errors found"), "{text}");
    }
}

#[test]
fn the_smallest_form_that_loses_nothing_is_taken() {
    let image = Image::open(image_of(&sample())).unwrap();
    for (path, extended, layout) in [
        ("order/-", true, Layout::Inline),
        ("order/..b", false, Layout::Inline),
        // Its time is later than the build, and clamped to it.
        ("order/z", false, Layout::Inline),
        ("big-ids", true, Layout::Inline),
        ("sizes/0", false, Layout::Plain),
        ("sizes/1", false, Layout::Inline),
        ("sizes/4064", false, Layout::Inline),
        ("sizes/4095", false, Layout::Plain),
        ("sizes/4096", false, Layout::Plain),
        ("sizes/4097", false, Layout::Inline),
        ("heavy", false, Layout::Plain),
    ] {
        let inode = image.lookup(path).unwrap();
        let found = (inode.is_extended(), inode.layout());
        assert_eq!(found, (extended, layout), "{path}");
    }
}

#[test]
fn a_large_file_streams_through() {
    let mut source = tempfile::tempfile().unwrap();
    let block = pattern(1, 1 << 20);
    for _ in 0..200 {
        source.write_all(&block).unwrap();
    }
    let len = (200 << 20) - 7;
    let mut tree = Tree::new();
    let file = Arc::new(source);
    let content = Content::Slice {
        file,
        offset: 7,
        len,
    };
    put(
        &mut tree,
        "large",
        Kind::File(content),
        meta(0o644, 0, 0, 0),
    );
    let mut out = tempfile::tempfile().unwrap();
    let summary = erofs::write(&tree, &options(), &mut out).unwrap();
    assert_eq!(out.metadata().unwrap().len(), summary.size);
    assert!(summary.size < len + (3 * 4096), "{summary:?}");
    let image = Image::open(&out).unwrap();
    let inode = image.lookup("/large").unwrap();
    assert_eq!(inode.size(), len);
    for offset in [0, 1 << 20, len - 5000] {
        let mut found = vec![0; 10_000];
        let read = image.read_at(&inode, &mut found, offset).unwrap();
        assert_eq!(read as u64, (len - offset).min(10_000));
        for (i, byte) in found[..read].iter().enumerate() {
            assert_eq!(*byte, block[(offset as usize + 7 + i) % block.len()]);
        }
    }
}

#[test]
fn what_cannot_be_stored_is_named() {
    fn check(path: &str, kind: Kind, meta: Metadata, expected: fn(&Error) -> bool) {
        let mut tree = Tree::new();
        put(&mut tree, path, kind, meta);
        let error = erofs::write(&tree, &options(), &mut io::sink()).unwrap_err();
        assert!(expected(&error), "{error:?}");
        assert!(error.to_string().contains("d/x"), "{error}");
    }
    let plain = || meta(0o644, 0, 0, 0);
    let link = |target: &str| Kind::Symlink(target.to_owned());
    let too_long = format!("d/x{}", "y".repeat(255));
    check(&too_long, Kind::Fifo, plain(), |e| {
        matches!(e, Error::Name { len: 256, .. })
    });
    check("d/x", link(""), plain(), |e| {
        matches!(e, Error::Symlink { len: 0, .. })
    });
    check("d/x", link("a\0b"), plain(), |e| {
        matches!(e, Error::Symlink { .. })
    });
    let far = "t".repeat(4096);
    check("d/x", link(&far), plain(), |e| {
        matches!(e, Error::Symlink { len: 4096, .. })
    });
    check("d/x", Kind::CharDevice(4096, 0), plain(), |e| {
        matches!(e, Error::Device { .. })
    });
    check("d/x", Kind::Fifo, meta(0o10_000, 0, 0, 0), |e| {
        matches!(e, Error::Mode { .. })
    });
    let mut odd = plain();
    odd.xattrs.insert("odd.name".to_owned(), vec![]);
    check("d/x", Kind::Fifo, odd, |e| matches!(e, Error::Xattr { .. }));
    let huge = Content::Slice {
        file: Arc::new(tempfile::tempfile().unwrap()),
        offset: 0,
        len: 1 << 44,
    };
    check("d/x", Kind::File(huge), plain(), |e| {
        matches!(e, Error::TooLarge { .. })
    });
    let short = Content::Slice {
        file: Arc::new(tempfile::tempfile().unwrap()),
        offset: 0,
        len: 1 << 20,
    };
    check("d/x", Kind::File(short), plain(), |e| {
        matches!(e, Error::Read { .. })
    });
    let label = Options {
        label: "seventeen letters".to_owned(),
        ..options()
    };
    assert!(matches!(
        erofs::plan(&Tree::new(), &label),
        Err(Error::Label(_))
    ));
}

#[test]
fn a_full_disk_is_an_error() {
    let mut room = [0; 10_000];
    let written = erofs::write(&sample(), &options(), &mut &mut room[..]);
    assert!(matches!(written, Err(Error::Write(_))));
}

#[test]
fn links_are_followed_only_when_asked() {
    let image = Image::open(image_of(&sample())).unwrap();
    let su = image.lookup("bin/su").unwrap();
    assert_eq!(image.resolve("/up//./su").unwrap(), su);
    assert_eq!(image.resolve("../bin/su").unwrap(), su);
    assert_eq!(image.resolve("").unwrap(), image.root().unwrap());
    assert_eq!(image.lookup("up/su").unwrap().kind(), FileType::Symlink);
    assert!(matches!(
        image.resolve("up/loop"),
        Err(read::Error::Loop(_))
    ));
    assert!(matches!(
        image.resolve("lib"),
        Err(read::Error::NotFound(_))
    ));
    assert!(matches!(
        image.lookup("bin/su/x"),
        Err(read::Error::NotADirectory(_))
    ));
}

#[test]
fn a_dump_shows_every_path() {
    let mut tree = Tree::new();
    let mut ping = meta(0o4755, 1, 2, 3);
    ping.xattrs
        .insert("security.capability".to_owned(), vec![1, 0, 0xff]);
    put(&mut tree, "bin/ping", Kind::File("ping".into()), ping);
    tree.insert_dir("tmp", 0o1777).unwrap();
    tree.insert_symlink("li\nk", "bin").unwrap();
    put(
        &mut tree,
        "null",
        Kind::CharDevice(1, 3),
        meta(0o2626, 0, 0, 0),
    );
    let image = Image::open(image_of(&tree)).unwrap();
    let expected = "\
drwxr-xr-x 0:0 0 89 /
drwxr-xr-x 0:0 3 43 /bin
-rwsr-xr-x 1:2 3 4 /bin/ping security.capability=0100ff
lrwxrwxrwx 0:0 0 3 /li\\nk -> bin
crw--wSrw- 0:0 0 1:3 /null
drwxrwxrwt 0:0 0 27 /tmp
";
    assert_eq!(dump::render(&image).unwrap(), expected);
}

/// Small, so that a mutation hits something.
fn small() -> Tree {
    let mut tree = Tree::new();
    let mut capable = meta(0o755, 0, 0, 5);
    capable
        .xattrs
        .insert("security.capability".to_owned(), CAPABILITY.to_vec());
    put(
        &mut tree,
        "a/ping",
        Kind::File(pattern(2, 5000).into()),
        capable,
    );
    tree.insert_symlink("a/link", "ping").unwrap();
    tree.insert_symlink("far", &"t".repeat(4090)).unwrap();
    tree.insert_dir("a/b/c", 0o755).unwrap();
    put(
        &mut tree,
        "null",
        Kind::CharDevice(1, 3),
        meta(0o666, 0, 0, EPOCH),
    );
    for i in 0..100 {
        let path = format!("many/{i}{}", "x".repeat(40));
        tree.insert_file(&path, 0o644, "y").unwrap();
    }
    tree
}

/// Reads everything that an image shows; only that it ends, and without a panic, is asked.
fn read_all(image: &[u8]) {
    let Ok(image) = Image::open(image) else {
        return;
    };
    let mut entries = 0;
    for walked in image.walk() {
        let Ok(walked) = walked else { break };
        entries += 1;
        let _ = dump::line(&image, &walked.path, &walked.inode);
        let mut data = Vec::new();
        let _ = image.reader(&walked.inode).read_to_end(&mut data);
        assert!(data.len() as u64 <= image.size());
    }
    assert!(entries <= image.size() / 13);
    let _ = image.resolve("a/link");
}

/// Points the directory entry `name` of `from` at the inode of `to`.
fn redirect(bytes: &mut [u8], from: &str, name: &str, to: &str) {
    let image = Image::open(&*bytes).unwrap();
    let directory = image.lookup(from).unwrap();
    let entries = image.read_dir(&directory).unwrap();
    let entry = entries.iter().find(|entry| entry.name == name).unwrap();
    let (old, new) = (entry.nid.to_le_bytes(), image.lookup(to).unwrap().nid());
    let starts = bytes.windows(8).position(|window| window == old).unwrap();
    bytes[starts..starts + 8].copy_from_slice(&new.to_le_bytes());
}

#[test]
fn a_directory_in_itself_is_refused() {
    let mut tree = Tree::new();
    tree.insert_dir("a/b/c", 0o755).unwrap();
    let mut bytes = image_of(&tree);
    redirect(&mut bytes, "a/b", "c", "a");
    let image = Image::open(bytes).unwrap();
    let error = image.walk().find_map(Result::err).unwrap();
    assert!(
        error.to_string().contains("more than one parent"),
        "{error}"
    );
}

#[test]
fn a_damaged_or_cut_image_is_refused() {
    let good = image_of(&small());
    let mut bad = good.clone();
    bad[1024 + 50] ^= 1;
    assert!(matches!(Image::open(bad), Err(read::Error::Checksum)));
    for len in [0, 1024, 4095] {
        assert!(matches!(
            Image::open(&good[..len]),
            Err(read::Error::NotErofs)
        ));
    }
    let cut = &good[..good.len() - 1];
    assert!(matches!(
        Image::open(cut),
        Err(read::Error::Truncated { .. })
    ));
    let zeros = vec![0; 8192];
    assert!(matches!(Image::open(zeros), Err(read::Error::NotErofs)));
}

proptest! {
    #[test]
    fn no_mutation_makes_the_reader_panic(
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), prop_oneof![
                Just(0_u8), Just(0xff), 1..5_u8, any::<u8>(),
            ]),
            1..40,
        ),
    ) {
        static IMAGE: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| image_of(&small()));
        let mut bytes = IMAGE.clone();
        // The first block has a checksum, so that changes there are not worth much.
        let start = 4096;
        for (index, byte) in changes {
            let at = start + index.index(bytes.len() - start);
            bytes[at] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn trees_are_read_back(
        files in prop::collection::btree_map(
            "[a-c]{1,2}(/[a-cé]{1,3}){0,3}",
            (0..10_000_usize, 0..0o10_000_u16, any::<u16>(), any::<u32>(), -9..9_i64),
            0..30,
        ),
    ) {
        let mut tree = Tree::new();
        for (path, (len, mode, uid, gid, age)) in files {
            let node = Node {
                kind: Kind::File(pattern(len as u64, len).into()),
                meta: meta(mode, u32::from(uid), gid, EPOCH + age),
            };
            // A path may lead through a file; then it is left out.
            let _ = tree.insert(&path, node);
        }
        assert_same(&tree, &Image::open(image_of(&tree)).unwrap());
    }
}
