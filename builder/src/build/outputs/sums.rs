//! `SHA256SUMS` beside the results, as `sha256sum --check` takes it.
//!
//! A name leaves the file before a result is replaced and comes back with the new digest, so that no line is
//! ever wrong, whenever the power goes.

use crate::digest;
use crate::output::write_atomically;
use anyhow::Context;
use rustix::fs::FlockOperation;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

const NAME: &str = "SHA256SUMS";

/// The digests of a folder; no other build changes them meanwhile.
pub(crate) struct Sums {
    folder: PathBuf,
    /// Locked as long as it is open.
    _lock: File,
}

impl Sums {
    /// Of the folder that all of `results` are in.
    pub(crate) fn open<'a>(mut results: impl Iterator<Item = &'a PathBuf>) -> anyhow::Result<Self> {
        let folder = results.next().and_then(|path| path.parent());
        let folder = folder.unwrap_or(Path::new(""));
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let locking = || format!("locking {}", folder.display());
        let lock = File::open(folder).with_context(locking)?;
        rustix::fs::flock(&lock, FlockOperation::LockExclusive).with_context(locking)?;
        Ok(Sums {
            folder: folder.to_owned(),
            _lock: lock,
        })
    }

    /// Whether it has the lines of `results`.
    pub(crate) fn holds(&self, results: &BTreeMap<PathBuf, String>) -> anyhow::Result<bool> {
        let sums = parse(&self.text()?);
        Ok(named(results).all(|(name, digest)| sums.get(&name) == Some(&digest)))
    }

    /// Takes the lines of `results` out.
    pub(crate) fn forget(&self, results: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
        self.change(|sums| {
            for (name, _) in named(results) {
                sums.remove(&name);
            }
        })
    }

    /// Puts the lines of `results` in.
    pub(crate) fn record(&self, results: &BTreeMap<PathBuf, String>) -> anyhow::Result<()> {
        self.change(|sums| sums.extend(named(results)))
    }

    /// Changes the file, which also loses lines of results that are gone; writes nothing if it stays the same.
    fn change(&self, change: impl FnOnce(&mut BTreeMap<String, String>)) -> anyhow::Result<()> {
        let text = self.text()?;
        let mut sums = parse(&text);
        sums.retain(|name, _| self.folder.join(name).exists());
        change(&mut sums);
        let new = render(&sums);
        match new == text {
            true => Ok(()),
            false => write_atomically(&self.folder.join(NAME), new.as_bytes()),
        }
    }

    /// The file as it is; empty, if there is none.
    fn text(&self) -> anyhow::Result<String> {
        let path = self.folder.join(NAME);
        match fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            text => text.with_context(|| format!("reading {}", path.display())),
        }
    }
}

fn named(results: &BTreeMap<PathBuf, String>) -> impl Iterator<Item = (String, String)> {
    results.iter().filter_map(|(path, digest)| {
        let name = path.file_name()?.to_string_lossy();
        Some((name.into_owned(), digest.clone()))
    })
}

/// Digests by file name. A line that is something else is lost.
fn parse(text: &str) -> BTreeMap<String, String> {
    let line = |line: &str| {
        let (digest, name) = line.split_once([' '])?;
        // Between them is a second space, or an asterisk for a file that was read as binary.
        let name = name.strip_prefix([' ', '*'])?;
        digest::is_sha256(digest).then(|| (name.to_owned(), digest.to_owned()))
    };
    text.lines().filter_map(line).collect()
}

fn render(sums: &BTreeMap<String, String>) -> String {
    sums.iter()
        .map(|(name, digest)| format!("{digest}  {name}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_and_go_with_the_results() {
        let folder = tempfile::tempdir().unwrap();
        let result = |name: &str, digit: &str| {
            let path = folder.path().join(name);
            fs::write(&path, "").unwrap();
            BTreeMap::from([(path, digit.repeat(64))])
        };
        let text = || fs::read_to_string(folder.path().join(NAME)).unwrap();
        let line = |digit: &str, name: &str| format!("{}  {name}\n", digit.repeat(64));
        let (raw, qcow2) = (result("a.raw", "1"), result("a.qcow2", "2"));
        let sums = Sums::open(raw.keys()).unwrap();
        sums.forget(&raw).unwrap();
        sums.record(&raw).unwrap();
        sums.record(&qcow2).unwrap();
        assert_eq!(text(), line("2", "a.qcow2") + &line("1", "a.raw"));
        sums.forget(&qcow2).unwrap();
        assert_eq!(text(), line("1", "a.raw"));
        sums.record(&result("a.qcow2", "3")).unwrap();
        fs::remove_file(folder.path().join("a.raw")).unwrap();
        sums.record(&result("b.raw", "4")).unwrap();
        assert_eq!(text(), line("3", "a.qcow2") + &line("4", "b.raw"));
    }

    #[test]
    fn lines_of_others_are_understood() {
        let digest = "a".repeat(64);
        let sums = parse(&format!(
            "{digest} *one\n{digest}  two words\n# no\n{digest} no\n"
        ));
        let names: Vec<&String> = sums.keys().collect();
        assert_eq!(names, ["one", "two words"]);
    }
}
