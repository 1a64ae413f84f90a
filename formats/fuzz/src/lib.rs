//! What fuzz targets share: seeds for their corpus, and disks that are mostly zeros.
//!
//! A target is an executable that is given a folder of inputs. It first writes its [`seeds`] there, made by the
//! writers of this project, so that none has to be kept.

#![allow(clippy::expect_used, clippy::unwrap_used)]

mod bounded;
pub mod sparse;
pub mod tar;

use formats::read_at::ReadAt;
use std::path::PathBuf;

/// Writes each of the named inputs that `make` gives into the folder that the program was given, if there is one.
pub fn seeds<B: AsRef<[u8]>>(make: impl FnOnce() -> Vec<(&'static str, B)>) {
    let folders = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let Some(folder) = folders.map(PathBuf::from).find(|path| path.is_dir()) else {
        return;
    };
    for (name, bytes) in make() {
        std::fs::write(folder.join(format!("seed-{name}")), bytes)
            .expect("the corpus can be written");
    }
}

/// Reads a disk at its beginning and at its end. What is read is the same in one piece and in several, and there
/// is nothing behind the end.
pub fn read_disk(disk: &impl ReadAt) {
    const PIECE: u64 = 96 << 10;
    let size = disk.size().expect("an open image has a size");
    for start in [0, size.saturating_sub(PIECE)] {
        let len = PIECE.min(size - start) as usize;
        let Ok(whole) = disk.read_vec_at(start, len) else {
            continue;
        };
        let half = len / 3;
        let again = [
            disk.read_vec_at(start, half),
            disk.read_vec_at(start + half as u64, len - half),
        ];
        let again = again.map(|part| part.expect("it could be read before"));
        assert!(
            again.concat() == whole,
            "two reads of the same bytes differ"
        );
    }
    assert!(
        disk.read_vec_at(size, 1).is_err(),
        "there are bytes behind the end"
    );
}

/// A disk of 1 MiB for seeds: text at its beginning, and something in the middle.
pub fn sample_disk() -> Vec<u8> {
    let mut disk = vec![0; 1 << 20];
    for (at, byte) in disk[..2000].iter_mut().enumerate() {
        *byte = b"seedbed "[at % 8];
    }
    disk[1 << 19] = 1;
    disk
}
