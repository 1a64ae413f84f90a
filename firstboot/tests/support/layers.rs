//! Images for a store: layers as tar archives, as unpacked trees, and what names them.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::containerd::run;

fn hex(bytes: &[u8]) -> String {
    let digest = Sha256::digest(bytes);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A layer as a tar archive.
#[derive(Clone)]
pub(crate) struct Layer {
    archive: Vec<u8>,
    pub(crate) digest: String,
}

impl Layer {
    /// Packs a folder: whiteouts in it are files called `.wh.NAME`.
    pub(crate) fn pack(folder: &Path) -> Layer {
        let archive = folder.with_extension("tar");
        run(Command::new("tar")
            .args(["--sort=name", "--mtime=@0", "--owner=0", "--group=0", "-cf"])
            .arg(&archive)
            .arg("-C")
            .args([folder, Path::new(".")]));
        let archive = fs::read(archive).unwrap();
        let digest = hex(&archive);
        Layer { archive, digest }
    }
}

/// The chain ID of layers, the lowest first: 64 digits.
pub(crate) fn chain(layers: &[&Layer]) -> String {
    let (first, rest) = layers.split_first().unwrap();
    rest.iter().fold(first.digest.clone(), |below, layer| {
        hex(format!("sha256:{below} sha256:{}", layer.digest).as_bytes())
    })
}

fn blob(root: &Path, media_type: &str, bytes: &[u8]) -> Value {
    let digest = hex(bytes);
    fs::write(root.join("blobs/sha256").join(&digest), bytes).unwrap();
    json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
}

/// The archive of an OCI image layout with the image `registry.test/NAME:1`. Of its layers only those in `with`
/// have their blob in it.
pub(crate) fn image(dir: &Path, name: &str, layers: &[&Layer], with: &[&Layer]) -> PathBuf {
    const TYPE: &str = "application/vnd.oci.image";
    let root = dir.join(format!("{name}-layout"));
    fs::create_dir_all(root.join("blobs/sha256")).unwrap();
    for layer in with {
        blob(&root, "", &layer.archive);
    }
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let id = |layer: &&Layer| format!("sha256:{}", layer.digest);
    let ids: Vec<String> = layers.iter().map(id).collect();
    let config = json!({"architecture": arch, "os": "linux", "config": {},
        "rootfs": {"type": "layers", "diff_ids": ids}});
    let config = blob(
        &root,
        &format!("{TYPE}.config.v1+json"),
        config.to_string().as_bytes(),
    );
    let descriptor = |layer: &&Layer| json!({"mediaType": format!("{TYPE}.layer.v1.tar"), "digest": id(layer), "size": layer.archive.len()});
    let layers: Vec<Value> = layers.iter().map(descriptor).collect();
    let kind = format!("{TYPE}.manifest.v1+json");
    let manifest =
        json!({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers});
    let mut entry = blob(&root, &kind, manifest.to_string().as_bytes());
    entry["annotations"] = json!({"io.containerd.image.name": format!("registry.test/{name}:1")});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(root.join("index.json"), index.to_string()).unwrap();
    fs::write(root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    let archive = dir.join(format!("{name}.tar"));
    let mut tar = Command::new("tar");
    tar.arg("-cf").arg(&archive).arg("-C").arg(&root);
    run(tar.args(["oci-layout", "index.json", "blobs"]));
    archive
}

/// Puts an unpacked layer into the store.
pub(crate) fn unpacked(store: &Path, number: u32, chain: &str, tree: &Path) {
    for folder in ["layers", "chains"] {
        fs::create_dir_all(store.join(folder)).unwrap();
    }
    let place = store.join("layers").join(number.to_string());
    run(Command::new("cp").arg("-a").args([tree, &place]));
    symlink(
        format!("../layers/{number}"),
        store.join("chains").join(chain),
    )
    .unwrap();
}
