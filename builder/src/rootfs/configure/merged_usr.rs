//! The links of merged `/usr`, where base-files, which ships them, is not among the packages.
//!
//! A container image of a few packages has their files below `/usr` alone; programs name their interpreter
//! as `/lib64/ld-linux-x86-64.so.2` all the same.

use super::System;

/// Makes `/bin`, `/lib`, `/sbin` and, where there is one below `/usr`, `/lib64`.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    for name in ["bin", "lib", "lib64", "sbin"] {
        if system.exists(&format!("usr/{name}")) {
            system.link_new(name, &format!("usr/{name}"))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{dump, run, tree};

    #[test]
    fn links_are_made_for_what_is_there() {
        let mut tree = tree(&[("usr/bin/busybox", ""), ("usr/lib64/ld.so", "")]);
        run(apply, &mut tree, &[]).unwrap();
        let dump = dump(&tree);
        assert!(
            dump.contains("bin -> usr/bin\n") && dump.contains("lib64 -> usr/lib64\n"),
            "{dump}"
        );
        assert!(!dump.contains("sbin"), "{dump}");
    }
}
