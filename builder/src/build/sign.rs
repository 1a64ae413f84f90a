//! Signs what firmware starts from the ESP, and puts beside it what makes a machine trust that.

use crate::secure_boot::{ENROLMENT, SecureBoot};
use anyhow::{Context, bail};
use formats::authenticode;
use formats::tree::{Content, Kind, Tree};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;

const LOADER_CONF: &str = "loader/loader.conf";

/// Signs every boot program of `esp`; `scratch` is a folder for unnamed files.
pub(super) fn sign(esp: &mut Tree, by: &SecureBoot, scratch: &Path) -> anyhow::Result<()> {
    let mut signed = Vec::new();
    for (path, node) in esp.iter() {
        let Kind::File(content) = &node.kind else {
            continue;
        };
        if path.to_ascii_lowercase().ends_with(".efi") {
            let program = program(content, by, scratch);
            signed.push((
                path.clone(),
                program.with_context(|| format!("signing {path}"))?,
            ));
        }
    }
    for (path, program) in signed {
        esp.insert_file(&path, 0o644, program)?;
    }
    for (name, update) in by.updates() {
        esp.insert_file(&format!("{ENROLMENT}/{name}"), 0o644, update.clone())?;
    }
    if let Some(line) = by.loader_conf() {
        let Some(Kind::File(before)) = esp.get(LOADER_CONF).map(|node| &node.kind) else {
            bail!("{LOADER_CONF} is missing");
        };
        let mut text = before.to_vec().context("reading loader.conf")?;
        text.extend_from_slice(line.as_bytes());
        esp.insert_file(LOADER_CONF, 0o644, text)?;
    }
    Ok(())
}

fn program(unsigned: &Content, by: &SecureBoot, scratch: &Path) -> anyhow::Result<Content> {
    let signed = authenticode::sign(unsigned, by.signer())?;
    let file = tempfile::tempfile_in(scratch).context("creating a file for it")?;
    let mut out = BufWriter::new(file);
    signed.write(&mut out)?;
    out.flush().context("writing it")?;
    let file = out.into_inner().context("writing it")?;
    Ok(Content::Slice {
        file: Arc::new(file),
        offset: 0,
        len: signed.size(),
    })
}
