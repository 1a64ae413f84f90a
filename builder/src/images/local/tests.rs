//! Which image of a file is taken.

use super::{Index, Saved, choose, choose_saved};
use crate::images::reference::Reference;
use contract::partition::Arch;
use serde_json::json;

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
