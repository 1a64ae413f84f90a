//! The composed root file system against the same packages installed by mmdebstrap: type, mode, owner,
//! capabilities and link target of every path, and the content of regular files. What differs must match a
//! line of `docs/rootfs-differences.md`, which says why.
//!
//! Needs mmdebstrap and a Debian mirror, and says `SKIP` without; the packages compared are the very files
//! that mmdebstrap downloaded.

#![allow(clippy::unwrap_used, reason = "a test that fails to unwrap has failed")]

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
mod support;

use builder::cache::files::Kept;
use builder::cache::{Cache, Key, Out};
use builder::rootfs::{self, unpack};
use formats::tree::{Content, Kind, Tree};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use support::has_tool;

const TEST: &str = "the_tree_is_what_mmdebstrap_installs";
const PACKAGES: &str = "systemd,systemd-sysv,systemd-boot-efi,systemd-repart,udev,dbus,linux-image-amd64,containerd,\
    runc,containernetworking-plugins,etcd-server,etcd-client,iptables,nftables,conntrack,socat,ebtables,ethtool,ipset,\
    ipvsadm,iproute2,kmod,ca-certificates,procps,e2fsprogs,dosfstools,util-linux,mount,cryptsetup-bin,\
    systemd-cryptsetup,chrony,tzdata";
const ARCHIVES: &str = "var/cache/apt/archives/";
const EPOCH: i64 = 1_700_000_000;

/// One path as a line of text, with owners by name: their numbers depend on the order of installation.
type Listing = BTreeMap<String, String>;

#[test]
fn the_tree_is_what_mmdebstrap_installs() {
    if !has_tool(TEST, "mmdebstrap") {
        return;
    }
    let scratch = tempfile::tempdir().unwrap();
    let tar = scratch.path().join("root.tar");
    let status = Command::new("mmdebstrap")
        .args(["--quiet", "--variant=essential", "--format=tar", "trixie"])
        .args([
            "--aptopt=APT::Install-Recommends \"false\"",
            "--skip=essential/unlink,cleanup/apt/cache",
        ])
        .arg(format!("--include={PACKAGES}"))
        .arg(&tar)
        .status()
        .unwrap();
    if !status.success() {
        assert!(std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"));
        println!(
            "SKIP {TEST}: mmdebstrap could not install the packages; is a mirror within reach?"
        );
        return;
    }
    let (theirs, debs) = read_installed(&tar, scratch.path());
    assert!(debs.len() > 150, "only {} packages were kept", debs.len());
    let (mut tree, packages) = rootfs::unpack_unchecked(&debs, &[], &[]).unwrap();
    rootfs::configure_all(
        &mut tree,
        &packages,
        contract::partition::Arch::Amd64,
        EPOCH,
        Kept {
            cache: &Cache::none(),
            scratch: scratch.path(),
        },
    )
    .unwrap();
    let differences = compare(&list(&tree), &theirs);
    let unexplained: Vec<&String> = differences
        .iter()
        .filter(|(path, _)| !is_explained(path))
        .map(|(_, line)| line)
        .collect();
    for line in &unexplained {
        println!("{line}");
    }
    assert!(
        unexplained.is_empty(),
        "{} of {} differences are not in docs/rootfs-differences.md",
        unexplained.len(),
        differences.len()
    );
}

/// The listing of an installed system, and the packages that it was installed from.
fn read_installed(path: &Path, scratch: &Path) -> (Listing, Vec<(String, Content)>) {
    let mut listing = Listing::new();
    let mut debs = Vec::new();
    let mut accounts = BTreeMap::new();
    let mut archive = tar::Archive::new(File::open(path).unwrap());
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = String::from_utf8(entry.path_bytes().into_owned()).unwrap();
        let path = path.trim_start_matches("./").trim_matches('/').to_owned();
        if path.starts_with(ARCHIVES) && path.ends_with(".deb") {
            let name = path[ARCHIVES.len()..].split('_').next().unwrap().to_owned();
            let mut package = Vec::new();
            entry.read_to_end(&mut package).unwrap();
            let expand = |out: &mut Out<'_>| unpack::expand(&package.into(), out);
            let key = Key::of(&name).key();
            let expanded = Cache::none().put(&key, scratch, expand).unwrap();
            debs.push((name, expanded));
        } else if !path.is_empty() {
            let (line, content) = describe_entry(&mut entry, &listing);
            if path == "etc/passwd" || path == "etc/group" {
                accounts.insert(path.clone(), String::from_utf8(content).unwrap());
            }
            listing.insert(path, line);
        }
    }
    let (users, groups) = (
        installed_names(&accounts["etc/passwd"]),
        installed_names(&accounts["etc/group"]),
    );
    for line in listing.values_mut() {
        let named = line.split(' ').map(|word| match word.strip_prefix('#') {
            Some(owner) => {
                let (user, group) = owner.split_once(':').unwrap();
                format!("{}:{}", users[user], groups[group])
            }
            None => word.to_owned(),
        });
        *line = named.collect::<Vec<_>>().join(" ");
    }
    (listing, debs)
}

/// Names by number, of a passwd or group file: mmdebstrap's archives carry numbers alone.
fn installed_names(text: &str) -> BTreeMap<String, String> {
    let fields = |line: &str| {
        let fields: Vec<&str> = line.split(':').collect();
        (fields[2].to_owned(), fields[0].to_owned())
    };
    text.lines().map(fields).collect()
}

