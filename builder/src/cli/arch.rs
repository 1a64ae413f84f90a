//! Which architectures a command works for, and the firstboot program of each.

use crate::lock::Lock;
use crate::profile::Profile;
use anyhow::{Context, bail};
use clap::ValueEnum;
use contract::partition::Arch;
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// An architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ArchArg {
    /// x86-64.
    Amd64,
    /// AArch64.
    Arm64,
}

impl From<ArchArg> for Arch {
    fn from(arg: ArchArg) -> Self {
        match arg {
            ArchArg::Amd64 => Arch::Amd64,
            ArchArg::Arm64 => Arch::Arm64,
        }
    }
}

/// A firstboot program: `FILE`, or `ARCH=FILE` for images of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirstbootArg {
    /// For these images alone.
    arch: Option<Arch>,
    path: PathBuf,
}

impl FromStr for FirstbootArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let named = text.split_once('=').and_then(|(name, path)| {
            let arch = ArchArg::from_str(name, false).ok()?;
            Some((arch.into(), path))
        });
        let (arch, path) = named.map_or((None, text), |(arch, path)| (Some(arch), path));
        Ok(FirstbootArg {
            arch,
            path: path.into(),
        })
    }
}

/// The architectures that `named` names, in their order and each once; without any, all of the profile.
///
/// # Errors
/// The profile is not for one of them.
pub(super) fn chosen(profile: &Profile, named: &[ArchArg]) -> anyhow::Result<Vec<Arch>> {
    if named.is_empty() {
        return Ok(profile.arch.clone());
    }
    let named: BTreeSet<Arch> = named.iter().map(|arch| (*arch).into()).collect();
    if let Some(other) = named.iter().find(|arch| !profile.arch.contains(arch)) {
        bail!(
            "profile {} is not for {other}: add it to arch in {}",
            profile.name,
            profile.dir.join("profile.yaml").display()
        );
    }
    Ok(named.into_iter().collect())
}

/// Those of [`chosen`] of a profile and its lock; without any named, all that are locked.
pub(super) fn locked(
    profile: &Profile,
    lock: &Lock,
    named: &[ArchArg],
) -> anyhow::Result<Vec<Arch>> {
    if named.is_empty() {
        return Ok(lock.arch.keys().copied().collect());
    }
    let chosen = chosen(profile, named)?;
    for arch in &chosen {
        lock.part(profile, *arch)?;
    }
    Ok(chosen)
}

/// The program for images of `arch`: what was given for it, or for any, or what lies beside this program.
///
/// # Errors
/// None was given, and none is beside this program.
pub(super) fn firstboot(arch: Arch, given: &[FirstbootArg]) -> anyhow::Result<PathBuf> {
    let of = |wanted: Option<Arch>| given.iter().rev().find(|program| program.arch == wanted);
    if let Some(program) = of(Some(arch)).or_else(|| of(None)) {
        return Ok(program.path.clone());
    }
    let me = std::env::current_exe().context("finding this program")?;
    beside(&me, arch)
}

fn beside(program: &Path, arch: Arch) -> anyhow::Result<PathBuf> {
    let folder = program.parent().unwrap_or(Path::new("/"));
    let names = [format!("firstboot-{arch}"), "firstboot".to_owned()];
    let found = names
        .iter()
        .map(|name| folder.join(name))
        .find(|path| path.is_file());
    found.with_context(|| {
        format!(
            "there is no {} in {}: give --firstboot {arch}=FILE",
            names.join(" or "),
            folder.display()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(texts: &[&str]) -> Vec<FirstbootArg> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn a_program_for_one_architecture_comes_first() {
        let check = |texts: &[&str], arch, expected: &str| {
            let found = firstboot(arch, &given(texts)).unwrap();
            assert_eq!(found, Path::new(expected), "{texts:?}");
        };
        let both = ["amd64=a", "arm64=b"];
        check(&both, Arch::Amd64, "a");
        check(&both, Arch::Arm64, "b");
        check(&["arm64=b", "rest"], Arch::Arm64, "b");
        check(&["arm64=b", "rest"], Arch::Amd64, "rest");
        check(&["old", "new"], Arch::Amd64, "new");
        check(&["dir=x/file"], Arch::Amd64, "dir=x/file");
    }

    #[test]
    fn beside_this_program_the_architectures_own_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let me = folder.path().join("seedbed");
        let error = beside(&me, Arch::Arm64).unwrap_err().to_string();
        assert!(error.ends_with("give --firstboot arm64=FILE"), "{error}");
        for name in ["firstboot", "firstboot-arm64"] {
            std::fs::write(folder.path().join(name), "").unwrap();
            assert_eq!(beside(&me, Arch::Arm64).unwrap(), folder.path().join(name));
        }
        let plain = folder.path().join("firstboot");
        assert_eq!(beside(&me, Arch::Amd64).unwrap(), plain);
    }
}
