//! What a profile sets in the root file system without an overlay: each setting is one file of the form that
//! systemd or Debian gives it. An overlay that has the same file wins.

use super::Inputs;
use crate::profile::Parts;
use crate::profile::file::UserEntry;
use anyhow::{Context, bail};
use formats::tree::{Kind, Metadata, Node, Tree};
use std::fmt::Write as _;
use std::fs;

const SYSCTLS: &str = "usr/lib/sysctl.d/60-profile.conf";
const MODULES: &str = "usr/lib/modules-load.d/profile.conf";
const USERS: &str = "usr/lib/sysusers.d/profile.conf";
const LOCALE: &str = "etc/locale.conf";
const ZONES: &str = "usr/share/zoneinfo";
const CERTIFICATES: &str = "usr/local/share/ca-certificates";

/// Puts the settings of `parts` into a tree whose packages are unpacked and whose native steps are still to run.
pub(super) fn apply(tree: &mut Tree, parts: &Parts, inputs: &Inputs<'_>) -> anyhow::Result<()> {
    for (path, text) in files(parts) {
        put(tree, &path, 0o644, text.into_bytes(), inputs.epoch)?;
    }
    if let Some(zone) = &parts.timezone {
        set_timezone(tree, zone, inputs.epoch)?;
    }
    if let Some(locale) = &parts.locale {
        check_locale(tree, locale)?;
    }
    for path in &parts.certificates {
        let reading = || format!("reading certificate {}", path.display());
        let text = fs::read_to_string(path).with_context(reading)?;
        if !text.contains("-----BEGIN CERTIFICATE-----") {
            bail!("{} holds no certificate in PEM form", path.display());
        }
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let to = format!("{CERTIFICATES}/{stem}.crt");
        put(tree, &to, 0o644, text.into_bytes(), inputs.epoch)?;
    }
    Ok(())
}

/// Makes the homes of the profile's users, whose accounts the native steps have made.
///
/// # Errors
/// A user's own group has another number than the user, because a package has a group of that name.
pub(super) fn make_homes(tree: &mut Tree, users: &[UserEntry], epoch: i64) -> anyhow::Result<()> {
    users.iter().try_for_each(|user| own_group(tree, user))?;
    for user in users.iter().filter(|user| !user.authorized_keys.is_empty()) {
        let mut keys = user.authorized_keys.join("\n").into_bytes();
        keys.push(b'\n');
        let meta = |mode| Metadata {
            mtime: epoch,
            uid: user.uid,
            gid: user.uid,
            ..Metadata::root(mode)
        };
        let home = format!("home/{}", user.name);
        let nodes = [
            (home.clone(), Kind::Directory, 0o700),
            (format!("{home}/.ssh"), Kind::Directory, 0o700),
            (
                format!("{home}/.ssh/authorized_keys"),
                Kind::File(keys.into()),
                0o600,
            ),
        ];
        for (path, kind, mode) in nodes {
            let meta = meta(mode);
            tree.insert(&path, Node { kind, meta })
                .with_context(|| format!("making the home of user {}", user.name))?;
        }
    }
    Ok(())
}

/// The account is in the group that `uid` promises.
fn own_group(tree: &Tree, user: &UserEntry) -> anyhow::Result<()> {
    let Some(Kind::File(passwd)) = tree.get("etc/passwd").map(|node| &node.kind) else {
        return Ok(());
    };
    let text = passwd.to_vec().context("reading /etc/passwd")?;
    let text = String::from_utf8_lossy(&text);
    let account = text
        .lines()
        .map(|line| line.split(':').collect::<Vec<_>>())
        .find(|fields| fields.first() == Some(&user.name.as_str()));
    let group = account.and_then(|fields| fields.get(3).map(|group| (*group).to_owned()));
    match group {
        Some(group) if group != user.uid.to_string() => bail!(
            "user {0} of the profile would be in the group {0} that packages bring, which has number {group} and not {1}: choose another name",
            user.name,
            user.uid
        ),
        _ => Ok(()),
    }
}

/// The files that hold nothing but the settings themselves.
fn files(parts: &Parts) -> Vec<(String, String)> {
    let mut files = Vec::new();
    let mut file = |path: &str, text: String| {
        if !text.is_empty() {
            files.push((path.to_owned(), text));
        }
    };
    let sysctls = parts.sysctls.iter();
    file(
        SYSCTLS,
        sysctls.map(|(k, v)| format!("{k} = {v}\n")).collect(),
    );
    file(
        MODULES,
        parts.modules.iter().map(|m| format!("{m}\n")).collect(),
    );
    file(USERS, parts.users.iter().map(account).collect());
    let locale = parts.locale.iter();
    file(
        LOCALE,
        locale.map(|locale| format!("LANG={locale}\n")).collect(),
    );
    if let Some(banner) = &parts.banner {
        let banner = format!("{}\n", banner.trim_end());
        file("etc/issue", banner.clone());
        file("etc/motd", banner);
    }
    files
}

