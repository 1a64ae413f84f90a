//! Compressed erofs images: written, refereed by erofs-utils and by Linux, read back, damaged and mutated.

#![allow(
    clippy::unwrap_used,
    reason = "a test may fail by panicking, in its helpers too"
)]

#[path = "support/erofs_utils.rs"]
mod erofs_utils;
#[path = "support/image.rs"]
mod image;
#[path = "support/referee.rs"]
mod referee;
#[path = "support/unpacked.rs"]
mod unpacked;

use formats::erofs::read::{FileType, Image, Layout};
use formats::erofs::{self, Compression, Contents, Error, Options, dump};
use formats::read_at::ReadAt;
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use proptest::prelude::*;
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

const LZ4: Compression = Compression::Lz4;
const ZSTD: Compression = Compression::Zstd { level: 3 };
const EPOCH: i64 = 1_700_000_000;

fn options() -> Options {
    Options {
        uuid: *b"\x01\x23\x45\x67\x89\xab\x4c\xde\x8f\x01\x23\x45\x67\x89\xab\xcd",
        epoch: EPOCH,
        label: "seedbed-root".to_owned(),
        clamp_mtimes: true,
        hard_links: false,
    }
}

/// Bytes that do not shrink.
fn noise(seed: u64, len: usize) -> Vec<u8> {
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

/// Bytes that shrink to about a third, and in which a misplaced block would show.
fn text(seed: u64, len: usize) -> Vec<u8> {
    let noise = noise(seed, len / 8 + 8);
    let mut bytes = Vec::with_capacity(len + 40);
    for (line, number) in noise.iter().enumerate() {
        bytes.extend_from_slice(format!("{line} is {number}; ").as_bytes());
        if bytes.len() >= len {
            break;
        }
    }
    bytes.truncate(len);
    bytes
}

fn file(tree: &mut Tree, path: &str, content: Content, meta: Metadata) {
    let kind = Kind::File(content);
    tree.insert(path, Node { kind, meta }).unwrap();
}

fn meta() -> Metadata {
    Metadata {
        mtime: EPOCH,
        ..Metadata::root(0o644)
    }
}

/// Sizes at which the number of blocks, extents or packs changes, and contents that shrink, do not, or half do.
fn sample() -> Tree {
    let mut tree = Tree::new();
    for len in [
        0, 1, 4095, 4096, 4097, 8191, 8192, 8193, 20_000, 65_536, 131_071, 131_072, 131_073,
        135_168, 135_169, 262_144, 300_000, 700_001, 3_000_000,
    ] {
        file(
            &mut tree,
            &format!("text/{len}"),
            text(len as u64, len).into(),
            meta(),
        );
        file(
            &mut tree,
            &format!("noise/{len}"),
            noise(len as u64, len).into(),
            meta(),
        );
        file(
            &mut tree,
            &format!("zeros/{len}"),
            vec![0; len].into(),
            meta(),
        );
        let mut mixed = text(len as u64, len / 2);
        mixed.extend(noise(7, len - len / 2));
        file(&mut tree, &format!("mixed/{len}"), mixed.into(), meta());
    }
    // Attributes of every length shift the index against the multiples of 8 and 32.
    for len in 0..40 {
        let mut meta = meta();
        meta.xattrs.insert("user.x".to_owned(), vec![b'x'; len]);
        meta.mtime -= i64::from(len % 2 == 0);
        let content = text(3, 90_000 + len * 4096);
        file(
            &mut tree,
            &format!("attributes/{len}"),
            content.into(),
            meta,
        );
    }
    // An extent that stays plain between two that do not.
    let mut plain = text(1, 131_072);
    plain.extend(noise(2, 131_072));
    plain.extend(text(3, 50_000));
    file(&mut tree, "plain-within", plain.into(), meta());
    let shared = Content::from(text(9, 200_000));
    for name in ["a", "b"] {
        file(&mut tree, &format!("shared/{name}"), shared.clone(), meta());
    }
    tree.insert_symlink("link", "text/20000").unwrap();
    tree
}

fn contents(tree: &Tree, compression: Compression) -> Contents {
    Contents::of_tree(tree, compression, tempfile::tempfile().unwrap()).unwrap()
}

fn image_of(tree: &Tree, compression: Compression) -> Vec<u8> {
    let contents = contents(tree, compression);
    let plan = erofs::plan_compressed(tree, &options(), &contents).unwrap();
    image::bytes(&plan)
}

fn assert_same(tree: &Tree, image: &Image<impl ReadAt>) {
    let walked: Vec<_> = image.walk().map(Result::unwrap).collect();
    assert_eq!(walked.len(), tree.len());
    for ((path, node), walked) in tree.iter().zip(&walked) {
        assert_eq!(walked.path, path);
        let inode = &walked.inode;
        let Kind::File(content) = &node.kind else {
            continue;
        };
        let found = image.metadata(inode).unwrap();
        assert_eq!(found.xattrs, node.meta.xattrs, "{path}");
        let expected = content.to_vec().unwrap();
        let mut data = Vec::new();
        image.reader(inode).read_to_end(&mut data).unwrap();
        assert!(data == expected, "{path}");
        for offset in [0, 5000, 131_000, 250_000] {
            let mut part = vec![0; 9000];
            let read = image.read_at(inode, &mut part, offset as u64).unwrap();
            let expected = expected.get(offset..).unwrap_or_default();
            assert_eq!(read, expected.len().min(9000), "{path}");
            assert!(part[..read] == expected[..read], "{path} at {offset}");
        }
    }
}

#[test]
fn what_is_written_is_read_back() {
    let tree = sample();
    for compression in [LZ4, ZSTD, Compression::Zstd { level: 1 }] {
        let image = Image::open(image_of(&tree, compression)).unwrap();
        assert_same(&tree, &image);
        assert!(image.superblock().has(compression.algorithm()));
        for (path, layout) in [
            ("text/20000", Layout::Compressed),
            ("text/4097", Layout::Inline),
            ("text/4096", Layout::Plain),
            ("text/3000000", Layout::Compressed),
            ("noise/4097", Layout::Inline),
            ("noise/3000000", Layout::Inline),
            ("mixed/700001", Layout::Compressed),
        ] {
            assert_eq!(image.lookup(path).unwrap().layout(), layout, "{path}");
        }
        let shared = ["shared/a", "shared/b"].map(|path| image.lookup(path).unwrap());
        assert_eq!(shared[0].compressed_size(), shared[1].compressed_size());
    }
}

#[test]
fn an_image_without_compressed_files_is_as_ever() {
    let mut tree = Tree::new();
    for len in [0, 100, 5000, 200_000] {
        file(
            &mut tree,
            &format!("noise/{len}"),
            noise(1, len).into(),
            meta(),
        );
    }
    let mut plain = Vec::new();
    erofs::write(&tree, &options(), &mut plain).unwrap();
    assert!(image_of(&tree, ZSTD) == plain);
}

#[test]
fn the_number_of_threads_does_not_show() {
    let tree = sample();
    for compression in [LZ4, ZSTD] {
        let [one, four] = [1, 4].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            pool.build()
                .unwrap()
                .install(|| image_of(&tree, compression))
        });
        assert!(one == four, "{compression:?}");
    }
}

