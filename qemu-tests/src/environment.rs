//! What the tests are given: an image and programs, by environment variables.
//!
//! `SEEDBED_IMAGE` is a raw or qcow2 image, `SEEDBED_ISO` the same as an ISO, `SEEDBED_KUBECTL` a `kubectl` of the image's Kubernetes version,
//! `SEEDBED_BIN` the `seedbed` command. `SEEDBED_IMAGE_ARM64` is an image for arm64 and
//! `SEEDBED_FIRSTBOOT_ARM64` the program in it; tests on them run with `SEEDBED_ARM64=1` alone. Without an image a test prints `SKIP` and its reason and counts as
//! skipped; with `SEEDBED_REQUIRE_IMAGE=1` it fails instead. Tests that take hours also want `SEEDBED_LONG=1`,
//! and append what they found to `SEEDBED_LONG_RESULTS`.

use crate::report::{results, say};
use anyhow::{Context, bail};
use contract::partition::Arch;
use std::path::PathBuf;

/// An image to boot, and programs to look at it with.
#[derive(Clone, Debug)]
pub struct Environment {
    /// The image, raw or qcow2. It is never written.
    pub image: PathBuf,
    /// The architecture that the image is for.
    pub arch: Arch,
    /// `kubectl`.
    pub kubectl: PathBuf,
    /// `seedbed`.
    pub seedbed: PathBuf,
}

impl Environment {
    /// What the environment names. `None`, after a line that says so, if `test` is to be skipped.
    pub fn for_test(test: &str) -> anyhow::Result<Option<Self>> {
        if std::env::var_os("SEEDBED_IMAGE").is_none() {
            if std::env::var_os("SEEDBED_REQUIRE_IMAGE").is_some_and(|value| value == "1") {
                bail!("SEEDBED_REQUIRE_IMAGE is 1, but SEEDBED_IMAGE names no image");
            }
            say(&format!(
                "SKIP {test}: SEEDBED_IMAGE names no image to boot"
            ));
            return Ok(None);
        }
        Self::read("SEEDBED_IMAGE", Arch::Amd64).map(Some)
    }

    /// The same with the image for arm64. `None`, after a line that says so, if such tests are not wanted now.
    pub fn for_test_on_arm64(test: &str) -> anyhow::Result<Option<Self>> {
        if std::env::var_os("SEEDBED_ARM64").is_none_or(|value| value != "1") {
            say(&format!(
                "SKIP {test}: an emulated arm64 machine takes its time and runs with SEEDBED_ARM64=1"
            ));
            return Ok(None);
        }
        Self::read("SEEDBED_IMAGE_ARM64", Arch::Arm64).map(Some)
    }

    /// What the environment names; each variable has to be there and name a file.
    fn read(image: &str, arch: Arch) -> anyhow::Result<Self> {
        Ok(Environment {
            image: file(image)?,
            arch,
            kubectl: file("SEEDBED_KUBECTL")?,
            seedbed: file("SEEDBED_BIN")?,
        })
    }
}

/// The image as an ISO. It is never written.
pub fn iso() -> anyhow::Result<PathBuf> {
    file("SEEDBED_ISO")
}

/// The firstboot program for arm64, which `SEEDBED_FIRSTBOOT_ARM64` names.
pub fn firstboot_arm64() -> anyhow::Result<PathBuf> {
    file("SEEDBED_FIRSTBOOT_ARM64")
}

/// The file to which `test`, which takes hours, appends its results. `None`, after a line that says so, if such
/// tests are not wanted now.
pub fn long(test: &str) -> anyhow::Result<Option<PathBuf>> {
    if std::env::var_os("SEEDBED_LONG").is_none_or(|value| value != "1") {
        say(&format!(
            "SKIP {test}: it takes hours and runs with SEEDBED_LONG=1"
        ));
        return Ok(None);
    }
    match std::env::var_os("SEEDBED_LONG_RESULTS") {
        Some(path) => Ok(Some(path.into())),
        None => Ok(Some(results()?.join("long.jsonl"))),
    }
}

fn file(variable: &str) -> anyhow::Result<PathBuf> {
    let value = std::env::var_os(variable).with_context(|| format!("{variable} is not set"))?;
    let path = PathBuf::from(&value);
    let path = path
        .canonicalize()
        .with_context(|| format!("{variable} names {}", path.display()))?;
    if !path.is_file() {
        bail!("{variable} names {}, which is no file", path.display());
    }
    Ok(path)
}

/// A number that decides what a test draws: from `SEEDBED_TEST_SEED`, or from this process and the time.
/// Printed, so that a failure can be repeated.
pub fn draw(test: &str) -> anyhow::Result<u64> {
    let number = match std::env::var("SEEDBED_TEST_SEED") {
        Ok(text) => text
            .parse()
            .with_context(|| format!("SEEDBED_TEST_SEED is {text:?}, no number"))?,
        Err(_) => {
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            now.map_or(0, |now| now.as_secs()) ^ (u64::from(std::process::id()) << 32)
        }
    };
    say(&format!(
        "{test}: SEEDBED_TEST_SEED={number} repeats what this run draws"
    ));
    Ok(number)
}
