//! The demo image lets nobody in: read from the image itself, since a machine that shows no prompt may only be slow.

use anyhow::Context;
use contract::partition::Role;
use formats::erofs::read::{Entry, FileType, Image};
use formats::gpt::{self, SectorSize};
use formats::read_at::Window;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

type Root = Image<Window<File>>;

fn root(test: &str) -> anyhow::Result<Option<Root>> {
    let image = std::env::var_os("SEEDBED_IMAGE").map(PathBuf::from);
    let Some(image) = image.filter(|image| image.is_file()) else {
        let required = std::env::var("SEEDBED_REQUIRE_IMAGE").is_ok_and(|value| value == "1");
        anyhow::ensure!(!required, "{test} needs an image: make image");
        println!("SKIP {test}: SEEDBED_IMAGE names no image; run it by `make machine`");
        return Ok(None);
    };
    let disk = File::open(&image).with_context(|| format!("opening {}", image.display()))?;
    let table = gpt::read(&disk, SectorSize::B512)?;
    let mut entries = table.entries.values();
    let entry = entries.find(|entry| entry.name == Role::Root.label());
    let entry = entry.context("the image has no root partition")?;
    let sector = table.sector_size.bytes();
    let root = Window::new(disk, entry.first_lba * sector, entry.sectors() * sector)?;
    Ok(Some(Image::open(root)?))
}

fn text(root: &Root, path: &str) -> anyhow::Result<String> {
    let inode = root
        .resolve(path)
        .with_context(|| format!("looking for {path}"))?;
    let mut text = String::new();
    root.reader(&inode).read_to_string(&mut text)?;
    Ok(text)
}

fn names(root: &Root, path: &str) -> anyhow::Result<Vec<String>> {
    let entries: Vec<Entry> = root.read_dir(&root.resolve(path)?)?;
    Ok(entries.into_iter().map(|entry| entry.name).collect())
}

#[test]
fn no_account_has_a_password() -> anyhow::Result<()> {
    let Some(root) = root("no_account_has_a_password")? else {
        return Ok(());
    };
    let shadow = text(&root, "/etc/shadow")?;
    anyhow::ensure!(shadow.starts_with("root:"), "no root in it: {shadow}");
    for line in shadow.lines() {
        let mut fields = line.split(':');
        let (name, password) = (fields.next(), fields.next().unwrap_or_default());
        // Neither is the hash of anything, and an empty field would let anybody in.
        assert!(password.starts_with(['*', '!']), "{name:?}: {password:?}");
    }
    Ok(())
}

#[test]
fn nothing_asks_for_a_login() -> anyhow::Result<()> {
    let Some(root) = root("nothing_asks_for_a_login")? else {
        return Ok(());
    };
    for path in ["/usr/sbin/sshd", "/usr/sbin/dropbear", "/usr/sbin/telnetd"] {
        assert!(root.resolve(path).is_err(), "{path} is in the image");
    }
    for unit in [
        "getty@.service",
        "serial-getty@.service",
        "console-getty.service",
        "container-getty@.service",
        "autovt@.service",
        "getty.target",
        "debug-shell.service",
        "rescue.service",
    ] {
        let inode = root.lookup(&format!("/etc/systemd/system/{unit}"))?;
        assert_eq!(inode.kind(), FileType::Symlink, "{unit} is not masked");
        assert_eq!(root.read_link(&inode)?, "/dev/null", "{unit} is not masked");
    }
    Ok(())
}

/// A shell on a console is a unit whose program is a shell or asks for root's password.
#[test]
fn no_unit_that_can_start_is_a_shell() -> anyhow::Result<()> {
    let Some(root) = root("no_unit_that_can_start_is_a_shell")? else {
        return Ok(());
    };
    let folders = ["/etc/systemd/system", "/usr/lib/systemd/system"];
    let masked = names(&root, folders[0])?;
    let mut read = 0;
    for folder in folders {
        for unit in names(&root, folder)? {
            let inode = root.lookup(&format!("{folder}/{unit}"))?;
            let hidden = folder != folders[0] && masked.contains(&unit);
            if hidden || inode.kind() != FileType::Regular || !unit.ends_with(".service") {
                continue;
            }
            read += 1;
            let mut lines = String::new();
            root.reader(&inode).read_to_string(&mut lines)?;
            for line in lines.lines().filter(|line| line.starts_with("ExecStart=")) {
                let shell = [
                    "agetty",
                    "sulogin",
                    "bin/login",
                    "bin/bash",
                    "bin/sh\n",
                    "SHELL",
                ];
                let found = shell
                    .iter()
                    .find(|word| format!("{line}\n").contains(**word));
                assert_eq!(found, None, "{folder}/{unit}: {line}");
            }
        }
    }
    anyhow::ensure!(read > 30, "only {read} units were read");
    Ok(())
}