/// A caller's cache keeps each content's blocks by themselves, wherever it likes.
#[test]
fn forms_from_a_cache_give_the_same_image() {
    let tree = sample();
    let mut cached = Contents::default();
    for (_, node) in tree.iter() {
        if let Kind::File(content) = &node.kind {
            let mut blocks = Vec::new();
            let extents = erofs::compress(&[content], ZSTD, &mut blocks).unwrap();
            let extents = erofs::Extents::parse(&extents[0].to_bytes()).unwrap();
            cached.insert(content, extents, blocks.into()).unwrap();
        }
    }
    let mut bytes = Vec::new();
    let plan = erofs::plan_compressed(&tree, &options(), &cached).unwrap();
    plan.write(&mut bytes).unwrap();
    assert!(bytes == image_of(&tree, ZSTD));
}

#[test]
fn both_algorithms_may_be_in_one_image() {
    let tree = sample();
    let mut both = Contents::default();
    for (number, (_, node)) in tree.iter().enumerate() {
        if let Kind::File(content) = &node.kind {
            let mut blocks = Vec::new();
            let compression = [LZ4, ZSTD][number % 2];
            let extents = erofs::compress(&[content], compression, &mut blocks).unwrap();
            let [extents] = extents.try_into().unwrap();
            both.insert(content, extents, blocks.into()).unwrap();
        }
    }
    let mut bytes = Vec::new();
    let plan = erofs::plan_compressed(&tree, &options(), &both).unwrap();
    plan.write(&mut bytes).unwrap();
    let test = "erofs_compressed::both_algorithms_may_be_in_one_image";
    let path = image::file(&bytes);
    assert_same(&tree, &Image::open(bytes).unwrap());
    assert_extracts(test, erofs_utils::run, path.path(), &tree);
    assert_mounts(test, path.path(), &tree);
}

