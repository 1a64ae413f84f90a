//! `seedbed inspect`.

use crate::cli::args::InspectArgs;
use crate::inspect::{self, Report};
use crate::progress::size;
use anyhow::bail;
use std::fmt;

pub(super) fn inspect(args: InspectArgs) -> anyhow::Result<()> {
    let report = inspect::inspect(&args.image, args.verify)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print!("{}", Page(&report));
    }
    match report.damage.as_slice() {
        [] => Ok(()),
        [one] => bail!("{} is damaged: {one}", args.image.display()),
        more => bail!(
            "{} is damaged:\n  {}",
            args.image.display(),
            more.join("\n  ")
        ),
    }
}

/// The report as people read it.
struct Page<'a>(&'a Report);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        writeln!(f, "{}, {}", report.format, size(report.bytes))?;
        if let Some(manifest) = &report.manifest {
            let (profile, arch, kubernetes) =
                (&manifest.profile, manifest.arch, &manifest.kubernetes);
            writeln!(f, "profile {profile}, {arch}, Kubernetes {kubernetes}")?;
        }
        writeln!(f, "\npartitions")?;
        for row in &report.partitions {
            let used = row.used.map(|used| format!("{} used", size(used)));
            let (number, name, bytes) = (row.number, &row.name, size(row.bytes));
            let line = format!(
                "{number:>3}  {name:<14} {bytes:>11}  {}",
                used.unwrap_or_default()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "\nboot")?;
        for entry in &report.boot {
            let (path, bytes, kernel) = (&entry.path, size(entry.bytes), &entry.kernel);
            writeln!(f, "  {path}  {bytes}, Linux {kernel}")?;
            writeln!(f, "    {}", entry.command_line)?;
        }
        if let Some(manifest) = &report.manifest {
            writeln!(f, "\nimages")?;
            for (name, digest) in &manifest.images {
                writeln!(f, "  {name}  {digest}")?;
            }
        }
        if !report.verified.is_empty() {
            let names = report.verified.join(" and ");
            writeln!(f, "\nevery block is as its root hash says: {names}")?;
        }
        Ok(())
    }
}
