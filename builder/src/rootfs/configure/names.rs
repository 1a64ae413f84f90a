//! Files of `/etc` that say where and who a machine is. An image is every machine and none, so they are
//! neutral here; first boot fills what is the machine's own. Stands for the postinst of netbase and tzdata,
//! for systemd-machine-id-setup, and for what an installer asks.
//!
//! There is no `/etc/hostname`. `/etc/machine-id` is empty: the initrd binds the machine's own over it, and
//! an empty file, unlike a missing one, does not make systemd believe that it boots for the first time.

use crate::rootfs::configure::System;

const HOSTS: &str = "127.0.0.1\tlocalhost\n\
                     ::1\t\tlocalhost ip6-localhost ip6-loopback\n\
                     ff02::1\t\tip6-allnodes\n\
                     ff02::2\t\tip6-allrouters\n";

/// Writes what neither a package nor an overlay has put there.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    system.put_new("etc/hosts", 0o644, HOSTS)?;
    system.put_new("etc/machine-id", 0o444, "")?;
    system.put_new("etc/locale.conf", 0o644, "LANG=C.UTF-8\n")?;
    system.link_new("etc/mtab", "../proc/self/mounts")?;
    system.link_new("etc/resolv.conf", "../run/seedbed/resolv.conf")?;
    if system.exists("usr/share/zoneinfo/Etc/UTC") {
        system.link_new("etc/localtime", "/usr/share/zoneinfo/Etc/UTC")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{run, text, tree};

    #[test]
    fn an_overlays_file_stays() {
        let mut tree = tree(&[
            ("etc/hosts", "mine"),
            ("usr/share/zoneinfo/Etc/UTC", "TZif2"),
        ]);
        run(apply, &mut tree, &[]).unwrap();
        assert_eq!(text(&tree, "etc/hosts"), "mine");
        assert_eq!(text(&tree, "etc/machine-id"), "");
        assert_eq!(
            tree.resolve("etc/localtime").as_deref(),
            Some("usr/share/zoneinfo/Etc/UTC")
        );
        assert!(tree.get("etc/hostname").is_none());
    }
}