/// The lines of sysusers.d(5) for an account.
fn account(user: &UserEntry) -> String {
    let UserEntry {
        name, uid, shell, ..
    } = user;
    let mut lines = format!("u {name} {uid} - /home/{name} {shell}\n");
    for group in &user.groups {
        let _ = writeln!(lines, "m {name} {group}");
    }
    lines
}

fn set_timezone(tree: &mut Tree, zone: &str, epoch: i64) -> anyhow::Result<()> {
    let path = format!("{ZONES}/{zone}");
    let known = tree.resolve(&path).and_then(|path| tree.get(&path));
    if !known.is_some_and(|node| matches!(node.kind, Kind::File(_))) {
        bail!("timezone {zone:?} of the profile is not in /{ZONES}: is tzdata among the packages?");
    }
    let meta = Metadata {
        mtime: epoch,
        ..Metadata::root(0o777)
    };
    let kind = Kind::Symlink(format!("/{path}"));
    tree.insert("etc/localtime", Node { kind, meta })?;
    put(
        tree,
        "etc/timezone",
        0o644,
        format!("{zone}\n").into_bytes(),
        epoch,
    )
}

/// A locale is compiled into glibc, or a package brings it: none is generated.
fn check_locale(tree: &Tree, locale: &str) -> anyhow::Result<()> {
    let folder = locale.replace("UTF-8", "utf8");
    let builtin = ["C", "POSIX"].contains(&locale);
    if builtin || tree.get(&format!("usr/lib/locale/{folder}")).is_some() {
        return Ok(());
    }
    bail!(
        "locale {locale:?} of the profile is not in /usr/lib/locale: add the package that has it, which is libc-bin for C.UTF-8 and locales-all for all others"
    )
}

fn put(tree: &mut Tree, path: &str, mode: u16, bytes: Vec<u8>, epoch: i64) -> anyhow::Result<()> {
    super::root::put(tree, path, mode, bytes, epoch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user() -> UserEntry {
        UserEntry {
            name: "op".into(),
            uid: 1000,
            groups: vec!["adm".into()],
            shell: "/bin/bash".into(),
            authorized_keys: vec!["ssh-ed25519 AAAA op@desk".into()],
        }
    }

    #[test]
    fn each_setting_is_one_file() {
        let parts = Parts {
            sysctls: [("vm.max_map_count".to_owned(), "262144".to_owned())].into(),
            modules: vec!["br_netfilter".into(), "nbd".into()],
            banner: Some("Plant 7\n\n".into()),
            users: vec![user()],
            ..Parts::default()
        };
        let expected = [
            (SYSCTLS, "vm.max_map_count = 262144\n"),
            (MODULES, "br_netfilter\nnbd\n"),
            (USERS, "u op 1000 - /home/op /bin/bash\nm op adm\n"),
            ("etc/issue", "Plant 7\n"),
            ("etc/motd", "Plant 7\n"),
        ];
        let expected = expected.map(|(path, text)| (path.to_owned(), text.to_owned()));
        assert_eq!(files(&parts), expected);
        assert_eq!(files(&Parts::default()), []);
    }

    #[test]
    fn a_home_is_its_users_own() {
        let mut tree = Tree::new();
        make_homes(&mut tree, &[user()], 7).unwrap();
        let keys = tree.get("home/op/.ssh/authorized_keys").unwrap();
        let meta = &keys.meta;
        assert_eq!(
            (meta.mode, meta.uid, meta.gid, meta.mtime),
            (0o600, 1000, 1000, 7)
        );
        assert_eq!(tree.get("home/op").unwrap().meta.mode, 0o700);
    }

    #[test]
    fn a_group_of_a_package_is_not_a_users_own() {
        let mut tree = Tree::new();
        let mut with = |passwd: &str| {
            tree.insert_file("etc/passwd", 0o644, passwd).unwrap();
            make_homes(&mut tree, &[user()], 7)
        };
        with("root:x:0:0:root:/root:/bin/bash\nop:x:1000:1000::/home/op:/bin/bash\n").unwrap();
        let error = with("op:x:1000:37::/home/op:/bin/bash\n").unwrap_err();
        assert!(
            error.to_string().contains("number 37 and not 1000"),
            "{error}"
        );
    }

    #[test]
    fn zones_and_locales_that_are_not_there_are_refused() {
        let mut tree = Tree::new();
        tree.insert_file("usr/share/zoneinfo/Europe/Berlin", 0o644, "TZif")
            .unwrap();
        tree.insert_dir("usr/lib/locale/C.utf8", 0o755).unwrap();
        set_timezone(&mut tree, "Europe/Berlin", 7).unwrap();
        let Kind::Symlink(target) = &tree.get("etc/localtime").unwrap().kind else {
            panic!("no link")
        };
        assert_eq!(target, "/usr/share/zoneinfo/Europe/Berlin");
        let error = set_timezone(&mut tree, "Europe/Atlantis", 7).unwrap_err();
        assert!(error.to_string().contains("\"Europe/Atlantis\""), "{error}");
        check_locale(&tree, "C.UTF-8").unwrap();
        let error = check_locale(&tree, "de_DE.UTF-8").unwrap_err();
        assert!(error.to_string().contains("de_DE.UTF-8"), "{error}");
    }
}
