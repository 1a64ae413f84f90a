//! The documents beside an image say what is in it, and their official validators take them.
//!
//! `scripts/validators.sh DIR` installs those; `SEEDBED_VALIDATORS` names the folder.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::digest;
use loopback::machine::small_machine;
use loopback::small::Small;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn baked() -> Small {
    small_machine().done(&["lock", "fetch", "build"])
}

fn read(small: &Small, name: &str) -> Value {
    serde_json::from_slice(&fs::read(small.out().join(name)).unwrap()).unwrap()
}

/// The first item of a list whose `key` is `value`.
fn find<'a>(list: &'a Value, key: &str, value: &str) -> &'a Value {
    let mut items = list.as_array().unwrap().iter();
    let found = items.find(|item| item[key] == value);
    found.unwrap_or_else(|| panic!("nothing has {key} {value:?} in {list:#}"))
}

#[test]
fn documents_say_what_is_inside() {
    let small = baked();
    let manifest = read(&small, "manifest.json");
    let image = &manifest["images"][0];
    let raw = fs::File::open(small.out().join("seedbed-small-amd64.raw")).unwrap();
    let raw = digest::sha256_of(raw).unwrap().0;
    assert_eq!(image["outputs"], json!({"seedbed-small-amd64.raw": raw}));
    let tool = digest::sha256("tool ".repeat(300_000).as_bytes());
    assert_eq!(
        find(&image["files"], "path", "/usr/bin/tool")["sha256"],
        tool.as_str()
    );
    let firstboot = digest::sha256(b"firstboot");
    assert_eq!(image["programs"]["/usr/bin/firstboot"], firstboot.as_str());
    let system = find(&image["packages"], "name", "system");
    let pause = &image["containerImages"][0];
    assert_eq!(pause["name"], "registry.example/pause:1");
    assert_eq!(pause["blobs"].as_array().unwrap().len(), 3);

    let documents = manifest["documents"].as_object().unwrap();
    let names: Vec<&str> = documents.keys().map(String::as_str).collect();
    let spdx_name = "seedbed-small-amd64.spdx.json";
    assert_eq!(
        names,
        ["report.html", "seedbed-small-amd64.cdx.json", spdx_name]
    );
    for (name, sha256) in documents {
        let bytes = fs::read(small.out().join(name)).unwrap();
        assert_eq!(sha256, digest::sha256(&bytes).as_str(), "{name}");
    }

    let spdx = read(&small, spdx_name);
    let package = find(&spdx["packages"], "name", "system");
    assert_eq!(package["checksums"][0]["checksumValue"], system["sha256"]);
    assert_eq!(
        package["licenseDeclared"],
        "(GPL-2.0-or-later OR MIT) AND ISC"
    );
    assert_eq!(package["supplier"], "Organization: Fixture");
    assert_eq!(package["homepage"], "https://system.example/");
    // The JSON schema has an underscore where the specification's text has a dash.
    let image = find(&spdx["packages"], "name", "seedbed-small-amd64");
    assert_eq!(image["primaryPackagePurpose"], "OPERATING_SYSTEM");
    let kernel = find(&spdx["packages"], "name", "linux-image-amd64");
    assert_eq!(kernel["licenseDeclared"], "NOASSERTION");

    let cdx = read(&small, "seedbed-small-amd64.cdx.json");
    let component = find(&cdx["components"], "name", "system");
    assert_eq!(component["purl"], "pkg:deb/debian/system@1?arch=amd64");
    let container = find(&cdx["components"], "name", "registry.example/pause:1");
    assert_eq!(container["components"][0]["name"], "/pause");
}

#[test]
fn validators_take_the_bills_of_materials() {
    let Some(validators) = validators("validators_take_the_bills_of_materials") else {
        return;
    };
    let small = baked();
    let spdx = small.out().join("seedbed-small-amd64.spdx.json");
    let mut command = Command::new(validators.join("bin/pyspdxtools"));
    take(
        command
            .arg("--version")
            .arg("SPDX-2.3")
            .arg("-i")
            .arg(&spdx),
    );
    take(&mut cyclonedx(
        &validators,
        &small.out().join("seedbed-small-amd64.cdx.json"),
    ));

    // A validator that takes everything would prove nothing.
    let text = fs::read_to_string(&spdx).unwrap();
    fs::write(&spdx, text.replace("Organization: Fixture", "Fixture")).unwrap();
    let mut command = Command::new(validators.join("bin/pyspdxtools"));
    assert!(
        !command
            .arg("-i")
            .arg(&spdx)
            .output()
            .unwrap()
            .status
            .success()
    );
    let cdx = small.out().join("seedbed-small-amd64.cdx.json");
    let text = fs::read_to_string(&cdx).unwrap();
    fs::write(&cdx, text.replace("\"library\"", "\"libary\"")).unwrap();
    assert!(
        !cyclonedx(&validators, &cdx)
            .output()
            .unwrap()
            .status
            .success()
    );
}

/// The strict JSON schema of CycloneDX 1.6 against a file.
fn cyclonedx(validators: &Path, file: &Path) -> Command {
    let script = "\
import sys
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
fault = JsonStrictValidator(SchemaVersion.V1_6).validate_str(open(sys.argv[1]).read())
sys.exit(str(fault) if fault else 0)
";
    let mut command = Command::new(validators.join("bin/python"));
    command.args(["-c", script]).arg(file);
    command
}

fn take(command: &mut Command) {
    let out = command.output().unwrap();
    let (stdout, stderr) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(out.status.success(), "{command:?}: {stdout}{stderr}");
}

/// Where the validators are. They come from PyPI alone, so no other setting requires them.
fn validators(test: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("SEEDBED_VALIDATORS").map(PathBuf::from);
    if folder.is_none() {
        println!("SKIP {test}: SEEDBED_VALIDATORS names no folder");
    }
    folder
}
