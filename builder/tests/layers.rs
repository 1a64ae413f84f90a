//! Layers in the store, judged by the kernel: erofs is mounted, overlayfs stacks the layers, and what is seen is
//! what tar and a few removals leave in a folder.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;

use builder::digest;
use builder::images::layers;
use builder::images::layout::{Blob, Image};
use builder::images::reference::Reference;
use contract::partition::Arch;
use formats::erofs;
use formats::tree::{Content, Kind, Tree};
use serde_json::json;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use tar::EntryType;

type Archive = tar::Builder<Vec<u8>>;

/// `cap_dac_override,cap_fowner=ep`; one of its bytes is a line end.
const CAPABILITY: &[u8] = b"\x01\0\0\x02\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

fn add(tar: &mut Archive, path: &str, kind: EntryType, mode: u32, text: &str) {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(1000);
    header.set_gid(70_000);
    header.set_mtime(1_600_000_000);
    header.set_size(0);
    header.set_device_major(1).unwrap();
    header.set_device_minor(3).unwrap();
    match kind {
        EntryType::Link | EntryType::Symlink => tar.append_link(&mut header, path, text).unwrap(),
        _ => {
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
    }
}

fn base() -> Vec<u8> {
    use EntryType as T;
    let mut tar = Archive::new(Vec::new());
    for (path, mode) in [
        ("tmp/", 0o1777),
        ("bin/", 0o755),
        ("opaque/", 0o750),
        ("gone/", 0o755),
    ] {
        add(&mut tar, path, T::Directory, mode, "");
    }
    tar.append_pax_extensions([("SCHILY.xattr.security.capability", CAPABILITY)])
        .unwrap();
    add(
        &mut tar,
        "bin/tool",
        T::Regular,
        0o755,
        &"tool".repeat(5000),
    );
    add(&mut tar, "bin/same", T::Link, 0o755, "bin/tool");
    add(
        &mut tar,
        "bin/alike",
        T::Regular,
        0o755,
        &"tool".repeat(5000),
    );
    add(&mut tar, "sh", T::Symlink, 0o777, "bin/tool");
    add(&mut tar, "null", T::Char, 0o666, "");
    add(&mut tar, "pipe", T::Fifo, 0o600, "");
    for path in [
        "opaque/a",
        "gone/b",
        "gone/c",
        "file",
        "tmp/old",
        "undescribed/deep/d",
    ] {
        add(&mut tar, path, T::Regular, 0o640, path);
    }
    tar.into_inner().unwrap()
}

fn top() -> Vec<u8> {
    use EntryType as T;
    let mut tar = Archive::new(Vec::new());
    // None of these directories has an entry here.
    add(&mut tar, "tmp/new", T::Regular, 0o600, "new");
    add(&mut tar, "tmp/.wh.old", T::Regular, 0, "");
    add(&mut tar, "opaque/.wh..wh..opq", T::Regular, 0, "");
    add(&mut tar, "opaque/e", T::Regular, 0o600, "e");
    add(&mut tar, ".wh.gone", T::Regular, 0, "");
    add(&mut tar, "file", T::Regular, 0o4755, "another");
    add(&mut tar, "fresh/f", T::Regular, 0o600, "f");
    tar.into_inner().unwrap()
}

fn layer(media_type: &str, bytes: Vec<u8>) -> Blob {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(&bytes).unwrap();
    Blob {
        media_type: format!("application/vnd.oci.image.layer.v1.{media_type}"),
        sha256: digest::sha256(&bytes),
        content: Content::Slice {
            file: Arc::new(file),
            offset: 0,
            len: bytes.len() as u64,
        },
    }
}

fn diff_id(archive: &[u8]) -> String {
    format!("sha256:{}", digest::sha256(archive))
}

fn image(name: &str, diff_ids: &[String], blobs: Vec<Blob>) -> Image {
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let config = Blob::json("application/vnd.oci.image.config.v1+json", &config);
    Image::new(Reference::parse(name).unwrap(), config, blobs)
}

fn lay(images: &[Image]) -> anyhow::Result<Tree> {
    let mut tree = Tree::new();
    let scratch = std::env::temp_dir();
    layers::lay(&mut tree, images, Arch::Amd64, 5, &scratch)?;
    Ok(tree)
}

/// Two layers, one of them compressed.
fn two() -> Image {
    let (base, top) = (base(), top());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&top).unwrap();
    let blobs = vec![
        layer("tar", base.clone()),
        layer("tar+gzip", gzip.finish().unwrap()),
    ];
    image("r.example/two:1", &[diff_id(&base), diff_id(&top)], blobs)
}

