//! `seedbed push` and `seedbed pull`.

use super::STDOUT;
use crate::artifact::{self, ArtifactReference, PlannedFile};
use crate::cli::args::{PullArgs, PushArgs};
use crate::digest;
use crate::images::credentials::{Credential, Credentials};
use crate::progress::{Mode, Progress};
use crate::signature::{self, SUMS};
use anyhow::{Context, bail};
use oci_client::secrets::RegistryAuth;
use serde_json::json;
use std::fs::File;
use std::io::Write;
use std::path::Path;

pub(super) fn push(args: PushArgs) -> anyhow::Result<()> {
    let target = ArtifactReference::parse_target(&args.to)?;
    let mut files = Vec::new();
    for path in &args.paths {
        if path.is_dir() {
            files.extend(folder(path)?);
        } else {
            files.push(file(path)?);
        }
    }
    let plan = artifact::plan(files)?;
    let bytes = plan.files.iter().map(|file| file.size).sum();
    let auth = auth(&target)?;
    let mode = Mode::choose(args.json);
    let progress = Progress::new(mode, "push", plan.files.len(), bytes);
    let pushed = artifact::push(&plan, &target, &auth, &progress);
    progress.close();
    let pushed = pushed?;
    let pinned = ArtifactReference {
        digest: Some(pushed.digest),
        ..target
    };
    let mut out = std::io::stdout();
    if args.json {
        let result =
            json!({"reference": pinned.to_string(), "sent": pushed.sent, "there": pushed.there});
        return writeln!(out, "{result}").context(STDOUT);
    }
    writeln!(
        out,
        "{pinned}: {} blobs sent, {} were there",
        pushed.sent, pushed.there
    )
    .context(STDOUT)
}

pub(super) fn pull(args: PullArgs) -> anyhow::Result<()> {
    let reference = ArtifactReference::parse(&args.reference)?;
    let arch = args.arch.map(Into::into);
    let pulled = artifact::pull(&reference, arch, &args.output, &auth(&reference)?)?;
    let mut out = std::io::stdout();
    if args.json {
        let result = json!({"digest": pulled.digest, "files": pulled.files, "there": pulled.there});
        return writeln!(out, "{result}").context(STDOUT);
    }
    for path in &pulled.files {
        writeln!(out, "{}", path.display()).context(STDOUT)?;
    }
    Ok(())
}

/// Who we are to a registry: whom the login files say, or nobody in particular.
fn auth(reference: &ArtifactReference) -> anyhow::Result<RegistryAuth> {
    let credentials = Credentials::from_environment();
    let found = credentials.find(&reference.registry, &reference.repository);
    let finding = || format!("looking for a login for {}", reference.registry);
    match found.with_context(finding)? {
        None => Ok(RegistryAuth::Anonymous),
        Some((Credential::Basic { user, password }, _)) => {
            Ok(RegistryAuth::Basic(user, password.expose().to_owned()))
        }
        Some((Credential::Registry(token), _)) => {
            Ok(RegistryAuth::Bearer(token.expose().to_owned()))
        }
        Some((Credential::Identity(_), origin)) => bail!(
            "{origin} is an identity token, which push and pull do not take: log in at {} with a user name and a password",
            reference.registry
        ),
    }
}

/// What `SHA256SUMS` of a folder lists, verified, and that file itself with its signature.
fn folder(folder: &Path) -> anyhow::Result<Vec<PlannedFile>> {
    let mut files = Vec::new();
    for (name, sha256) in signature::sums(folder)? {
        let planned = file(&folder.join(&name))?;
        if planned.sha256 != sha256 {
            bail!(
                "{} has the digest {}, not {sha256} as in {SUMS}: build it again",
                planned.path.display(),
                planned.sha256
            );
        }
        files.push(planned);
    }
    files.push(file(&folder.join(SUMS))?);
    let signature = folder.join(format!("{SUMS}.minisig"));
    if signature.exists() {
        files.push(file(&signature)?);
    }
    Ok(files)
}

fn file(path: &Path) -> anyhow::Result<PlannedFile> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.with_context(|| format!("{} names no file", path.display()))?;
    let reading = || format!("reading {}", path.display());
    let open = File::open(path).with_context(reading)?;
    let (sha256, size) = digest::sha256_of(open).with_context(reading)?;
    Ok(PlannedFile {
        path: path.to_owned(),
        name: name.to_owned(),
        size,
        sha256,
    })
}
