//! Names: the 8.3 name that every entry has, and the long name in entries before it.

use super::{ATTRIBUTE_LONG_NAME, ENTRY};
use crate::bytes::{put, u16_le};
use std::collections::BTreeSet;

/// A name as its entry holds it: 8 bytes and 3 of the extension, filled with spaces.
pub(super) type ShortName = [u8; 11];

/// UTF-16 units of a long name.
const MAX_LONG_NAME: usize = 255;
/// UTF-16 units in one entry, and where they are.
const UNITS_PER_ENTRY: usize = 13;
const UNIT_OFFSETS: [usize; UNITS_PER_ENTRY] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
const LAST_PART: u8 = 0x40;

/// Bits of byte 12 of an entry: the name, or the extension, is to be shown in lower case.
const LOWER_NAME: u8 = 0x08;
const LOWER_EXTENSION: u8 = 0x10;

/// Why a long name cannot be, if it cannot.
pub(super) fn fault(name: &str) -> Option<&'static str> {
    let forbidden = |c: char| c < ' ' || c == '\x7f' || r#""*/:<>?\|"#.contains(c);
    if name.chars().any(forbidden) {
        Some("it has one of the characters \" * / : < > ? \\ | or a control character")
    } else if name.ends_with(['.', ' ']) {
        Some("it ends with a dot or a space")
    } else if name.encode_utf16().count() > MAX_LONG_NAME {
        Some("it is longer than 255 UTF-16 units")
    } else {
        None
    }
}

/// The key under which two names are the same.
pub(super) fn fold(name: &str) -> String {
    name.to_uppercase()
}

/// The 8.3 name that is all of `name`, if there is one: upper case, no long name needed.
pub(super) fn exact(name: &str) -> Option<ShortName> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let possible = |part: &str| part.bytes().all(is_short) && part.len() <= 8;
    if base.is_empty() || extension.len() > 3 || name.ends_with('.') {
        return None;
    }
    (possible(base) && possible(extension)).then(|| join(base.as_bytes(), extension.as_bytes()))
}

/// An 8.3 name of the form `NAME~1.EXT` that is not among `taken`, for a name that is not one itself.
/// `None` when all are.
pub(super) fn alias(name: &str, taken: &BTreeSet<ShortName>) -> Option<ShortName> {
    let name = name.trim_start_matches(['.', ' ']);
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let shorten = |part: &str, len| -> Vec<u8> {
        let chars = part.chars().filter(|c| *c != ' ' && *c != '.');
        let upper = chars.map(|c| u8::try_from(c.to_ascii_uppercase()).unwrap_or(b'_'));
        upper
            .map(|byte| if is_short(byte) { byte } else { b'_' })
            .take(len)
            .collect()
    };
    let (base, extension) = (shorten(base, 6), shorten(extension, 3));
    (1..1_000_000_u32)
        .map(|n| {
            let tail = format!("~{n}");
            let head = &base[..base.len().min(8 - tail.len())];
            join(&[head, tail.as_bytes()].concat(), &extension)
        })
        .find(|alias| !taken.contains(alias))
}

