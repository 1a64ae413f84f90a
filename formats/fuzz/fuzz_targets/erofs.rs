//! erofs images, plain and compressed: all is read, and what can be written again reads the same.
#![no_main]

use formats::erofs::read::{FileType, Image};
use formats::erofs::{self, Algorithm, Compression, Contents, Options, dump};
use formats::tree::{Kind, Metadata, Node, Tree};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;
use std::io::Read;

const MAX_FILE: u64 = 1 << 20;

fn options() -> Options {
    Options {
        uuid: [7; 16],
        epoch: 5,
        label: "fuzz".into(),
        clamp_mtimes: false,
        hard_links: false,
    }
}

fn sample() -> Tree {
    let mut tree = Tree::new();
    let mut meta = Metadata::root(0o755);
    meta.xattrs
        .insert("security.capability".into(), vec![1; 20]);
    let kind = Kind::File(vec![b'p'; 9000].into());
    tree.insert("a/ping", Node { kind, meta }).unwrap();
    let text: Vec<u8> = (0..9000_u32).flat_map(|i| (i / 7).to_le_bytes()).collect();
    tree.insert_file("text", 0o644, text).unwrap();
    tree.insert_symlink("link", "a/ping").unwrap();
    let (kind, meta) = (Kind::CharDevice(1, 3), Metadata::root(0o666));
    tree.insert("null", Node { kind, meta }).unwrap();
    tree
}

fn images() -> Vec<(&'static str, Vec<u8>)> {
    let tree = sample();
    let mut plain = Vec::new();
    erofs::write(&tree, &options(), &mut plain).unwrap();
    let mut unsigned = plain.clone();
    unsigned[1024 + 8] = 0;
    let mut images = vec![("plain", plain), ("no-checksum", unsigned)];
    for (name, compression) in [
        ("lz4", Compression::Lz4),
        ("zstd", Compression::Zstd { level: 3 }),
    ] {
        let scratch = tempfile::tempfile().unwrap();
        let contents = Contents::of_tree(&tree, compression, scratch).unwrap();
        let mut image = Vec::new();
        let plan = erofs::plan_compressed(&tree, &options(), &contents).unwrap();
        plan.write(&mut image).unwrap();
        image[1024 + 8] = 0;
        images.push((name, image));
    }
    images
}

/// Whether the size is what the file holds, and not what its form in an image takes.
fn kind_has_size(kind: &Kind) -> bool {
    matches!(kind, Kind::File(_) | Kind::Symlink(_))
}

/// What the image holds as a tree, if all of it can be read and none is large.
fn tree_of<R: formats::read_at::ReadAt>(image: &Image<R>) -> Option<(Tree, Vec<String>)> {
    let (mut tree, mut lines, mut whole) = (Tree::new(), Vec::new(), true);
    let mut left = 4 * MAX_FILE;
    for walked in image.walk() {
        let Ok(walked) = walked else { return None };
        let inode = &walked.inode;
        let _ = dump::line(image, &walked.path, inode);
        let meta = image.metadata(inode);
        let kind = match inode.kind() {
            FileType::Regular => {
                let mut bytes = Vec::new();
                let read = image
                    .reader(inode)
                    .take(MAX_FILE.min(left))
                    .read_to_end(&mut bytes);
                left = left.saturating_sub(bytes.len() as u64);
                whole &= read.is_ok() && bytes.len() as u64 == inode.size();
                Kind::File(bytes.into())
            }
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink(image.read_link(inode).unwrap_or_default()),
            FileType::CharDevice => inode.device().map(|(a, b)| Kind::CharDevice(a, b))?,
            FileType::BlockDevice => inode.device().map(|(a, b)| Kind::BlockDevice(a, b))?,
            FileType::Fifo => Kind::Fifo,
            FileType::Socket => return None,
        };
        let found = image
            .lookup(&walked.path)
            .expect("what was walked to is found");
        assert_eq!(&found, inode);
        match meta {
            Ok(meta) if whole => {
                let size = if kind_has_size(&kind) {
                    inode.size()
                } else {
                    0
                };
                lines.push(format!(
                    "{} {size} {meta:?} {:?}",
                    walked.path,
                    inode.device()
                ));
                tree.insert(&walked.path, Node { kind, meta }).ok()?;
            }
            _ => whole = false,
        }
    }
    whole.then_some((tree, lines))
}

fuzz_target!(init: seeds(images), |bytes: &[u8]| {
    let Ok(image) = Image::open(bytes) else { return };
    let _ = image.resolve("link/../a/./ping");
    let _ = image.superblock().has(Algorithm::Zstd);
    let Some((tree, lines)) = tree_of(&image) else { return };
    let mut again = Vec::new();
    if erofs::write(&tree, &options(), &mut again).is_ok() {
        let image = Image::open(again.as_slice()).expect("what was written is read");
        let (_, read) = tree_of(&image).expect("all that was written is read");
        assert_eq!(lines, read);
    }
});
