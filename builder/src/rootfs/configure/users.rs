//! Users and groups: base-passwd's master files, every `sysusers.d` snippet of the tree, and the accounts
//! that scripts make by adduser. Stands for the postinst of base-passwd, passwd, and of every package that
//! calls systemd-sysusers or adduser.

use crate::rootfs::configure::System;
use crate::rootfs::configure::accounts::{Accounts, Group, Lock, User};
use crate::rootfs::configure::sysusers;
use anyhow::Context;
use std::collections::BTreeMap;

const DAY: i64 = 86400;

/// An account that a script makes by `adduser --system`.
struct SystemUser {
    package: &'static str,
    name: &'static str,
    gecos: &'static str,
    home: &'static str,
    group: Primary,
}

/// The primary group of such an account.
enum Primary {
    /// One of its own name, and of its own number where that is free.
    Own,
    /// As `Own`, with this number for both, which Debian reserves.
    Reserved(u32),
    /// Debian's group for accounts that own no files.
    Nogroup,
}

const fn system_user(
    package: &'static str,
    name: &'static str,
    home: &'static str,
    group: Primary,
) -> SystemUser {
    SystemUser {
        package,
        name,
        gecos: "",
        home,
        group,
    }
}

const SYSTEM_USERS: [SystemUser; 7] = [
    SystemUser {
        gecos: "Ceph storage service",
        ..system_user(
            "ceph-common",
            "ceph",
            "/var/lib/ceph",
            Primary::Reserved(64045),
        )
    },
    SystemUser {
        gecos: "Chrony daemon",
        ..system_user("chrony", "_chrony", "/var/lib/chrony", Primary::Own)
    },
    system_user("etcd-server", "etcd", "/var/lib/etcd/", Primary::Own),
    system_user("iperf3", "iperf3", "/nonexistent", Primary::Own),
    system_user("nfs-common", "statd", "/var/lib/nfs", Primary::Nogroup),
    system_user("rpcbind", "_rpc", "/run/rpcbind", Primary::Nogroup),
    system_user("tcpdump", "tcpdump", "/nonexistent", Primary::Own),
];

/// Groups that a script makes by `addgroup --system`, by package.
const SYSTEM_GROUPS: [(&str, &str); 1] = [("libibverbs1", "rdma")];

/// Writes `/etc/passwd`, `group`, `shadow`, `gshadow`, `subuid` and `subgid`.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let mut accounts = read(system)?;
    if let Some(text) = system.text("usr/share/base-passwd/passwd.master")? {
        accounts.read_passwd(&text)?;
    }
    if let Some(text) = system.text("usr/share/base-passwd/group.master")? {
        accounts.read_group(&text)?;
    }
    let known = accounts.users.len() + accounts.groups.len();
    sysusers::apply(&snippets(system)?, &mut accounts)?;
    for user in SYSTEM_USERS
        .iter()
        .filter(|user| system.package(user.package).is_some())
    {
        add_system_user(user, &mut accounts)?;
    }
    for (_, group) in SYSTEM_GROUPS
        .iter()
        .filter(|(package, _)| system.package(package).is_some())
    {
        let id = free(&accounts)?;
        add_group(group, id, &mut accounts);
    }
    if accounts.users.is_empty()
        || (known == accounts.users.len() + accounts.groups.len() && system.exists("etc/shadow"))
    {
        return Ok(());
    }
    let day = system.epoch / DAY;
    system.put("etc/passwd", 0o644, accounts.passwd().as_str())?;
    system.put("etc/group", 0o644, accounts.group_file().as_str())?;
    system.put("etc/shadow", 0o640, accounts.shadow(day).as_str())?;
    system.put("etc/gshadow", 0o640, accounts.gshadow().as_str())?;
    for path in ["etc/shadow", "etc/gshadow"] {
        if let (Some(gid), Some(node)) = (accounts.gid("shadow"), system.tree.get_mut(path)) {
            node.meta.gid = gid;
        }
    }
    system.put_new("etc/subuid", 0o644, "")?;
    system.put_new("etc/subgid", 0o644, "")
}

/// The accounts of the tree's `/etc/passwd` and `/etc/group`; empty where those are not there yet.
pub fn read(system: &System<'_>) -> anyhow::Result<Accounts> {
    let mut accounts = Accounts::default();
    accounts
        .read_passwd(&system.text("etc/passwd")?.unwrap_or_default())
        .context("reading etc/passwd")?;
    accounts
        .read_group(&system.text("etc/group")?.unwrap_or_default())
        .context("reading etc/group")?;
    Ok(accounts)
}

