//! The profile that users take, locked and fetched from servers on the loopback device that serve upstream's
//! layouts: signed archives, checksum files, redirections, registries with and without tokens.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use assert_cmd::Command;
use builder::images::reference::Reference;
use builder::lock::{self, ArchLock, Lock};
use builder::store::Store;
use builder::{digest, fetch, profile};
use contract::partition::Arch;
use loopback::command::{refuse, seedbed, succeed};
use loopback::registry::{self, blob_path, manifest_path};
use loopback::upstream::{UPDATED, Upstream};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

const BOTH: [Arch; 2] = [Arch::Amd64, Arch::Arm64];

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../profiles/kubernetes")
}

fn upstream() -> Upstream {
    Upstream::serve(&shipped())
}

/// `seedbed lock` or `seedbed fetch` of the profile, at upstream's places.
fn command(upstream: &Upstream, what: &str) -> Command {
    let mut command = seedbed(upstream.dir.path());
    command.args([what.as_ref(), upstream.folder().as_os_str()]);
    command.args(upstream.sources());
    command
}

fn locked(upstream: &Upstream) -> Lock {
    succeed(&mut command(upstream, "lock"));
    lock::read(&upstream.profile).unwrap()
}

fn amd64(lock: &Lock) -> &ArchLock {
    &lock.arch[&Arch::Amd64]
}

fn lock_path(upstream: &Upstream) -> PathBuf {
    lock::path(&upstream.profile)
}

fn store(upstream: &Upstream) -> Store {
    Store::open(&upstream.dir.path().join(".cache/seedbed/store")).unwrap()
}

#[test]
fn the_shipped_profile_is_good_and_of_one_version() {
    let profile = profile::read(&shipped()).unwrap();
    let prefix = format!("{}/kube-", profile.image_repository);
    let parts = profile.parts(Arch::Amd64);
    let kube = parts.images.iter().filter(|i| i.name.starts_with(&prefix));
    let versions: BTreeSet<String> = kube
        .map(|image| Reference::parse(&image.name).unwrap().tag)
        .collect();
    assert_eq!(versions, BTreeSet::from([profile.kubernetes.clone()]));
    for overlay in &parts.overlays {
        assert!(overlay.is_dir(), "{}", overlay.display());
    }
    let home = tempfile::tempdir().unwrap();
    succeed(seedbed(home.path()).arg("check").arg(shipped()));
}

#[test]
fn packages_are_locked_as_the_signed_archives_have_them() {
    let upstream = upstream();
    let lock = locked(&upstream);
    let packages = &amd64(&lock).packages;
    let names: BTreeSet<&str> = packages.iter().map(|p| p.name.as_str()).collect();
    let parts = upstream.profile.parts(Arch::Amd64);
    let wanted = parts.packages.iter().map(String::as_str);
    assert_eq!(names, wanted.chain(["needed-by-the-last"]).collect());
    for package in packages {
        let suite = upstream.profile.sources[&package.archive]
            .debian
            .as_ref()
            .unwrap();
        let bytes = &upstream.archives[suite.suites().next().unwrap()].files[&package.path];
        assert_eq!(package.sha256, digest::sha256(bytes), "{}", package.name);
        assert_eq!(package.size, bytes.len() as u64, "{}", package.name);
        let updated = package.name == UPDATED;
        assert_eq!(
            package.archive == "debian-security",
            updated,
            "{}",
            package.name
        );
    }
    assert_eq!(lock.epoch, u64::try_from(loopback::DATE).unwrap());
}

#[test]
fn files_are_locked_by_their_published_digests() {
    let upstream = upstream();
    let lock = locked(&upstream);
    let files = &amd64(&lock).files;
    let parts = upstream.profile.parts(Arch::Amd64);
    assert_eq!(files.len(), parts.files.len());
    for file in files {
        let mut entries = parts.files.iter();
        let entry = entries.find(|entry| entry.to == file.to).unwrap();
        let (sha256, size) = &upstream.files[&file.path];
        assert_eq!((&file.sha256, &file.size), (sha256, size), "{}", file.to);
        assert_eq!(file.source, entry.from);
        assert_eq!(file.member.is_some(), entry.member.is_some(), "{}", file.to);
        assert!(!file.path.contains("{{"), "{}", file.path);
    }
}

