//! `seedbed inspect`.

use crate::cli::STDOUT;
use crate::cli::args::InspectArgs;
use crate::inspect::{self, Report};
use crate::progress::size;
use anyhow::{Context, bail};
use std::fmt;
use std::io::{self, Write};

pub(super) fn inspect(args: InspectArgs) -> anyhow::Result<()> {
    let report = inspect::inspect(&args.image)?;
    let text = match args.json {
        true => serde_json::to_string_pretty(&report)? + "\n",
        false => Page(&report).to_string(),
    };
    io::stdout().write_all(text.as_bytes()).context(STDOUT)?;
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
            let slot = row.slot.unwrap_or_default();
            let line = format!(
                "{number:>3}  {name:<14} {slot:<1} {bytes:>11}  {}",
                used.unwrap_or_default()
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        writeln!(f, "\nboot")?;
        for entry in &report.boot {
            let (kernel, initrd) = (size(entry.kernel_bytes), size(entry.initrd_bytes));
            let (path, bytes, version) = (&entry.path, size(entry.bytes), &entry.kernel);
            writeln!(
                f,
                "  {path}  {bytes}: Linux {version} {kernel}, initrd {initrd}"
            )?;
            writeln!(f, "    {}", entry.command_line)?;
        }
        writeln!(f, "\nimages")?;
        for image in &report.images {
            let bytes = image.bytes.map(size).unwrap_or_default();
            writeln!(f, "  {}  {}  {bytes}", image.name, image.digest)?;
        }
        writeln!(f, "\n{} packages", report.packages.len())?;
        for package in &report.packages {
            writeln!(
                f,
                "  {} {} {}",
                package.name, package.version, package.architecture
            )?;
        }
        Ok(())
    }
}
