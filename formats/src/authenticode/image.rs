//! The image that is signed: what of it is hashed, its checksum, and its certificate table.

use super::Error;
use crate::bytes::{put, u16_le, u32_le};
use crate::pe::{self, Headers};
use crate::tree::Content;
use sha2::{Digest, Sha256};
use std::ops::Range;

/// Where the certificate table begins, and each certificate in it.
const ALIGNMENT: usize = 8;
/// The header of WIN_CERTIFICATE.
const CERTIFICATE_HEADER: usize = 8;
const REVISION_2: u16 = 0x0200;
const PKCS_SIGNED_DATA: u16 = 2;
/// A larger certificate table is refused: one signature takes about 2 KiB.
const MAX_TABLE: u64 = 1 << 20;

/// A PE image whose sections are one behind the other.
pub(super) struct Image<'a> {
    content: &'a Content,
    headers: Headers,
    /// Where the certificate table's entry is.
    directory: usize,
    /// What is hashed ends here: before the certificate table, or at the end of the file.
    end: u64,
}

/// What one pass over an image gives.
pub(super) struct Sums {
    pub(super) digest: [u8; 32],
    /// The sum of all 16-bit words that are hashed.
    words: u64,
}

impl<'a> Image<'a> {
    pub(super) fn read(content: &'a Content) -> Result<Self, Error> {
        let headers = Headers::read(content).map_err(Error::Pe)?;
        let directory = headers.certificate_directory().ok_or(Error::NoDirectory)?;
        let mut end = u64::from(headers.size_of_headers());
        if end < headers.bytes().len() as u64 || end > content.len() {
            return Err(Error::Pe(pe::Error::Field {
                field: "SizeOfHeaders",
                value: end,
            }));
        }
        let rows = headers.sections.iter().filter(|row| row.raw_size > 0);
        let mut rows: Vec<Range<u64>> = rows
            .map(|row| u64::from(row.raw_offset)..row.raw_end())
            .collect();
        rows.sort_by_key(|row| row.start);
        for row in rows {
            if row.start != end {
                return Err(Error::Gap {
                    found: row.start,
                    expected: end,
                });
            }
            end = row.end;
        }
        let end = match headers.is_signed() {
            false => content.len(),
            true => {
                let table = table(&headers, directory);
                validate(&table, end, content.len())?;
                table.start
            }
        };
        Ok(Image {
            content,
            headers,
            directory,
            end,
        })
    }

    pub(super) fn is_signed(&self) -> bool {
        self.headers.is_signed()
    }

    /// Reads the image once. CheckSum and the table's entry are left out of the digest, and count as zeros
    /// in the sum of words; so does the padding that an unsigned image gets.
    pub(super) fn sums(&self) -> Result<Sums, Error> {
        let (checksum, directory) = (self.headers.checksum() as u64, self.directory as u64);
        let omitted = [checksum..checksum + 4, directory..directory + 8];
        let hashed = self.content.slice(0, self.end).map_err(Error::Read)?;
        let (mut hash, mut sum) = (Sha256::new(), 0);
        hashed.read_chunks(0, Error::Read, |offset, chunk| {
            let end = offset + chunk.len() as u64;
            let mut at = offset;
            for gap in &omitted {
                let piece = at..gap.start.clamp(at, end);
                add(&mut hash, &mut sum, chunk, offset, piece);
                at = gap.end.clamp(at, end);
            }
            add(&mut hash, &mut sum, chunk, offset, at..end);
            Ok(())
        })?;
        hash.update(&[0_u8; ALIGNMENT][..self.padding()]);
        Ok(Sums {
            digest: hash.finalize().into(),
            words: sum,
        })
    }

    /// Zeros between the image and its certificate table; none if there is a table.
    fn padding(&self) -> usize {
        (self.end.next_multiple_of(ALIGNMENT as u64) - self.end) as usize
    }

