//! `seedbed images`: what the store of a profile will hold, and where each image comes from.

use super::STDOUT;
use super::bake::open_store;
use crate::cli::args::ImagesArgs;
use crate::images::list::{self, Listed};
use crate::lock::{self, ArchLock, LockedImage};
use crate::profile;
use crate::progress::size;
use crate::store::Store;
use anyhow::Context;
use contract::partition::Arch;
use serde::Serialize;
use std::io::Write;

/// One image, as programs read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row<'a> {
    arch: Arch,
    name: &'a str,
    /// The manifest's, once it is locked.
    digest: Option<String>,
    /// Bytes of all blobs, once it is locked.
    size: Option<u64>,
    origins: &'a [String],
}

pub(super) fn images(args: ImagesArgs) -> anyhow::Result<()> {
    let profile = profile::read(&args.profile.profile)?;
    // A list is good before there is a lock, and beside one of another text of the profile.
    let lock = lock::read(&profile).ok();
    let store = open_store(args.store)?;
    let mut out = std::io::stdout().lock();
    let mut lists = Vec::new();
    for arch in &profile.arch {
        let locked = lock.as_ref().and_then(|lock| lock.arch.get(arch));
        let listed = list::list(&profile, *arch, &mut |name| chart(locked, &store, name))?;
        lists.push((*arch, locked, listed));
    }
    let rows = lists.iter().flat_map(|(arch, locked, listed)| {
        listed.iter().map(move |listed| row(*arch, *locked, listed))
    });
    if args.json {
        let rows: Vec<Row<'_>> = rows.collect();
        return writeln!(out, "{}", serde_json::to_string_pretty(&rows)?).context(STDOUT);
    }
    for row in rows {
        let arch = match profile.arch.len() {
            1 => String::new(),
            _ => format!("{} ", row.arch),
        };
        let locked = match (&row.digest, row.size) {
            (Some(digest), Some(bytes)) => format!("{digest}, {}", size(bytes)),
            (Some(digest), None) => digest.clone(),
            _ => "not locked".to_owned(),
        };
        writeln!(out, "{arch}{}\n  {locked}", row.name).context(STDOUT)?;
        for origin in row.origins {
            writeln!(out, "  {origin}").context(STDOUT)?;
        }
    }
    Ok(())
}

fn row<'a>(arch: Arch, locked: Option<&ArchLock>, listed: &'a Listed) -> Row<'a> {
    let name = &listed.entry.name;
    let fits = |image: &&LockedImage| image.name == *name;
    let image = locked.and_then(|locked| locked.images.iter().find(fits));
    let pulled = image.and_then(|image| image.pulled.as_ref());
    let composed = image.is_some_and(|image| image.composed.is_some());
    Row {
        arch,
        name,
        // A composed image has a digest when it is built.
        digest: match pulled {
            Some(pulled) => Some(format!("sha256:{}", pulled.manifest.sha256)),
            None => composed.then(|| "composed".to_owned()),
        },
        size: pulled.map(|pulled| pulled.all_blobs().map(|blob| blob.size).sum()),
        origins: &listed.origins,
    }
}

/// The archive of a chart that was locked.
fn chart(locked: Option<&ArchLock>, store: &Store, name: &str) -> anyhow::Result<Vec<u8>> {
    let charts = locked.into_iter().flat_map(|locked| &locked.charts);
    let chart = charts.into_iter().find(|chart| chart.name == name);
    let chart = chart.with_context(|| format!("{name} is not locked: run `seedbed lock`"))?;
    let mut bytes = Vec::new();
    let mut file = store.open_verified(&chart.sha256, &format!("chart {name}"))?;
    std::io::Read::read_to_end(&mut file, &mut bytes).context("reading it from the store")?;
    Ok(bytes)
}
