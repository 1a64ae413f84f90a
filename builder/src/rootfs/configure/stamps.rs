//! `/etc/.updated` and `/var/.updated`: their time says for which `/usr` they have been brought up to date.
//! While it is older than `/usr`'s, systemd's `ConditionNeedsUpdate=` holds, and every boot would rebuild
//! caches that the image already has. Runs last, when nothing changes `/usr` any more.

use crate::rootfs::configure::System;
use formats::tree::Kind;

const NANOSECONDS: i64 = 1_000_000_000;

/// Gives both stamps the time of `/usr`. A file system that keeps whole seconds compares equal then; the
/// text tells nanoseconds where the file system cannot.
pub fn mark_updated(system: &mut System<'_>) -> anyhow::Result<()> {
    let Some(usr) = system
        .tree
        .get("usr")
        .filter(|node| matches!(node.kind, Kind::Directory))
    else {
        return Ok(());
    };
    let mtime = usr.meta.mtime;
    let text = format!(
        "# Time of /usr for which this directory was made.\nTIMESTAMP_NSEC={}\n",
        mtime.saturating_mul(NANOSECONDS)
    );
    for path in ["etc/.updated", "var/.updated"] {
        system.put(path, 0o644, text.as_str())?;
        if let Some(node) = system.tree.get_mut(path) {
            node.meta.mtime = mtime;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{run, text, tree};

    #[test]
    fn the_stamps_are_as_old_as_usr() {
        let mut tree = tree(&[("usr/bin/x", "")]);
        tree.get_mut("usr").unwrap().meta.mtime = 1_700_000_000;
        run(mark_updated, &mut tree, &[]).unwrap();
        assert!(text(&tree, "etc/.updated").ends_with("\nTIMESTAMP_NSEC=1700000000000000000\n"));
        assert_eq!(tree.get("var/.updated").unwrap().meta.mtime, 1_700_000_000);
    }
}
