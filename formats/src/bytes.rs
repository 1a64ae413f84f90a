//! Little- and big-endian integers at positions of a byte slice.
//!
//! Reading past the end gives 0 and writing past it changes nothing: callers hand in a slice whose size they
//! have checked, and positions are constants of a format.

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let tail = bytes.get(at..).and_then(|tail| tail.first_chunk());
    debug_assert!(tail.is_some(), "{N} bytes at {at} of {}", bytes.len());
    tail.copied().unwrap_or([0; N])
}

pub(crate) fn u16_le(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(array(bytes, at))
}

pub(crate) fn u32_le(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

pub(crate) fn u64_le(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// Copies `field` to position `at`.
pub(crate) fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    let place = bytes.get_mut(at..at + field.len());
    debug_assert!(place.is_some(), "{} bytes at {at}", field.len());
    if let Some(place) = place {
        place.copy_from_slice(field);
    }
}

pub(crate) fn u32_be(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(array(bytes, at))
}

pub(crate) fn u64_be(bytes: &[u8], at: usize) -> u64 {
    u64::from_be_bytes(array(bytes, at))
}

/// Between the order of a GUID's text form and that of the disk, whose first three fields are little-endian.
pub(crate) fn swap_guid(mut guid: [u8; 16]) -> [u8; 16] {
    guid[..4].reverse();
    guid[4..6].reverse();
    guid[6..8].reverse();
    guid
}

/// Lowercase hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
