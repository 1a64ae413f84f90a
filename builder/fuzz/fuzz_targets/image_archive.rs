//! Container images from files: archives of an OCI layout and of `docker save`, with their manifests.
#![no_main]

use builder::images::local;
use builder::images::reference::Reference;
use builder::store::Store;
use contract::partition::Arch;
use fuzzing::{seeds, tar::with_checksums};
use libfuzzer_sys::fuzz_target;
use std::fs;

const CONFIG: &str = r#"{"architecture": "amd64", "os": "linux", "rootfs": {"diff_ids": []}}"#;

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let archive = |files: &[(&str, &str)]| {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    };
    let saved = r#"[{"Config": "c.json", "RepoTags": ["x:1"], "Layers": ["l/layer.tar"]}]"#;
    let digest = format!("sha256:{}", "0".repeat(64));
    let index = format!(
        r#"{{"schemaVersion": 2, "manifests": [{{"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "{digest}", "size": 2}}]}}"#
    );
    vec![
        (
            "docker",
            archive(&[
                ("manifest.json", saved),
                ("c.json", CONFIG),
                ("l/layer.tar", ""),
            ]),
        ),
        (
            "oci",
            archive(&[("oci-layout", "{}"), ("index.json", &index)]),
        ),
    ]
}

fuzz_target!(init: seeds(archives), |bytes: &[u8]| {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("store")).unwrap();
    let path = folder.path().join("archive.tar");
    fs::write(&path, with_checksums(bytes)).unwrap();
    let image = Reference::parse_short("x:1").unwrap();
    if let Ok(pulled) = local::from_archive(&path, &image, Arch::Amd64, &store) {
        assert!(pulled.blobs.iter().all(|blob| store.has(&blob.sha256, blob.size)));
    }
    if let Ok(pulled) = local::from_layout(&path, &image, Arch::Amd64, &store) {
        assert!(pulled.blobs.iter().all(|blob| store.has(&blob.sha256, blob.size)));
    }
});
