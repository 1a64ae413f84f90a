//! `seedbed verify` and `seedbed keys`.

use crate::cli::STDOUT;
use crate::cli::arch;
use crate::cli::args::{KeysCommand, VerifyArgs};
use crate::cli::bake::open_store;
use crate::inspect;
use crate::inspect::image::Image;
use crate::inspect::verify::{self, Verification};
use crate::rebuild::{self, Sources};
use crate::signature::{self, Signer};
use anyhow::{Context, bail};
use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::Path;

/// The environment variable with the password of an encrypted secret key.
const PASSWORD: &str = "SEEDBED_KEY_PASSWORD";

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
    found.verified.extend(blocks.verified);
    found.damage.extend(blocks.damage);
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

pub(super) fn keys(command: KeysCommand) -> anyhow::Result<()> {
    let KeysCommand::New { name } = command;
    let password = password();
    let encrypted = if password.is_some() {
        "encrypted"
    } else {
        "not encrypted"
    };
    let files = signature::new_key(&name, password)?;
    let (secret, public) = (files.secret.display(), files.public.display());
    let text =
        format!("wrote {secret} ({encrypted}): keep it secret\nwrote {public}: hand it out\n");
    io::stdout().write_all(text.as_bytes()).context(STDOUT)
}

/// The secret key in a file.
pub(super) fn signer(path: &Path) -> anyhow::Result<Signer> {
    Signer::read(path, password())
}

fn password() -> Option<String> {
    std::env::var(PASSWORD)
        .ok()
        .filter(|password| !password.is_empty())
}
