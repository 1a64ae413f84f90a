//! `seedbed diff`.

use crate::change::Change;
use crate::cli::STDOUT;
use crate::cli::args::DiffArgs;
use crate::cli::lock_diff::{self, lock_at};
use crate::cli::look::printable;
use crate::inspect::diff::{self, Difference};
use crate::inspect::list::Item;
use crate::lock::compare;
use crate::progress::size;
use anyhow::{Context, bail};
use std::fmt;
use std::io::{self, Write};

pub(super) fn diff(args: DiffArgs) -> anyhow::Result<()> {
    let text = match (lock_at(&args.before)?, lock_at(&args.after)?) {
        (Some(before), Some(after)) => {
            let difference = compare::Difference::between(&before, &after);
            match args.json {
                true => serde_json::to_string_pretty(&difference)? + "\n",
                false => lock_diff::Page(&difference).to_string(),
            }
        }
        (None, None) => {
            let difference = diff::diff(&args.before, &args.after)?;
            match args.json {
                true => serde_json::to_string_pretty(&difference)? + "\n",
                false => Page(&difference).to_string(),
            }
        }
        (before, _) => {
            let (lock, other) = match before {
                Some(_) => (&args.before, &args.after),
                None => (&args.after, &args.before),
            };
            bail!(
                "{} is a lock, and {} is none: compare two locks or two images",
                lock.display(),
                other.display()
            )
        }
    };
    io::stdout().write_all(text.as_bytes()).context(STDOUT)
}

/// The difference as people read it: a heading for each kind, one line for each change.
struct Page<'a>(&'a Difference);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all = self.0;
        if all.is_empty() {
            return writeln!(f, "nothing differs");
        }
        section(f, "sizes", &all.sizes, |bytes| size(*bytes))?;
        section(f, "packages", &all.packages, String::clone)?;
        section(f, "images", &all.images, String::clone)?;
        section(f, "kernel arguments", &all.kernel_arguments, |_| {
            String::new()
        })?;
        section(
            f,
            "kernel configuration",
            &all.kernel_configuration,
            String::clone,
        )?;
        section(f, "files", &all.files, describe)
    }
}

/// A heading, and one line for each change; nothing if there is none.
pub(super) fn section<T>(
    f: &mut fmt::Formatter<'_>,
    heading: &str,
    changes: &[Change<T>],
    show: impl Fn(&T) -> String,
) -> fmt::Result {
    if changes.is_empty() {
        return Ok(());
    }
    writeln!(f, "{heading}")?;
    for change in changes {
        let name = printable(&change.name);
        let line = match (&change.before, &change.after) {
            (Some(before), Some(after)) => match (show(before), show(after)) {
                (before, after) if before == after => format!("  ~ {name}  {before}"),
                (before, after) => format!("  ~ {name}  {before} -> {after}"),
            },
            (Some(before), None) => format!("  - {name}  {}", show(before)),
            (None, Some(after)) => format!("  + {name}  {}", show(after)),
            (None, None) => continue,
        };
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

/// What two files can differ in, in one word or a few.
fn describe(item: &Item) -> String {
    let mut words = vec![item.kind.to_owned()];
    words.extend(item.mode.map(|mode| format!("{mode:04o}")));
    words.extend(item.owner.map(|(uid, gid)| format!("{uid}:{gid}")));
    match &item.target {
        Some(target) => words.push(format!("to {}", printable(target))),
        None if item.kind == "file" => words.push(size(item.bytes)),
        None => {}
    }
    words.join(" ")
}