    /// The headers and what follows the file, with `signature` in the certificate table.
    pub(super) fn embed(&self, signature: &[u8], sums: &Sums) -> Result<(Vec<u8>, Vec<u8>), Error> {
        let length = CERTIFICATE_HEADER + signature.len();
        let mut tail = vec![0; self.padding()];
        tail.extend_from_slice(&short(length as u64)?.to_le_bytes());
        tail.extend_from_slice(&REVISION_2.to_le_bytes());
        tail.extend_from_slice(&PKCS_SIGNED_DATA.to_le_bytes());
        tail.extend_from_slice(signature);
        tail.resize(self.padding() + length.next_multiple_of(ALIGNMENT), 0);
        let start = self.end + self.padding() as u64;
        let size = (tail.len() - self.padding()) as u64;
        let file_size = short(start + size)?;

        let mut headers = self.headers.bytes().to_vec();
        let mut entry = [0; 8];
        put(&mut entry, 0, &short(start)?.to_le_bytes());
        put(&mut entry, 4, &short(size)?.to_le_bytes());
        put(&mut headers, self.directory, &entry);
        let words = sums.words + words(&entry, self.directory as u64) + words(&tail, self.end);
        let checksum = fold(words).wrapping_add(file_size);
        put(
            &mut headers,
            self.headers.checksum(),
            &checksum.to_le_bytes(),
        );
        Ok((headers, tail))
    }

    /// What the certificate table holds: the bytes of each certificate behind its header.
    pub(super) fn certificates(&self) -> Result<Vec<Vec<u8>>, Error> {
        let size = self.content.len() - self.end;
        let table = self.content.slice(self.end, size);
        let table = table
            .and_then(|table| table.to_vec())
            .map_err(Error::Read)?;
        let (mut rest, mut found) = (&table[..], Vec::new());
        while !rest.is_empty() {
            if rest.len() < CERTIFICATE_HEADER {
                return Err(Error::Table("a certificate's header is cut off"));
            }
            let length = u32_le(rest, 0) as usize;
            let bytes = rest.get(CERTIFICATE_HEADER..length);
            let bytes = bytes.ok_or(Error::Table("a certificate's dwLength is impossible"))?;
            if (u16_le(rest, 4), u16_le(rest, 6)) != (REVISION_2, PKCS_SIGNED_DATA) {
                return Err(Error::Table("a certificate is no PKCS#7 of revision 2.0"));
            }
            found.push(bytes.to_vec());
            let next = rest.get(length.next_multiple_of(ALIGNMENT)..);
            rest = next.ok_or(Error::Table("the last certificate is not padded"))?;
        }
        Ok(found)
    }
}

/// The bytes of the file that the certificate table takes.
fn table(headers: &Headers, directory: usize) -> Range<u64> {
    let start = u64::from(u32_le(headers.bytes(), directory));
    start..start + u64::from(u32_le(headers.bytes(), directory + 4))
}

fn validate(table: &Range<u64>, sections_end: u64, file_size: u64) -> Result<(), Error> {
    let wrong = |what| Err(Error::Table(what));
    if table.start < sections_end {
        return wrong("it overlaps a section");
    }
    if table.end != file_size {
        return wrong("it does not end where the file does");
    }
    if table.is_empty() {
        return wrong("it is empty");
    }
    if !table.start.is_multiple_of(ALIGNMENT as u64) {
        return wrong("it does not begin at a multiple of 8 bytes");
    }
    if table.end - table.start > MAX_TABLE {
        return wrong("it has more than 1 MiB");
    }
    Ok(())
}

/// Adds the bytes `piece` of the file to hash and sum; `chunk` holds the file from `offset`.
fn add(hash: &mut Sha256, sum: &mut u64, chunk: &[u8], offset: u64, piece: Range<u64>) {
    let bytes = &chunk[(piece.start - offset) as usize..(piece.end - offset) as usize];
    hash.update(bytes);
    *sum += words(bytes, piece.start);
}

/// The sum of `bytes` as parts of little-endian 16-bit words of the file, in which they begin at `offset`.
fn words(bytes: &[u8], offset: u64) -> u64 {
    let (even, odd) = bytes.chunks(2).fold((0, 0), |(even, odd), pair| {
        let second = pair.get(1).copied().unwrap_or(0);
        (even + u64::from(pair[0]), odd + u64::from(second))
    });
    match offset.is_multiple_of(2) {
        true => even + (odd << 8),
        false => odd + (even << 8),
    }
}

/// The sum with its carries added, as the checksum of PE images wants it.
fn fold(mut sum: u64) -> u32 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u32
}

fn short(value: u64) -> Result<u32, Error> {
    u32::try_from(value).map_err(|_| Error::TooLarge)
}
