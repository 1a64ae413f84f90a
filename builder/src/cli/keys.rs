//! `seedbed keys` and `seedbed addon`: keys, and what they sign beside images.

use crate::cli::STDOUT;
use crate::cli::args::keys::{AddonArgs, KeysCommand};
use crate::cli::bake;
use crate::secure_boot::{self, Key, addon};
use crate::signature::{self, Signer};
use anyhow::Context;
use formats::efi_variables::Variable;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The environment variable with the password of an encrypted secret key.
const PASSWORD: &str = "SEEDBED_KEY_PASSWORD";

pub(super) fn keys(command: KeysCommand) -> anyhow::Result<()> {
    let text = match command {
        KeysCommand::New {
            secure_boot: Some(folder),
            ..
        } => {
            let written = secure_boot::new_keys(&folder, bake::now()?.unix())?;
            list(&written) + "keep the .key files secret: nothing encrypts them\n"
        }
        KeysCommand::New { name, .. } => new(&name)?,
        KeysCommand::Enroll { folder, signer } => {
            let now = bake::now()?.unix();
            list(&secure_boot::write_updates(
                &folder,
                signer.as_deref(),
                now,
            )?)
        }
    };
    io::stdout().write_all(text.as_bytes()).context(STDOUT)
}

fn new(name: &Path) -> anyhow::Result<String> {
    let password = password();
    let encrypted = if password.is_some() {
        "encrypted"
    } else {
        "not encrypted"
    };
    let files = signature::new_key(name, password)?;
    let (secret, public) = (files.secret.display(), files.public.display());
    Ok(format!(
        "wrote {secret} ({encrypted}): keep it secret\nwrote {public}: hand it out\n"
    ))
}

fn list(written: &[PathBuf]) -> String {
    let line = |path: &PathBuf| format!("wrote {}\n", path.display());
    written.iter().map(line).collect()
}

pub(super) fn addon(args: AddonArgs) -> anyhow::Result<()> {
    let key = Key::read(
        &args.secure_boot,
        Variable::Database.name(),
        args.signer.as_deref(),
    )?;
    addon::write(&args.out, &args.cmdline, args.arch.into(), &key)?;
    let text = format!(
        "wrote {}: put it into loader/addons of the ESP\n",
        args.out.display()
    );
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
