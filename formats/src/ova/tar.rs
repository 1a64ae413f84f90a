//! The headers of a tar archive with regular files only (POSIX.1-1988 "ustar").

use crate::bytes::put;

/// Everything in an archive comes in blocks of this size.
pub(super) const BLOCK: u64 = 512;
/// What an archive ends with.
pub(super) const END: [u8; 2 * BLOCK as usize] = [0; 2 * BLOCK as usize];
const SIZE: std::ops::Range<usize> = 124..136;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const MAGIC: usize = 257;
/// The largest size that eleven octal digits hold; beyond, the field is a binary number with its first bit set.
const MAX_OCTAL: u64 = (1 << 33) - 1;

/// A member of an archive.
pub(super) struct Member {
    pub(super) name: String,
    pub(super) len: u64,
}

/// The header of a file that everybody may read. Names are at most 100 bytes long.
pub(super) fn header(name: &str, len: u64, time: i64) -> Vec<u8> {
    let mut header = vec![0; BLOCK as usize];
    let name = &name.as_bytes()[..name.len().min(100)];
    put(&mut header, 0, name);
    put(&mut header, 100, b"0000644\0");
    put(&mut header, 108, b"0000000\0");
    put(&mut header, 116, b"0000000\0");
    if len <= MAX_OCTAL {
        put(&mut header, SIZE.start, format!("{len:011o}\0").as_bytes());
    } else {
        put(&mut header, SIZE.start, &[0x80]);
        put(&mut header, SIZE.end - 8, &len.to_be_bytes());
    }
    let time = time.clamp(0, MAX_OCTAL as i64);
    put(&mut header, 136, format!("{time:011o}\0").as_bytes());
    put(&mut header, 156, b"0");
    put(&mut header, MAGIC, b"ustar\x0000");
    let sum = format!("{:06o}\0 ", checksum(&header));
    put(&mut header, CHECKSUM.start, sum.as_bytes());
    header
}

/// What follows `len` bytes of content.
pub(super) fn padding(len: u64) -> Vec<u8> {
    vec![0; (len.next_multiple_of(BLOCK) - len) as usize]
}

/// The member whose header is in `block`; `None` if that is none.
pub(super) fn parse(block: &[u8]) -> Option<Member> {
    if block.get(MAGIC..MAGIC + 5)? != b"ustar" {
        return None;
    }
    let stored = octal(&block[CHECKSUM])?;
    if stored != u64::from(checksum(block)) {
        return None;
    }
    let name = block[..100].split(|byte| *byte == 0).next()?;
    let size = &block[SIZE];
    let len = match size[0] & 0x80 {
        0 => octal(size)?,
        _ => crate::bytes::u64_be(size, size.len() - 8),
    };
    Some(Member {
        name: String::from_utf8_lossy(name).into_owned(),
        len,
    })
}

fn octal(field: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(field).ok()?;
    u64::from_str_radix(text.trim_matches(['\0', ' ']), 8).ok()
}

/// The sum of all bytes, of which those of the checksum count as spaces.
fn checksum(header: &[u8]) -> u32 {
    let bytes = header.iter().enumerate();
    bytes
        .map(|(at, byte)| match CHECKSUM.contains(&at) {
            true => u32::from(b' '),
            false => u32::from(*byte),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_of_any_length_are_read_back() {
        for len in [0, 1, MAX_OCTAL, MAX_OCTAL + 1, u64::MAX] {
            let member = parse(&header("disk.vmdk", len, -1)).unwrap();
            assert_eq!((member.name.as_str(), member.len), ("disk.vmdk", len));
        }
        let mut damaged = header("disk.vmdk", 1, 0);
        damaged[3] ^= 1;
        assert!(parse(&damaged).is_none());
    }
}