fn is_short(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn join(base: &[u8], extension: &[u8]) -> ShortName {
    let mut short = [b' '; 11];
    put(&mut short, 0, base);
    put(&mut short, 8, extension);
    short
}

/// The sum that ties the parts of a long name to the entry behind them.
fn checksum(short: &[u8]) -> u8 {
    let add = |sum: u8, byte: &u8| sum.rotate_right(1).wrapping_add(*byte);
    short.iter().fold(0, add)
}

/// How many entries hold a long name.
pub(super) fn long_entries(name: &str) -> usize {
    name.encode_utf16().count().div_ceil(UNITS_PER_ENTRY)
}

/// The entries of a long name, in the order of the disk: its last part first.
pub(super) fn encode_long(name: &str, short: &ShortName) -> Vec<[u8; ENTRY]> {
    let mut units: Vec<u16> = name.encode_utf16().collect();
    let parts = units.len().div_ceil(UNITS_PER_ENTRY);
    if !units.len().is_multiple_of(UNITS_PER_ENTRY) {
        units.push(0);
    }
    units.resize(parts * UNITS_PER_ENTRY, 0xffff);
    let encode = |(i, part): (usize, &[u16])| {
        let mut entry = [0; ENTRY];
        let last = if i + 1 == parts { LAST_PART } else { 0 };
        // At most 20 parts, since names are at most 255 units long.
        entry[0] = (i + 1) as u8 | last;
        entry[11] = ATTRIBUTE_LONG_NAME;
        entry[13] = checksum(short);
        for (unit, at) in part.iter().zip(UNIT_OFFSETS) {
            put(&mut entry, at, &unit.to_le_bytes());
        }
        entry
    };
    let parts = units.chunks(UNITS_PER_ENTRY).enumerate().map(encode);
    let mut entries: Vec<[u8; ENTRY]> = parts.collect();
    entries.reverse();
    entries
}

/// Puts a long name together from entries as they come, and drops it when they do not belong together.
#[derive(Default)]
pub(super) struct LongName {
    units: Vec<u16>,
    /// The number of the part that must come next; 0 when the name is complete.
    next: u8,
    checksum: u8,
}

impl LongName {
    /// Takes an entry with [`ATTRIBUTE_LONG_NAME`].
    pub(super) fn push(&mut self, entry: &[u8]) {
        let number = entry[0] & !LAST_PART;
        if entry[0] & LAST_PART != 0 && (1..=20).contains(&number) {
            self.units.clear();
            self.checksum = entry[13];
        } else if self.units.is_empty() || number != self.next || entry[13] != self.checksum {
            self.units.clear();
            return;
        }
        self.next = number.saturating_sub(1);
        let part = UNIT_OFFSETS.map(|at| u16_le(entry, at));
        self.units.splice(0..0, part);
    }

    /// The name, if it is complete and belongs to the entry that has this 8.3 name.
    pub(super) fn take(&mut self, short: &[u8]) -> Option<String> {
        let units = std::mem::take(&mut self.units);
        if units.is_empty() || self.next != 0 || self.checksum != checksum(short) {
            return None;
        }
        let units: Vec<u16> = units.into_iter().take_while(|unit| *unit != 0).collect();
        Some(String::from_utf16_lossy(&units))
    }
}

/// The 8.3 name of an entry as text. What is not ASCII depends on a code page that the volume does not name,
/// and becomes replacement characters.
pub(super) fn decode_short(entry: &[u8]) -> String {
    let case = entry[12];
    let part = |bytes: &[u8], lower: bool| -> String {
        let char = |byte: &u8| match byte {
            byte if !byte.is_ascii() => char::REPLACEMENT_CHARACTER,
            byte if lower => char::from(*byte).to_ascii_lowercase(),
            byte => char::from(*byte),
        };
        let text: String = bytes.iter().map(char).collect();
        text.trim_end_matches(' ').to_owned()
    };
    let base = part(&entry[..8], case & LOWER_NAME != 0);
    let extension = part(&entry[8..11], case & LOWER_EXTENSION != 0);
    match extension.as_str() {
        "" => base,
        extension => format!("{base}.{extension}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names() {
        let check = |names: &[(&str, &str)]| {
            let mut taken = BTreeSet::new();
            for (name, expected) in names {
                let short = exact(name).or_else(|| alias(name, &taken)).unwrap();
                assert_eq!(String::from_utf8_lossy(&short), *expected, "{name}");
                taken.insert(short);
            }
        };
        check(&[
            ("README.TXT", "README  TXT"),
            ("EFI", "EFI        "),
            ("A.B", "A       B  "),
            ("readme.txt", "README~1TXT"),
            ("Readme.text", "README~1TEX"),
            ("Readme 2.text", "README~2TEX"),
            ("seed.yaml", "SEED~1  YAM"),
            (".disk", "DISK~1     "),
            ("a.b.c", "AB~1    C  "),
            ("étéÀ+.x", "_T___~1 X  "),
            ("日本", "__~1       "),
            ("seedbed_6.12.0+3.efi", "SEEDBE~1EFI"),
        ]);
        let mut taken = BTreeSet::new();
        for _ in 0..12 {
            taken.insert(alias("loaderentry", &taken).unwrap());
        }
        assert!(taken.contains(b"LOADER~9   ") && taken.contains(b"LOADE~12   "));
    }

    #[test]
    fn long_names_round_trip_and_mixed_parts_are_dropped() {
        for name in ["x", "thirteen-char", &"é😀".repeat(85)] {
            let short = alias(name, &BTreeSet::new()).unwrap();
            let parts = encode_long(name, &short);
            assert_eq!(parts.len(), long_entries(name));
            let mut long = LongName::default();
            parts.iter().for_each(|part| long.push(part));
            assert_eq!(long.take(&short).as_deref(), Some(name));
            assert_eq!(long.take(&short), None);
            parts.iter().for_each(|part| long.push(part));
            assert_eq!(long.take(b"OTHER      "), None);
            parts[1..].iter().for_each(|part| long.push(part));
            assert_eq!(long.take(&short), None);
        }
    }
}
