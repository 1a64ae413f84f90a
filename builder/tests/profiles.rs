//! Profiles that extend each other: what comes out, what is refused and where, and the shipped ones.

#![allow(clippy::unwrap_used)] // All of it is tests.

use builder::profile::{self, Profile};
use contract::partition::Arch;
use std::fs;
use std::path::Path;

/// The profile `name` among these, each in a folder of its own.
fn read(name: &str, profiles: &[(&str, &str)]) -> anyhow::Result<Profile> {
    let dir = tempfile::tempdir().unwrap();
    for (name, text) in profiles {
        let folder = dir.path().join(name);
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("profile.yaml"), text).unwrap();
    }
    profile::read(&dir.path().join(name))
}

fn refuse(name: &str, profiles: &[(&str, &str)], words: &[&str]) {
    let error = read(name, profiles).unwrap_err();
    let error = format!("{error:#}");
    for word in words {
        assert!(error.contains(word), "{word:?} is not in: {error}");
    }
}

const BASE: (&str, &str) = (
    "base",
    "version: 1
sources:
  debian: {debian: {suite: trixie, components: [main]}}
packages: [systemd, kmod]
kernelArguments: [quiet]
sysctls: {vm.swappiness: '1', vm.max_map_count: '65530'}
timezone: UTC
disk: {root: 512, store: 512}
",
);

const SITE: &str = "version: 1
extends: [../base]
name: site
arch: [amd64, arm64]
kubernetes: {version: v1.34.1, imageRepository: r.example, pause: 'r.example/pause:1'}
packages: [kmod, containerd]
images: [{name: 'r.example/pause:1'}]
kernelArguments: [console=ttyS0]
sysctls: {vm.max_map_count: '262144'}
timezone: Europe/Berlin
disk: {store: 1024}
";

#[test]
fn lists_grow_and_the_later_word_counts() {
    let profile = read("site", &[BASE, ("site", SITE)]).unwrap();
    let parts = profile.parts(Arch::Amd64);
    assert_eq!(parts.packages, ["systemd", "kmod", "containerd"]);
    assert_eq!(parts.kernel_arguments, ["quiet", "console=ttyS0"]);
    let sysctls: Vec<_> = parts
        .sysctls
        .iter()
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    assert_eq!(sysctls, ["vm.max_map_count=262144", "vm.swappiness=1"]);
    assert_eq!(parts.timezone.as_deref(), Some("Europe/Berlin"));
    let disk = profile.disk;
    assert_eq!((disk.esp, disk.root, disk.store), (1024, 512, 1024));
    assert_eq!(profile.sources.keys().collect::<Vec<_>>(), ["debian"]);
}

#[test]
fn what_holds_for_one_architecture_holds_with_all_that_it_extends() {
    let site = SITE.replace("[../base]", "[../base, ../intel]");
    let intel =
        "version: 1\nwhen: {arch: [amd64]}\nextends: [../microcode]\nmodules: [kvm_intel]\n";
    let microcode = "version: 1\npackages: [intel-microcode]\n";
    let all = [
        BASE,
        ("site", site.as_str()),
        ("intel", intel),
        ("microcode", microcode),
    ];
    let profile = read("site", &all).unwrap();
    let packages = |arch| profile.parts(arch).packages;
    assert_eq!(
        packages(Arch::Amd64),
        ["systemd", "kmod", "intel-microcode", "containerd"]
    );
    assert_eq!(packages(Arch::Arm64), ["systemd", "kmod", "containerd"]);
    assert_eq!(profile.parts(Arch::Amd64).modules, ["kvm_intel"]);
    assert!(profile.parts(Arch::Arm64).modules.is_empty());
}

#[test]
fn a_profile_that_two_extend_counts_once() {
    let one = "version: 1\nextends: [../base]\n";
    let site = SITE.replace("[../base]", "[../one, ../two]");
    let all = [BASE, ("one", one), ("two", one), ("site", site.as_str())];
    let parts = read("site", &all).unwrap().parts(Arch::Amd64);
    assert_eq!(parts.kernel_arguments, ["quiet", "console=ttyS0"]);
}

