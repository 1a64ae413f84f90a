//! The bill of materials in SPDX 2.3, as JSON.
//!
//! The document describes one package, the image. It contains Debian packages, files of sources, our own programs
//! and container images, and these contain what they were composed of. Files of packages are not listed: the
//! packages' digests and the root hash cover them.

use super::{TOOL, maintainer, name, purl, uuid, website};
use crate::build::Built;
use crate::contents::licence::Licence;
use crate::contents::{ContainerImage, LockedFile, Package};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What is not known, in SPDX's words.
const NOTHING: &str = "NOASSERTION";
/// The image itself.
const IMAGE: &str = "SPDXRef-Image";

pub(super) fn render(built: &Built, created: &str) -> Value {
    let contents = &built.contents;
    let mut parts = Parts::default();
    let image = json!({
        "name": name(built),
        "versionInfo": created,
        "supplier": NOTHING,
        "downloadLocation": NOTHING,
        "filesAnalyzed": false,
        "licenseConcluded": NOTHING,
        "licenseDeclared": NOTHING,
        "copyrightText": NOTHING,
        "primaryPackagePurpose": "OPERATING_SYSTEM",
        "comment": format!(
            "Kubernetes {}; root hash {}; store hash {}",
            contents.kubernetes, built.report.root_hash, built.report.store_hash
        ),
    });
    parts.relate("SPDXRef-DOCUMENT", "DESCRIBES", IMAGE);
    parts.packages.insert(IMAGE.to_owned(), image);
    parts.debs(IMAGE, &contents.packages);
    parts.files(IMAGE, &contents.files);
    for (path, sha256) in &contents.programs {
        let id = format!("SPDXRef-program-{}", clean(path));
        parts.add(IMAGE, id, program(path, sha256));
    }
    for image in &contents.images {
        let id = format!(
            "SPDXRef-container-{}-{}",
            clean(&image.name),
            short(&image.digest)
        );
        parts.add(IMAGE, id.clone(), container(image));
        parts.debs(&id, &image.packages);
        parts.files(&id, &image.files);
    }
    let packages = parts.packages.into_iter().map(|(id, mut package)| {
        package["SPDXID"] = id.into();
        package
    });
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name(built),
        "documentNamespace": format!("urn:uuid:{}", uuid(built, "spdx")),
        "creationInfo": {
            "created": created,
            "creators": [format!("Tool: {}-{}", TOOL.0, TOOL.1)],
        },
        "packages": packages.collect::<Vec<_>>(),
        "relationships": parts.relationships,
    })
}

/// What a document is made of.
#[derive(Default)]
struct Parts {
    /// By identifier, which each of them is given in the end.
    packages: BTreeMap<String, Value>,
    relationships: Vec<Value>,
}

impl Parts {
    fn relate(&mut self, from: &str, kind: &str, to: &str) {
        self.relationships.push(json!({
            "spdxElementId": from,
            "relationshipType": kind,
            "relatedSpdxElement": to,
        }));
    }

    /// Adds what `parent` contains. What is in several places is listed once, as found first.
    fn add(&mut self, parent: &str, id: String, package: Value) {
        self.relate(parent, "CONTAINS", &id);
        self.packages.entry(id).or_insert(package);
    }

    fn debs(&mut self, parent: &str, packages: &[Package]) {
        for package in packages {
            let id = format!(
                "SPDXRef-deb-{}-{}",
                clean(&package.name),
                short(&package.sha256)
            );
            self.add(parent, id, deb(package));
        }
    }

    fn files(&mut self, parent: &str, files: &[LockedFile]) {
        for file in files {
            let id = format!("SPDXRef-file-{}-{}", clean(&file.path), short(&file.sha256));
            self.add(parent, id, locked_file(file));
        }
    }
}

fn deb(package: &Package) -> Value {
    let supplier = maintainer(package.maintainer.as_deref())
        .map(|name| format!("Organization: {}", name.replace(['(', ')'], "")));
    let mut value = component(&package.name, &package.sha256, &purl::deb(package));
    value["versionInfo"] = package.version.clone().into();
    value["supplier"] = supplier.unwrap_or_else(|| NOTHING.to_owned()).into();
    if let Some(url) = website(package.homepage.as_deref()) {
        value["homepage"] = url.into();
    }
    if let Some(source) = &package.source {
        value["sourceInfo"] = format!("built from source package {source}").into();
    }
    declare(&mut value, &package.licence);
    value
}

/// States the licences: as an expression if all are known, else by Debian's names in a comment.
fn declare(value: &mut Value, licence: &Licence) {
    match &licence.expression {
        Some(expression) => value["licenseDeclared"] = expression.clone().into(),
        None if licence.names.is_empty() => {}
        None => {
            let names = licence.names.join("; ");
            value["licenseComments"] = format!("in debian/copyright: {names}").into();
        }
    }
}

fn locked_file(file: &LockedFile) -> Value {
    let mut value = component(file.name(), &file.sha256, &purl::generic(file));
    if let Some(version) = file.version() {
        value["versionInfo"] = version.into();
    }
    value["packageFileName"] = file.path.clone().into();
    value["sourceInfo"] = format!("fetched as {}", file.from).into();
    value["primaryPackagePurpose"] = "FILE".into();
    value
}

fn program(path: &str, sha256: &str) -> Value {
    let name = path.rsplit('/').next().unwrap_or(path);
    let purl = format!("pkg:generic/{name}?checksum=sha256%3A{sha256}");
    let mut value = component(name, sha256, &purl);
    value["packageFileName"] = path.into();
    value["primaryPackagePurpose"] = "APPLICATION".into();
    value["licenseDeclared"] = "Apache-2.0".into();
    value
}

fn container(image: &ContainerImage) -> Value {
    let digest = image.digest.trim_start_matches("sha256:");
    let mut value = component(&image.name, digest, &purl::oci(image));
    value["versionInfo"] = image.digest.clone().into();
    value["primaryPackagePurpose"] = "CONTAINER".into();
    value
}

fn component(name: &str, sha256: &str, purl: &str) -> Value {
    json!({
        "name": name,
        "supplier": NOTHING,
        "downloadLocation": NOTHING,
        "filesAnalyzed": false,
        "licenseConcluded": NOTHING,
        "licenseDeclared": NOTHING,
        "copyrightText": NOTHING,
        "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}],
        "externalRefs": [{
            "referenceCategory": "PACKAGE-MANAGER",
            "referenceType": "purl",
            "referenceLocator": purl,
        }],
    })
}

/// What an identifier may hold: letters, digits, dots and dashes.
fn clean(text: &str) -> String {
    let text = text.trim_start_matches('/');
    let allowed = |c: char| c.is_ascii_alphanumeric() || c == '.' || c == '-';
    text.chars()
        .map(|c| if allowed(c) { c } else { '-' })
        .collect()
}

/// The first digits of a digest: two parts of the same clean name differ in them.
fn short(digest: &str) -> &str {
    let digits = digest.trim_start_matches("sha256:");
    digits.get(..12).unwrap_or(digits)
}
