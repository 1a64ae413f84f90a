//! `seedbed lock`.

use crate::cli::arch;
use crate::cli::args::LockArgs;
use crate::cli::bake::{locate, now, open_store, transport};
use crate::images::registries::Registries;
use crate::lock::compare::Difference;
use crate::lock::resolve::Resolution;
use crate::lock::{self, update};
use crate::profile;
use crate::registry::credentials::Credentials;
use anyhow::bail;

pub(super) fn lock(args: LockArgs) -> anyhow::Result<()> {
    let profile = profile::read(&args.profile.profile)?;
    let sources = locate(&profile, args.places)?;
    let path = lock::path(&profile);
    let old = lock::read_any(&path)?;
    let transport = transport(&profile, &sources)?;
    let resolution = Resolution {
        profile: &profile,
        sources: &sources,
        transport: &transport,
        registries: &Registries::new(&sources, &transport, Credentials::from_environment()),
        store: &open_store(args.store)?,
        now: now()?,
        trust_on_first_use: args.trust_on_first_use,
    };
    let new = match args.update.as_slice() {
        [] => {
            let chosen = arch::chosen(&profile, &args.arch)?;
            lock::resolve::resolve(&resolution, old.as_ref(), &chosen)?
        }
        names => update::update(&resolution, &lock::read(&profile)?, names)?,
    };
    if let Some(old) = &old {
        for line in Difference::between(old, &new).lines() {
            println!("{line}");
        }
    }
    if args.check {
        if old.as_ref() != Some(&new) {
            bail!(
                "{} is not what the profile resolves to today: run `seedbed lock`",
                path.display()
            );
        }
        println!("{} is up to date", path.display());
        return Ok(());
    }
    let written = lock::write(&path, &new)?;
    println!(
        "{}: {}",
        path.display(),
        if written { "written" } else { "unchanged" }
    );
    Ok(())
}
