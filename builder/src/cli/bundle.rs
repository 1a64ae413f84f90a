//! `seedbed bundle`, and what `fetch` and `build` do with bundles.

use crate::bundle::{self, Bundle, import, write};
use crate::cli::STDOUT;
use crate::cli::arch::{self, ArchArg};
use crate::cli::args::BundleArgs;
use crate::cli::bake::{Inputs, open_store};
use crate::cli::lock_diff::lock_at;
use crate::digest::HashWriter;
use crate::fetch::{self, Named};
use crate::lock::{self, Lock};
use crate::output::Unfinished;
use crate::profile;
use crate::progress::size;
use crate::remote::Place;
use crate::store::Store;
use anyhow::{Context, bail};
use contract::partition::Arch;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

/// Stands for standard input or output.
const DASH: &str = "-";

pub(super) fn bundle(args: BundleArgs) -> anyhow::Result<()> {
    let profile = profile::read(&args.profile.profile)?;
    let lock = lock::read(&profile)?;
    let store = open_store(args.store)?;
    let since = args.since.as_deref().map(since).transpose()?;
    let arch = arch::locked(&profile, &lock, &args.arch)?;
    let index = write::plan(&profile, &lock, &arch, since.as_ref(), &store)?;
    let path = args.out;
    let path = path.unwrap_or_else(|| format!("seedbed-{}.bundle.tar", profile.name).into());
    if path.as_os_str() == DASH {
        let mut out = io::stdout().lock();
        write::write(&mut out, index, &profile, &lock, &store)?;
        return out.flush().context(STDOUT);
    }
    if let Some(folder) = path.parent() {
        let creating = || format!("creating {}", folder.display());
        fs::create_dir_all(folder).with_context(creating)?;
    }
    let unfinished = Unfinished::create(&path)?;
    let mut out = HashWriter::new(BufWriter::new(unfinished.file()));
    let writing = || format!("writing {}", path.display());
    let index = write::write(&mut out, index, &profile, &lock, &store).with_context(writing)?;
    out.flush().with_context(writing)?;
    let (_, sha256, bytes) = out.finish();
    unfinished.finish()?;
    if args.json {
        let result = json!({
            "path": path, "bytes": bytes, "sha256": sha256, "lock": index.lock, "since": index.since,
            "blobs": index.blobs.len(), "elsewhere": index.elsewhere.len(),
        });
        println!("{}", serde_json::to_string_pretty(&result)?);
        return Ok(());
    }
    println!("{sha256}  {}", path.display());
    let (blobs, bytes) = (index.blobs.len(), size(bytes));
    println!("{blobs} blobs ({bytes}) of lock {}", index.lock);
    if let Some(since) = &index.since {
        let rest = index.elsewhere.len();
        println!("{rest} more blobs are needed from a bundle of lock {since}");
    }
    Ok(())
}

fn since(path: &Path) -> anyhow::Result<Lock> {
    let lock = lock_at(path)?;
    lock.with_context(|| format!("{} is no lock", path.display()))
}

/// Opens the bundles at `paths`, for the architectures `named`, or for all that are locked; what none of the bundles
/// has may be in `store`, or come from `remote` when it is built from.
pub(super) fn open(
    paths: &[PathBuf],
    named: &[ArchArg],
    store: Store,
    remote: Option<&Place>,
) -> anyhow::Result<Inputs> {
    let bundles = paths.iter().map(|path| Bundle::open(path));
    let bundles = bundles.collect::<anyhow::Result<Vec<_>>>()?;
    let newest = bundle::newest(&bundles)?;
    let lock = newest.lock().clone();
    let folder = tempfile::Builder::new()
        .prefix("seedbed-bundle-")
        .tempdir()
        .context("creating a temporary folder (TMPDIR says where)")?;
    let profile = newest.unpack(folder.path())?;
    let arch = arch::locked(&profile, &lock, named)?;
    let missing = missing(&lock, &arch, &bundles, &store);
    if !missing.is_empty() && remote.is_none() {
        let needs = newest.index().since.as_ref();
        let hint = needs.map(|since| {
            let path = newest.path().display();
            format!("\n{path} was made --since lock {since}: give the bundle of that lock, too")
        });
        let list: Vec<String> = missing.iter().map(Named::to_string).collect();
        bail!(
            "{} blobs are neither in the bundles nor in the store:\n  {}{}",
            missing.len(),
            list.join("\n  "),
            hint.unwrap_or_default()
        );
    }
    Ok(Inputs {
        profile,
        lock,
        store: store.over(bundles),
        _unpacked: Some(folder),
    })
}

fn missing(lock: &Lock, arch: &[Arch], bundles: &[Bundle], store: &Store) -> Vec<Named> {
    let there = |named: &Named| {
        let carried = bundles.iter().any(|b| b.blob(&named.sha256).is_some());
        carried || store.has(&named.sha256, named.size)
    };
    let mut missing = fetch::everything(lock, arch);
    missing.retain(|named| !there(named));
    missing
}

/// Takes the blobs of the bundle at `path` into the store.
pub(super) fn import(path: &Path, store: &Store) -> anyhow::Result<import::Summary> {
    let reading = || format!("reading bundle {}", path.display());
    let reader: Box<dyn Read> = if path.as_os_str() == DASH {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).with_context(reading)?)
    };
    import::import(reader, store).with_context(reading)
}
