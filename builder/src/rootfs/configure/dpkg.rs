//! `/var/lib/dpkg/status`: which packages the tree holds, so that scanners and `dpkg -l` see them. File
//! lists and checksums are not written: the tree is read-only and verified as a whole.

use crate::rootfs::configure::System;

/// Writes the database, unless there are no packages.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let mut out = String::new();
    for control in system.controls {
        for line in control.text.lines().filter(|line| !line.trim().is_empty()) {
            out.push_str(line);
            out.push('\n');
            if line.to_ascii_lowercase().starts_with("package:") {
                out.push_str("Status: install ok installed\n");
            }
        }
        out.push('\n');
    }
    if out.is_empty() {
        Ok(())
    } else {
        system.put("var/lib/dpkg/status", 0o644, out.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{package, run, text, tree};

    #[test]
    fn each_package_is_a_paragraph() {
        let mut tree = tree(&[]);
        run(apply, &mut tree, &[package("a", ""), package("b", "")]).unwrap();
        let paragraph = |name| {
            format!(
                "Package: {name}\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n\n"
            )
        };
        assert_eq!(
            text(&tree, "var/lib/dpkg/status"),
            paragraph("a") + &paragraph("b")
        );
    }
}