#[test]
fn contents_that_cannot_be_read_are_named() {
    let short = Content::Slice {
        file: Arc::new(tempfile::tempfile().unwrap()),
        offset: 0,
        len: 1 << 20,
    };
    let mut tree = Tree::new();
    file(&mut tree, "d/short", short, meta());
    let scratch = tempfile::tempfile().unwrap();
    let error = Contents::of_tree(&tree, ZSTD, scratch).unwrap_err();
    assert!(matches!(error, Error::Read { path, .. } if path == "d/short"));
}

type Run = fn(&str, &str, &[&str]) -> Option<String>;

/// Whether fsck.erofs finds no fault in an image, and takes out of it what is in `tree`.
fn assert_extracts(test: &str, run: Run, image: &Path, tree: &Tree) {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let extract = format!("--extract={}", out.display());
    let args = ["-d3", &*extract, image.to_str().unwrap()];
    let Some(text) = run(test, "fsck.erofs", &args) else {
        return;
    };
    assert!(text.contains("Extracted filesystem successfully"), "{text}");
    assert_files(&out, tree);
}

fn assert_files(root: &Path, tree: &Tree) {
    for (path, node) in tree.iter() {
        if let Kind::File(content) = &node.kind {
            let found = fs::read(root.join(&path)).unwrap();
            assert!(found == content.to_vec().unwrap(), "{path}");
        }
    }
}

#[test]
fn the_reference_reader_extracts_what_was_put_in() {
    let test = "erofs_compressed::the_reference_reader_extracts_what_was_put_in";
    let tree = sample();
    let lz4 = image::file(&image_of(&tree, LZ4));
    // The installed tools are older than zstd in erofs.
    assert_extracts(test, referee::run, lz4.path(), &tree);
    assert_extracts(test, erofs_utils::run, lz4.path(), &tree);
    let zstd = image::file(&image_of(&tree, ZSTD));
    assert_extracts(test, erofs_utils::run, zstd.path(), &tree);
}

/// Whether Linux mounts the image and shows what is in `tree`. Skipped where it cannot be asked.
fn assert_mounts(test: &str, image: &Path, tree: &Tree) {
    let dir = tempfile::tempdir().unwrap();
    let mount = Command::new("mount")
        .args(["-t", "erofs", "-o", "loop,ro"])
        .args([image, dir.path()])
        .output()
        .unwrap();
    if !mount.status.success() {
        let why = String::from_utf8_lossy(&mount.stderr).trim().to_owned();
        println!("SKIP {test}: erofs cannot be mounted here: {why}");
        return;
    }
    let compared = std::panic::catch_unwind(|| assert_files(dir.path(), tree));
    let umount = Command::new("umount").arg(dir.path()).status().unwrap();
    assert!(umount.success());
    compared.unwrap();
}