#[test]
fn images_are_locked_for_the_architecture_from_the_index() {
    let upstream = upstream();
    let lock = locked(&upstream);
    let images = &amd64(&lock).images;
    assert_eq!(images.len(), upstream.images.len());
    for image in images {
        let served = &upstream.images[&image.name];
        let pulled = image.pulled.as_ref().unwrap();
        assert_eq!(pulled.manifest.sha256, served.manifest, "{}", image.name);
        let blobs: Vec<_> = pulled.blobs.iter().map(|b| (&b.sha256, b.size)).collect();
        let expected: Vec<_> = served
            .blobs
            .iter()
            .map(|(s, b)| (s, b.len() as u64))
            .collect();
        assert_eq!(blobs, expected, "{}", image.name);
    }
}

#[test]
fn both_architectures_have_the_same_components() {
    let upstream = upstream();
    let lock = locked(&upstream);
    assert_eq!(lock.arch.keys().copied().collect::<Vec<_>>(), BOTH);
    let components = |arch: Arch| {
        let part = &lock.arch[&arch];
        let general = |name: &String| name.replace(arch.as_str(), "ARCH");
        let packages = part.packages.iter().map(|package| general(&package.name));
        let files = part.files.iter().map(|file| general(&file.path));
        let images = part.images.iter().map(|image| image.name.clone());
        packages.chain(files).chain(images).collect::<Vec<_>>()
    };
    assert_eq!(components(Arch::Amd64), components(Arch::Arm64));
}

#[test]
fn one_architecture_is_locked_and_fetched_alone_and_the_other_stays() {
    let upstream = upstream();
    let both = locked(&upstream);
    let read = || lock::read(&upstream.profile).unwrap();
    let one = ["--arch", "arm64"];
    succeed(command(&upstream, "lock").args(one));
    assert_eq!(read(), both);
    fs::remove_file(lock_path(&upstream)).unwrap();
    succeed(command(&upstream, "lock").args(one));
    assert_eq!(read().arch.keys().collect::<Vec<_>>(), [&Arch::Arm64]);
    refuse(
        &mut command(&upstream, "fetch"),
        &["nothing for amd64", "--arch amd64"],
    );
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    succeed(
        command(&upstream, "fetch")
            .args(one)
            .arg("--store")
            .arg(&dir),
    );
    let store = Store::open(&dir).unwrap();
    for item in fetch::plan(&both, &[Arch::Arm64]) {
        store.open_verified(&item.sha256, &item.name).unwrap();
    }
    succeed(command(&upstream, "lock").args(["--arch", "amd64"]));
    assert_eq!(read(), both);
    // What another text of the profile gave does not stay.
    let path = upstream.folder().join("profile.yaml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}\n# changed\n")).unwrap();
    succeed(command(&upstream, "lock").args(one));
    let changed = lock::read(&profile::read(&upstream.folder()).unwrap()).unwrap();
    assert_eq!(changed.arch.keys().collect::<Vec<_>>(), [&Arch::Arm64]);
}

#[test]
fn locking_twice_gives_the_same_text() {
    let upstream = upstream();
    locked(&upstream);
    let before = fs::read(lock_path(&upstream)).unwrap();
    let said = succeed(&mut command(&upstream, "lock"));
    assert!(said.contains("unchanged"), "{said}");
    succeed(command(&upstream, "lock").arg("--check"));
    // Another home, another store, no lock before: the same bytes.
    fs::remove_file(lock_path(&upstream)).unwrap();
    let home = tempfile::tempdir().unwrap();
    succeed(command(&upstream, "lock").env("HOME", home.path()));
    assert_eq!(fs::read(lock_path(&upstream)).unwrap(), before);
}

