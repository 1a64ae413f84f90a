//! Configuration files that a package ships in `/usr/share` and its postinst installs by ucf(1). On an empty
//! system ucf copies and registers; the registry serves later upgrades, which an image never sees.

use crate::rootfs::configure::System;

const FILES: [(&str, &str); 5] = [
    ("usr/share/chrony/chrony.conf", "etc/chrony/chrony.conf"),
    ("usr/share/chrony/chrony.keys", "etc/chrony/chrony.keys"),
    (
        "usr/share/nfs-common/conffiles/idmapd.conf",
        "etc/idmapd.conf",
    ),
    (
        "usr/share/nfs-common/conffiles/nfs-common.default",
        "etc/default/nfs-common",
    ),
    ("usr/share/nfs-common/conffiles/nfs.conf", "etc/nfs.conf"),
];

/// Copies each file that nothing is in place of yet.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    FILES
        .iter()
        .try_for_each(|(from, to)| system.copy_new(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{dump, run, tree};

    #[test]
    fn a_file_is_copied_once() {
        let mut tree = tree(&[
            ("usr/share/chrony/chrony.conf", "a"),
            ("usr/share/chrony/chrony.keys", "b"),
            ("etc/chrony/chrony.keys", "c"),
        ]);
        run(apply, &mut tree, &[]).unwrap();
        assert!(dump(&tree).starts_with(
            "etc/chrony/chrony.conf 644 0:0 \"a\"\netc/chrony/chrony.keys 644 0:0 \"c\"\n"
        ));
    }
}
