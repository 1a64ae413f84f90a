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

/// An OCI image layout that grows.
pub struct Layout {
    root: PathBuf,
    index: Vec<Value>,
}

/// A layer as a tar archive.
#[derive(Clone)]
pub struct Layer {
    archive: Vec<u8>,
    pub digest: String,
}

impl Layer {
    /// Packs a folder: whiteouts in it are files called `.wh.NAME`.
    pub fn pack(folder: &Path) -> Layer {
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
pub fn chain(layers: &[&Layer]) -> String {
    let (first, rest) = layers.split_first().unwrap();
    rest.iter().fold(first.digest.clone(), |below, layer| {
        hex(format!("sha256:{below} sha256:{}", layer.digest).as_bytes())
    })
}

impl Layout {
    pub fn new(root: &Path) -> Layout {
        fs::create_dir_all(root.join("blobs/sha256")).unwrap();
        fs::create_dir_all(root.join("layers")).unwrap();
        fs::create_dir_all(root.join("chains")).unwrap();
        let layout = Layout {
            root: root.to_owned(),
            index: Vec::new(),
        };
        layout.write_index();
        layout
    }

    fn write_index(&self) {
        let index = json!({"schemaVersion": 2, "manifests": self.index});
        fs::write(self.root.join("index.json"), index.to_string()).unwrap();
        fs::write(self.root.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
    }

    fn blob(&self, media_type: &str, bytes: &[u8]) -> Value {
        let digest = hex(bytes);
        fs::write(self.root.join("blobs/sha256").join(&digest), bytes).unwrap();
        json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()})
    }

    /// Adds an image. Of its layers only those named `with` have their blob in the store.
    pub fn image(&mut self, name: &str, layers: &[&Layer], with: &[&Layer]) {
        for layer in with {
            self.blob("", &layer.archive);
        }
        let arch = match std::env::consts::ARCH {
            "x86_64" => "amd64",
            "aarch64" => "arm64",
            other => other,
        };
        let ids: Vec<String> = layers.iter().map(|layer| format!("sha256:{}", layer.digest)).collect();
        let config = json!({"architecture": arch, "os": "linux", "config": {},
            "rootfs": {"type": "layers", "diff_ids": ids}});
        let config = self.blob("application/vnd.oci.image.config.v1+json", config.to_string().as_bytes());
        let descriptors: Vec<Value> = layers
            .iter()
            .map(|layer| {
                json!({"mediaType": "application/vnd.oci.image.layer.v1.tar",
                    "digest": format!("sha256:{}", layer.digest), "size": layer.archive.len()})
            })
            .collect();
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({"schemaVersion": 2, "mediaType": media_type, "config": config, "layers": descriptors});
        let mut entry = self.blob(media_type, manifest.to_string().as_bytes());
        entry["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.index.push(entry);
        self.write_index();
    }

    /// Puts an unpacked layer into the store.
    pub fn unpacked(&self, number: u32, chain: &str, tree: &Path) {
        let place = self.root.join("layers").join(number.to_string());
        run(Command::new("cp").arg("-a").args([tree, &place]));
        symlink(format!("../layers/{number}"), self.root.join("chains").join(chain)).unwrap();
    }
}
