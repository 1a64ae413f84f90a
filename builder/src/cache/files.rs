//! A few small files as one result.

use super::{Cache, Key};
use anyhow::Context;
use std::io::Read;
use std::path::Path;

/// A file by its name.
pub type NamedFile = (String, Vec<u8>);

/// A cache, and where what it does not keep is written.
#[derive(Clone, Copy, Debug)]
pub struct Kept<'a> {
    /// The cache.
    pub cache: &'a Cache,
    /// A folder for unnamed files.
    pub scratch: &'a Path,
}

impl Kept<'_> {
    /// The files of `key` by name: those that are there, or what `make` gives.
    pub fn files(
        self,
        key: &Key,
        make: impl FnOnce() -> anyhow::Result<Vec<NamedFile>>,
    ) -> anyhow::Result<Vec<NamedFile>> {
        let result = self.cache.get_or_make(key, self.scratch, |out| {
            let mut archive = tar::Builder::new(out);
            for (name, bytes) in make()? {
                let mut header = tar::Header::new_gnu();
                header.set_size(bytes.len() as u64);
                header.set_mode(0o644);
                let appended = archive.append_data(&mut header, &name, bytes.as_slice());
                appended.with_context(|| format!("keeping {name}"))?;
            }
            Ok(archive.finish()?)
        })?;
        let mut files = Vec::new();
        for entry in tar::Archive::new(result.reader()).entries()? {
            let mut entry = entry?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            files.push((name, bytes));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_back_as_they_were() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::open(&dir.path().join("cache")).unwrap();
        let kept = Kept {
            cache: &cache,
            scratch: dir.path(),
        };
        let key = cache.key("two files").key();
        let files = vec![
            ("a.bin".to_owned(), vec![0, 255]),
            ("b".to_owned(), Vec::new()),
        ];
        let made = kept.files(&key, || Ok(files.clone())).unwrap();
        assert_eq!(made, files);
        let again = kept.files(&key, || anyhow::bail!("made twice")).unwrap();
        assert_eq!(again, files);
    }
}
