//! `seedbed check`, `fetch` and `build`.

use crate::build::{self, Request};
use crate::cache::Cache;
use crate::cli::arch::{self, ArchArg};
use crate::cli::args::{BuildArgs, FetchArgs, PlaceArgs, ProfileArgs, StoreArgs};
use crate::cli::bundle;
use crate::debian::date::Date;
use crate::documents;
use crate::fetch;
use crate::images::fetch as images;
use crate::images::list;
use crate::images::registries::Registries;
use crate::lock::{self, Lock};
use crate::profile::{self, Profile};
use crate::progress::{Mode, Progress, size};
use crate::registry::credentials::Credentials;
use crate::remote::{Place, RemoteStore};
use crate::rewrite::Rewrites;
use crate::secure_boot::SecureBoot;
use crate::source::{Places, Sources};
use crate::store::Store;
use crate::transport::access::Access;
use crate::transport::{Limits, Transport};
use anyhow::Context;
use contract::partition::Arch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

pub(super) fn check(args: ProfileArgs) -> anyhow::Result<()> {
    let profile = profile::read(&args.profile)?;
    for arch in &profile.arch {
        let parts = profile.parts(*arch);
        let images = list::list_local(&profile, *arch)?.len();
        println!(
            "{}: good for {arch}: {} packages by name, {} files, {} images",
            args.profile.display(),
            parts.packages.len(),
            parts.files.len(),
            images
        );
    }
    Ok(())
}

pub(super) fn fetch(args: FetchArgs) -> anyhow::Result<()> {
    let store = open_store(args.store)?;
    for path in &args.bundle {
        let summary = bundle::import(path, &store)?;
        if !args.json {
            let (copied, blobs, path) = (summary.copied, summary.blobs, path.display());
            println!("{copied} of {blobs} blobs taken from {path}; the rest was in the store");
        }
    }
    let Some(folder) = &args.profile else {
        return Ok(());
    };
    let profile = profile::read(folder)?;
    let lock = lock::read(&profile)?;
    lock::own::verify(&profile, &lock)?;
    let chosen = arch::chosen(&profile, &args.arch)?;
    for arch in &chosen {
        lock.part(&profile, *arch)?;
    }
    if args.offline {
        let all = fetch::everything(&lock, &chosen);
        fetch::offline(&all, &store)?;
        if !args.json {
            println!("all {} blobs are in the store", all.len());
        }
        return Ok(());
    }
    let mode = Mode::choose(args.json);
    let remote = args.remote.remote_store.as_ref();
    let remote = remote.map(|place| RemoteStore::open(place, &profile, mode));
    let remote = remote.transpose()?;
    let all = fetch::everything(&lock, &chosen);
    if let Some(remote) = &remote {
        let taken = remote.take(&all, &store);
        if !args.json {
            println!("{}", taken.told(remote.place()));
        }
    }
    // Where everything is there, sources need no place.
    if remote.is_none()
        || all
            .iter()
            .any(|named| !store.has(&named.sha256, named.size))
    {
        let sources = locate(&profile, args.places)?;
        let items = fetch::plan(&lock, &chosen);
        let transport = transport(&profile, &sources)?;
        let summary = fetch::fetch(&items, &sources, &transport, &store, mode)?;
        let registries = Registries::new(&sources, &transport, Credentials::from_environment());
        fetch_images(&lock, &profile, &chosen, &registries, &store, mode)?;
        if !args.json {
            let (fetched, items, bytes) = (summary.fetched, summary.items, size(summary.bytes));
            println!("{fetched} of {items} blobs fetched ({bytes}); the rest was in the store");
        }
    }
    if let Some(remote) = &remote {
        let digest = lock::digest(&lock);
        for arch in chosen {
            let kept = remote.keep(
                (&profile.name, &digest),
                arch,
                &fetch::everything(&lock, &[arch]),
                &store,
            );
            if !args.json && kept.blobs > 0 {
                let (blobs, bytes, place) = (kept.blobs, size(kept.bytes), remote.place());
                println!("{blobs} blobs for {arch} sent to {place} ({bytes})");
            }
        }
    }
    Ok(())
}

/// A client that the profile's sources let in.
pub(super) fn transport(profile: &Profile, sources: &Sources) -> anyhow::Result<Transport> {
    Transport::with(Access::of(profile, sources)?, Limits::DEFAULT)
}

fn fetch_images(
    lock: &Lock,
    profile: &Profile,
    arch: &[Arch],
    registries: &Registries,
    store: &Store,
    mode: Mode,
) -> anyhow::Result<()> {
    let chosen = || lock.arch.iter().filter(|(key, _)| arch.contains(key));
    for chart in chosen().flat_map(|(_, part)| &part.charts) {
        images::chart(chart, registries, store)?;
    }
    let images = chosen().flat_map(|(arch, part)| {
        let pulled = part
            .images
            .iter()
            .filter_map(|image| Some((image, image.pulled.as_ref()?)));
        pulled.map(|(image, pulled)| images::Pulled {
            arch: *arch,
            image,
            pulled,
        })
    });
    let images: Vec<_> = images.collect();
    let total = images.iter().map(images::Pulled::bytes).sum();
    let progress = Progress::new(mode, "pull", images.len(), total);
    let fetched = images::fetch(&images, &profile.dir, registries, store, &progress);
    progress.close();
    fetched
}

