//! The certificate authorities in `/etc/ssl/certs`: one bundle, a link per certificate, and the links by
//! subject hash through which OpenSSL finds an authority in the directory. Stands for ca-certificates'
//! postinst; every certificate of Mozilla's list is trusted, as by Debian's default, and so are those that
//! an overlay puts into `/usr/local/share/ca-certificates`.

mod subject;

use crate::rootfs::configure::System;
use anyhow::Context;
use std::collections::BTreeMap;

const MOZILLA: &str = "usr/share/ca-certificates";
const LOCAL: &str = "usr/local/share/ca-certificates";
const CERTS: &str = "etc/ssl/certs";
const LIST: &str = "etc/ca-certificates.conf";

/// Writes the bundle, its list and the links, if there is any certificate.
pub fn apply(system: &mut System<'_>) -> anyhow::Result<()> {
    let mozilla = find(system, MOZILLA);
    let local = find(system, LOCAL);
    if mozilla.is_empty() && local.is_empty() {
        return Ok(());
    }
    let mut bundle = String::new();
    let mut hashes: BTreeMap<u32, Vec<String>> = BTreeMap::new();
    for path in mozilla.iter().chain(&local) {
        let text = system
            .text(path)?
            .with_context(|| format!("{path} is no regular file"))?;
        bundle.push_str(&text);
        if !text.ends_with('\n') {
            bundle.push('\n');
        }
        let name = pem_name(path);
        system.link(&format!("{CERTS}/{name}"), &format!("/{path}"))?;
        let hash = subject::hash(&text).with_context(|| format!("reading certificate {path}"))?;
        hashes.entry(hash).or_default().push(name);
    }
    for (hash, names) in hashes {
        for (index, name) in names.iter().enumerate() {
            system.link(&format!("{CERTS}/{hash:08x}.{index}"), name)?;
        }
    }
    let list: String = mozilla
        .iter()
        .map(|path| format!("{}\n", &path[MOZILLA.len() + 1..]))
        .collect();
    system.put_new(LIST, 0o644, list.as_str())?;
    system.put(
        &format!("{CERTS}/ca-certificates.crt"),
        0o644,
        bundle.as_str(),
    )
}

/// The certificates below `directory`, in the order of their paths.
fn find(system: &System<'_>, directory: &str) -> Vec<String> {
    let paths = system.tree.descendants(directory).map(|(path, _)| path);
    paths.filter(|path| path.ends_with(".crt")).collect()
}

/// The name of a certificate's link: characters that a shell would mind are replaced.
fn pem_name(path: &str) -> String {
    let name = path.rsplit('/').next().unwrap_or(path);
    let stem = name.strip_suffix(".crt").unwrap_or(name);
    let safe = |c| match c {
        ' ' | ',' => '_',
        '(' | ')' => '=',
        other => other,
    };
    format!("{}.pem", stem.chars().map(safe).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::configure::testing::{dump, run, text, tree};

    #[test]
    fn bundle_and_links_are_made() {
        let pem = subject::tests::PEM.trim_end();
        let mut tree = tree(&[
            ("usr/share/ca-certificates/mozilla/A_(b),c.crt", pem),
            ("usr/local/share/ca-certificates/own.crt", pem),
        ]);
        run(apply, &mut tree, &[]).unwrap();
        assert_eq!(
            text(&tree, "etc/ssl/certs/ca-certificates.crt"),
            format!("{pem}\n{pem}\n")
        );
        assert_eq!(text(&tree, LIST), "mozilla/A_(b),c.crt\n");
        let dumped = dump(&tree);
        let links: Vec<&str> = dumped
            .lines()
            .filter(|line| line.contains(" -> "))
            .collect();
        let hash = subject::tests::HASH;
        assert_eq!(
            links,
            [
                &format!("etc/ssl/certs/{hash:08x}.0 -> A_=b=_c.pem"),
                &format!("etc/ssl/certs/{hash:08x}.1 -> own.pem"),
                "etc/ssl/certs/A_=b=_c.pem -> /usr/share/ca-certificates/mozilla/A_(b),c.crt",
                "etc/ssl/certs/own.pem -> /usr/local/share/ca-certificates/own.crt",
            ]
        );
    }
}