#[test]
fn a_second_fetch_asks_nothing() {
    let upstream = upstream();
    let lock = locked(&upstream);
    // In an empty home, so that nothing is there from locking.
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    let mut first = command(&upstream, "fetch");
    succeed(first.arg("--store").arg(&dir));
    let store = Store::open(&dir).unwrap();
    let items = fetch::plan(&lock, &BOTH);
    let images = lock.arch.values().flat_map(|part| &part.images);
    let pulled = images.filter_map(|image| image.pulled.as_ref());
    let blobs = pulled.flat_map(|image| std::iter::once(&image.manifest).chain(&image.blobs));
    let all: BTreeSet<&str> = items
        .iter()
        .map(|item| item.sha256.as_str())
        .chain(blobs.map(|blob| blob.sha256.as_str()))
        .collect();
    for sha256 in &all {
        store.open_verified(sha256, "a blob").unwrap();
    }
    let names = |part: &str| fs::read_dir(dir.join(part)).unwrap().count();
    assert_eq!((names("sha256"), names("partial")), (all.len(), 0));

    upstream.site.take_log();
    upstream.hub.take_log();
    succeed(command(&upstream, "fetch").arg("--store").arg(&dir));
    assert_eq!(upstream.site.take_log(), []);
    assert_eq!(upstream.hub.take_log(), []);
}

#[test]
fn fetches_at_the_same_time_share_the_work() {
    let upstream = upstream();
    let lock = locked(&upstream);
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("store");
    upstream.site.take_log();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| succeed(command(&upstream, "fetch").arg("--store").arg(&dir)));
        }
    });
    for item in fetch::plan(&lock, &[Arch::Amd64]) {
        let store = Store::open(&dir).unwrap();
        store.open_verified(&item.sha256, &item.name).unwrap();
    }
    assert_eq!(fs::read_dir(dir.join("partial")).unwrap().count(), 0);
    let mut asked = upstream.site.take_log();
    // Manifests are read before they are stored, and registries greet each client.
    asked.retain(|asked| !asked.path.contains("/manifests/") && asked.path != "/v2/");
    let count = asked.len();
    asked.sort_by(|a, b| a.path.cmp(&b.path));
    asked.dedup();
    assert_eq!(asked.len(), count, "something was fetched twice");
}

#[test]
fn an_image_for_another_machine_is_refused() {
    let upstream = upstream();
    let image = upstream.references().next().unwrap();
    registry::serve(&upstream.site, &image, &registry::OCI, "arm64");
    let words = [
        image.to_string(),
        "linux/arm64".into(),
        "not for linux/amd64".into(),
    ];
    refuse(
        &mut command(&upstream, "lock"),
        &words.each_ref().map(String::as_str),
    );
    assert!(!lock_path(&upstream).exists());
}

#[test]
fn a_manifest_that_its_index_does_not_name_is_refused() {
    let upstream = upstream();
    let image = upstream.references().next().unwrap();
    let digest = &upstream.images[&image.to_string()].manifest;
    let path = manifest_path(&image, digest);
    let mut bytes = upstream.site.bytes(&path);
    bytes.push(b' ');
    upstream.site.put(&path, bytes);
    refuse(
        &mut command(&upstream, "lock"),
        &[&image.to_string(), digest],
    );
    assert!(!lock_path(&upstream).exists());
}

