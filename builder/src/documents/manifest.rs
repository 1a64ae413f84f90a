//! `manifest.json`: every input and output of one run of `build`, by digest.

use super::{TOOL, outputs};
use crate::build::Built;
use crate::contents::{Blob, ContainerImage, LockedFile, Package};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The manifest; `documents` are the digests of the other documents, by name.
pub(super) fn render(builds: &[Built], documents: &BTreeMap<String, String>) -> Value {
    json!({
        "version": 1,
        "tool": {"name": TOOL.0, "version": TOOL.1},
        "images": builds.iter().map(image).collect::<Vec<_>>(),
        "documents": documents,
    })
}

fn image(built: &Built) -> Value {
    let (report, contents) = (&built.report, &built.contents);
    json!({
        "profile": contents.profile,
        "arch": contents.arch,
        "kubernetes": contents.kubernetes,
        "epoch": contents.epoch,
        "lock": contents.lock,
        "outputs": outputs(built),
        "rootHash": report.root_hash,
        "storeHash": report.store_hash,
        "bytes": report.bytes,
        "kernel": {
            "version": contents.kernel.version,
            "arguments": contents.kernel.arguments,
        },
        "packages": packages(&contents.packages),
        "files": files(&contents.files),
        "programs": contents.programs,
        "containerImages": contents.images.iter().map(container).collect::<Vec<_>>(),
    })
}

fn packages(packages: &[Package]) -> Vec<Value> {
    let one = |package: &Package| {
        json!({
            "name": package.name,
            "version": package.version,
            "architecture": package.architecture,
            "sha256": package.sha256,
        })
    };
    packages.iter().map(one).collect()
}

fn files(files: &[LockedFile]) -> Vec<Value> {
    let one =
        |file: &LockedFile| json!({"path": file.path, "from": file.from, "sha256": file.sha256});
    files.iter().map(one).collect()
}

fn container(image: &ContainerImage) -> Value {
    let blob = |blob: &Blob| json!({"mediaType": blob.media_type, "sha256": blob.sha256, "bytes": blob.bytes});
    json!({
        "name": image.name,
        "digest": image.digest,
        "blobs": image.blobs.iter().map(blob).collect::<Vec<_>>(),
        "packages": packages(&image.packages),
        "files": files(&image.files),
    })
}
