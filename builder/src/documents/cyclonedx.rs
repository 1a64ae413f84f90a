//! The bill of materials in CycloneDX 1.6, as JSON.
//!
//! Components of a container image are nested in it; a package that is in several places is listed in each.

use super::{TOOL, maintainer, name, purl, uuid, website};
use crate::build::Built;
use crate::contents::licence::Licence;
use crate::contents::{ContainerImage, LockedFile, Package};
use serde_json::{Value, json};

pub(super) fn render(built: &Built, created: &str) -> Value {
    let contents = &built.contents;
    let mut components = Vec::new();
    components.extend(contents.packages.iter().map(|package| deb("root", package)));
    components.extend(contents.files.iter().map(|file| locked_file("root", file)));
    components.extend(
        contents
            .programs
            .iter()
            .map(|(path, sha256)| program(path, sha256)),
    );
    components.extend(contents.images.iter().map(container));
    let references: Vec<&Value> = components
        .iter()
        .map(|component| &component["bom-ref"])
        .collect();
    let image = name(built);
    json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", uuid(built, "cyclonedx")),
        "version": 1,
        "metadata": {
            "timestamp": created,
            "tools": {"components": [
                {"type": "application", "name": TOOL.0, "version": TOOL.1},
            ]},
            "component": {
                "type": "operating-system",
                "bom-ref": image,
                "name": image,
                "version": created,
                "properties": [
                    {"name": "seedbed:kubernetes", "value": contents.kubernetes},
                    {"name": "seedbed:lock", "value": contents.lock},
                    {"name": "seedbed:rootHash", "value": built.report.root_hash},
                    {"name": "seedbed:storeHash", "value": built.report.store_hash},
                ],
            },
        },
        "dependencies": [{"ref": image, "dependsOn": references}],
        "components": components,
    })
}

/// A package; `place` keeps references of the same package in several places apart.
fn deb(place: &str, package: &Package) -> Value {
    let purl = purl::deb(package);
    let mut value = component("library", &format!("{place} {purl}"), &package.name, &purl);
    value["version"] = package.version.clone().into();
    value["hashes"] = hashes(&package.sha256);
    if let Some(name) = maintainer(package.maintainer.as_deref()) {
        value["supplier"] = json!({"name": name});
    }
    if let Some(url) = website(package.homepage.as_deref()) {
        value["externalReferences"] = json!([{"type": "website", "url": url}]);
    }
    let licences = licences(&package.licence);
    if !licences.is_empty() {
        value["licenses"] = licences.into();
    }
    value
}

/// One SPDX expression if every licence is known, else all by Debian's names.
fn licences(licence: &Licence) -> Vec<Value> {
    match &licence.expression {
        Some(expression) => vec![json!({"expression": expression})],
        None => {
            let names = licence.names.iter();
            names
                .map(|name| json!({"license": {"name": name}}))
                .collect()
        }
    }
}

fn locked_file(place: &str, file: &LockedFile) -> Value {
    let reference = format!("{place} {}", file.path);
    let mut value = component("file", &reference, &file.path, &purl::generic(file));
    if let Some(version) = file.version() {
        value["version"] = version.into();
    }
    value["hashes"] = hashes(&file.sha256);
    value
}

fn program(path: &str, sha256: &str) -> Value {
    let name = path.rsplit('/').next().unwrap_or(path);
    let purl = format!("pkg:generic/{name}?checksum=sha256%3A{sha256}");
    let mut value = component("application", &format!("root {path}"), name, &purl);
    value["hashes"] = hashes(sha256);
    value["licenses"] = json!([{"license": {"id": "Apache-2.0"}}]);
    value
}

fn container(image: &ContainerImage) -> Value {
    let mut value = component("container", &image.name, &image.name, &purl::oci(image));
    value["version"] = image.digest.clone().into();
    value["hashes"] = hashes(image.digest.trim_start_matches("sha256:"));
    let debs = image
        .packages
        .iter()
        .map(|package| deb(&image.name, package));
    let files = image
        .files
        .iter()
        .map(|file| locked_file(&image.name, file));
    let inside: Vec<Value> = debs.chain(files).collect();
    if !inside.is_empty() {
        value["components"] = inside.into();
    }
    value
}

fn component(kind: &str, reference: &str, name: &str, purl: &str) -> Value {
    json!({"type": kind, "bom-ref": reference, "name": name, "purl": purl})
}

fn hashes(sha256: &str) -> Value {
    json!([{"alg": "SHA-256", "content": sha256}])
}
