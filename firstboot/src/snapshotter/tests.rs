//! Plans, filters and mounts as values; the whole snapshotter on a folder, stopped between any two steps.

use std::collections::BTreeMap;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::prelude::*;

use super::disk::Disk;
use super::effects::{Effects, Real};
use super::filter::Filter;
use super::messages::Mount;
use super::model::{Failure, Kind, REF};
use super::mounts::Place;
use super::store::ChainId;
use super::*;

/// Does as many steps as it is told to, then fails at each.
#[derive(Debug)]
struct Cut(AtomicUsize);

impl Cut {
    fn after(steps: usize) -> Cut {
        Cut(AtomicUsize::new(steps))
    }

    fn step(&self) -> Result<()> {
        let left = self
            .0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |n| n.checked_sub(1));
        left.map(|_| ())
            .map_err(|_| anyhow::anyhow!("the power is off"))
    }
}

impl Effects for Cut {
    fn make_dir(&self, path: &Path, mode: u32) -> Result<()> {
        self.step()?;
        Real.make_dir(path, mode)
    }

    fn set_owner(&self, path: &Path, user: u32, group: u32) -> Result<()> {
        self.step()?;
        Real.set_owner(path, user, group)
    }

    /// Cut in the middle, it leaves half a file.
    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        if let Err(off) = self.step() {
            Real.write(path, &bytes[..bytes.len() / 2]).ok();
            return Err(off);
        }
        Real.write(path, bytes)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        self.step()?;
        Real.rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> Result<()> {
        self.step()?;
        Real.sync_dir(path)
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        self.step()?;
        Real.remove_tree(path)
    }
}

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Folder {
        Folder(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Puts a layer into the store.
    fn layer(&self, number: u32, chain: &str) {
        let place = self.path(&format!("store/layers/{number}"));
        fs::create_dir_all(&place).unwrap();
        fs::set_permissions(&place, fs::Permissions::from_mode(0o751)).unwrap();
        let chains = self.path("store/chains");
        fs::create_dir_all(&chains).unwrap();
        let link = chains.join(chain.strip_prefix("sha256:").unwrap());
        symlink(format!("../layers/{number}"), link).unwrap();
    }

    fn start<E: Effects>(&self, effects: E) -> Result<Snapshotter<E>> {
        let disk = Disk::open(&self.path("root"), effects)?;
        let paths = Paths {
            run: PathBuf::from("/run/seedbed"),
            snapshots: PathBuf::from("/data/snapshots"),
            index: true,
        };
        let clock = || Moment {
            seconds: 7,
            nanos: 9,
        };
        Snapshotter::start(Store::new(&self.path("store")), disk, paths, clock)
    }
}

fn chain(digit: char) -> String {
    format!("sha256:{}", digit.to_string().repeat(64))
}

fn labels(reference: &str) -> BTreeMap<String, String> {
    BTreeMap::from([(REF.to_owned(), reference.to_owned())])
}

fn prepare<E: Effects>(
    on: &Snapshotter<E>,
    key: &str,
    parent: &str,
) -> Result<Vec<Mount>, Failure> {
    on.make(
        Kind::Active,
        key.to_owned(),
        parent.to_owned(),
        BTreeMap::new(),
    )
}

/// As containerd's unpacker asks for a layer.
fn unpack<E: Effects>(
    on: &Snapshotter<E>,
    key: &str,
    parent: &str,
    reference: &str,
) -> Result<Vec<Mount>, Failure> {
    on.make(
        Kind::Active,
        key.to_owned(),
        parent.to_owned(),
        labels(reference),
    )
}

fn names<E: Effects>(on: &Snapshotter<E>) -> Vec<String> {
    let all = on.list(&[]).unwrap();
    all.into_iter().map(|snapshot| snapshot.name).collect()
}

#[test]
fn a_layer_of_the_store_is_committed_at_once() {
    let folder = Folder::new();
    folder.layer(12, &chain('a'));
    let on = folder.start(Real).unwrap();
    let made = unpack(&on, "ns/1/extract", "", &chain('a'));
    assert!(matches!(made, Err(Failure::Exists(_))));
    let filter = format!("labels.\"{REF}\"=={},parent==\"\"", chain('a'));
    let found = on.list(&[filter]).unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind, Kind::Committed);
    assert_eq!(
        on.usage(&found[0].name).unwrap(),
        super::model::Usage::default()
    );
    // Another namespace gets the same one.
    assert!(unpack(&on, "other/1/extract", "", &chain('a')).is_err());
    assert_eq!(names(&on).len(), 1);
    let mounts = prepare(&on, "container", &found[0].name).unwrap();
    let options = [
        "index=off",
        "workdir=/data/snapshots/2/work",
        "upperdir=/data/snapshots/2/fs",
        "lowerdir=/run/seedbed/l/12",
    ];
    assert_eq!(mounts[0].options, options);
    let mode = fs::metadata(folder.path("root/snapshots/2/fs"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o7777, 0o751);
}

#[test]
fn what_the_store_lacks_is_unpacked() {
    let folder = Folder::new();
    let on = folder.start(Real).unwrap();
    let mounts = unpack(&on, "ns/1/extract", "", &chain('b')).unwrap();
    assert_eq!(
        (mounts[0].kind.as_str(), &mounts[0].options[..]),
        ("bind", &["rw", "rbind"].map(String::from)[..])
    );
    fs::write(folder.path("root/snapshots/1/fs/file"), [0; 5000]).unwrap();
    on.commit("ns/2/b", "ns/1/extract", labels(&chain('b')))
        .unwrap();
    assert!(on.usage("ns/2/b").unwrap().bytes >= 8192);
    assert!(!folder.path("root/snapshots/1/work").exists());
    // It is there now, for everyone.
    assert!(matches!(
        unpack(&on, "x/1/y", "", &chain('b')),
        Err(Failure::Exists(_))
    ));
    let view = on.make(
        Kind::View,
        String::from("v"),
        String::from("ns/2/b"),
        BTreeMap::new(),
    );
    let view = view.unwrap();
    assert_eq!(
        (view[0].kind.as_str(), view[0].source.as_str()),
        ("bind", "/run/seedbed/s/1/fs")
    );
    assert!(matches!(on.remove("ns/2/b"), Err(Failure::HasChild { .. })));
    on.remove("v").unwrap();
    on.remove("ns/2/b").unwrap();
    assert!(names(&on).is_empty());
    assert_eq!(
        fs::read_dir(folder.path("root/snapshots")).unwrap().count(),
        0
    );
}

#[test]
fn a_layer_that_has_gone_is_named_and_never_found() {
    let folder = Folder::new();
    folder.layer(0, &chain('a'));
    let on = folder.start(Real).unwrap();
    unpack(&on, "ns/1/e", "", &chain('a')).unwrap_err();
    prepare(&on, "container", &chain('a')).unwrap();
    fs::remove_dir_all(folder.path("store/layers/0")).unwrap();
    let failure = on.mounts("container").unwrap_err().to_string();
    assert!(
        failure.contains(&chain('a')) && failure.contains("pull it again"),
        "{failure}"
    );
    assert!(matches!(
        prepare(&on, "second", &chain('a')),
        Err(Failure::LayerGone { .. })
    ));
    assert_eq!(names(&on).len(), 2, "nothing was made");
    assert!(
        on.list(&[format!("labels.\"{REF}\"=={}", chain('a'))])
            .unwrap()
            .is_empty()
    );
    // The ordinary way is open.
    unpack(&on, "ns/2/e", "", &chain('a')).unwrap();
}

#[test]
fn faults_are_told_apart() {
    let folder = Folder::new();
    let on = folder.start(Real).unwrap();
    prepare(&on, "a", "").unwrap();
    assert!(matches!(prepare(&on, "a", ""), Err(Failure::Exists(_))));
    assert!(matches!(prepare(&on, "", ""), Err(Failure::Nameless)));
    assert!(matches!(
        prepare(&on, "b", "a"),
        Err(Failure::ParentOpen { .. })
    ));
    assert!(matches!(
        prepare(&on, "b", "none"),
        Err(Failure::Missing(_))
    ));
    on.commit("c", "a", BTreeMap::new()).unwrap();
    assert!(matches!(on.mounts("c"), Err(Failure::WrongKind { .. })));
    assert!(matches!(
        on.commit("d", "c", BTreeMap::new()),
        Err(Failure::WrongKind { .. })
    ));
    assert!(matches!(on.stat("a"), Err(Failure::Missing(_))));
    let kind = [String::from("kind")];
    assert!(matches!(
        on.update("c", BTreeMap::new(), &kind),
        Err(Failure::Fixed { .. })
    ));
}

#[test]
fn labels_change_one_by_one_or_all_at_once() {
    let folder = Folder::new();
    let on = folder.start(Real).unwrap();
    prepare(&on, "a", "").unwrap();
    let pair = |key: &str, value: &str| BTreeMap::from([(key.to_owned(), value.to_owned())]);
    on.update("a", pair("x", "1"), &[]).unwrap();
    on.update("a", pair("y", "2"), &[String::from("labels.y")])
        .unwrap();
    drop(on);
    let on = folder.start(Real).unwrap();
    assert_eq!(on.stat("a").unwrap().labels.len(), 2);
    on.update("a", pair("x", ""), &[String::from("labels.x")])
        .unwrap();
    assert_eq!(on.stat("a").unwrap().labels, pair("y", "2"));
}

#[test]
fn two_snapshotters_do_not_share_a_folder() {
    let folder = Folder::new();
    let _on = folder.start(Real).unwrap();
    let error = folder.start(Real).unwrap_err();
    assert!(
        format!("{error:#}").contains("another snapshotter"),
        "{error:#}"
    );
}

#[test]
fn damage_is_left_alone_and_not_offered() {
    let folder = Folder::new();
    let on = folder.start(Real).unwrap();
    prepare(&on, "a", "").unwrap();
    on.commit("base", "a", BTreeMap::new()).unwrap();
    prepare(&on, "top", "base").unwrap();
    prepare(&on, "other", "").unwrap();
    drop(on);
    fs::write(folder.path("root/snapshots/1/snapshot.json"), "{").unwrap();
    let on = folder.start(Real).unwrap();
    assert_eq!(names(&on), ["other"]);
    assert!(folder.path("root/snapshots/1/fs").exists());
    prepare(&on, "next", "").unwrap();
    assert!(folder.path("root/snapshots/4").exists());
}

/// What containerd does, one request after another, until one fails because the power is off.
fn story(on: &Snapshotter<Cut>) -> Result<(), Failure> {
    let expected = |result: Result<Vec<Mount>, Failure>| match result {
        Err(Failure::Exists(_)) => Ok(()),
        other => other.map(|_| ()),
    };
    expected(unpack(on, "e1", "", &chain('a')))?;
    prepare(on, "container", &chain('a'))?;
    unpack(on, "e2", &chain('a'), &chain('c'))?;
    on.commit("c", "e2", labels(&chain('c')))?;
    on.update("c", BTreeMap::new(), &[])?;
    prepare(on, "second", "c")?;
    on.remove("second")?;
    on.remove("c")?;
    on.remove("container")?;
    on.remove(&chain('a'))
}

#[test]
fn a_crash_between_any_two_steps_leaves_whole_snapshots() {
    for steps in 0.. {
        let folder = Folder::new();
        folder.layer(3, &chain('a'));
        let on = folder.start(Cut::after(steps)).unwrap();
        let told = story(&on);
        let known = names(&on);
        drop(on);
        let on = folder.start(Real).unwrap();
        let found = names(&on);
        // Only the request that failed may have come through or not.
        let differ = known.iter().filter(|name| !found.contains(name)).count()
            + found.iter().filter(|name| !known.contains(name)).count();
        let allowed = if told.is_ok() { 0 } else { 2 };
        assert!(
            differ <= allowed,
            "after {steps} steps: {known:?}, then {found:?}"
        );
        let mut directories = 0;
        for entry in fs::read_dir(folder.path("root/snapshots")).unwrap() {
            let entry = entry.unwrap();
            assert!(entry.file_name().to_string_lossy().parse::<u64>().is_ok());
            directories += 1;
        }
        assert_eq!(directories, found.len());
        for snapshot in on.list(&[]).unwrap() {
            if snapshot.kind == Kind::Active {
                on.mounts(&snapshot.name).unwrap();
            }
        }
        if told.is_ok() {
            assert!(found.is_empty() && steps > 40, "{steps} steps");
            return;
        }
    }
}

#[test]
fn a_hundred_layers_fit_in_a_page() {
    let paths = Paths {
        run: PathBuf::from(RUN),
        snapshots: PathBuf::from(ROOT).join("snapshots"),
        index: true,
    };
    let layers = (0..100).map(|number| {
        let chain = ChainId::parse(&chain('a')).unwrap();
        let folder = Folder::new();
        folder.layer(900 + number, &chain.to_string());
        Place::Layer(Store::new(&folder.path("store")).find(&chain).unwrap())
    });
    let below: Vec<Place> = layers.collect();
    let mount = &paths.mounts(123_456, Kind::Active, &below)[0];
    // From 3584 bytes on containerd would shorten the names by a change of directory.
    assert!(mount.options.join(",").len() < 3584 / 2 + 512);
    let own: Vec<Place> = (0..100).map(|id| Place::Own(99_000 + id)).collect();
    let mount = &paths.mounts(123_456, Kind::View, &own)[0];
    assert!(mount.options.join(",").len() < 3584);
}

#[test]
fn only_links_to_layers_are_followed() {
    let folder = Folder::new();
    folder.layer(5, &chain('a'));
    let store = Store::new(&folder.path("store"));
    let find = |digit| store.find(&ChainId::parse(&chain(digit)).unwrap());
    assert!(find('a').is_some());
    for (digit, target) in [
        ('b', "/etc"),
        ('c', "../layers/../../x"),
        ('d', "../layers/6"),
        ('e', "../layers/6/.."),
    ] {
        symlink(
            target,
            folder
                .path("store/chains")
                .join(digit.to_string().repeat(64)),
        )
        .unwrap();
        assert_eq!(find(digit), None, "{target}");
    }
    for text in ["", "sha256:", "sha512:aa", &chain('A'), &chain('g')] {
        assert_eq!(ChainId::parse(text), None);
    }
}

/// Whether the filter matches a snapshot with these fields.
fn check(filter: &str, fields: &[(&str, &str)], expected: bool) {
    let filter = Filter::parse(filter).unwrap();
    let field = |path: &[String]| {
        let path = path.join("|");
        fields
            .iter()
            .find(|(name, _)| *name == path)
            .map(|(_, value)| *value)
    };
    assert_eq!(filter.matches(field), expected, "{filter:?}");
}

#[test]
fn filters() {
    check("", &[], true);
    check("name==a", &[("name", "a")], true);
    check(
        " name == a , parent == \"b c\" ",
        &[("name", "a"), ("parent", "b c")],
        true,
    );
    check("name==a,parent==b", &[("name", "a"), ("parent", "")], false);
    check(
        "labels.\"a.b/c\"==sha256:ab",
        &[("labels|a.b/c", "sha256:ab")],
        true,
    );
    check("labels.a.b!=x", &[], true);
    check("labels.a", &[], false);
    check(
        r#"parent=="k8s/\x41\t\u00e9\"\\""#,
        &[("parent", "k8s/A\té\"\\")],
        true,
    );
    for text in [
        "name~=a",
        "name=a",
        "name==",
        ",",
        "name==\"a",
        "name==/a/",
        "name==\"\\q\"",
        "a b",
        "==a",
    ] {
        assert!(Filter::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_filter_is_a_crash(text in ".{0,40}") {
        let _ = Filter::parse(&text);
    }

    #[test]
    fn quoted_values_come_back(value in "[ -~]{0,20}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        check(&format!("parent==\"{quoted}\""), &[("parent", &value)], true);
    }
}
