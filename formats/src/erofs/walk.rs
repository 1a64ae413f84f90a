//! Walking all of an image.
//!
//! A hostile image can let directories contain each other, or many directories share their blocks, so that
//! the walk would never end. Each directory is entered once, and no more entries are followed than the
//! image has room for.

use super::format::FileType;
use super::read::{Entry, Error, Image, Inode};
use crate::read_at::ReadAt;
use std::collections::BTreeSet;

/// The least number of bytes that a directory entry takes.
const LEAST_ENTRY: u64 = 13;
/// Longest path that is followed, in bytes; Linux itself takes 4096 at a time.
const MAX_PATH: usize = 64 << 10;

/// One step of a walk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walked {
    /// Path without a leading slash; the root's is empty.
    pub path: String,
    /// What is there.
    pub inode: Inode,
}

/// Iterates over all of an image; ends after the first error.
#[derive(Debug)]
pub struct Walk<'a, R> {
    image: &'a Image<R>,
    started: bool,
    /// The directories that the walk is in, outermost first.
    open: Vec<Open>,
    entered: BTreeSet<u64>,
    /// How many more entries there can be.
    left: u64,
}

#[derive(Debug)]
struct Open {
    directory: Inode,
    path: String,
    entries: std::vec::IntoIter<Entry>,
}

impl<'a, R: ReadAt> Walk<'a, R> {
    pub(super) fn new(image: &'a Image<R>) -> Self {
        Walk {
            image,
            started: false,
            open: Vec::new(),
            entered: BTreeSet::new(),
            left: image.size() / LEAST_ENTRY,
        }
    }

    fn step(&mut self) -> Result<Option<Walked>, Error> {
        let image = self.image;
        let walked = if !self.started {
            self.started = true;
            Walked {
                path: String::new(),
                inode: image.root()?,
            }
        } else {
            let Some((top, entry)) = self.next_entry() else {
                return Ok(None);
            };
            let separator = if top.path.is_empty() { "" } else { "/" };
            Walked {
                path: format!("{}{separator}{}", top.path, entry.name),
                inode: image.follow(&top.directory, &entry)?,
            }
        };
        if walked.inode.kind() == FileType::Directory {
            self.enter(&walked)?;
        }
        Ok(Some(walked))
    }

    fn next_entry(&mut self) -> Option<(&Open, Entry)> {
        while let Some(top) = self.open.last_mut() {
            match top.entries.next() {
                Some(entry) => return Some((self.open.last()?, entry)),
                None => self.open.pop(),
            };
        }
        None
    }

    fn enter(&mut self, walked: &Walked) -> Result<(), Error> {
        let directory = &walked.inode;
        if walked.path.len() > MAX_PATH {
            return Err(directory.corrupt("its path is longer than 64 KiB"));
        }
        if !self.entered.insert(directory.nid()) {
            return Err(directory.corrupt("it is a directory with more than one parent"));
        }
        let entries = self.image.read_dir(directory)?;
        self.left = self
            .left
            .checked_sub(entries.len() as u64)
            .ok_or(directory.corrupt("there are more entries than the image has room for"))?;
        self.open.push(Open {
            directory: directory.clone(),
            path: walked.path.clone(),
            entries: entries.into_iter(),
        });
        Ok(())
    }
}

impl<R: ReadAt> Iterator for Walk<'_, R> {
    type Item = Result<Walked, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = self.step();
        if step.is_err() {
            self.open.clear();
        }
        step.transpose()
    }
}
