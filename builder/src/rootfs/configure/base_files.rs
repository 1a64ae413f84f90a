//! Directories, links and first files of a Debian system. Stands for the postinst of base-files, libc-bin,
//! libpam-modules, libwrap0, netbase (without `/etc/hosts`, which [`names`](super::names) writes), kmod,
//! initramfs-tools-core, nfs-common (the state of statd), openssl, Python (its folders in `/usr/local`),
//! readline-common, smartmontools, systemd (the journal's directory), tzdata and ucf.

use crate::rootfs::configure::System;
use crate::rootfs::deb::Control;

/// Files copied from `/usr/share` where nothing is yet.
const COPIES: [(&str, &str); 6] = [
    ("usr/share/base-files/dot.profile", "root/.profile"),
    ("usr/share/base-files/dot.bashrc", "root/.bashrc"),
    ("usr/share/base-files/profile", "etc/profile"),
    ("usr/share/libc-bin/nsswitch.conf", "etc/nsswitch.conf"),
    ("usr/share/readline/inputrc", "etc/inputrc"),
    (
        "usr/share/smartmontools/drivedb.h",
        "var/lib/smartmontools/drivedb/drivedb.h",
    ),
];

/// Directories of base-files' postinst. `/usr/local` is root's: the file that would give it to group staff
/// is not part of an image.
const DIRECTORIES: [&str; 17] = [
    "mnt",
    "srv",
    "opt",
    "etc/opt",
    "var/opt",
    "media",
    "usr/local",
    "usr/local/bin",
    "usr/local/etc",
    "usr/local/games",
    "usr/local/include",
    "usr/local/lib",
    "usr/local/libexec",
    "usr/local/sbin",
    "usr/local/share",
    "usr/local/share/man",
    "usr/local/src",
];

const LINKS: [(&str, &str); 4] = [
    ("var/run", "/run"),
    ("var/lock", "/run/lock"),
    ("var/spool/mail", "../mail"),
    ("usr/local/man", "share/man"),
];

const NETWORKS: &str = "default\t\t0.0.0.0\nloopback\t127.0.0.0\nlink-local\t169.254.0.0\n\n";

/// Creates what is missing.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    for (from, to) in COPIES {
        system.copy_new(from, to)?;
    }
    if system.package("base-files").is_some() {
        base_files(system)?;
    }
    if system.package("libpam-modules").is_some() {
        system.put_new("etc/security/opasswd", 0o600, "")?;
        system.put_new("etc/environment", 0o644, "")?;
    }
    if system.package("netbase").is_some() {
        system.put_new("etc/networks", 0o644, NETWORKS)?;
    }
    if system.package("libwrap0").is_some() {
        // Without rules every connection is allowed, as with the comments Debian writes.
        system.put_new("etc/hosts.allow", 0o644, "")?;
        system.put_new("etc/hosts.deny", 0o644, "")?;
    }
    if system.package("nfs-common").is_some() {
        // statd counts its own starts there.
        system.put_new("var/lib/nfs/state", 0o644, "")?;
    }
    if system.package("openssl").is_some() {
        system.link_new("usr/lib/ssl", "/etc/ssl")?;
    }
    if system.package("systemd").is_some() {
        // Its presence makes the journal persistent.
        system.directory_new("var/log/journal", 0o755)?;
    }
    for python in pythons(system.controls) {
        system.directory_new(&format!("usr/local/lib/{python}"), 0o755)?;
        system.directory_new(&format!("usr/local/lib/{python}/dist-packages"), 0o755)?;
    }
    Ok(())
}

/// The names of the Python interpreters there are, such as `python3.13`.
fn pythons(controls: &[Control]) -> impl Iterator<Item = &str> {
    controls.iter().filter_map(|control| {
        let name = control.package().strip_suffix("-minimal")?;
        name.starts_with("python3.").then_some(name)
    })
}

fn base_files(system: &mut System<'_>) -> anyhow::Result<()> {
    if system.exists("etc/dpkg/origins/debian") {
        system.link_new("etc/dpkg/origins/default", "debian")?;
    }
    for path in DIRECTORIES {
        system.directory_new(path, 0o755)?;
    }
    system.directory_new("run/lock", 0o1777)?;
    system.directory_new("var/mail", 0o2775)?;
    if let Some(node) = system.tree.get_mut("var/mail") {
        node.meta.gid = MAIL;
    }
    for (path, target) in LINKS {
        let is_link = system
            .tree
            .get(path)
            .is_some_and(|n| matches!(n.kind, formats::tree::Kind::Symlink(_)));
        if !is_link && system.tree.children(path).next().is_none() {
            system.tree.remove(path);
            system.link(path, target)?;
        }
    }
    for (path, mode) in [
        ("var/log/wtmp", 0o664),
        ("var/log/btmp", 0o660),
        ("var/log/lastlog", 0o664),
    ] {
        system.put_new(path, mode, "")?;
        if let Some(node) = system.tree.get_mut(path) {
            node.meta.gid = UTMP;
        }
    }
    Ok(())
}

/// Groups whose numbers are the same on every Debian system.
const MAIL: u32 = 8;
const UTMP: u32 = 43;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{package, run, text, tree};
    use formats::tree::Kind;

    #[test]
    fn python_has_a_place_for_local_packages() {
        let names = [
            "libpython3.13-minimal",
            "python3-minimal",
            "python3.13",
            "python3.13-minimal",
        ];
        let controls = names.map(|name| package(name, ""));
        let mut tree = tree(&[]);
        run(apply, &mut tree, &controls).unwrap();
        let made: Vec<String> = tree
            .children("usr/local/lib")
            .map(|(name, _)| name)
            .collect();
        assert_eq!(made, ["python3.13"]);
        assert!(tree.get("usr/local/lib/python3.13/dist-packages").is_some());
    }

    #[test]
    fn what_is_missing_is_made_and_what_is_there_stays() {
        let mut tree = tree(&[
            ("usr/share/base-files/profile", "profile"),
            ("usr/share/base-files/dot.bashrc", "bashrc"),
            ("etc/profile", "mine"),
            ("etc/dpkg/origins/debian", ""),
        ]);
        tree.insert_dir("var/run", 0o755).unwrap();
        run(apply, &mut tree, &[package("base-files", "")]).unwrap();
        assert_eq!(text(&tree, "etc/profile"), "mine");
        assert_eq!(text(&tree, "root/.bashrc"), "bashrc");
        assert!(
            matches!(&tree.get("var/run").unwrap().kind, Kind::Symlink(target) if target == "/run")
        );
        assert_eq!(tree.get("var/mail").unwrap().meta.gid, 8);
        assert!(tree.get("etc/networks").is_none(), "netbase is not there");
    }
}
