//! Which image of a file is taken.

use super::{Files, Index, Saved, choose, choose_saved, unpacked};
use crate::images::reference::Reference;
use crate::store::Store;
use contract::partition::Arch;
use serde_json::json;
use std::io;
use std::os::unix::fs::symlink;

/// R011: a file that holds another image is refused, with what it holds.
#[test]
fn an_image_with_another_name_is_not_taken() {
    let archive = |tags: &[&[&str]], expected: Result<usize, &str>| {
        let saved = |tags: &&[&str]| json!({"Config": "c", "RepoTags": tags, "Layers": []});
        let all: Vec<_> = tags.iter().map(saved).collect();
        let all: Vec<Saved> = serde_json::from_value(json!(all)).unwrap();
        let image = Reference::parse("docker.io/library/redis:7").unwrap();
        match (choose_saved(&all, &image), expected) {
            (Ok(found), Ok(at)) => assert!(std::ptr::eq(found, &raw const all[at]), "{tags:?}"),
            (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
            (found, _) => panic!("{tags:?}: {:?}", found.map(|_| ())),
        }
    };
    archive(&[&["nginx:1"], &["redis:7"]], Ok(1));
    archive(&[&[]], Ok(0));
    archive(&[&["nginx:1"]], Err("nginx:1"));
    archive(&[&["redis:8"]], Err("redis:8"));
    archive(&[&[], &[]], Err("no names"));
    archive(&[], Err("none of its 0 images"));

    let layout = |names: &[Option<&str>], expected: Result<usize, &str>| {
        let entry = |(i, name): (usize, &Option<&str>)| {
            let name = name.map(|name| json!({"org.opencontainers.image.ref.name": name}));
            let annotations = name.unwrap_or(json!({}));
            json!({"mediaType": "m", "digest": i.to_string(), "size": 1, "annotations": annotations})
        };
        let all: Vec<_> = names.iter().enumerate().map(entry).collect();
        let index: Index = serde_json::from_value(json!({"manifests": all})).unwrap();
        let image = Reference::parse("registry.test/redis:7").unwrap();
        match (choose(&index, &image, Arch::Amd64), expected) {
            (Ok(found), Ok(at)) => assert_eq!(found.digest, at.to_string(), "{names:?}"),
            (Err(error), Err(word)) => assert!(error.to_string().contains(word), "{error}"),
            (found, _) => panic!("{names:?}: {:?}", found.map(|_| ())),
        }
    };
    layout(&[Some("6"), Some("7")], Ok(1));
    layout(&[Some("6"), Some("registry.test/redis:7")], Ok(1));
    layout(&[Some("6"), None], Ok(1));
    layout(&[None], Ok(0));
    layout(
        &[Some("registry.test/nginx:7")],
        Err("registry.test/nginx:7"),
    );
    layout(&[Some("6")], Err("called registry.test/redis:7, but 6"));
    layout(&[None, None], Err("2 entries"));
    layout(&[], Err("empty"));
    let whole = json!({"manifests": [{"mediaType": "m", "digest": "0", "size": 1, "annotations": {
        "io.containerd.image.name": "docker.io/library/nginx:7",
        "org.opencontainers.image.ref.name": "7",
    }}]});
    let whole: Index = serde_json::from_value(whole).unwrap();
    let image = Reference::parse("registry.test/redis:7").unwrap();
    let error = choose(&whole, &image, Arch::Amd64).unwrap_err();
    assert!(error.to_string().contains("library/nginx:7"), "{error}");
}

#[test]
fn links_out_of_a_layout_are_refused_by_name() {
    let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    std::fs::write(outside.path().join("secret"), "s").unwrap();
    symlink(
        outside.path().join("secret"),
        folder.path().join("absolute"),
    )
    .unwrap();
    symlink("/dev/zero", folder.path().join("device")).unwrap();
    std::fs::create_dir(folder.path().join("directory")).unwrap();
    let files = Files::Folder(folder.path().to_owned());
    let refuse = |path: &str, expected: &str| {
        let error = format!("{:#}", files.read(path).err().unwrap());
        assert!(error.contains(expected), "{error}");
    };
    refuse("absolute", "absolute is a link to");
    refuse("device", "device is a link to /dev/zero, out of the folder");
    refuse("directory", "directory is no regular file");
    refuse("../x", "../x leads out of the folder");
    refuse("/etc/passwd", "/etc/passwd leads out of the folder");
}

#[test]
fn decompression_bombs_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let error = unpacked(io::repeat(0), 4096, &store).unwrap_err();
    let expected = "it has more than 4096 bytes uncompressed, the most that is taken";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn duplicate_entries_are_refused_by_name() {
    let mut file = tempfile::tempfile().unwrap();
    let mut tar = tar::Builder::new(&mut file);
    for path in ["index.json", "./index.json"] {
        let mut header = tar::Header::new_gnu();
        header.set_size(2);
        tar.append_data(&mut header, path, b"{}".as_slice())
            .unwrap();
    }
    tar.finish().unwrap();
    drop(tar);
    let error = Files::archive(file).err().unwrap();
    assert_eq!(error.to_string(), "\"index.json\" is there twice");
}
