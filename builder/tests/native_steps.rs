//! The native steps that stand in for maintainer scripts, on a real root file system, against the files that
//! Debian's own tools left in it.

#![allow(clippy::unwrap_used)] // All of it is tests.

mod support;

use builder::initrd::{self, Options};
use builder::rootfs::elf::Priority;
use builder::rootfs::{catalog, hwdb, ldcache, libraries, modules};
use contract::partition::Arch;
use formats::tree::{Kind, Tree};
use std::io::Write;
use support::{bytes, has_tool, load, test_root};

/// Every index file of depmod, byte by byte; only the lines of `modules.symbols` may stand in another order.
#[test]
fn the_module_index_is_depmods() {
    let Some(root) = test_root("the_module_index_is_depmods") else {
        return;
    };
    let referee = load(&root);
    let mut tree = referee.clone();
    for version in modules::versions(&referee) {
        let directory = modules::directory(&version);
        let names: Vec<String> = referee.children(&directory).map(|(name, _)| name).collect();
        let written = |name: &&String| name.ends_with(".bin") || WRITTEN.contains(&name.as_str());
        for name in names.iter().filter(written) {
            assert!(tree.remove(&format!("{directory}/{name}")));
        }
        modules::write_index(&mut tree, &version).unwrap();
        for name in names.iter().filter(written) {
            let path = format!("{directory}/{name}");
            let (ours, theirs) = (bytes(&tree, &path), bytes(&referee, &path));
            if name == "modules.symbols" {
                assert_eq!(sorted_lines(&ours), sorted_lines(&theirs), "{path}");
            } else {
                assert!(
                    ours == theirs,
                    "{path} differs: {} bytes here, {} there",
                    ours.len(),
                    theirs.len()
                );
            }
        }
    }
}

const WRITTEN: [&str; 6] = [
    "modules.dep",
    "modules.alias",
    "modules.softdep",
    "modules.weakdep",
    "modules.symbols",
    "modules.devname",
];

fn sorted_lines(bytes: &[u8]) -> Vec<String> {
    let mut lines: Vec<String> = String::from_utf8_lossy(bytes)
        .lines()
        .map(str::to_owned)
        .collect();
    lines.sort();
    lines
}

/// systemd-hwdb's file, byte by byte.
#[test]
fn the_hardware_database_is_systemds() {
    let Some(root) = test_root("the_hardware_database_is_systemds") else {
        return;
    };
    let referee = load(&root);
    let mut tree = referee.clone();
    assert!(tree.remove(hwdb::PATH));
    let database = hwdb::render(&hwdb::sources(&tree)).unwrap().unwrap();
    hwdb::place(&mut tree, database).unwrap();
    same(&tree, &referee, hwdb::PATH);
}

/// journalctl's file, byte by byte.
#[test]
fn the_message_catalog_is_systemds() {
    let Some(root) = test_root("the_message_catalog_is_systemds") else {
        return;
    };
    let referee = load(&root);
    let mut tree = referee.clone();
    assert!(tree.remove(catalog::PATH));
    catalog::write(&mut tree).unwrap();
    same(&tree, &referee, catalog::PATH);
}

/// ldconfig's cache up to the extensions, the first of which names the program that wrote it; and its links.
#[test]
fn the_loaders_cache_is_ldconfigs() {
    let Some(root) = test_root("the_loaders_cache_is_ldconfigs") else {
        return;
    };
    let referee = load(&root);
    let mut tree = referee.clone();
    assert!(tree.remove(ldcache::PATH));
    ldcache::write(&mut tree, Arch::Amd64).unwrap();
    let (ours, theirs) = (bytes(&tree, ldcache::PATH), bytes(&referee, ldcache::PATH));
    let extensions = u32::from_le_bytes(theirs[32..36].try_into().unwrap()) as usize;
    assert!(
        ours[..extensions] == theirs[..extensions],
        "{} differs",
        ldcache::PATH
    );
    let paths = |tree: &Tree| tree.iter().map(|(path, _)| path).collect::<Vec<_>>();
    assert_eq!(paths(&tree), paths(&referee));
}

