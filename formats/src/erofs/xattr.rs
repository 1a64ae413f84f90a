//! Extended attributes: the area between an inode and its tail.
//!
//! ```text
//!  0 u32   filter of names, unused here     4 u8   number of shared attributes     5 … 11 zero
//! 12 u32   position of each shared attribute, in units of 4 bytes from the superblock's block
//! then     entries: u8 length of the name's rest, u8 prefix, u16 length of the value, the rest, the value,
//!          padded to 4 bytes
//! ```
//!
//! All attributes are written inline; shared ones are only read.

use super::format::round_up;
use crate::bytes::{u16_le, u32_le};
use std::collections::BTreeMap;

/// Size of the area's header in bytes.
pub(super) const HEADER: usize = 12;
/// Attributes and positions of shared ones are aligned to this many bytes.
pub(super) const UNIT: usize = 4;
/// Length of an entry before its name, in bytes.
pub(super) const ENTRY: usize = 4;

/// Number and text of each name prefix. A POSIX ACL's is the whole name.
const PREFIXES: [(u8, &str); 5] = [
    (1, "user."),
    (2, "system.posix_acl_access"),
    (3, "system.posix_acl_default"),
    (4, "trusted."),
    (6, "security."),
];

/// Extended attributes by full name.
pub(super) type Xattrs = BTreeMap<String, Vec<u8>>;

/// The area that holds `xattrs`, empty if there are none; `Err` names the attribute and what is wrong.
pub(super) fn encode(xattrs: &Xattrs) -> Result<Vec<u8>, (&str, &'static str)> {
    let mut area = Vec::new();
    if !xattrs.is_empty() {
        area.resize(HEADER, 0);
    }
    for (name, value) in xattrs {
        let (prefix, rest) = split(name).ok_or((
            name.as_str(),
            "is not of the name spaces user, trusted, security and system.posix_acl",
        ))?;
        let rest_len =
            u8::try_from(rest.len()).map_err(|_| (name.as_str(), "has a too long name"))?;
        let value_len = u16::try_from(value.len())
            .map_err(|_| (name.as_str(), "has a value of 65536 bytes or more"))?;
        area.extend_from_slice(&[rest_len, prefix]);
        area.extend_from_slice(&value_len.to_le_bytes());
        area.extend_from_slice(rest.as_bytes());
        area.extend_from_slice(value);
        area.resize(area.len().next_multiple_of(UNIT), 0);
        if count(area.len()).is_none() {
            return Err((
                name,
                "does not fit: all of them together are limited to 256 KiB",
            ));
        }
    }
    Ok(area)
}

/// How an inode states an area of `len` bytes, a multiple of [`UNIT`]; `None` if it cannot.
pub(super) fn count(len: usize) -> Option<u16> {
    if len == 0 {
        return Some(0);
    }
    u16::try_from(1 + (len - HEADER) / UNIT).ok()
}

/// The inverse of [`count`].
pub(super) fn len(count: u16) -> usize {
    match count {
        0 => 0,
        count => HEADER + (usize::from(count) - 1) * UNIT,
    }
}

fn split(name: &str) -> Option<(u8, &str)> {
    PREFIXES.iter().find_map(|(number, prefix)| {
        let rest = name.strip_prefix(prefix)?;
        let whole = !prefix.ends_with('.');
        (rest.is_empty() == whole && !rest.contains('\0')).then_some((*number, rest))
    })
}

/// An entry's name, its value, and how many bytes it takes with its padding.
pub(super) fn parse_entry(bytes: &[u8]) -> Result<(String, Vec<u8>, usize), &'static str> {
    const SHORT: &str = "an extended attribute is cut short";
    let header = bytes.get(..ENTRY).ok_or(SHORT)?;
    let value_start = ENTRY + usize::from(header[0]);
    let end = value_start + usize::from(u16_le(header, 2));
    let rest = bytes.get(ENTRY..value_start).ok_or(SHORT)?;
    let value = bytes.get(value_start..end).ok_or(SHORT)?;
    let (_, prefix) = PREFIXES
        .iter()
        .find(|(number, _)| *number == header[1])
        .ok_or("an extended attribute is of an unknown name space")?;
    let rest = str::from_utf8(rest).map_err(|_| "an extended attribute's name is not UTF-8")?;
    Ok((
        format!("{prefix}{rest}"),
        value.to_vec(),
        end.next_multiple_of(UNIT),
    ))
}

/// The inline attributes of an area, and the positions of the shared ones.
pub(super) fn parse(area: &[u8]) -> Result<(Xattrs, Vec<u64>), &'static str> {
    let mut xattrs = Xattrs::new();
    if area.is_empty() {
        return Ok((xattrs, Vec::new()));
    }
    let shared_end = HEADER + usize::from(*area.get(4).unwrap_or(&0)) * UNIT;
    let shared = area
        .get(HEADER..shared_end)
        .ok_or("its shared extended attributes are cut short")?;
    let shared = shared
        .chunks_exact(UNIT)
        .map(|id| u64::from(u32_le(id, 0)) * UNIT as u64)
        .collect();
    let mut at = shared_end;
    while at < area.len() {
        let (name, value, taken) = parse_entry(&area[at..])?;
        xattrs.insert(name, value);
        at += taken;
    }
    Ok((xattrs, shared))
}

/// The most bytes that one entry can take.
pub(super) const fn max_entry() -> u64 {
    round_up(ENTRY as u64 + 255 + 65535, UNIT as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn one(name: &str, len: usize) -> Xattrs {
        BTreeMap::from([(name.to_owned(), vec![7; len])])
    }

    #[test]
    fn what_cannot_be_stored_is_named() {
        let long = format!("user.{}", "n".repeat(256));
        for (name, len) in [
            ("user.", 1),
            ("system.posix_acl_access.x", 1),
            ("other.x", 1),
            ("", 1),
            ("user.a\0b", 1),
            (&long, 1),
            ("user.x", 65536),
        ] {
            assert_eq!(encode(&one(name, len)).unwrap_err().0, name);
        }
        let many = (0..5)
            .map(|i| (format!("user.{i}"), vec![0; 65535]))
            .collect();
        assert_eq!(encode(&many).unwrap_err().0, "user.3");
    }

    proptest! {
        #[test]
        fn areas_are_read_back(
            xattrs in prop::collection::btree_map(
                prop_oneof![
                    "(user|trusted|security)\\.[a-zé]{1,9}",
                    Just("system.posix_acl_access".to_owned()),
                ],
                prop::collection::vec(any::<u8>(), 0..40),
                0..5,
            ),
        ) {
            let area = encode(&xattrs).unwrap();
            prop_assert_eq!(len(count(area.len()).unwrap()), area.len());
            prop_assert_eq!(parse(&area), Ok((xattrs, vec![])));
        }

        #[test]
        fn garbage_is_refused_or_read(area in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&area);
        }
    }
}