pub(super) fn build(args: BuildArgs) -> anyhow::Result<()> {
    let remote = args.remote.remote_store.as_ref().filter(|_| !args.offline);
    let Inputs {
        profile,
        lock,
        store,
        _unpacked,
    } = inputs(
        args.profile.as_deref(),
        &args.bundle,
        &args.arch,
        open_store(args.store)?,
        remote,
    )?;
    // Of all architectures, before the first of them takes its time.
    let chosen = arch::chosen(&profile, &args.arch)?;
    for arch in &chosen {
        lock.part(&profile, *arch)?;
    }
    let programs = chosen
        .into_iter()
        .map(|arch| Ok((arch, arch::firstboot(arch, &args.firstboot)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let remote = remote.map(|place| {
        let opened = RemoteStore::open(place, &profile, Mode::choose(false))?;
        opened.sharing(args.results.remote_store_results.into())
    });
    let remote = remote.transpose()?;
    let cache = match (args.no_cache, args.cache) {
        (true, _) => Cache::none(),
        (false, Some(dir)) => Cache::open(&dir)?,
        (false, None) => Cache::open(&Cache::default_dir()?)?,
    };
    // Before the work is done, so that a key that cannot be read costs nothing.
    let signer = args.sign.as_deref().map(super::keys::signer).transpose()?;
    let secure_boot =
        args.signer.secure_boot.as_deref().map(|folder| {
            SecureBoot::read(folder, args.signer.signer.as_deref(), args.enroll.into())
        });
    let secure_boot = secure_boot.transpose()?;
    let mut builds = Vec::new();
    for (arch, firstboot) in &programs {
        let request = Request {
            profile: &profile,
            lock: &lock,
            arch: *arch,
            store: &store,
            remote: remote.as_ref(),
            cache: &cache,
            firstboot,
            seed: args.seed.as_deref(),
            secure_boot: secure_boot.as_ref(),
            formats: args.format.iter().map(|format| (*format).into()).collect(),
            sector_size: args.sector_size.into(),
            out: &args.out,
        };
        builds.push(build::build(&request)?);
    }
    let documents = documents::write(&args.out, &builds)?;
    if let Some(signer) = signer {
        signer.sign(&args.out)?;
    }
    let reports: Vec<_> = builds.into_iter().map(|built| built.report).collect();
    if args.json {
        println!("{}", serde_json::to_string_pretty(&reports)?);
        return Ok(());
    }
    for report in reports {
        print!("{report}");
    }
    for (path, digest) in documents {
        println!("{digest}  {}", path.display());
    }
    Ok(())
}

/// What a build takes from a profile's folder, or from bundles.
pub(super) struct Inputs {
    pub(super) profile: Profile,
    pub(super) lock: Lock,
    pub(super) store: Store,
    /// The folder of a bundle's profile, while it is needed.
    pub(super) _unpacked: Option<tempfile::TempDir>,
}

fn inputs(
    folder: Option<&Path>,
    bundles: &[PathBuf],
    named: &[ArchArg],
    store: Store,
    remote: Option<&Place>,
) -> anyhow::Result<Inputs> {
    let Some(folder) = folder else {
        return bundle::open(bundles, named, store, remote);
    };
    let profile = profile::read(folder)?;
    let lock = lock::read(&profile)?;
    lock::own::verify(&profile, &lock)?;
    Ok(Inputs {
        profile,
        lock,
        store,
        _unpacked: None,
    })
}

/// The present: the one place of the builder that asks a clock, to tell expired archives from fresh ones.
pub(super) fn now() -> anyhow::Result<Date> {
    let since = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .context("this host's clock is before 1970")?;
    Ok(Date::from_unix(
        i64::try_from(since.as_secs()).context("this host's clock is out of range")?,
    ))
}

pub(super) fn locate(profile: &Profile, args: PlaceArgs) -> anyhow::Result<Sources> {
    let given: BTreeMap<String, String> = args.sources.into_iter().collect();
    Sources::locate(
        profile,
        &Places {
            given,
            debian_mirror: args.debian_mirror,
            rewrites: Rewrites::read(args.rewrites, args.mirrors.as_deref())?,
        },
    )
}

pub(super) fn open_store(args: StoreArgs) -> anyhow::Result<Store> {
    match args.store {
        Some(dir) => Store::open(&dir),
        None => Store::open(&Store::default_dir()?),
    }
}
