//! GUIDs as GPT partition tables hold them.

use std::fmt;
use std::str::FromStr;

/// A GUID, kept in the byte order of its text form (RFC 9562, big-endian fields).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Guid([u8; 16]);

/// The text is not of the form `01234567-89ab-cdef-0123-456789abcdef`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a GUID of the form 01234567-89ab-cdef-0123-456789abcdef")]
pub struct GuidError(String);

impl Guid {
    /// From the bytes in the order of the text form.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Guid(bytes)
    }

    /// A version 8 (custom) UUID made of the first 16 of `bytes`: how identifiers are derived from digests.
    pub const fn derived(mut bytes: [u8; 16]) -> Self {
        bytes[6] = (bytes[6] & 0x0f) | 0x80;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        Guid(bytes)
    }

    /// The bytes in the order of the text form.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// The bytes as GPT stores them: the first three fields little-endian (UEFI specification, appendix A).
    pub const fn to_gpt(self) -> [u8; 16] {
        let b = self.0;
        [
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13],
            b[14], b[15],
        ]
    }

    /// The inverse of [`Guid::to_gpt`].
    pub const fn from_gpt(bytes: [u8; 16]) -> Self {
        Guid(Guid(bytes).to_gpt())
    }

    /// For constants: panics at compile time if `text` is no GUID.
    pub const fn literal(text: &str) -> Self {
        let text = text.as_bytes();
        assert!(text.len() == 36, "a GUID has 36 characters");
        let mut bytes = [0u8; 16];
        let (mut i, mut n) = (0, 0);
        while i < 36 {
            if i == 8 || i == 13 || i == 18 || i == 23 {
                assert!(
                    text[i] == b'-',
                    "a GUID has dashes after 8, 12, 16 and 20 digits"
                );
                i += 1;
                continue;
            }
            bytes[n] = (digit(text[i]) << 4) | digit(text[i + 1]);
            n += 1;
            i += 2;
        }
        Guid(bytes)
    }
}

const fn digit(c: u8) -> u8 {
    match c {
        b'0'..=b'9' => c - b'0',
        b'a'..=b'f' => c - b'a' + 10,
        b'A'..=b'F' => c - b'A' + 10,
        _ => panic!("a GUID has hexadecimal digits"),
    }
}

impl FromStr for Guid {
    type Err = GuidError;

    fn from_str(text: &str) -> Result<Self, GuidError> {
        let form = |(i, c): (usize, char)| match i {
            8 | 13 | 18 | 23 => c == '-',
            _ => c.is_ascii_hexdigit(),
        };
        if text.len() != 36 || !text.chars().enumerate().all(form) {
            return Err(GuidError(text.to_owned()));
        }
        Ok(Guid::literal(text))
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, byte) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_gpt_order_round_trip() {
        let text = "c12a7328-f81f-11d2-ba4b-00a0c93ec93b";
        let guid: Guid = text.parse().unwrap();
        assert_eq!(guid.to_string(), text);
        assert_eq!(
            guid.to_gpt()[..8],
            [0x28, 0x73, 0x2a, 0xc1, 0x1f, 0xf8, 0xd2, 0x11]
        );
        assert_eq!(Guid::from_gpt(guid.to_gpt()), guid);
        assert!(
            "c12a7328-f81f-11d2-ba4b-00a0c93ec93"
                .parse::<Guid>()
                .is_err()
        );
        assert!(
            "é12a7328-f81f-11d2-ba4b-00a0c93ec93"
                .parse::<Guid>()
                .is_err()
        );
    }
}
