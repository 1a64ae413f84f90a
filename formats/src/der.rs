//! The little of DER (ITU-T X.690) that certificates and signatures need: elements with one-byte tags and
//! definite lengths, shortest form only.
//!
//! Object identifiers are kept as their encoded content: they are compared and never shown.

pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
pub(crate) const NULL: u8 = 0x05;
pub(crate) const OBJECT_IDENTIFIER: u8 = 0x06;
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const SET: u8 = 0x31;

/// A context-specific tag of an element that holds elements.
pub(crate) const fn context(number: u8) -> u8 {
    0xa0 | number
}

/// A context-specific tag in place of a simple type's own.
pub(crate) const fn implicit(number: u8) -> u8 {
    0x80 | number
}

/// What is not there, or not as DER wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has no well-formed {0}")]
pub struct Error(pub(crate) &'static str);

/// An element whose content is `parts`, one after the other.
pub(crate) fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let mut bytes = vec![tag];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => bytes.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let zeros = length.iter().take_while(|byte| **byte == 0).count();
            // At most 8 bytes, which fits in the low bits.
            bytes.push(0x80 | (length.len() - zeros) as u8);
            bytes.extend_from_slice(&length[zeros..]);
        }
    }
    bytes.extend_from_slice(&content);
    bytes
}

/// An element that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Element<'a> {
    pub(crate) tag: u8,
    pub(crate) content: &'a [u8],
    /// Tag, length and content.
    pub(crate) whole: &'a [u8],
}

impl<'a> Element<'a> {
    /// A reader of the elements that this one holds.
    pub(crate) fn inside(&self) -> Reader<'a> {
        Reader { rest: self.content }
    }
}

/// Reads elements one after the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes }
    }

    /// The next element, whatever it is; `None` if there is none, or none that is well formed.
    pub(crate) fn any(&mut self) -> Option<Element<'a>> {
        let (tag, short) = (*self.rest.first()?, *self.rest.get(1)?);
        let (header, length) = match short {
            0..=0x7f => (2, usize::from(short)),
            0x81..=0x84 => {
                let count = usize::from(short & 0x7f);
                let bytes = self.rest.get(2..2 + count)?;
                let length = bytes
                    .iter()
                    .fold(0_u64, |length, byte| length << 8 | u64::from(*byte));
                let shortest = length >= 0x80 && bytes.first() != Some(&0);
                (
                    2 + count,
                    usize::try_from(length).ok().filter(|_| shortest)?,
                )
            }
            _ => return None,
        };
        let whole = self.rest.get(..header.checked_add(length)?)?;
        self.rest = &self.rest[whole.len()..];
        Some(Element {
            tag,
            content: &whole[header..],
            whole,
        })
    }

    /// The next element if it has this tag.
    pub(crate) fn optional(&mut self, tag: u8) -> Option<Element<'a>> {
        let mut ahead = *self;
        let element = ahead.any().filter(|element| element.tag == tag)?;
        *self = ahead;
        Some(element)
    }

    /// The next element, which must have this tag.
    pub(crate) fn take(&mut self, tag: u8, what: &'static str) -> Result<Element<'a>, Error> {
        self.optional(tag).ok_or(Error(what))
    }

    /// The next element, which must be this object identifier.
    pub(crate) fn identifier(&mut self, oid: &[u8], what: &'static str) -> Result<(), Error> {
        let found = self.take(OBJECT_IDENTIFIER, what)?;
        (found.content == oid).then_some(()).ok_or(Error(what))
    }

    /// Nothing may follow.
    pub(crate) fn end(&self, what: &'static str) -> Result<(), Error> {
        self.rest.is_empty().then_some(()).ok_or(Error(what))
    }

    pub(crate) fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_the_shortest() {
        for (len, header) in [
            (0, &[4, 0][..]),
            (0x7f, &[4, 0x7f]),
            (0x80, &[4, 0x81, 0x80]),
            (0x100, &[4, 0x82, 1, 0]),
            (0x1_0000, &[4, 0x83, 1, 0, 0]),
        ] {
            let bytes = element(OCTET_STRING, &[&vec![7; len]]);
            assert_eq!(bytes[..header.len()], *header);
            let mut reader = Reader::new(&bytes);
            let read = reader.take(OCTET_STRING, "string").unwrap();
            assert_eq!((read.content.len(), read.whole), (len, &bytes[..]));
            reader.end("string").unwrap();
        }
    }

    #[test]
    fn other_forms_are_refused() {
        for bytes in [
            &[][..],
            &[4],
            &[4, 1],
            &[4, 0x80, 0, 0],
            &[4, 0x81, 1, 7],
            &[4, 0x82, 0, 0x80],
            &[4, 0x84, 0xff, 0xff, 0xff, 0xff],
            &[4, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(Reader::new(bytes).any().is_none(), "{bytes:x?}");
        }
    }
}
