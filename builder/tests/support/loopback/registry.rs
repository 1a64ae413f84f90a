//! Container images behind the OCI distribution API: an index by tag, manifests and blobs by digest.

use super::server::{Answer, Server};
use builder::digest;
use builder::images::reference::Reference;
use serde_json::{Value, json};
use std::io::Read;

/// Media types of one of the two families that registries speak.
pub struct Family {
    index: &'static str,
    manifest: &'static str,
    config: &'static str,
    layer: &'static str,
}

/// As the OCI specification has it.
pub const OCI: Family = Family {
    index: "application/vnd.oci.image.index.v1+json",
    manifest: "application/vnd.oci.image.manifest.v1+json",
    config: "application/vnd.oci.image.config.v1+json",
    layer: "application/vnd.oci.image.layer.v1.tar+gzip",
};

/// As Docker had it before.
pub const DOCKER: Family = Family {
    index: "application/vnd.docker.distribution.manifest.list.v2+json",
    manifest: "application/vnd.docker.distribution.manifest.v2+json",
    config: "application/vnd.docker.container.image.v1+json",
    layer: "application/vnd.docker.image.rootfs.diff.tar.gzip",
};

/// One architecture of an image, as it is served.
#[derive(Clone, Debug)]
pub struct Served {
    /// SHA-256 of the manifest.
    pub manifest: String,
    /// SHA-256 and bytes of config and layers, in the manifest's order.
    pub blobs: Vec<(String, Vec<u8>)>,
}

/// Serves `image` for amd64 and arm64, and gives what amd64 is to get. `machine` is what the config of the
/// amd64 image says that it is for.
pub fn serve(server: &Server, image: &Reference, family: &Family, machine: &str) -> Served {
    serve_both(server, image, family, machine)[0].clone()
}

/// As [`serve`], and gives what is for amd64 and what is for arm64.
pub fn serve_both(
    server: &Server,
    image: &Reference,
    family: &Family,
    machine: &str,
) -> [Served; 2] {
    let other = put_manifest(server, image, family, "arm64", layers(image, "arm64"));
    let served = put_manifest(server, image, family, machine, layers(image, "amd64"));
    put_index(server, image, family, &other, &served);
    [served, other]
}

/// As [`serve`], with layers of these bytes.
pub fn serve_layers(server: &Server, image: &Reference, layers: Vec<Vec<u8>>) -> Served {
    let served = put_manifest(server, image, &OCI, "amd64", layers);
    put_index(server, image, &OCI, &served, &served);
    served
}

/// Layers that no other image or architecture has.
fn layers(image: &Reference, arch: &str) -> Vec<Vec<u8>> {
    let text = |layer: &str| format!("{layer} of {image} for {arch}; ").repeat(100);
    ["base", "program"]
        .map(|layer| text(layer).into_bytes())
        .to_vec()
}

fn put_index(server: &Server, image: &Reference, family: &Family, other: &Served, served: &Served) {
    let entry = |served: &Served, arch: &str| {
        json!({
            "mediaType": family.manifest,
            "digest": format!("sha256:{}", served.manifest),
            "size": server.bytes(&manifest_path(image, &served.manifest)).len(),
            "platform": {"architecture": arch, "os": "linux"},
        })
    };
    let index = json!({
        "schemaVersion": 2,
        "mediaType": family.index,
        "manifests": [entry(other, "arm64"), entry(served, "amd64")],
    });
    let path = format!("/v2/{}/manifests/{}", image.repository, image.tag);
    server.answer(&path, document(&index, family.index));
}

/// Where the manifest with this digest is.
pub fn manifest_path(image: &Reference, sha256: &str) -> String {
    format!("/v2/{}/manifests/sha256:{sha256}", image.repository)
}

/// Where the blob with this digest is.
pub fn blob_path(image: &Reference, sha256: &str) -> String {
    format!("/v2/{}/blobs/sha256:{sha256}", image.repository)
}