#[test]
fn every_text_counts_for_the_lock() {
    let digest = |base: &str| {
        read("site", &[("base", base), ("site", SITE)])
            .unwrap()
            .digest
    };
    assert_ne!(digest(BASE.1), digest(&format!("{}# a comment\n", BASE.1)));
}

#[test]
fn faults_stand_where_they_were_made() {
    let bad = BASE.1.replace("root: 512", "root: 0");
    let site = SITE.replace("images: [{name: 'r.example/pause:1'}]\n", "");
    refuse(
        "site",
        &[("base", &bad), ("site", &site)],
        &[
            "base/profile.yaml:8:14: root cannot have 0 MiB",
            "site/profile.yaml:5:",
            "the pause image r.example/pause:1 is not among the images",
        ],
    );
    refuse(
        "base",
        &[BASE],
        &["name is missing", "kubernetes is missing"],
    );
    let gone = SITE.replace("../base", "../gone");
    refuse(
        "site",
        &[("site", &gone)],
        &["site/profile.yaml:2:11: there is no profile.yaml in"],
    );
    let mine = SITE.replace("../base", "../site");
    refuse("site", &[("site", &mine)], &["extends itself"]);
}

#[test]
fn users_and_kernel_parameters_are_checked() {
    let more = |text: &str| format!("{SITE}{text}");
    let check = |text: &str, words: &[&str]| refuse("site", &[BASE, ("site", &more(text))], words);
    let user = |fields: &str| format!("users: [{{{fields}}}]\n");
    check(&user("name: Op, uid: 1000"), &["\"Op\" is no login name"]);
    check(&user("name: op, uid: 0"), &["user op cannot have number 0"]);
    check(
        &user("name: op, uid: 1000, shell: bash"),
        &["\"bash\" is not the path"],
    );
    let key = "users:\n  - name: op\n    uid: 1000\n    authorizedKeys:\n      - |\n        -----BEGIN PRIVATE KEY-----\n        c2VjcmV0\n";
    let error = read("site", &[BASE, ("site", &more(key))]).unwrap_err();
    let error = format!("{error:#}");
    assert!(error.contains("authorizedKeys[0] of user op"), "{error}");
    assert!(!error.contains("c2VjcmV0"), "{error}");
    let base = BASE.1.replace("vm.swappiness", "vm swappiness");
    refuse(
        "site",
        &[("base", &base), ("site", SITE)],
        &["\"vm swappiness\" is no kernel parameter"],
    );
}

#[test]
fn the_shipped_profiles_are_good() {
    let profiles = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles");
    let mut extended = Vec::new();
    for entry in fs::read_dir(&profiles).unwrap() {
        let dir = entry.unwrap().path();
        if !dir.join("profile.yaml").is_file() {
            continue;
        }
        let text = fs::read_to_string(dir.join("profile.yaml")).unwrap();
        if text.contains("\nname: ") {
            let profile = profile::read(&dir).unwrap();
            for overlay in profile.parts(Arch::Amd64).overlays {
                assert!(overlay.is_dir(), "{}", overlay.display());
            }
        } else {
            extended.push(dir.canonicalize().unwrap());
        }
    }
    // What is only there to be extended is good if a profile can extend all of it at once.
    let list = extended.iter().map(|dir| dir.display().to_string());
    let list = list.collect::<Vec<_>>().join(", ");
    read("site", &[("site", &SITE.replace("../base", &list))]).unwrap();
}

/// What pods are started from is what the profile puts into the store, and bears this version.
#[test]
fn the_jobs_name_the_builders_image() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/builder");
    let image = concat!("seedbed.internal/seedbed:", env!("CARGO_PKG_VERSION"));
    let parent = folder.canonicalize().unwrap().display().to_string();
    let site = SITE.replace("../base", &format!("../base, {parent}"));
    let profile = read("site", &[BASE, ("site", &site)]).unwrap();
    let images = profile.parts(Arch::Amd64).images;
    assert!(images.iter().any(|entry| entry.name == image), "{image}");
    assert_eq!(profile.parts(Arch::Arm64).images.len(), 1);
    for job in ["job.yaml", "push.yaml"] {
        let text = fs::read_to_string(folder.join(job)).unwrap();
        let named = builder::images::list::manifest::images(&text).unwrap();
        assert_eq!(named.len(), 1, "{job}");
        assert_eq!(named[0].0, image, "{job}");
    }
}