#[test]
fn what_upstream_does_not_have_is_named() {
    let upstream = upstream();
    let image = upstream.references().next().unwrap();
    let served = upstream.images[&image.to_string()].clone();
    let index = format!("/v2/{}/manifests/{}", image.repository, image.tag);
    let kubelet = upstream
        .files
        .keys()
        .find(|path| path.ends_with("/kubelet"))
        .unwrap();
    let kubelet = format!("/kubernetes/{kubelet}");
    let name = image.to_string();
    for (path, named) in [
        (
            "/debian/dists/trixie/InRelease".to_owned(),
            "debian/dists/trixie/InRelease",
        ),
        (format!("{kubelet}.sha256"), "kubelet.sha256"),
        (kubelet, "kubelet"),
        (index, &name),
        (manifest_path(&image, &served.manifest), &name),
        (blob_path(&image, &served.blobs[0].0), &name),
    ] {
        let answer = upstream.site.remove(&path);
        refuse(&mut command(&upstream, "lock"), &[named, "404"]);
        assert!(!lock_path(&upstream).exists(), "{path}");
        upstream.site.answer(&path, answer);
    }
    locked(&upstream);
}

#[test]
fn a_layer_that_breaks_off_is_resumed() {
    let upstream = upstream();
    locked(&upstream);
    let image = upstream.references().last().unwrap();
    assert_eq!(image.registry, "docker.io");
    let (sha256, _) = &upstream.images[&image.to_string()].blobs[1];
    let path = blob_path(&image, sha256);
    upstream.hub.cut(&path, 1000, 1);
    upstream.hub.take_log();
    succeed(&mut command(&upstream, "fetch"));
    let asked = upstream.hub.take_log();
    let ranges: Vec<_> = asked
        .iter()
        // Not those that were only told to bring a token.
        .filter(|asked| asked.path == path && asked.authorization.is_some())
        .map(|asked| asked.range.clone())
        .collect();
    assert_eq!(ranges, [None, Some("bytes=1000-".to_owned())]);
    store(&upstream).open_verified(sha256, "the layer").unwrap();
}

#[test]
fn a_layer_that_always_breaks_off_stays_for_the_next_run() {
    let upstream = upstream();
    locked(&upstream);
    let image = upstream.references().last().unwrap();
    let (sha256, _) = &upstream.images[&image.to_string()].blobs[1];
    let path = blob_path(&image, sha256);
    upstream.hub.cut(&path, 10, usize::MAX);
    refuse(
        &mut command(&upstream, "fetch"),
        &[&image.to_string(), sha256],
    );
    let store = store(&upstream);
    assert!(!store.path(sha256).exists());
    let partial = upstream
        .dir
        .path()
        .join(".cache/seedbed/store/partial")
        .join(sha256);
    assert!(fs::metadata(partial).unwrap().len() >= 10);
    upstream.hub.cut(&path, 0, 0);
    succeed(&mut command(&upstream, "fetch"));
    store.open_verified(sha256, "the layer").unwrap();
}

#[test]
fn a_layer_starts_again_where_the_registry_knows_no_ranges() {
    let upstream = upstream();
    locked(&upstream);
    let image = upstream.references().last().unwrap();
    let (sha256, bytes) = &upstream.images[&image.to_string()].blobs[1];
    upstream.hub.cut(&blob_path(&image, sha256), 1000, 1);
    upstream.hub.ignore_ranges();
    succeed(&mut command(&upstream, "fetch"));
    assert_eq!(&fs::read(store(&upstream).path(sha256)).unwrap(), bytes);
}

#[test]
fn a_layer_with_other_bytes_is_not_kept() {
    let upstream = upstream();
    locked(&upstream);
    let image = upstream.references().last().unwrap();
    let (sha256, good) = &upstream.images[&image.to_string()].blobs[1];
    let path = blob_path(&image, sha256);
    let mut evil = good.clone();
    evil[5] ^= 1;
    upstream.hub.put(&path, evil);
    let name = image.to_string();
    let words = [name.as_str(), sha256, "is not what was locked"];
    refuse(&mut command(&upstream, "fetch"), &words);
    assert!(!store(&upstream).path(sha256).exists());
    upstream.hub.put(&path, good.clone());
    succeed(&mut command(&upstream, "fetch"));
    assert_eq!(&fs::read(store(&upstream).path(sha256)).unwrap(), good);
}
