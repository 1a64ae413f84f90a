//! What stands for the blocks that debhelper's tools add to scripts.

use crate::rootfs::scripts::Cover::{self, Nothing, Step};

const TOOLS: [(&str, Cover); 16] = [
    (
        "dh_apparmor",
        Nothing("profiles are loaded when a machine boots, if it uses AppArmor"),
    ),
    (
        "dh_icons",
        Nothing("caches of icons serve desktops, which an image has none of"),
    ),
    ("dh_installalternatives", Step("alternatives")),
    (
        "dh_installdeb",
        Nothing("dpkg-maintscript-helper repairs what older versions left"),
    ),
    (
        "dh_installdebconf",
        Nothing("purges answers of debconf, of which there are none"),
    ),
    (
        "dh_installinit",
        Nothing("systemd starts the unit of the same name; nothing runs while an image is made"),
    ),
    (
        "dh_installinitramfs",
        Nothing("the initrd is composed natively"),
    ),
    (
        "dh_installmenu",
        Nothing("desktop menus do not exist any more"),
    ),
    ("dh_installmodules", Step("modules")),
    ("dh_installsystemd", Step("enable_units")),
    (
        "dh_installsystemduser",
        Nothing("nobody logs in, so no user manager runs"),
    ),
    ("dh_installsysusers", Step("users")),
    (
        "dh_installtmpfiles",
        Nothing("systemd-tmpfiles creates the same paths at every boot"),
    ),
    ("dh_makeshlibs", Step("ldcache")),
    (
        "dh_python3",
        Nothing("compiles Python's files, which the interpreter does itself when it loads them"),
    ),
    (
        "dh_systemd_start",
        Nothing("nothing runs while an image is made"),
    ),
];

/// What stands for blocks of this tool, if it is known.
pub fn cover(tool: &str) -> Option<Cover> {
    TOOLS
        .iter()
        .find(|(name, _)| *name == tool)
        .map(|(_, cover)| *cover)
}

/// Every entry of the table.
#[cfg(test)]
pub(super) fn all() -> impl Iterator<Item = Cover> {
    TOOLS.iter().map(|(_, cover)| *cover)
}
