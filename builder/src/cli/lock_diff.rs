//! `seedbed diff` of two locks.

use crate::cli::diff::section;
use crate::lock::compare::{ArchDifference, ChartState, Difference, FileState, ImageState};
use crate::lock::{self, Lock};
use crate::progress::size;
use anyhow::Context;
use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// How many digits of a digest tell it from another, for people.
const DIGITS: usize = 12;

/// The lock at `path`, which is one, or the folder of a profile; `None` if it is something else.
pub(super) fn lock_at(path: &Path) -> anyhow::Result<Option<Lock>> {
    let path = match path.is_dir() {
        true => path.join(lock::FILE_NAME),
        false => path.to_owned(),
    };
    let opening = || format!("opening {}", path.display());
    let mut first = [0];
    let read = File::open(&path).and_then(|mut file| file.read(&mut first));
    // No image begins with a brace, and every lock does.
    match read.with_context(opening)? {
        1 if first[0] == b'{' => lock::read_any(&path),
        _ => Ok(None),
    }
}

/// The difference as people read it: a heading for each kind, one line for each change.
pub(super) struct Page<'a>(pub(super) &'a Difference);

impl fmt::Display for Page<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return writeln!(f, "nothing differs");
        }
        section(f, "profile", &self.0.profile, |text| short(text))?;
        section(f, "archives", &self.0.archives, String::clone)?;
        for (arch, found) in &self.0.arch {
            writeln!(f, "{arch}")?;
            write!(f, "{}", Part(found))?;
        }
        Ok(())
    }
}

/// What differs for one architecture.
struct Part<'a>(&'a ArchDifference);

impl fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let packages = &self.0.packages;
        let kinds = [
            ("packages up", &packages.up),
            ("packages down", &packages.down),
            ("packages rebuilt", &packages.rebuilt),
            ("packages added", &packages.added),
            ("packages removed", &packages.removed),
        ];
        for (heading, changes) in kinds {
            section(f, heading, changes, String::clone)?;
        }
        section(f, "files", &self.0.files, |file: &FileState| {
            let (path, digest) = (&file.path, short(&file.sha256));
            format!("{path} {digest} {}", size(file.size))
        })?;
        section(f, "charts", &self.0.charts, |chart: &ChartState| {
            format!("{} {}", chart.version, short(&chart.sha256))
        })?;
        section(f, "images", &self.0.images, |image: &ImageState| {
            let composed = if image.composed { " composed" } else { "" };
            format!("{} {}{composed}", image.tag, short(&image.digest))
        })
    }
}

/// The beginning of a digest; other text as it is.
fn short(text: &str) -> String {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    match crate::digest::is_sha256(hex) {
        true => hex[..DIGITS].to_owned(),
        false => text.to_owned(),
    }
}
