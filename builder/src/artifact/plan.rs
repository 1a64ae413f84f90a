//! Which files become which manifests, decided before anything is sent.

use super::{ARTIFACT_TYPE, EMPTY, INDEX, MANIFEST, TITLE, is_file_name};
use crate::digest;
use contract::partition::Arch;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// Media types by the ending of a file's name; the first that fits counts.
const MEDIA_TYPES: [(&str, &str); 13] = [
    (".raw", "application/vnd.seedbed.disk.raw"),
    (".raw.zst", "application/vnd.seedbed.disk.raw+zstd"),
    (".qcow2", "application/vnd.seedbed.disk.qcow2"),
    (".vmdk", "application/vnd.seedbed.disk.vmdk"),
    (".ova", "application/vnd.seedbed.disk.ova"),
    (".vhd", "application/vnd.seedbed.disk.vhd"),
    (".vhdx", "application/vnd.seedbed.disk.vhdx"),
    (".iso", "application/vnd.seedbed.disk.iso"),
    (".spdx.json", "application/spdx+json"),
    (".cdx.json", "application/vnd.cyclonedx+json"),
    (".json", "application/json"),
    (".html", "text/html"),
    ("SHA256SUMS", "text/plain"),
];
/// The media type of any other file.
const OTHER: &str = "application/octet-stream";

/// A file to be pushed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedFile {
    /// Where it is.
    pub path: PathBuf,
    /// Its name in the artifact.
    pub name: String,
    /// Its size in bytes.
    pub size: u64,
    /// Its SHA-256.
    pub sha256: String,
}

/// A manifest or an index, as it will be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlannedManifest {
    /// OCI media type.
    pub media_type: &'static str,
    /// All of it.
    pub bytes: Vec<u8>,
    /// Its SHA-256.
    pub sha256: String,
}

/// All that a push sends, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The files, each digest once; the empty config comes beside them.
    pub files: Vec<PlannedFile>,
    /// Manifests that the last one names.
    pub manifests: Vec<PlannedManifest>,
    /// What the tag stands for.
    pub tagged: PlannedManifest,
}

/// Why files make no artifact.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// There is no file.
    #[error("there is no file to push")]
    Nothing,
    /// Two files would have the same name.
    #[error("two files are called {0:?}: an artifact holds each name once")]
    Twice(String),
    /// A file has a name that no pull would take.
    #[error(
        "{0:?} is no name for a file in an artifact: it begins with a dot or has control characters"
    )]
    Name(String),
    /// A file is larger than a descriptor can say.
    #[error("{0:?} is too large")]
    Large(String),
}

/// Plans the artifact of `files`: one manifest, or an index over one manifest for each architecture if there are
/// files of several. Files of no architecture are in every manifest.
///
/// # Errors
/// There is no file, there are two of the same name, or a name or size will not do.
pub fn plan(mut files: Vec<PlannedFile>) -> Result<Plan, PlanError> {
    files.sort_by(|a, b| a.name.cmp(&b.name));
    if files.is_empty() {
        return Err(PlanError::Nothing);
    }
    if let Some(pair) = files.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(PlanError::Twice(pair[0].name.clone()));
    }
    if let Some(file) = files.iter().find(|file| !is_file_name(&file.name)) {
        return Err(PlanError::Name(file.name.clone()));
    }
    if let Some(file) = files.iter().find(|file| i64::try_from(file.size).is_err()) {
        return Err(PlanError::Large(file.name.clone()));
    }
    let arches: BTreeSet<Arch> = files.iter().filter_map(|file| arch(&file.name)).collect();
    let (tagged, manifests) = if arches.len() > 1 {
        let of = |wanted: Arch| {
            let fits = |file: &&PlannedFile| arch(&file.name).is_none_or(|one| one == wanted);
            manifest(files.iter().filter(fits))
        };
        let manifests: Vec<(Arch, PlannedManifest)> =
            arches.into_iter().map(|arch| (arch, of(arch))).collect();
        (
            index(&manifests),
            manifests.into_iter().map(|(_, one)| one).collect(),
        )
    } else {
        (manifest(files.iter()), Vec::new())
    };
    let by_digest: BTreeMap<String, PlannedFile> = files
        .into_iter()
        .map(|file| (file.sha256.clone(), file))
        .collect();
    let mut files: Vec<PlannedFile> = by_digest.into_values().collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Plan {
        files,
        manifests,
        tagged,
    })
}

fn manifest<'a>(files: impl Iterator<Item = &'a PlannedFile>) -> PlannedManifest {
    let layer = |file: &PlannedFile| {
        let mut layer = descriptor(media_type(&file.name), &file.sha256, file.size);
        layer["annotations"] = json!({TITLE: file.name});
        layer
    };
    planned(
        MANIFEST,
        &artifact_manifest(ARTIFACT_TYPE, files.map(layer).collect()),
    )
}

/// The manifest of an artifact of that type: an empty config, and these descriptors.
fn artifact_manifest(artifact_type: &str, layers: Vec<Value>) -> Value {
    let (empty, bytes) = EMPTY;
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "artifactType": artifact_type,
        "config": descriptor(empty, &digest::sha256(bytes), bytes.len() as u64),
        "layers": layers,
    })
}

impl PlannedManifest {
    /// The manifest of an artifact of another type than an image's: one layer for each descriptor.
    pub(crate) fn of(artifact_type: &str, layers: Vec<Value>, annotations: &Value) -> Self {
        let mut manifest = artifact_manifest(artifact_type, layers);
        manifest["annotations"] = annotations.clone();
        planned(MANIFEST, &manifest)
    }
}

