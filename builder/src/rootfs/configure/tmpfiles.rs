//! Directories of tmpfiles.d that lie in the read-only root: systemd-tmpfiles cannot make them on the machine.
//!
//! Only plain directories (`d`, `D`, `v`, `q`, `Q` with a literal path) are made, and only where no file system
//! of the running machine will lie over them. Everything else is systemd-tmpfiles' work at boot.

use super::System;

/// Mounted over at boot, so nothing that is made there would be seen.
const MOUNTED: [&str; 5] = ["run", "tmp", "dev", "proc", "sys"];

/// One directory that a line asks for.
struct Directory {
    path: String,
    mode: u16,
    user: String,
    group: String,
}

/// Makes the directories, parents first.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let files: Vec<String> = system
        .tree
        .children("usr/lib/tmpfiles.d")
        .map(|(name, _)| name)
        .collect();
    let mut directories = Vec::new();
    for name in files.iter().filter(|name| name.ends_with(".conf")) {
        let text = system
            .text(&format!("usr/lib/tmpfiles.d/{name}"))?
            .unwrap_or_default();
        directories.extend(text.lines().filter_map(directory));
    }
    directories.sort_by(|a, b| a.path.cmp(&b.path));
    for directory in directories {
        // Below a link, as /var/run is, the directory belongs elsewhere; where something is, it stays.
        let resolved = system.tree.resolve(&directory.path);
        if resolved.as_deref() != Some(directory.path.as_str())
            || system.tree.get(&directory.path).is_some()
        {
            continue;
        }
        system.directory_new(&directory.path, directory.mode)?;
        system.own(
            &directory.path,
            &directory.user,
            &directory.group,
            directory.mode,
        )?;
    }
    Ok(())
}

/// The directory that a line of tmpfiles.d(5) asks for, if it is one for the root file system.
fn directory(line: &str) -> Option<Directory> {
    let mut fields = line.split_whitespace();
    let kind = fields
        .next()?
        .trim_end_matches(['!', '-', '=', '~', '^', '$', '+']);
    let path = fields.next()?.strip_prefix('/')?.trim_end_matches('/');
    let mut field = |default: &str| match fields.next() {
        None | Some("-") => default.to_owned(),
        Some(value) => value.trim_start_matches([':', '~']).to_owned(),
    };
    let (mode, user, group) = (field("0755"), field("root"), field("root"));
    let first = path.split('/').next().unwrap_or_default();
    if !["d", "D", "v", "q", "Q"].contains(&kind)
        || MOUNTED.contains(&first)
        || path.contains(['%', '"', '\\'])
    {
        return None;
    }
    Some(Directory {
        path: path.to_owned(),
        mode: u16::from_str_radix(&mode, 8).ok()? & 0o7777,
        user,
        group,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{run, tree};

    const LINES: &str = "\
# comment
d /opt/cni/bin 0755 root root -
d /run/x 0755 root root -
d /srv/%m 0755 root root -
L /etc/y - - - - z
q /var/lib/etcd 0700 etcd - -
d /lib/a - - - -
";

    #[test]
    fn only_what_the_root_will_show_is_made() {
        let passwd = "root:x:0:0::/root:/bin/sh\netcd:x:7:7::/:/bin/false\n";
        let mut tree = tree(&[
            ("etc/passwd", passwd),
            ("etc/group", "root:x:0:\netcd:x:7:\n"),
            ("lib -> usr/lib", ""),
            ("usr/lib/tmpfiles.d/a.conf", LINES),
        ]);
        run(apply, &mut tree, &[]).unwrap();
        let made = |path: &str| tree.get(path).map(|node| (node.meta.mode, node.meta.uid));
        assert_eq!(made("opt/cni/bin"), Some((0o755, 0)));
        assert_eq!(made("var/lib/etcd"), Some((0o700, 7)));
        for absent in ["run/x", "srv", "usr/lib/a", "etc/y"] {
            assert_eq!(made(absent), None, "{absent}");
        }
    }
}
