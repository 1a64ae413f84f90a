//! Building where no network is: from a store that is full, and from bundles. Each image is held against the one that
//! an ordinary build gives.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[path = "support/isolated.rs"]
mod isolated;
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;

use assert_cmd::Command;
use builder::digest;
use builder::images::reference::Reference;
use isolated::{calls, can_unshare, isolated, traced};
use loopback::command::{refuse, seedbed, seedbed_after, succeed};
use loopback::docker_registry::{DockerRegistry, Setup};
use loopback::machine::small_machine;
use loopback::registry;
use loopback::small::Small;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use support::has_tool;

const IMAGE: &str = "registry.test/app:1";

/// The small machine with one of everything that a bundle has to carry, fetched.
fn machine() -> Small {
    let small = small_machine();
    let root = small.dir.path();
    let base = root.join("overlays/base/etc");
    fs::create_dir_all(base.join("empty")).unwrap();
    fs::write(base.join("name.j2"), "{{ profile }} {{ arch }}\n").unwrap();
    fs::write(base.join("run"), "#!/bin/sh\n").unwrap();
    fs::set_permissions(base.join("run"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("./../etc//name", base.join("link")).unwrap();
    let shared = root.join("profiles/shared");
    fs::create_dir_all(&shared).unwrap();
    fs::write(
        shared.join("profile.yaml"),
        "version: 1\noverlays: [../../overlays/base]\nsysctls: {vm.swappiness: '1'}\n",
    )
    .unwrap();
    small.edit("name: small\n", "name: small\nextends: [../shared]\n");
    small.edit("images:\n", &format!("images:\n  - name: {IMAGE}\n"));
    let layers = vec![layer("one"), layer("two")];
    registry::serve_layers(&small.server, &Reference::parse(IMAGE).unwrap(), layers);
    update(&small);
    small
}

/// A layer with one file.
fn layer(text: &str) -> Vec<u8> {
    archive(&[(text, text)])
}

/// A compressed tar archive of files.
fn archive(files: &[(&str, &str)]) -> Vec<u8> {
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut tar = tar::Builder::new(gzip);
    for (path, text) in files {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    tar.into_inner().unwrap().finish().unwrap()
}

/// Locks and fetches.
fn update(small: &Small) {
    let place = format!("registry.test={}", small.server.url(""));
    for what in ["lock", "fetch"] {
        succeed(small.command(what).args(["--source", &place]));
    }
}

/// The digests of all files in a folder, by name.
fn digests(folder: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let digest = |path: &Path| digest::sha256_of(fs::File::open(path).unwrap()).unwrap().0;
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    entries.map(|path| (name(&path), digest(&path))).collect()
}

/// What an ordinary build gives.
fn ordinary(small: &Small) -> BTreeMap<String, String> {
    succeed(small.command("build").arg("--no-cache"));
    digests(&small.out())
}

/// Writes a bundle of the profile to `name`.
fn bundle(small: &Small, name: &str, more: &[&str]) -> PathBuf {
    let path = small.dir.path().join(name);
    succeed(small.command("bundle").arg("--out").arg(&path).args(more));
    path
}

/// The names of an archive's members, in their order.
fn members(archive: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(archive);
    let entries = archive.entries().unwrap();
    let path = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        entry.unwrap().path().unwrap().display().to_string()
    };
    entries.map(path).collect()
}

/// Another machine: an empty home, and nothing but the programs.
struct Site {
    home: tempfile::TempDir,
    firstboot: PathBuf,
}

impl Site {
    fn new(small: &Small) -> Self {
        let home = tempfile::tempdir().unwrap();
        let firstboot = home.path().join("firstboot");
        fs::copy(small.firstboot(), &firstboot).unwrap();
        Site { home, firstboot }
    }

    fn out(&self) -> PathBuf {
        self.home.path().join("out")
    }

    /// `seedbed build --bundle …`.
    fn build(&self, bundles: &[&Path]) -> Command {
        let mut command = seedbed(self.home.path());
        command.arg("build").arg("--offline");
        for bundle in bundles {
            command.arg("--bundle").arg(bundle);
        }
        command
            .arg("--out")
            .arg(self.out())
            .arg("--firstboot")
            .arg(&self.firstboot);
        command
    }
}

/// R007, R020: with everything in the store, neither `fetch` nor `build` asks anybody: there is nobody, and the
/// kernel is not even asked for a socket.
#[test]
fn offline_neither_asks_names_nor_connects() {
    let test = "offline_neither_asks_names_nor_connects";
    if !can_unshare(test) || !has_tool(test, "strace") {
        return;
    }
    let small = machine();
    let expected = ordinary(&small);
    let log = small.dir.path().join("trace");
    let mut fetch = seedbed(small.dir.path());
    fetch.arg("fetch").arg("--offline").arg(small.profile());
    let mut build = small.command("build");
    build.args(["--offline", "--no-cache"]);
    for command in [&fetch, &build] {
        succeed(&mut traced(command, &log));
        assert_eq!(calls(&log), [""; 0]);
    }
    assert_eq!(digests(&small.out()), expected);
}

/// R019: what is missing is named, and nobody is asked for it.
#[test]
fn offline_names_what_is_missing() {
    let small = machine();
    let lock: Value = serde_json::from_slice(&fs::read(small.lock_path()).unwrap()).unwrap();
    let images = lock["arch"]["amd64"]["images"].as_array().unwrap();
    let pulled = images.iter().find(|image| image["name"] == IMAGE).unwrap();
    let layer = pulled["pulled"]["blobs"][1]["sha256"].as_str().unwrap();
    fs::remove_file(small.store("sha256").join(layer)).unwrap();
    small.server.take_log();
    let words = ["1 of", "--offline forbids", IMAGE, layer];
    refuse(small.command("fetch").arg("--offline"), &words);
    assert_eq!(small.server.take_log(), []);
}

/// R007, R008, R009, R010: one file and the program are all that a machine without network and store needs, and the
/// image is that of an ordinary build.
#[test]
fn a_bundle_builds_the_same_image_without_a_network() {
    let test = "a_bundle_builds_the_same_image_without_a_network";
    if !can_unshare(test) {
        return;
    }
    let small = machine();
    let expected = ordinary(&small);
    let bundle = bundle(&small, "small.bundle.tar", &[]);
    let site = Site::new(&small);
    succeed(&mut isolated(&site.build(&[&bundle])));
    assert_eq!(digests(&site.out()), expected);
    let store = site.home.path().join(".cache/seedbed/store");
    assert_eq!(
        small.names(store.join("sha256")),
        [""; 0],
        "blobs were copied"
    );
}

/// R008, R032: what says which images a profile has goes along: manifests, charts and their values.
#[test]
fn a_bundle_carries_what_the_list_of_images_rests_on() {
    let small = machine();
    let deploy = small.dir.path().join("deploy");
    let put = |name: &str, text: &str| {
        let path = deploy.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let pod = |image: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nspec: {{containers: [{{name: a, image: '{image}'}}]}}\n"
        )
    };
    put("pod.yaml", &pod(IMAGE));
    put("values.yaml", &format!("image: {IMAGE}\n"));
    put("chart/Chart.yaml", "name: near\nversion: 1.0.0\n");
    put("chart/templates/pod.yaml", &pod("{{ .Values.image }}"));
    let far = archive(&[
        ("far/Chart.yaml", "name: far\nversion: 1.0.0\n"),
        ("far/templates/pod.yaml", &pod(IMAGE)),
    ]);
    let chart = Reference::parse("registry.test/charts/far:1.0.0").unwrap();
    registry::serve_chart(&small.server, &chart, &far);
    small.write(&format!(
        "{}manifests: [../../deploy/pod.yaml]
charts:
  - {{chart: ../../deploy/chart, values: [../../deploy/values.yaml]}}
  - {{chart: 'oci://{chart}'}}
",
        small.text()
    ));
    update(&small);
    let expected = ordinary(&small);

    let blob = small.store("sha256").join(digest::sha256(&far));
    fs::remove_file(&blob).unwrap();
    refuse(
        small.command("fetch").arg("--offline"),
        &["chart registry.test/charts/far:1.0.0"],
    );
    let place = format!("registry.test={}", small.server.url(""));
    succeed(small.command("fetch").args(["--source", &place]));
    assert_eq!(fs::read(&blob).unwrap(), far);
    let told = succeed(
        small
            .command("lock")
            .args(["--source", &place, "--update", IMAGE]),
    );
    assert!(told.contains("unchanged"), "{told}");

    let bundle = bundle(&small, "small.bundle.tar", &[]);
    let site = Site::new(&small);
    succeed(&mut site.build(&[&bundle]));
    assert_eq!(digests(&site.out()), expected);
}

/// R008: a bundle is a tar archive that anybody can list, its index first, and equal locks give equal bytes, in a file
/// and in a stream.
#[test]
fn equal_locks_give_equal_bundles() {
    let small = machine();
    let path = bundle(&small, "one.tar", &[]);
    let one = fs::read(&path).unwrap();
    // Another folder, umask and name of the home.
    let elsewhere = tempfile::tempdir().unwrap();
    for folder in ["profiles", "overlays"] {
        let mut copy = Command::new("cp");
        copy.arg("-r")
            .arg(small.dir.path().join(folder))
            .arg(elsewhere.path());
        copy.assert().success();
    }
    let mut again = seedbed_after("umask 077", elsewhere.path());
    again
        .arg("bundle")
        .arg(elsewhere.path().join("profiles/small"))
        .args(["--out", "-"]);
    again
        .arg("--store")
        .arg(small.dir.path().join(".cache/seedbed/store"));
    let again = again.output().unwrap();
    assert!(
        again.status.success() && again.stdout == one,
        "the stream is another"
    );

    let names = members(&one);
    let before_blobs: Vec<&str> = names
        .iter()
        .map(String::as_str)
        .take_while(|name| !name.starts_with("blobs/"))
        .collect();
    let expected = [
        "bundle.json",
        "profile.lock",
        "profile/overlays/",
        "profile/overlays/base/",
        "profile/overlays/base/etc/",
        "profile/overlays/base/etc/empty/",
        "profile/overlays/base/etc/link",
        "profile/overlays/base/etc/name.j2",
        "profile/overlays/base/etc/run",
        "profile/profiles/",
        "profile/profiles/shared/",
        "profile/profiles/shared/profile.yaml",
        "profile/profiles/small/",
        "profile/profiles/small/keyring.pgp",
        "profile/profiles/small/profile.yaml",
    ];
    assert_eq!(before_blobs, expected);
    let blobs: Vec<String> = names[expected.len()..].to_vec();
    let stored = small.names(small.store("sha256"));
    let stored: Vec<String> = stored
        .iter()
        .map(|name| format!("blobs/sha256/{name}"))
        .collect();
    assert_eq!(blobs, stored);
}

/// R007, R009: a bundle since a lock holds what is new, says what it needs, and builds with that.
#[test]
fn a_bundle_since_a_lock_holds_only_what_is_new() {
    let small = machine();
    let old = small.dir.path().join("old.lock");
    fs::copy(small.lock_path(), &old).unwrap();
    let base = bundle(&small, "base.tar", &[]);
    small.put_file("tool", "a newer tool ".repeat(1000).as_bytes());
    update(&small);
    let expected = ordinary(&small);
    let new = bundle(&small, "new.tar", &["--since", old.to_str().unwrap()]);
    let length = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(length(&new) < length(&base) / 10, "{} bytes", length(&new));

    for order in [[&base, &new], [&new, &base]] {
        let site = Site::new(&small);
        succeed(&mut site.build(&order.map(PathBuf::as_path)));
        assert_eq!(digests(&site.out()), expected);
    }
    let site = Site::new(&small);
    let words = [
        "neither in the bundles nor in the store",
        "linux-image-amd64 6.12 (sha256",
        "new.tar was made --since",
        "give the bundle",
    ];
    refuse(&mut site.build(&[&new]), &words);
    assert_eq!(small.names(site.out()), [""; 0]);

    // What the store has need not be in a bundle.
    let mut import = seedbed(site.home.path());
    import.args(["fetch", "--bundle"]).arg(&base);
    let told = succeed(&mut import);
    assert!(told.contains("blobs taken from"), "{told}");
    succeed(&mut site.build(&[&new]));
    assert_eq!(digests(&site.out()), expected);
}

/// A bundle since its own lock is the profile and the lock alone, to go where a store has the blobs.
#[test]
fn a_bundle_since_its_own_lock_holds_no_blobs() {
    let small = machine();
    let expected = ordinary(&small);
    let lock = small.lock_path();
    let alone = bundle(&small, "alone.tar", &["--since", lock.to_str().unwrap()]);
    let all = bundle(&small, "all.tar", &[]);
    let names = members(&fs::read(&alone).unwrap());
    assert!(names.contains(&"profile.lock".to_owned()), "{names:?}");
    assert!(!names.iter().any(|name| name.starts_with("blobs/")));

    let site = Site::new(&small);
    let words = ["neither in the bundles nor in the store", "give the bundle"];
    refuse(&mut site.build(&[&alone]), &words);
    succeed(&mut site.build(&[&alone, &all]));
    assert_eq!(digests(&site.out()), expected);

    let site = Site::new(&small);
    let mut import = seedbed(site.home.path());
    succeed(import.args(["fetch", "--bundle"]).arg(&all));
    succeed(&mut site.build(&[&alone]));
    assert_eq!(digests(&site.out()), expected);
}

/// The profile and its lock travel as one small file, and a registry has the rest.
#[test]
fn a_bundle_without_blobs_builds_from_a_remote_store() {
    let Some(registry) = DockerRegistry::start(Setup::default()) else {
        let test = "a_bundle_without_blobs_builds_from_a_remote_store";
        return support::skip(test, "docker-registry is not installed");
    };
    let small = machine();
    let expected = ordinary(&small);
    let lock = small.lock_path();
    let alone = bundle(&small, "alone.tar", &["--since", lock.to_str().unwrap()]);
    let site = Site::new(&small);
    let from_registry = |place: &str| {
        let mut build = seedbed(site.home.path());
        build.args(["build", "--remote-store", place, "--bundle"]);
        build.arg(&alone).arg("--out").arg(site.out());
        build.arg("--firstboot").arg(&site.firstboot);
        build
    };
    let place = format!("{}/team/store", registry.host());
    refuse(&mut from_registry(&place), &["is not in the store"]);
    let mut fill = seedbed(small.dir.path());
    fill.args(["fetch", "--remote-store", &place]);
    succeed(fill.arg(small.profile()));
    succeed(&mut from_registry(&place));
    assert_eq!(digests(&site.out()), expected);
}

/// R010: a bundle can be taken into a store while it arrives.
#[test]
fn a_bundle_fills_a_store_from_a_stream() {
    let small = machine();
    let bytes = fs::read(bundle(&small, "small.tar", &[])).unwrap();
    let site = Site::new(&small);
    let import = |bytes: &[u8]| {
        let mut import = seedbed(site.home.path());
        import.args(["fetch", "--bundle", "-"]).write_stdin(bytes);
        import
    };
    refuse(
        &mut import(&bytes[..bytes.len() / 2]),
        &["reading bundle -"],
    );
    succeed(&mut import(&bytes));
    let store = site.home.path().join(".cache/seedbed/store");
    assert_eq!(
        small.names(store.join("sha256")),
        small.names(small.store("sha256"))
    );
    let half = small.names(store.join("partial"));
    assert_eq!(half, [""; 0]);
    let again = succeed(&mut import(&bytes));
    assert!(again.starts_with("0 of "), "{again}");
}

/// R008: what became of a bundle on its way is noticed, and named.
#[test]
fn a_damaged_bundle_is_refused() {
    let small = machine();
    let path = bundle(&small, "small.tar", &[]);
    let good = fs::read(&path).unwrap();
    let site = Site::new(&small);
    let refused = |bytes: &[u8], words: &[&str]| {
        fs::write(&path, bytes).unwrap();
        refuse(&mut site.build(&[&path]), words);
        assert_eq!(small.names(site.out()), [""; 0]);
    };
    let cut = "it is cut short";
    refused(&good[..good.len() / 2], &["small.tar", cut]);
    refused(&good[..2048], &["small.tar"]);
    refused(b"", &["it is no bundle"]);
    refused(&vec![b'x'; 4096], &["it is no tar archive"]);
    let mut bad = good.clone();
    let tool = small.server.bytes("/files/tool");
    let at = good
        .windows(100)
        .position(|window| window == &tool[..100])
        .unwrap();
    bad[at] ^= 1;
    refused(
        &bad,
        &["tool is damaged in", "small.tar", "copy the bundle again"],
    );
}

/// R008: nothing half-written bears a bundle's name, and nothing damaged gets into one.
#[test]
fn a_bundle_that_fails_leaves_nothing() {
    let small = machine();
    let path = small.dir.path().join("small.tar");
    let limited = seedbed_after("ulimit -f 500; trap '' XFSZ", small.dir.path());
    let mut limited = small.give(limited, "bundle");
    refuse(
        limited.arg("--out").arg(&path),
        &["small.tar", "(os error 27)"],
    );
    let tool = digest::sha256(&small.server.bytes("/files/tool"));
    let stored = small.store("sha256").join(&tool);
    let mut bytes = fs::read(&stored).unwrap();
    bytes[7] ^= 1;
    fs::write(&stored, &bytes).unwrap();
    let damaged = ["tool is damaged in the store", "remove it"];
    refuse(small.command("bundle").arg("--out").arg(&path), &damaged);
    fs::remove_file(&stored).unwrap();
    let missing = ["1 blobs are not in the store", "tool", "run `seedbed fetch"];
    refuse(small.command("bundle").arg("--out").arg(&path), &missing);
    let left = small.names(small.dir.path().to_owned());
    assert!(
        !left.iter().any(|name| name.contains("small.tar")),
        "{left:?}"
    );
}

/// R008: a bundle that anybody made writes nowhere but into its folder, and takes no file of the host into an image.
#[test]
fn a_bundle_cannot_reach_out_of_its_folder() {
    let small = machine();
    let outside = small.dir.path().join("outside");
    fs::create_dir(&outside).unwrap();
    small.edit(
        "extends: [../shared]\n",
        &format!("extends: [../shared]\noverlays: [{}]\n", outside.display()),
    );
    update(&small);
    let words = ["outside", "absolute path"];
    refuse(small.command("bundle").args(["--out", "-"]), &words);

    small.edit(&format!("overlays: [{}]\n", outside.display()), "");
    update(&small);
    let good = fs::read(bundle(&small, "small.tar", &[])).unwrap();
    let site = Site::new(&small);
    let evil = small.dir.path().join("evil.tar");
    let check = |change: &dyn Fn(&mut tar::Builder<fs::File>), words: &[&str]| {
        let mut tar = tar::Builder::new(fs::File::create(&evil).unwrap());
        let mut archive = tar::Archive::new(good.as_slice());
        for (i, entry) in archive.entries().unwrap().enumerate() {
            let entry = entry.unwrap();
            let mut header = entry.header().clone();
            let path = entry.path().unwrap().into_owned();
            if i == 2 {
                change(&mut tar);
            }
            let target = entry.link_name().unwrap().map(|target| target.into_owned());
            match target {
                Some(target) => tar.append_link(&mut header, path, target).unwrap(),
                None => tar.append_data(&mut header, path, entry).unwrap(),
            }
        }
        tar.finish().unwrap();
        refuse(&mut site.build(&[&evil]), words);
        assert_eq!(small.names(outside.clone()), [""; 0]);
    };
    let header = |kind: tar::EntryType| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_size(0);
        header
    };
    check(
        &|tar| {
            let mut header = header(tar::EntryType::Symlink);
            tar.append_link(&mut header, "profile/overlays/base", &outside)
                .unwrap();
        },
        &["is below a link"],
    );
    check(
        &|tar| {
            let mut header = header(tar::EntryType::Regular);
            let name = b"profile/../../escaped";
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_cksum();
            tar.append(&header, std::io::empty()).unwrap();
        },
        &["would leave the folder"],
    );
}