#[test]
fn linux_shows_what_was_put_in() {
    let tree = sample();
    for compression in [LZ4, ZSTD] {
        let image = image::file(&image_of(&tree, compression));
        let test = "erofs_compressed::linux_shows_what_was_put_in";
        assert_mounts(test, image.path(), &tree);
    }
}

#[test]
fn images_of_the_reference_writer_are_read() {
    let test = "erofs_compressed::images_of_the_reference_writer_are_read";
    let dir = tempfile::tempdir().unwrap();
    let (root, path) = (dir.path().join("root"), dir.path().join("image"));
    let tree = sample();
    for (path, node) in tree.iter() {
        let path = root.join(path);
        match &node.kind {
            Kind::Directory => fs::create_dir_all(path).unwrap(),
            Kind::File(content) => fs::write(path, content.to_vec().unwrap()).unwrap(),
            _ => {}
        }
    }
    let (path, root) = (path.to_str().unwrap(), root.to_str().unwrap());
    let all: [(Run, &[&str]); 6] = [
        (referee::run, &["-zlz4"]),
        (referee::run, &["-zlz4hc,12", "-C65536"]),
        (erofs_utils::run, &["-zzstd,3"]),
        (erofs_utils::run, &["-zzstd,3", "-C131072"]),
        (erofs_utils::run, &["-zlz4", "-C65536"]),
        (
            erofs_utils::run,
            &["-zzstd,9", "-C16384", "-Elegacy-compress"],
        ),
    ];
    for (run, options) in all {
        let mut args = options.to_vec();
        args.extend([path, root]);
        let _ = fs::remove_file(path);
        if run(test, "mkfs.erofs", &args).is_none() {
            continue;
        }
        let image = Image::open(File::open(path).unwrap()).unwrap();
        let mut compressed = 0;
        for (path, node) in tree.iter() {
            if let Kind::File(content) = &node.kind {
                let inode = image.lookup(&path).unwrap();
                let mut data = Vec::new();
                let read = image.reader(&inode).read_to_end(&mut data);
                assert!(read.is_ok(), "{options:?} {path} {inode:?}: {read:?}");
                assert!(data == content.to_vec().unwrap(), "{options:?} {path}");
                compressed += usize::from(inode.compressed_size().is_some());
            }
        }
        assert!(compressed > 50, "{options:?}");
    }
}

/// Small, so that a mutation hits something.
fn small() -> Tree {
    let mut tree = Tree::new();
    file(&mut tree, "a", text(1, 9000).into(), meta());
    file(&mut tree, "b", text(2, 300_000).into(), meta());
    let mut mixed = text(3, 131_072);
    mixed.extend(noise(4, 10_000));
    file(&mut tree, "c", mixed.into(), meta());
    tree
}

/// Reads everything that an image shows; only that it ends, and without a panic, is asked.
fn read_all(image: &[u8]) {
    let Ok(image) = Image::open(image) else {
        return;
    };
    for walked in image.walk() {
        let Ok(walked) = walked else { break };
        let _ = dump::line(&image, &walked.path, &walked.inode);
        if walked.inode.kind() == FileType::Regular {
            // A damaged size may promise more than anybody waits for.
            let mut reader = image.reader(&walked.inode).take(4 << 20);
            let _ = reader.read_to_end(&mut Vec::new());
        }
    }
}

fn small_images() -> &'static [Vec<u8>; 2] {
    static IMAGES: std::sync::LazyLock<[Vec<u8>; 2]> =
        std::sync::LazyLock::new(|| [LZ4, ZSTD].map(|compression| image_of(&small(), compression)));
    &IMAGES
}

