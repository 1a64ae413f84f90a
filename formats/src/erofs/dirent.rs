//! Directory blocks: how entries are packed into blocks of 4096 bytes.
//!
//! ```text
//! entry 0 … entry n-1   12 bytes each: u64 nid, u16 position of the name, u8 type, u8 zero
//! name 0 … name n-1     bytes without terminators
//! ```
//!
//! The first name's position tells how many entries there are; the last name ends at a NUL or at the end of
//! the block. All entries of a directory, `.` and `..` among them, are in the byte order of their names,
//! since the kernel finds a name by bisection.

use super::format::{BLOCK_LEN, FileType, MAX_NAME};
use crate::bytes::{u16_le, u64_le};

const ENTRY: usize = 12;

/// One entry to be written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Dirent<'a> {
    pub(super) name: &'a str,
    pub(super) nid: u64,
    pub(super) kind: FileType,
}

/// One entry that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// Slot of the inode that it leads to.
    pub nid: u64,
    /// What the entry says that it leads to.
    pub kind: FileType,
}

/// Size in bytes of a directory with names of these lengths, in their order.
pub(super) fn size(name_lens: impl Iterator<Item = usize>) -> u64 {
    let (mut full, mut used) = (0, 0);
    for len in name_lens {
        if used + ENTRY + len > BLOCK_LEN {
            full += BLOCK_LEN as u64;
            used = 0;
        }
        used += ENTRY + len;
    }
    full + used as u64
}

/// The data of a directory with `entries`, which are sorted; as long as [`size`] says.
pub(super) fn render(entries: &[Dirent<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = entries;
    while !rest.is_empty() {
        out.resize(out.len().next_multiple_of(BLOCK_LEN), 0);
        let (mut taken, mut used) = (0, 0);
        while let Some(entry) = rest.get(taken) {
            if used + ENTRY + entry.name.len() > BLOCK_LEN {
                break;
            }
            used += ENTRY + entry.name.len();
            taken += 1;
        }
        let (block, after) = rest.split_at(taken);
        let mut position = taken * ENTRY;
        for entry in block {
            let in_block = u16::try_from(position).expect("a name starts within its block");
            out.extend_from_slice(&entry.nid.to_le_bytes());
            out.extend_from_slice(&in_block.to_le_bytes());
            out.extend_from_slice(&[entry.kind.in_dirent(), 0]);
            position += entry.name.len();
        }
        for entry in block {
            out.extend_from_slice(entry.name.as_bytes());
        }
        rest = after;
    }
    out
}

/// Appends the entries of one block, `.` and `..` included; `Err` says what is wrong with it.
pub(super) fn parse(block: &[u8], entries: &mut Vec<Entry>) -> Result<(), &'static str> {
    const BAD: &str = "a directory block has a name outside of it";
    if block.len() < ENTRY {
        return Err("a directory block is cut short");
    }
    let names = usize::from(u16_le(block, 8));
    if names < ENTRY || names % ENTRY != 0 || names > block.len() {
        return Err(BAD);
    }
    for at in (0..names).step_by(ENTRY) {
        let start = usize::from(u16_le(block, at + 8));
        let name = if at + ENTRY < names {
            let end = usize::from(u16_le(block, at + ENTRY + 8));
            block.get(start..end).ok_or(BAD)?
        } else {
            let tail = block.get(start..).ok_or(BAD)?;
            let end = tail.iter().position(|byte| *byte == 0);
            &tail[..end.unwrap_or(tail.len())]
        };
        if start < names || name.is_empty() || name.len() > MAX_NAME {
            return Err(BAD);
        }
        let name = str::from_utf8(name).map_err(|_| "a directory entry's name is not UTF-8")?;
        if name.contains(['/', '\0']) {
            return Err("a directory entry's name has a slash or a NUL");
        }
        if entries.last().is_some_and(|last| *last.name >= *name) {
            return Err("a directory's names are not in order");
        }
        entries.push(Entry {
            name: name.to_owned(),
            nid: u64_le(block, at),
            kind: FileType::from_dirent(block[at + 10])
                .ok_or("a directory entry is of an unknown type")?,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn directories_are_read_back(
            names in prop::collection::btree_set("[a-zé]{1,90}", 1..200),
        ) {
            let dirents: Vec<Dirent<'_>> = names
                .iter()
                .zip(1..)
                .map(|(name, nid)| Dirent { name, nid, kind: FileType::Fifo })
                .collect();
            let bytes = render(&dirents);
            prop_assert_eq!(bytes.len() as u64, size(names.iter().map(String::len)));
            let mut entries = Vec::new();
            for block in bytes.chunks(BLOCK_LEN) {
                parse(block, &mut entries).unwrap();
            }
            let read: Vec<(&str, u64)> = entries.iter().map(|e| (e.name.as_str(), e.nid)).collect();
            let written: Vec<(&str, u64)> = dirents.iter().map(|e| (e.name, e.nid)).collect();
            prop_assert_eq!(read, written);
        }

        #[test]
        fn garbage_is_refused_or_read(
            mut block in prop::collection::vec(any::<u8>(), 0..300),
            names in 0..6_u16,
        ) {
            if let Some(field) = block.get_mut(8..10) {
                field.copy_from_slice(&(names * 12).to_le_bytes());
            }
            let _ = parse(&block, &mut Vec::new());
        }
    }
}
