//! erofs images in memory and on disk.

use formats::erofs::Plan;
use std::io::Write;
use tempfile::NamedTempFile;

/// The image of a plan, which has the size that the plan said.
pub(crate) fn bytes(plan: &Plan<'_>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let summary = plan.write(&mut bytes).unwrap();
    assert_eq!(bytes.len() as u64, plan.size());
    assert_eq!((summary, summary.size), (plan.summary(), plan.size()));
    bytes
}

/// A file for tools that want one.
pub(crate) fn file(bytes: &[u8]) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}
