//! The one kernel of an image, and whether it takes every module that packages, files and overlays bring.
//!
//! A module for another kernel and, under Secure Boot, one whose key the kernel does not know are found by the
//! machine alone otherwise, one by one, when it wants to load them.

use crate::cache::files::Kept;
use crate::digest;
use crate::rootfs::modules::{self, kept, signature};
use anyhow::{Context, bail};
use formats::tree::Tree;
use formats::x509::Certificate;
use std::collections::{BTreeMap, BTreeSet};

/// How many modules a message names.
const NAMED: usize = 5;

/// Which package each path of a tree is from.
type Owners = BTreeMap<String, String>;

/// The release of the kernel that `root` boots, as its modules' folder is called.
///
/// # Errors
/// There is no kernel, or several; or modules are for another one.
pub(super) fn release(root: &Tree, owners: &Owners) -> anyhow::Result<String> {
    let files = root.children("boot");
    let kernels: Vec<String> = files
        .filter_map(|(name, _)| Some(name.strip_prefix("vmlinuz-")?.to_owned()))
        .collect();
    let release = match kernels.as_slice() {
        [release] => release,
        [] => bail!("the packages hold no kernel: add one, such as linux-image-amd64"),
        several => bail!(
            "the packages hold several kernels ({}): an image boots exactly one",
            several.join(", ")
        ),
    };
    for other in modules::versions(root) {
        if other == *release {
            continue;
        }
        if let Some((path, _)) = signature::files(root, &other).next() {
            bail!(
                "{} is a module for kernel {other}, and the image boots {release}: take modules that are built for {release}, or pin the kernel's packages to those of {other}",
                described(&path, owners)
            );
        }
    }
    Ok(release.clone())
}

/// Whether every module that the profile has each boot load is one of the kernel's.
pub(super) fn check_loaded(root: &Tree, release: &str, names: &[String]) -> anyhow::Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    modules::closure(root, release, &names).context("looking for the profile's `modules`")?;
    Ok(())
}

/// Whether the kernel takes every module when it was started with Secure Boot, where it refuses those that are not
/// signed. It knows the key of the modules that come with it, and what is in the firmware's signature database,
/// which is `certificate`.
///
/// # Errors
/// Names modules that it would refuse, and why.
pub(super) fn check_signatures(
    root: &Tree,
    owners: &Owners,
    release: &str,
    certificate: &Certificate,
    kept: Kept<'_>,
) -> anyhow::Result<()> {
    let signers = kept::signers(root, release, kept);
    let signers = signers.context("reading who signed the kernel's modules")?;
    let with_kernel = owners.get(&format!("boot/vmlinuz-{release}"));
    let comes_along = |path: &String| with_kernel.is_some() && owners.get(path) == with_kernel;
    let own: BTreeSet<&String> = signers
        .iter()
        .filter(|(path, _)| comes_along(path))
        .filter_map(|(_, signer)| signer.as_ref())
        .collect();
    let ours = digest::hex(certificate.issuer_and_serial());
    let mut refused = Vec::new();
    for (path, signer) in &signers {
        let why = match signer {
            None => "it is not signed".to_owned(),
            Some(signer) if own.contains(signer) => continue,
            Some(signer) if *signer == ours => match signature::verify(root, path, certificate) {
                Ok(()) => continue,
                Err(error) => format!("{:#}", anyhow::Error::new(error)),
            },
            Some(_) => "it is signed by a key that is neither the kernel's own nor db".to_owned(),
        };
        refused.push(format!("{}: {why}", described(path, owners)));
    }
    if refused.is_empty() {
        return Ok(());
    }
    let count = refused.len();
    let more = match count.saturating_sub(NAMED) {
        0 => String::new(),
        more => format!("\n  and {more} more"),
    };
    refused.truncate(NAMED);
    bail!(
        "with Secure Boot the kernel refuses modules of the image ({count}):\n  {}{more}\nsign them with the key db before they are compressed and packed (`sign-file sha256 db.key db.crt MODULE.ko`), or build without --secure-boot",
        refused.join("\n  ")
    )
}

/// A file of the root file system, and where it is from.
fn described(path: &str, owners: &Owners) -> String {
    match owners.get(path) {
        Some(package) => format!("/{path} (package {package})"),
        None => format!("/{path} (a file or an overlay of the profile)"),
    }
}
