//! Owners and modes that a postinst gives to paths of its package by dpkg-statoverride(1) or chown, because
//! the account is made on the machine and the archive cannot name it.

use crate::rootfs::configure::System;

struct Override {
    package: &'static str,
    path: &'static str,
    user: &'static str,
    group: &'static str,
    mode: u16,
    /// Whether the path is a directory that is made where it is missing.
    directory: bool,
}

const OVERRIDES: [Override; 10] = [
    Override {
        package: "dbus",
        path: "usr/lib/dbus-1.0/dbus-daemon-launch-helper",
        user: "root",
        group: "messagebus",
        mode: 0o4754,
        directory: false,
    },
    ceph("var/lib/ceph", 0o750),
    ceph("var/log/ceph", 0o3770),
    statd("var/lib/nfs/sm", "nogroup", 0o755),
    statd("var/lib/nfs/sm.bak", "nogroup", 0o755),
    statd("var/lib/nfs/state", "root", 0o644),
    chrony("etc/chrony/chrony.keys", "root", 0o640, false),
    chrony("var/lib/chrony", "_chrony", 0o750, true),
    chrony("var/log/chrony", "_chrony", 0o750, true),
    Override {
        package: "etcd-server",
        path: "var/lib/etcd",
        user: "etcd",
        group: "etcd",
        mode: 0o700,
        directory: true,
    },
];

const fn ceph(path: &'static str, mode: u16) -> Override {
    Override {
        package: "ceph-common",
        path,
        user: "ceph",
        group: "ceph",
        mode,
        directory: true,
    }
}

/// What statd keeps. Its files and directories stay with the groups that chown(1) gives them.
const fn statd(path: &'static str, group: &'static str, mode: u16) -> Override {
    Override {
        package: "nfs-common",
        path,
        user: "statd",
        group,
        mode,
        directory: false,
    }
}

const fn chrony(path: &'static str, user: &'static str, mode: u16, directory: bool) -> Override {
    Override {
        package: "chrony",
        path,
        user,
        group: "_chrony",
        mode,
        directory,
    }
}

/// Applies the overrides of the packages that are there.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    for o in &OVERRIDES {
        if system.package(o.package).is_none() {
            continue;
        }
        if o.directory {
            system.directory_new(o.path, o.mode)?;
        }
        // A path that the profile excludes has no owner to set.
        if system.tree.get(o.path).is_some() {
            system.own(o.path, o.user, o.group, o.mode)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{package, run, tree};

    #[test]
    fn owners_are_set_by_name_and_a_missing_account_is_named() {
        let helper = "usr/lib/dbus-1.0/dbus-daemon-launch-helper";
        let mut tree = tree(&[
            (helper, ""),
            ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
            ("etc/group", "messagebus:x:990:\n"),
        ]);
        run(apply, &mut tree, &[package("dbus", "")]).unwrap();
        let meta = &tree.get(helper).unwrap().meta;
        assert_eq!((meta.uid, meta.gid, meta.mode), (0, 990, 0o4754));
        let error = run(apply, &mut tree, &[package("etcd-server", "")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("user etcd, to own var/lib/etcd, does not exist"),
            "{error}"
        );
    }
}