fn index(manifests: &[(Arch, PlannedManifest)]) -> PlannedManifest {
    let entry = |(arch, manifest): &(Arch, PlannedManifest)| {
        let size = manifest.bytes.len() as u64;
        let mut entry = descriptor(manifest.media_type, &manifest.sha256, size);
        entry["artifactType"] = ARTIFACT_TYPE.into();
        entry["platform"] = json!({"architecture": arch.as_str(), "os": "linux"});
        entry
    };
    planned(
        INDEX,
        &json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "artifactType": ARTIFACT_TYPE,
            "manifests": manifests.iter().map(entry).collect::<Vec<_>>(),
        }),
    )
}

fn planned(media_type: &'static str, value: &Value) -> PlannedManifest {
    let bytes = value.to_string().into_bytes();
    PlannedManifest {
        media_type,
        sha256: digest::sha256(&bytes),
        bytes,
    }
}

/// What a manifest says of a blob.
pub(crate) fn descriptor(media_type: &str, sha256: &str, size: u64) -> Value {
    json!({"mediaType": media_type, "digest": format!("sha256:{sha256}"), "size": size})
}

fn media_type(name: &str) -> &'static str {
    let found = MEDIA_TYPES
        .iter()
        .find(|(ending, _)| name.ends_with(ending));
    found.map_or(OTHER, |(_, media_type)| media_type)
}

/// The architecture in a name such as `seedbed-NAME-ARCH.raw`.
fn arch(name: &str) -> Option<Arch> {
    let stem = name.strip_prefix("seedbed-")?;
    [Arch::Amd64, Arch::Arm64].into_iter().find(|arch| {
        [".", "-4k."]
            .iter()
            .any(|end| stem.contains(&format!("-{arch}{end}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(names: &[&str]) -> Vec<PlannedFile> {
        let file = |name: &&str| PlannedFile {
            path: PathBuf::from(name),
            name: (*name).to_owned(),
            size: 3,
            sha256: digest::sha256(name.as_bytes()),
        };
        names.iter().map(file).collect()
    }

    fn value(manifest: &PlannedManifest) -> Value {
        serde_json::from_slice(&manifest.bytes).unwrap()
    }

    fn titles(manifest: &Value) -> Vec<&str> {
        let layers = manifest["layers"].as_array().unwrap().iter();
        layers
            .map(|layer| layer["annotations"][TITLE].as_str().unwrap())
            .collect()
    }

    #[test]
    fn one_architecture_is_one_manifest() {
        let plan = plan(files(&["seedbed-x-amd64.raw", "manifest.json"])).unwrap();
        assert_eq!(plan.manifests, []);
        let manifest = value(&plan.tagged);
        assert_eq!(titles(&manifest), ["manifest.json", "seedbed-x-amd64.raw"]);
        assert_eq!(manifest["artifactType"], ARTIFACT_TYPE);
        // The digest of the empty descriptor as the specification has it.
        let empty = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(manifest["config"]["digest"], empty);
        assert_eq!(manifest["config"]["size"], 2);
        assert_eq!(
            manifest["layers"][1]["mediaType"],
            "application/vnd.seedbed.disk.raw"
        );
    }

    #[test]
    fn several_architectures_have_an_index() {
        let names = [
            "seedbed-x-arm64-4k.raw",
            "seedbed-x-amd64.qcow2",
            "SHA256SUMS",
        ];
        let plan = plan(files(&names)).unwrap();
        let index = value(&plan.tagged);
        assert_eq!(plan.tagged.media_type, INDEX);
        let arch = |at: usize| &index["manifests"][at]["platform"]["architecture"];
        assert_eq!((arch(0), arch(1)), (&json!("amd64"), &json!("arm64")));
        for (i, expected) in [names[1], names[0]].into_iter().enumerate() {
            let manifest = &plan.manifests[i];
            assert_eq!(titles(&value(manifest)), ["SHA256SUMS", expected]);
            let digest = format!("sha256:{}", manifest.sha256);
            assert_eq!(index["manifests"][i]["digest"], digest);
        }
        assert_eq!(plan.files.len(), 3);
    }

    #[test]
    fn order_and_doubles_make_no_difference() {
        let mut all = files(&["b", "a", "c"]);
        let one = plan(all.clone()).unwrap();
        all.reverse();
        assert_eq!(plan(all.clone()).unwrap(), one);
        all[0].sha256 = all[1].sha256.clone();
        let plan = plan(all).unwrap();
        assert_eq!(
            (plan.files.len(), titles(&value(&plan.tagged)).len()),
            (2, 3)
        );
    }

    #[test]
    fn what_makes_no_artifact() {
        assert_eq!(plan(Vec::new()), Err(PlanError::Nothing));
        let twice = plan(files(&["a", "b", "a"]));
        assert_eq!(twice, Err(PlanError::Twice("a".to_owned())));
        let hidden = plan(files(&["a", ".b"]));
        assert_eq!(hidden, Err(PlanError::Name(".b".to_owned())));
    }

    #[test]
    fn endings_tell_the_media_type() {
        for (name, expected) in [
            ("x.raw.zst", "application/vnd.seedbed.disk.raw+zstd"),
            ("x.spdx.json", "application/spdx+json"),
            ("manifest.json", "application/json"),
            ("SHA256SUMS", "text/plain"),
            ("SHA256SUMS.minisig", OTHER),
        ] {
            assert_eq!(media_type(name), expected, "{name}");
        }
    }
}
