//! The profile `gpu-nvidia` with Debian's own archives: it locks, its packages make a root, and what they take.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use builder::fixture::deb::Deb;
use contract::partition::Arch;
use loopback::command::{seedbed, succeed};
use loopback::module::module;
use serde_json::Value;
use std::fs;
use std::path::Path;

const TEST: &str = "gpu_nvidia_locks_and_builds";
const RELEASE: &str = "linux-image-";
const MIB: u64 = 1 << 20;

/// A machine with the profile, and one small image.
fn profile() -> String {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("profiles");
    let shipped = |name: &str| profiles.join(name).display().to_string();
    format!(
        "version: 1\nextends: [{}, {}]\nname: gpu\narch: [amd64]\nsources:\n  files: {{path: files}}\n\
         kubernetes: {{version: v1.34.1, imageRepository: gpu.example, pause: gpu.example/pause:1}}\n\
         packages: [./modules.deb]\n\
         images:\n  - name: gpu.example/pause:1\n    from:\n      files: {{/pause: {{from: files, path: pause}}}}\n\
         \x20     entrypoint: [/pause]\ndisk: {{esp: 512, root: 1024, store: 64}}\n",
        shipped("minimal"),
        shipped("gpu-nvidia"),
    )
}

fn packages(folder: &Path) -> Vec<Value> {
    let lock = fs::read(folder.join("profile.lock")).unwrap();
    let lock: Value = serde_json::from_slice(&lock).unwrap();
    lock["arch"]["amd64"]["packages"]
        .as_array()
        .unwrap()
        .clone()
}

fn name(package: &Value) -> &str {
    package["name"].as_str().unwrap()
}

#[test]
fn gpu_nvidia_locks_and_builds() {
    if std::env::var("SEEDBED_LONG").as_deref() != Ok("1") {
        println!("SKIP {TEST}: it fetches from a Debian mirror and runs with SEEDBED_LONG=1");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let folder = home.path().join("gpu");
    fs::create_dir_all(folder.join("files")).unwrap();
    fs::write(folder.join("files/pause"), "pause").unwrap();
    fs::write(home.path().join("firstboot"), "firstboot").unwrap();
    fs::write(folder.join("profile.yaml"), profile()).unwrap();
    let run = |what: &str| {
        let mut command = seedbed(home.path());
        command.arg(what).arg(&folder);
        if what == "build" {
            command.arg("--out").arg(home.path().join("out"));
            command
                .arg("--firstboot")
                .arg(home.path().join("firstboot"));
        }
        succeed(&mut command)
    };
    // Which kernel there is shows only in a lock, and the modules have to be for it.
    let modules = |release: &str| {
        let path = format!("/usr/lib/modules/{release}/updates/dkms/nvidia.ko");
        let deb = Deb::new("nvidia-modules", "1").file(&path, module(Arch::Amd64, release), 0o644);
        fs::write(folder.join("modules.deb"), deb.build().unwrap()).unwrap();
    };
    modules("none");
    run("lock");
    let release = packages(&folder)
        .iter()
        .filter_map(|package| Some(name(package).strip_prefix(RELEASE)?.to_owned()))
        .find(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
        .unwrap();
    modules(&release);
    run("lock");
    run("fetch");

    let mut bytes = 0;
    for package in packages(&folder) {
        let archive = package["archive"].as_str().unwrap();
        if ["nvidia", "firmware"].contains(&archive) {
            bytes += package["size"].as_u64().unwrap();
            println!("{TEST}: {} {}", name(&package), package["version"]);
        }
    }
    println!("{TEST}: {} MiB of packages", bytes / MIB);
    assert!((20 * MIB..200 * MIB).contains(&bytes), "{bytes}");

    run("build");
    let image = home.path().join("out/seedbed-gpu-amd64.raw");
    let cat = |path: &str| {
        let output = seedbed(home.path())
            .arg("cat")
            .arg(&image)
            .arg(path)
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
    };
    for (path, text) in [
        (
            format!("/usr/lib/modules/{release}/modules.dep"),
            "updates/dkms/nvidia.ko:",
        ),
        (
            "/etc/ld.so.cache".to_owned(),
            "/usr/lib/x86_64-linux-gnu/nvidia/current/libcuda.so.1",
        ),
        (
            "/etc/ld.so.cache".to_owned(),
            "/usr/lib/x86_64-linux-gnu/nvidia/current/libnvidia-ml.so.1",
        ),
        ("/etc/passwd".to_owned(), "nvpd:"),
        ("/usr/bin/nvidia-smi".to_owned(), "ELF"),
        (
            "/etc/modprobe.d/nvidia-blacklists-nouveau.conf".to_owned(),
            "blacklist nouveau",
        ),
        (
            "/etc/modprobe.d/nvidia.conf".to_owned(),
            "install nvidia-uvm",
        ),
    ] {
        assert!(cat(&path).contains(text), "{path} has no {text:?}");
    }
}