fn chain_of(chain: &str, diff_id: &str) -> String {
    format!(
        "sha256:{}",
        digest::sha256(format!("{chain} {diff_id}").as_bytes())
    )
}

/// Where each chain ID leads.
fn chains(tree: &Tree) -> BTreeMap<String, String> {
    let target = |(name, node): (String, &formats::tree::Node)| match &node.kind {
        Kind::Symlink(target) => (format!("sha256:{name}"), target.clone()),
        other => panic!("{name} is {other:?}"),
    };
    tree.children("chains").map(target).collect()
}

#[test]
fn layers_lie_in_the_store_once_and_every_chain_leads_to_one() {
    let base = base();
    let other = {
        let mut tar = Archive::new(Vec::new());
        add(&mut tar, "./", EntryType::Directory, 0o755, "");
        add(&mut tar, "x", EntryType::Regular, 0o644, "x");
        tar.into_inner().unwrap()
    };
    let (a, b) = (diff_id(&base), diff_id(&other));
    let stack = |name, ids: &[&String]| {
        let blobs = ids.iter().map(|id| match **id == a {
            true => layer("tar", base.clone()),
            false => layer("tar", other.clone()),
        });
        let ids: Vec<String> = ids.iter().map(|id| (*id).clone()).collect();
        image(name, &ids, blobs.collect())
    };
    let tree = lay(&[
        stack("r.example/a:1", &[&a]),
        stack("r.example/ab:1", &[&a, &b]),
        stack("r.example/b:1", &[&b]),
        stack("r.example/aba:1", &[&a, &b, &a]),
    ])
    .unwrap();
    let ab = chain_of(&a, &b);
    let expected = [
        (a.clone(), "../layers/0"),
        (ab.clone(), "../layers/1"),
        (b.clone(), "../layers/1"),
        // Overlayfs does not stack a directory on itself.
        (chain_of(&ab, &a), "../layers/2"),
    ];
    let expected = expected.map(|(chain, target)| (chain, target.to_owned()));
    assert_eq!(chains(&tree), BTreeMap::from(expected));
    assert_eq!(tree.children("layers").count(), 3);
}

#[test]
fn what_does_not_fit_together_is_refused_by_name() {
    let base = base();
    let refuse = |image: Image, words: &[&str]| {
        let error = format!("{:#}", lay(&[image]).unwrap_err());
        for word in words {
            assert!(error.contains(word), "{word:?} is not in {error:?}");
        }
    };
    let blob = || layer("tar", base.clone());
    let digest = format!("layer sha256:{}", digest::sha256(&base));
    let wrong = format!("sha256:{}", "0".repeat(64));
    refuse(
        image("r.example/x:1", std::slice::from_ref(&wrong), vec![blob()]),
        &["image r.example/x:1", &digest, &wrong],
    );
    refuse(
        image("r.example/x:1", &[], vec![blob()]),
        &[
            "image r.example/x:1",
            "the config names 0 layers and the manifest 1",
        ],
    );
    let config = json!({"architecture": "arm64", "os": "linux"});
    let config = Blob::json("application/vnd.oci.image.config.v1+json", &config);
    let other = Image::new(Reference::parse("r.example/x:1").unwrap(), config, vec![]);
    refuse(
        other,
        &["image r.example/x:1", "linux/arm64, not for linux/amd64"],
    );
    let mut tar = Archive::new(Vec::new());
    add(&mut tar, "a", EntryType::Symlink, 0o777, "/");
    add(&mut tar, "a/b", EntryType::Regular, 0o644, "");
    let bad = tar.into_inner().unwrap();
    let digest = format!("layer sha256:{}", digest::sha256(&bad));
    refuse(
        image("r.example/x:1", &[diff_id(&bad)], vec![layer("tar", bad)]),
        &[
            "image r.example/x:1",
            &digest,
            "entry \"a/b\"",
            "symbolic link",
        ],
    );
}

fn write_erofs(tree: &Tree, path: &Path) {
    let options = erofs::Options {
        uuid: [7; 16],
        epoch: 5,
        label: "STORE".to_owned(),
        clamp_mtimes: false,
        hard_links: true,
    };
    erofs::write(tree, &options, &mut File::create(path).unwrap()).unwrap();
}

fn run(program: &str, args: &[&str]) -> bool {
    let output = Command::new(program).args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        println!("{program} {args:?}: {said}");
    }
    output.status.success()
}

