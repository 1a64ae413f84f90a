//! What the tests that take hours have found good, so that one that was interrupted goes on.
//!
//! The file has one JSON object a line; a line counts for the image that it names.

use crate::environment;
use anyhow::Context;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What was found good with one image.
#[derive(Clone, Debug)]
pub struct Good {
    test: String,
    path: PathBuf,
    image: String,
}

impl Good {
    /// What `test` found good so far with `image`; `None`, after a line that says so, if such tests are not wanted now.
    pub fn for_test(test: &str, image: &Path) -> anyhow::Result<Option<Self>> {
        let Some(path) = environment::long(test)? else {
            return Ok(None);
        };
        Ok(Some(Good {
            test: test.to_owned(),
            path,
            image: fingerprint(image)?,
        }))
    }

    /// Whether `what` was found good.
    pub fn has(&self, what: &str) -> bool {
        let known = fs::read_to_string(&self.path).unwrap_or_default();
        let mut lines = known
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.any(|line| {
            line["test"] == self.test
                && line["image"] == self.image
                && line["what"] == what
                && line["good"] == true
        })
    }

    /// Writes down that `what` is good.
    pub fn add(&self, what: &str) -> anyhow::Result<()> {
        let line = json!({ "test": self.test, "image": self.image, "what": what, "good": true });
        let file = File::options().create(true).append(true).open(&self.path);
        let written = file.and_then(|mut file| writeln!(file, "{line}"));
        written.with_context(|| format!("writing {}", self.path.display()))
    }
}

/// Tells one image from another without reading all of it.
fn fingerprint(image: &Path) -> anyhow::Result<String> {
    let meta = fs::metadata(image).with_context(|| format!("reading {}", image.display()))?;
    Ok(format!(
        "{} {} {}",
        image.display(),
        meta.size(),
        meta.mtime()
    ))
}

#[cfg(test)]
mod tests {
    use super::Good;

    #[test]
    fn what_was_good_is_known_for_its_image_alone() {
        let folder = tempfile::tempdir().unwrap();
        let good = |image: &str| Good {
            test: String::from("x"),
            path: folder.path().join("long.jsonl"),
            image: image.to_owned(),
        };
        assert!(!good("a").has("order 1"));
        good("a").add("order 1").unwrap();
        assert!(good("a").has("order 1"));
        assert!(!good("a").has("order 2") && !good("b").has("order 1"));
    }
}