/// What a root file system rarely has: `glibc-hwcaps`, a missing link, a stale one, two versions of a library.
#[test]
fn rare_libraries_are_cached_as_ldconfig_does() {
    let test = "rare_libraries_are_cached_as_ldconfig_does";
    if !has_tool(test, "ldconfig") {
        return;
    }
    // Any two libraries with a SONAME serve; these are on every host that can build this.
    let host = std::path::Path::new("/lib").join(Arch::Amd64.multiarch());
    let (Ok(maths), Ok(unwinder)) = (
        std::fs::read(host.join("libm.so.6")),
        std::fs::read(host.join("libgcc_s.so.1")),
    ) else {
        support::skip(test, "the host has no libm.so.6 or libgcc_s.so.1");
        return;
    };
    let top = tempfile::tempdir().unwrap();
    let put = |path: &str, bytes: &[u8]| {
        let path = top.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    put("etc/ld.so.conf", b"include /etc/ld.so.conf.d/*.conf\n");
    put("etc/ld.so.conf.d/a.conf", b"# ours\n/opt/lib/\n/missing\n");
    put("opt/lib/libm-2.9.so", &maths);
    put("opt/lib/libm-2.10.so", &maths);
    put("opt/lib/glibc-hwcaps/x86-64-v3/libm-3.so", &maths);
    put("opt/lib/glibc-hwcaps/x86-64-v2/libm-2.so", &maths);
    put("opt/lib/libscript.so", b"INPUT(libm.so)\n");
    put("usr/lib/libgcc_s.so.1", &unwinder);
    std::os::unix::fs::symlink("gone.so.1", top.path().join("usr/lib/libgone.so.1")).unwrap();
    std::os::unix::fs::symlink("usr/lib", top.path().join("lib")).unwrap();
    let mut tree = load(top.path());
    ldcache::write(&mut tree, Arch::Amd64).unwrap();

    let status = std::process::Command::new("ldconfig")
        .arg("-r")
        .arg(top.path())
        .status()
        .unwrap();
    assert!(status.success());
    let referee = load(top.path());
    let (ours, theirs) = (bytes(&tree, ldcache::PATH), bytes(&referee, ldcache::PATH));
    // Up to the length of the generator's name, and then the list of subdirectories.
    let extensions = u32::from_le_bytes(theirs[32..36].try_into().unwrap()) as usize;
    assert_eq!(ours[..extensions + 20], theirs[..extensions + 20]);
    assert_eq!(
        ours[extensions + 24..extensions + 48],
        theirs[extensions + 24..extensions + 48]
    );
    for path in ["opt/lib/libm.so.6", "usr/lib/libgone.so.1"] {
        let target = |tree: &Tree| tree.get(path).map(|node| format!("{:?}", node.kind));
        assert_eq!(target(&tree), target(&referee), "{path}");
    }
}

fn same(ours: &Tree, theirs: &Tree, path: &str) {
    let (ours, theirs) = (bytes(ours, path), bytes(theirs, path));
    let at = ours.iter().zip(&theirs).position(|(a, b)| a != b);
    assert!(
        ours == theirs,
        "{path} differs at {at:?}: {} bytes here, {} there",
        ours.len(),
        theirs.len()
    );
}

/// Every link of the initrd leads somewhere, every program that a unit starts is there, and so is every library.
/// Builds the initrd of the newest kernel; `SEEDBED_TEST_INITRD` keeps it as a compressed archive.
#[test]
fn the_initrd_is_complete_and_small() {
    let Some(root) = test_root("the_initrd_is_complete_and_small") else {
        return;
    };
    let tree = load(&root);
    let version = modules::versions(&tree).pop().unwrap();
    let options = Options {
        arch: Arch::Amd64,
        modules: initrd::MODULES,
        extra: None,
    };
    let built = initrd::build(&tree, &version, &options).unwrap();
    for (path, node) in built.iter() {
        match &node.kind {
            Kind::Symlink(_) => assert!(exists(&built, &path), "{path} leads nowhere"),
            Kind::File(_) if path.starts_with("usr/lib/systemd/system/") => {
                for program in programs(&bytes(&built, &path)) {
                    let found = ["", "usr/bin/", "usr/sbin/"].map(|top| format!("{top}{program}"));
                    assert!(
                        found.iter().any(|path| exists(&built, path)),
                        "{path} starts {program}"
                    );
                }
            }
            _ => {}
        }
    }
    // A private library by itself need not find its neighbours; programs find all of theirs.
    let is_program =
        |path: &String| !path.starts_with("usr/lib/x86_64-linux-gnu") && exists(&built, path);
    let all: Vec<String> = built
        .iter()
        .map(|(path, _)| path)
        .filter(is_program)
        .collect();
    libraries::closure(
        &built,
        all.iter().map(String::as_str),
        Some(Priority::Required),
    )
    .unwrap();

    let archive = compress(&built);
    println!(
        "{} entries, {} bytes compressed",
        built.len(),
        archive.len()
    );
    assert!(archive.len() < 25 << 20, "{} bytes", archive.len());
    if let Some(path) = std::env::var_os("SEEDBED_TEST_INITRD") {
        std::fs::write(path, archive).unwrap();
    }
}

fn exists(tree: &Tree, path: &str) -> bool {
    tree.resolve(path)
        .and_then(|path| tree.get(&path))
        .is_some()
}

/// The programs of a unit's `Exec…=` lines, without a leading slash and systemd's prefixes.
fn programs(unit: &[u8]) -> Vec<String> {
    let unit = String::from_utf8_lossy(unit).into_owned();
    let lines = unit.lines().filter(|line| line.starts_with("Exec"));
    let commands = lines.filter_map(|line| line.split_once('=')?.1.split_whitespace().next());
    commands
        .map(|command| {
            command
                .trim_start_matches(['-', '+', '!', '@', ':', '/'])
                .to_owned()
        })
        .collect()
}

fn compress(tree: &Tree) -> Vec<u8> {
    let mut out = zstd::Encoder::new(Vec::new(), 9).unwrap();
    formats::cpio::write(tree, &mut out, formats::cpio::Padding::Word).unwrap();
    out.flush().unwrap();
    out.finish().unwrap()
}