/// A mount that ends with the test.
struct Mount(PathBuf);

impl Mount {
    fn new(kind: &str, options: &str, source: &str, at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let done = run(
            "mount",
            &["-t", kind, "-o", options, source, at.to_str().unwrap()],
        );
        done.then_some(Mount(at))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.0).status();
    }
}

/// Everything that programs can tell about the paths of a folder; times of directories are left out, because
/// unpacking changes them.
fn facts(top: &Path) -> BTreeMap<String, String> {
    let mut facts = BTreeMap::new();
    let mut todo = vec![top.to_owned()];
    while let Some(path) = todo.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let mut fact = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if meta.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            todo.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            fact += &format!(
                " time {} links {} device {}",
                meta.mtime(),
                meta.nlink(),
                meta.rdev()
            );
        }
        if meta.is_symlink() {
            fact += &format!(" to {}", fs::read_link(&path).unwrap().display());
        }
        if meta.is_file() {
            fact += &format!(" {}", digest::sha256(&fs::read(&path).unwrap()));
            let mut value = [0; 64];
            if let Ok(len) = rustix::fs::getxattr(&path, "security.capability", &mut value[..]) {
                fact += &format!(" capability {}", digest::hex(&value[..len]));
            }
        }
        let name = path.strip_prefix(top).unwrap();
        facts.insert(name.to_str().unwrap().to_owned(), fact);
    }
    facts.remove("");
    facts
}

#[test]
fn overlayfs_shows_what_tar_unpacks() {
    let test = "overlayfs_shows_what_tar_unpacks";
    let dir = tempfile::tempdir().unwrap();
    if fs::metadata(dir.path()).unwrap().uid() != 0 {
        return support::skip(test, "only root may mount");
    }
    let store = dir.path().join("store.erofs");
    write_erofs(&lay(&[two()]).unwrap(), &store);
    assert!(run("fsck.erofs", &[store.to_str().unwrap()]));
    let at = dir.path().join("store");
    let Some(mounted) = Mount::new("erofs", "ro,loop", store.to_str().unwrap(), at) else {
        return support::skip(test, "erofs cannot be mounted from a file here");
    };
    let lower = chain(&mounted.0, &[base(), top()]);
    let whiteout = fs::symlink_metadata(lower[0].join("gone")).unwrap();
    assert_eq!((whiteout.mode(), whiteout.rdev()), (0o020_000, 0));
    let mut value = [0; 8];
    let name = "trusted.overlay.opaque";
    let len = rustix::fs::getxattr(lower[0].join("opaque"), name, &mut value[..]).unwrap();
    assert_eq!(&value[..len], b"y");

    let options = format!("ro,lowerdir={}:{}", lower[0].display(), lower[1].display());
    let Some(overlay) = Mount::new("overlay", &options, "overlay", dir.path().join("overlay"))
    else {
        return support::skip(test, "overlayfs cannot be mounted here");
    };
    let plain = dir.path().join("plain");
    fs::create_dir(&plain).unwrap();
    extract(&plain, &base());
    fs::remove_dir_all(plain.join("gone")).unwrap();
    fs::remove_file(plain.join("tmp/old")).unwrap();
    fs::remove_file(plain.join("opaque/a")).unwrap();
    extract(&plain, &top());
    let (found, expected) = (facts(&overlay.0), facts(&plain));
    assert!(expected["bin/same"].contains("links 2"), "{expected:?}");
    assert!(expected["bin/tool"].contains("capability"), "{expected:?}");
    assert_eq!(found, expected);
}

/// The folders of an image's layers in the mounted store, the uppermost first.
fn chain(store: &Path, archives: &[Vec<u8>]) -> Vec<PathBuf> {
    let mut chain = String::new();
    let mut folders = Vec::new();
    for archive in archives {
        let id = diff_id(archive);
        chain = if chain.is_empty() {
            id
        } else {
            chain_of(&chain, &id)
        };
        let link = store.join("chains").join(&chain["sha256:".len()..]);
        folders.insert(0, fs::canonicalize(link).unwrap());
    }
    folders
}

/// Unpacks with tar, without the whiteouts.
fn extract(folder: &Path, archive: &[u8]) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    io::copy(&mut &archive[..], &mut file).unwrap();
    let (folder, file) = (folder.to_str().unwrap(), file.path().to_str().unwrap());
    let args = [
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        "--exclude=.wh.*",
    ];
    assert!(run(
        "tar",
        &[&["-C", folder, "-xpf", file], &args[..]].concat()
    ));
}