/// A directory of so many entries, as its blocks are.
fn directory(entries: usize) -> Vec<u8> {
    let mut names = vec![".".to_owned(), "..".to_owned()];
    names.extend((0..entries).map(|i| format!("n{i:06}")));
    let mut bytes = Vec::new();
    // Of 12 bytes and a name of at most 7.
    for block in names.chunks(4096 / 19) {
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        let mut at = 12 * block.len();
        for name in block {
            bytes.extend_from_slice(&36_u64.to_le_bytes());
            bytes.extend_from_slice(&u16::try_from(at).unwrap().to_le_bytes());
            bytes.extend_from_slice(&[1, 0]);
            at += name.len();
        }
        bytes.extend(block.iter().flat_map(|name| name.bytes()));
    }
    bytes
}

/// An image that counts the bytes that are read of it.
struct Counting<'a>(&'a [u8], Cell<usize>);

impl ReadAt for Counting<'_> {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.1.set(self.1.get() + buf.len());
        self.0.read_exact_at(buf, offset)
    }
}

/// Once, each of its blocks unpacked all of an extent, which can have 12 MiB.
#[test]
fn a_compressed_directory_is_unpacked_once() {
    let mut tree = Tree::new();
    file(&mut tree, "d", directory(50_000).into(), meta());
    let mut bytes = image_of(&tree, ZSTD);
    let image = Image::open(bytes.as_slice()).unwrap();
    let nid = image.lookup("d").unwrap().nid();
    let at = u64::from(image.superblock().meta_block) * 4096 + nid * 32 + 4;
    bytes[at as usize..][..2].copy_from_slice(&0o040_755_u16.to_le_bytes());
    let source = Counting(&bytes, Cell::new(0));
    let image = Image::open(&source).unwrap();
    let inode = image.inode(nid).unwrap();
    assert_eq!(inode.kind(), FileType::Directory);
    assert_eq!(image.read_dir(&inode).unwrap().len(), 50_000);
    let read = source.1.get();
    assert!(read < 3 * bytes.len(), "{read} bytes of {}", bytes.len());
}

#[test]
fn damaged_data_is_refused() {
    for image in small_images() {
        let mut bytes = image.clone();
        let end = bytes.len();
        // The last blocks are those of c, whose last extent is plain.
        bytes[end - 5 * 4096..end - 4 * 4096].fill(0xff);
        let image = Image::open(bytes).unwrap();
        let inode = image.lookup("c").unwrap();
        let error = image.reader(&inode).read_to_end(&mut Vec::new());
        assert!(error.is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_mutation_makes_the_reader_panic(
        which in 0..2_usize,
        changes in prop::collection::vec(
            (any::<prop::sample::Index>(), any::<bool>(), prop_oneof![
                Just(0_u8), Just(0xff), 1..5_u8, any::<u8>(),
            ]),
            1..20,
        ),
    ) {
        let mut bytes = small_images()[which].clone();
        for (index, in_metadata, byte) in changes {
            // Inodes and indexes are in the second block.
            let len = if in_metadata { 1000 } else { bytes.len() - 4096 };
            bytes[4096 + index.index(len)] = byte;
        }
        read_all(&bytes);
    }

    #[test]
    fn trees_are_read_back(
        files in prop::collection::vec((0..400_000_usize, 0..400_000_usize, 0..12_usize), 1..6),
        compression in prop_oneof![Just(LZ4), Just(ZSTD), Just(Compression::Zstd { level: -5 })],
    ) {
        let mut tree = Tree::new();
        for (number, (len, other, attribute)) in files.into_iter().enumerate() {
            let mut data = text(number as u64, len);
            data.extend(noise(number as u64, other));
            data.extend(text(7, len / 2));
            let mut meta = meta();
            meta.xattrs.insert("user.x".to_owned(), vec![0; attribute]);
            file(&mut tree, &format!("{number}"), data.into(), meta);
        }
        assert_same(&tree, &Image::open(image_of(&tree, compression)).unwrap());
    }
}

/// A tree like the folder `root`, whose files are all in one file without a name.
fn tree_of(root: &Path) -> Tree {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(folder) = todo.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path());
            }
            found.push(entry);
        }
    }
    found.sort_by_key(|entry| entry.path());
    let mut all = tempfile::tempfile().unwrap();
    let mut places = Vec::new();
    let mut position = 0;
    for entry in &found {
        if entry.file_type().unwrap().is_file() {
            let len = std::io::copy(&mut File::open(entry.path()).unwrap(), &mut all).unwrap();
            places.push((position, len));
            position += len;
        }
    }
    let all = Arc::new(all);
    let mut places = places.into_iter();
    let mut tree = Tree::new();
    for entry in found {
        let path = entry.path();
        let kind = entry.file_type().unwrap();
        let kind = if kind.is_dir() {
            Kind::Directory
        } else if kind.is_symlink() {
            Kind::Symlink(fs::read_link(&path).unwrap().to_str().unwrap().to_owned())
        } else {
            let (offset, len) = places.next().unwrap();
            let file = all.clone();
            Kind::File(Content::Slice { file, offset, len })
        };
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        let meta = Metadata {
            mtime: EPOCH,
            ..Metadata::root(mode as u16)
        };
        let path = path.strip_prefix(root).unwrap().to_str().unwrap();
        tree.insert(path, Node { kind, meta }).unwrap();
    }
    tree
}

