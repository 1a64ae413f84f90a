//! Arguments of a site as a signed UKI add-on: under Secure Boot nothing else adds to a kernel's command line.

use crate::output::Unfinished;
use anyhow::{Context, bail};
use contract::partition::Arch;
use formats::addon::{self, Machine};
use formats::authenticode;
use formats::signer::Signer;
use formats::tree::Content;
use std::io::{BufWriter, Write};
use std::path::Path;

/// What systemd-stub takes no file for an add-on without.
const ENDING: &str = ".addon.efi";
/// What the image itself says on its command line, and nobody after it.
const OWN: [&str; 7] = [
    "root",
    "rootfstype",
    "rootflags",
    "roothash",
    "usrhash",
    "init",
    "systemd.gpt_auto",
];

/// Writes an add-on with the arguments `cmdline` for machines of `arch` to `path`, signed by `signer`.
///
/// # Errors
/// systemd-stub would not take the file, an argument is the image's own, or nobody signs.
pub fn write(path: &Path, cmdline: &str, arch: Arch, signer: &dyn Signer) -> anyhow::Result<()> {
    if !path.to_string_lossy().ends_with(ENDING) {
        bail!(
            "{}: an add-on is taken only if its name ends with {ENDING}",
            path.display()
        );
    }
    validate(cmdline)?;
    let machine = match arch {
        Arch::Amd64 => Machine::Amd64,
        Arch::Arm64 => Machine::Arm64,
    };
    let writing = || format!("writing {}", path.display());
    let mut unsigned = Vec::new();
    let plan = addon::plan(machine, cmdline).with_context(writing)?;
    plan.write(&mut unsigned).with_context(writing)?;
    let signed = authenticode::sign(&Content::from(unsigned), signer);
    let signed = signed.with_context(|| format!("signing {}", path.display()))?;
    let unfinished = Unfinished::create(path)?;
    let mut out = BufWriter::new(unfinished.file());
    signed.write(&mut out).with_context(writing)?;
    out.flush().with_context(writing)?;
    drop(out);
    unfinished.finish()
}

fn validate(cmdline: &str) -> anyhow::Result<()> {
    if cmdline.trim().is_empty() {
        bail!("an add-on without an argument adds nothing");
    }
    if cmdline.chars().any(char::is_control) {
        bail!("kernel arguments are one line without control characters");
    }
    for word in cmdline.split_whitespace() {
        let name = word.split('=').next().unwrap_or(word);
        if OWN.contains(&name) {
            bail!(
                "the argument {word} is the image's own: another one would lead away from what its signature vouches for"
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::validate;

    #[test]
    fn arguments_of_a_site_leave_the_root_alone() {
        for good in [
            "console=ttyS1,115200",
            "console=tty0 loglevel=7",
            "initcall_debug",
        ] {
            validate(good).unwrap();
        }
        for (bad, words) in [
            (" ", "adds nothing"),
            ("a\nb", "one line"),
            ("quiet roothash=00", "roothash=00 is the image's own"),
            ("init=/bin/sh", "init=/bin/sh"),
        ] {
            let error = validate(bad).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }
}
