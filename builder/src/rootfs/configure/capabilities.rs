//! File capabilities that a postinst sets by setcap(8): the attribute `security.capability`, revision 2.
//!
//! ```text
//! 0   magic: revision 0x02000000, lowest bit set if the permitted set is effective at once
//! 4   permitted, bits 0-31      8   inheritable, bits 0-31
//! 12  permitted, bits 32-63     16  inheritable, bits 32-63      all little-endian
//! ```

use crate::rootfs::configure::System;

const REVISION_2: u32 = 0x0200_0000;
const EFFECTIVE: u32 = 1;
const NET_RAW: u32 = 13;

/// Package, path and the capabilities that are permitted and effective.
const FILES: [(&str, &str, &[u32]); 3] = [
    ("iputils-arping", "usr/bin/arping", &[NET_RAW]),
    ("iputils-ping", "usr/bin/ping", &[NET_RAW]),
    ("mtr-tiny", "usr/bin/mtr-packet", &[NET_RAW]),
];

/// Sets the attribute on the files of packages that are there, and takes the set-user-id bit away.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    for (package, path, capabilities) in FILES {
        if system.package(package).is_some()
            && let Some(node) = system.tree.get_mut(path)
        {
            node.meta.mode &= 0o1777;
            node.meta
                .xattrs
                .insert("security.capability".into(), effective(capabilities));
        }
    }
    Ok(())
}

/// The attribute for capabilities that are permitted and effective.
fn effective(capabilities: &[u32]) -> Vec<u8> {
    let set = capabilities
        .iter()
        .fold(0u64, |set, bit| set | 1 << (bit % 64));
    let (low, high) = ((set & 0xffff_ffff) as u32, (set >> 32) as u32);
    [REVISION_2 | EFFECTIVE, low, 0, high, 0]
        .iter()
        .flat_map(|word| word.to_le_bytes())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{package, run, tree};

    #[test]
    fn ping_may_open_raw_sockets() {
        let mut tree = tree(&[("usr/bin/ping", "")]);
        tree.get_mut("usr/bin/ping").unwrap().meta.mode = 0o4755;
        run(apply, &mut tree, &[package("iputils-ping", "")]).unwrap();
        let meta = &tree.get("usr/bin/ping").unwrap().meta;
        // As `setcap cap_net_raw+ep` writes it.
        let expected = [
            1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(
            (meta.mode, meta.xattrs["security.capability"].as_slice()),
            (0o755, &expected[..])
        );
    }
}
