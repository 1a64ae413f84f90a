//! `seedbed verify`.

use crate::cli::STDOUT;
use crate::cli::arch;
use crate::cli::args::VerifyArgs;
use crate::cli::bake::open_store;
use crate::inspect;
use crate::inspect::image::Image;
use crate::inspect::secure_boot;
use crate::inspect::verify::{self, Verification};
use crate::rebuild::{self, Sources};
use crate::secure_boot::key;
use crate::signature;
use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

pub(super) fn verify(args: VerifyArgs) -> anyhow::Result<()> {
    let image = &args.image;
    let mut found = Verification::default();
    if let Some(key) = &args.key {
        found.add("signature", signature::check_signature(image, key));
    }
    match signature::check_sum(image) {
        Ok(false) if args.key.is_none() => {}
        result => found.add(signature::SUMS, result.map(drop)),
    }
    let blocks = verify::blocks(&Image::open(image)?);
    found.extend(blocks);
    found.extend(signatures(image, args.secure_boot_certificate.as_deref())?);
    if let Some(profile) = &args.rebuild {
        found.add("rebuild", rebuild_from(image, profile, &args));
    }
    let mut text = String::new();
    if args.json {
        text = serde_json::to_string_pretty(&found)? + "\n";
    } else {
        for what in &found.verified {
            writeln!(text, "good: {what}").context(STDOUT)?;
        }
        for what in &found.notes {
            writeln!(text, "note: {what}").context(STDOUT)?;
        }
    }
    io::stdout().write_all(text.as_bytes()).context(STDOUT)?;
    match found.damage.as_slice() {
        [] => Ok(()),
        faults => bail!(
            "{} is not good:\n  {}",
            image.display(),
            faults.join("\n  ")
        ),
    }
}

/// The signatures of what firmware starts.
fn signatures(image: &Path, certificate: Option<&Path>) -> anyhow::Result<Verification> {
    let certificate = certificate.map(key::certificate).transpose()?;
    Ok(secure_boot::check(
        &Image::open(image)?,
        certificate.as_ref(),
    ))
}

fn rebuild_from(image: &Path, profile: &Path, args: &VerifyArgs) -> anyhow::Result<()> {
    let firstboot = match &args.firstboot {
        Some(path) => path.clone(),
        None => arch::firstboot(inspect::manifest(&Image::open(image)?)?.arch, &[])?,
    };
    let sources = Sources {
        profile,
        store: &open_store(args.store.clone())?,
        firstboot: &firstboot,
    };
    rebuild::rebuild(image, &sources)
}