/// All snippets by name; the first directory that has a name wins.
fn snippets(system: &System<'_>) -> anyhow::Result<Vec<(String, String)>> {
    let mut paths: BTreeMap<String, String> = BTreeMap::new();
    for directory in sysusers::DIRECTORIES {
        for (name, _) in system.tree.children(directory) {
            if name.ends_with(".conf") {
                let path = format!("{directory}/{name}");
                paths.entry(name).or_insert(path);
            }
        }
    }
    let mut snippets = Vec::new();
    for path in paths.into_values() {
        // A link to /dev/null takes a snippet out of force.
        if let Some(text) = system.text(&path)? {
            snippets.push((path, text));
        }
    }
    Ok(snippets)
}

fn add_system_user(wanted: &SystemUser, accounts: &mut Accounts) -> anyhow::Result<()> {
    if accounts.user(wanted.name).is_some() {
        return Ok(());
    }
    let uid = match wanted.group {
        Primary::Reserved(number) => number,
        Primary::Own | Primary::Nogroup => free(accounts)?,
    };
    let gid = match wanted.group {
        Primary::Nogroup => accounts
            .gid("nogroup")
            .with_context(|| format!("group nogroup, of user {}, does not exist", wanted.name))?,
        Primary::Own | Primary::Reserved(_) => add_group(wanted.name, uid, accounts),
    };
    accounts.users.push(User {
        name: wanted.name.into(),
        uid,
        gid,
        gecos: wanted.gecos.into(),
        home: wanted.home.into(),
        shell: "/usr/sbin/nologin".into(),
        lock: Lock::Adduser,
    });
    Ok(())
}

/// As adduser(8): the first number from 100 up that is free for both a user and a group.
fn free(accounts: &Accounts) -> anyhow::Result<u32> {
    let taken = |id: u32| {
        accounts.users.iter().any(|u| u.uid == id) || accounts.groups.iter().any(|g| g.gid == id)
    };
    (100..=999)
        .find(|id| !taken(*id))
        .context("no number is left for system users")
}

/// The number of the group of that name, which is made with the number `id` if it is not there.
fn add_group(name: &str, id: u32, accounts: &mut Accounts) -> u32 {
    if let Some(gid) = accounts.gid(name) {
        return gid;
    }
    accounts.groups.push(Group {
        name: name.into(),
        gid: id,
        members: Vec::new(),
        lock: Lock::Adduser,
    });
    id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{package, run, text, tree};

    #[test]
    fn all_three_kinds_of_accounts_come_together() {
        let mut tree = tree(&[
            (
                "usr/share/base-passwd/passwd.master",
                "root:*:0:0:root:/root:/bin/bash\n",
            ),
            (
                "usr/share/base-passwd/group.master",
                "root:*:0:\nshadow:*:42:\nusers:*:100:\n",
            ),
            ("usr/lib/sysusers.d/b.conf", "u! net - \"Network\"\n"),
            ("usr/lib/sysusers.d/masked.conf", "u gone -\n"),
            ("etc/sysusers.d/masked.conf -> /dev/null", ""),
        ]);
        run(apply, &mut tree, &[package("etcd-server", "")]).unwrap();
        assert_eq!(
            text(&tree, "etc/passwd"),
            "root:x:0:0:root:/root:/bin/bash\n\
             net:x:999:999:Network:/:/usr/sbin/nologin\n\
             etcd:x:101:101::/var/lib/etcd/:/usr/sbin/nologin\n"
        );
        assert_eq!(
            text(&tree, "etc/shadow"),
            "root:*:1:0:99999:7:::\nnet:!*:1:::::1:\netcd:!:1::::::\n"
        );
        assert_eq!(
            text(&tree, "etc/gshadow"),
            "root:*::\nshadow:*::\nusers:*::\nnet:!*::\netcd:!::\n"
        );
        let meta = &tree.get("etc/shadow").unwrap().meta;
        assert_eq!((meta.mode, meta.gid), (0o640, 42));
    }

    #[test]
    fn a_script_names_the_group_and_the_number() {
        let mut tree = tree(&[
            (
                "usr/share/base-passwd/passwd.master",
                "root:*:0:0:root:/root:/bin/bash\n",
            ),
            (
                "usr/share/base-passwd/group.master",
                "root:*:0:\nnogroup:*:65534:\n",
            ),
        ]);
        let controls = ["ceph-common", "libibverbs1", "nfs-common", "tcpdump"];
        run(apply, &mut tree, &controls.map(|name| package(name, ""))).unwrap();
        assert_eq!(
            text(&tree, "etc/passwd"),
            "root:x:0:0:root:/root:/bin/bash\n\
             ceph:x:64045:64045:Ceph storage service:/var/lib/ceph:/usr/sbin/nologin\n\
             statd:x:100:65534::/var/lib/nfs:/usr/sbin/nologin\n\
             tcpdump:x:101:101::/nonexistent:/usr/sbin/nologin\n"
        );
        assert_eq!(
            text(&tree, "etc/group"),
            "root:x:0:\nnogroup:x:65534:\nceph:x:64045:\ntcpdump:x:101:\nrdma:x:102:\n"
        );
    }
}
