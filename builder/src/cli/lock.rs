//! `seedbed lock`.

use crate::cli::args::LockArgs;
use crate::cli::bake::{locate, now, open_store};
use crate::lock::compare::Difference;
use crate::lock::resolve::Resolution;
use crate::lock::{self, update};
use crate::profile;
use crate::transport::Transport;
use anyhow::bail;

pub(super) fn lock(args: LockArgs) -> anyhow::Result<()> {
    let profile = profile::read(&args.profile.profile)?;
    let sources = locate(&profile, args.places)?;
    let path = lock::path(&profile);
    let old = lock::read_any(&path)?;
    let resolution = Resolution {
        profile: &profile,
        sources: &sources,
        transport: &Transport::new()?,
        store: &open_store(args.store)?,
        now: now()?,
    };
    let new = match args.update.as_slice() {
        [] => lock::resolve::resolve(&resolution, old.as_ref())?,
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