/// An entry as a line, with its owners as `#uid:gid`, and its bytes.
fn describe_entry(entry: &mut tar::Entry<'_, File>, listing: &Listing) -> (String, Vec<u8>) {
    let mut capability = String::new();
    if let Some(extensions) = entry.pax_extensions().unwrap() {
        for extension in extensions.map(Result::unwrap) {
            if extension.key() == Ok("SCHILY.xattr.security.capability") {
                capability = builder::digest::hex(extension.value_bytes());
            }
        }
    }
    let header = entry.header().clone();
    let (user, group) = (header.uid().unwrap(), header.gid().unwrap());
    let mut bytes = Vec::new();
    let mode = header.mode().unwrap() & 0o7777;
    let link = || {
        let link = entry.link_name_bytes().unwrap_or_default().into_owned();
        String::from_utf8(link).unwrap()
    };
    let what = match header.entry_type() {
        tar::EntryType::Directory => "directory".to_owned(),
        tar::EntryType::Symlink => return (format!("link to {}", link()), bytes),
        tar::EntryType::Link => {
            let target = link();
            return (listing[target.trim_start_matches("./")].clone(), bytes);
        }
        tar::EntryType::Regular => {
            entry.read_to_end(&mut bytes).unwrap();
            format!("file {}", builder::digest::sha256(&bytes))
        }
        other => format!("{other:?}"),
    };
    (
        format!("{what} {mode:o} #{user}:{group} {capability}"),
        bytes,
    )
}

/// The listing of a composed tree.
fn list(tree: &Tree) -> Listing {
    let (users, groups) = (names(tree, "etc/passwd"), names(tree, "etc/group"));
    let describe = |(path, node): (String, &formats::tree::Node)| {
        let what = match &node.kind {
            Kind::Directory => "directory".to_owned(),
            Kind::Symlink(target) => return (path, format!("link to {target}")),
            Kind::File(content) => {
                format!(
                    "file {}",
                    builder::digest::sha256_of(content.reader()).unwrap().0
                )
            }
            other => format!("{other:?}"),
        };
        let xattr = node.meta.xattrs.get("security.capability");
        let capability = xattr.map_or(String::new(), |value| builder::digest::hex(value));
        let name = |names: &BTreeMap<u32, String>, id| {
            names.get(&id).cloned().unwrap_or_else(|| id.to_string())
        };
        let (user, group) = (name(&users, node.meta.uid), name(&groups, node.meta.gid));
        let line = format!("{what} {:o} {user}:{group} {capability}", node.meta.mode);
        (path, line)
    };
    tree.iter()
        .filter(|(path, _)| !path.is_empty())
        .map(describe)
        .collect()
}

fn names(tree: &Tree, path: &str) -> BTreeMap<u32, String> {
    let text = String::from_utf8(support::bytes(tree, path)).unwrap();
    let name = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next().unwrap().to_owned();
        (fields.nth(1).unwrap().parse().unwrap(), name)
    };
    text.lines().map(name).collect()
}

fn compare(ours: &Listing, theirs: &Listing) -> BTreeMap<String, String> {
    let paths = ours.keys().chain(theirs.keys());
    let line = |listing: &Listing, path| listing.get(path).cloned().unwrap_or("absent".into());
    let pairs = paths.map(|path| (path.clone(), line(ours, path), line(theirs, path)));
    pairs
        .filter(|(_, ours, theirs)| ours != theirs)
        .map(|(path, ours, theirs)| {
            (
                path.clone(),
                format!("{path}\n    here:  {ours}\n    there: {theirs}"),
            )
        })
        .collect()
}

/// Whether a pattern of the table stands for the path. `*` stands for anything, `/**` for a directory and
/// all below it.
fn is_explained(path: &str) -> bool {
    let table = include_str!("../../docs/rootfs-differences.md");
    let patterns = table
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    patterns
        .into_iter()
        .any(|pattern| match pattern.strip_suffix("/**") {
            Some(directory) => path == directory || path.starts_with(&format!("{directory}/")),
            None => matches(pattern, path),
        })
}

fn matches(pattern: &str, path: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == path,
        Some((head, tail)) => path.strip_prefix(head).is_some_and(|rest| {
            (0..=rest.len()).any(|at| rest.is_char_boundary(at) && matches(tail, &rest[at..]))
        }),
    }
}

#[test]
fn a_difference_is_seen_and_a_pattern_stands_for_it() {
    let listing = |lines: &[(&str, &str)]| -> Listing {
        lines
            .iter()
            .map(|(path, line)| ((*path).to_owned(), (*line).to_owned()))
            .collect()
    };
    let ours = listing(&[("a", "file 1"), ("b", "file 2")]);
    let theirs = listing(&[("a", "file 1"), ("c", "file 3")]);
    let found = compare(&ours, &theirs);
    assert_eq!(found["b"], "b\n    here:  file 2\n    there: absent");
    assert_eq!(found.keys().collect::<Vec<_>>(), ["b", "c"]);
    assert!(matches("a/*.x", "a/b/c.x") && !matches("a/*.x", "a/b.y"));
}