/// Serves a manifest without an index. `machine` is what its config says that it is for.
pub fn serve_single(server: &Server, image: &Reference, family: &Family, machine: &str) -> Served {
    let served = put_manifest(server, image, family, machine, layers(image, machine));
    let manifest = server.bytes(&manifest_path(image, &served.manifest));
    let path = format!("/v2/{}/manifests/{}", image.repository, image.tag);
    server.answer(&path, Answer::File(manifest, family.manifest.to_owned()));
    served
}

/// Serves a cosign signature of `digest` beside the image: `payload` and what was made of it.
pub fn serve_signature(
    server: &Server,
    image: &Reference,
    digest: &str,
    payload: &str,
    signature: &str,
) {
    let sha256 = digest::sha256(payload.as_bytes());
    server.put(&blob_path(image, &sha256), payload);
    server.put(&blob_path(image, &digest::sha256(b"{}")), "{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI.manifest,
        "config": {
            "mediaType": OCI.config,
            "digest": format!("sha256:{}", digest::sha256(b"{}")),
            "size": 2,
        },
        "layers": [{
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": format!("sha256:{sha256}"),
            "size": payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": signature},
        }],
    });
    let path = format!("/v2/{}/manifests/sha256-{digest}.sig", image.repository);
    server.answer(&path, document(&manifest, OCI.manifest));
}

/// Serves the archive of a Helm chart.
pub fn serve_chart(server: &Server, chart: &Reference, archive: &[u8]) {
    let blob = |bytes: &[u8], media_type: &str| {
        let sha256 = digest::sha256(bytes);
        server.put(&blob_path(chart, &sha256), bytes);
        json!({"mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": bytes.len()})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI.manifest,
        "config": blob(b"{}", "application/vnd.cncf.helm.config.v1+json"),
        "layers": [blob(archive, "application/vnd.cncf.helm.chart.content.v1.tar+gzip")],
    });
    let path = format!("/v2/{}/manifests/{}", chart.repository, chart.tag);
    server.answer(&path, document(&manifest, OCI.manifest));
}

fn put_manifest(
    server: &Server,
    image: &Reference,
    family: &Family,
    machine: &str,
    layers: Vec<Vec<u8>>,
) -> Served {
    let diff_ids: Vec<String> = layers.iter().map(|layer| diff_id(layer)).collect();
    let config = json!({
        "architecture": machine,
        "os": "linux",
        "config": {"Labels": {"image": image.to_string()}},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let bytes = [vec![config.to_string().into_bytes()], layers].concat();
    let blobs: Vec<_> = bytes.into_iter().map(|b| (digest::sha256(&b), b)).collect();
    let descriptors = blobs.iter().enumerate().map(|(i, (sha256, bytes))| {
        let media_type = if i == 0 { family.config } else { family.layer };
        json!({"mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": bytes.len()})
    });
    let descriptors: Vec<Value> = descriptors.collect();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": family.manifest,
        "config": descriptors[0],
        "layers": descriptors[1..],
    });
    for (sha256, bytes) in &blobs {
        server.put(&blob_path(image, sha256), bytes.clone());
    }
    let sha256 = digest::sha256(manifest.to_string().as_bytes());
    server.answer(
        &manifest_path(image, &sha256),
        document(&manifest, family.manifest),
    );
    Served {
        manifest: sha256,
        blobs,
    }
}

/// The digest of what a layer unpacks to; one that is no archive stands for itself.
fn diff_id(layer: &[u8]) -> String {
    let mut bytes = Vec::new();
    let unpacked = flate2::read::GzDecoder::new(layer).read_to_end(&mut bytes);
    let sha256 = digest::sha256(if unpacked.is_ok() { &bytes } else { layer });
    format!("sha256:{sha256}")
}

fn document(value: &Value, media_type: &str) -> Answer {
    Answer::File(value.to_string().into_bytes(), media_type.to_owned())
}