/// Most memory that this process has had, in MiB.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM"))
        .unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib >> 10
}

/// Prints what compression of the folder `SEEDBED_EROFS_TREE` costs, beside mkfs.erofs, twice and in turns;
/// `cargo test -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement, not a test"]
fn cost_of_compression() {
    let Some(root) = std::env::var_os("SEEDBED_EROFS_TREE") else {
        println!("SKIP erofs_compressed::cost_of_compression: SEEDBED_EROFS_TREE names no folder");
        return;
    };
    let root = Path::new(&root);
    let tree = tree_of(root);
    let dir = tempfile::tempdir().unwrap();
    let mkfs = dir.path().join("mkfs");
    let level = |level| Compression::Zstd { level };
    for _ in 0..2 {
        for (name, compression) in [("zstd-3", level(3)), ("zstd-1", level(1)), ("lz4", LZ4)] {
            let start = Instant::now();
            let contents = contents(&tree, compression);
            let compressed = start.elapsed();
            let plan = erofs::plan_compressed(&tree, &options(), &contents).unwrap();
            let mut out = File::create(dir.path().join("ours")).unwrap();
            let summary = plan.write(&mut out).unwrap();
            println!(
                "ours {name}: {} KiB, {:.2} s of which {:.2} s compressing, metadata {} KiB, peak {} MiB",
                summary.size >> 10,
                start.elapsed().as_secs_f64(),
                compressed.as_secs_f64(),
                summary.metadata >> 10,
                peak(),
            );
        }
        for options in [
            &["-zzstd,3", "--quiet"][..],
            &["-zzstd,3", "-C65536", "--quiet"],
            &["-zzstd,3", "-C131072", "--quiet"],
            &["-zlz4", "-C65536", "--quiet"],
        ] {
            let _ = fs::remove_file(&mkfs);
            let start = Instant::now();
            let mut args = options.to_vec();
            args.extend([mkfs.to_str().unwrap(), root.to_str().unwrap()]);
            let test = "erofs_compressed::cost_of_compression";
            if erofs_utils::run(test, "mkfs.erofs", &args).is_some() {
                let size = fs::metadata(&mkfs).unwrap().len() >> 10;
                let seconds = start.elapsed().as_secs_f64();
                println!("mkfs.erofs {options:?}: {size} KiB, {seconds:.2} s");
            }
        }
    }
}
