//! Headers of PE32+ images, the format of UEFI programs (Microsoft's "PE Format" reference).
//!
//! ```text
//! 0x00      DOS header; at 0x3c the offset of:
//! PE        signature "PE\0\0", COFF header (20 bytes), optional header, section table (40 bytes each)
//! SizeOfHeaders, then the raw data of the sections
//! ```
//!
//! Only what finding and appending sections needs is read; imports, relocations and symbols are left alone.

use crate::bytes::{put, u16_le, u32_le, u64_le};
use crate::read_at::ReadAt;
use std::io;

pub(crate) const SECTION_HEADER: usize = 40;
/// The section loads bytes that are data.
pub(crate) const INITIALIZED_DATA: u32 = 0x0000_0040;
/// The section loads bytes that are code.
pub(crate) const CODE: u32 = 0x0000_0020;
/// The section may be executed.
pub(crate) const EXECUTE: u32 = 0x2000_0000;
/// The section may be read.
pub(crate) const READ: u32 = 0x4000_0000;

const PE_OFFSET: usize = 0x3c;
const COFF_HEADER: usize = 20;
const MAGIC_PE32_PLUS: u16 = 0x020b;
/// The optional header up to NumberOfRvaAndSizes.
const OPTIONAL_HEADER: usize = 112;
const DIRECTORY_CERTIFICATES: usize = 4;
/// Headers beyond this are refused: no image in use comes near.
const MAX_HEADERS: usize = 1 << 16;

/// Why bytes are no PE32+ image.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The headers cannot be read, or end too early.
    #[error("reading the PE headers failed")]
    Read(#[source] io::Error),
    /// Not a PE image at all.
    #[error("it is no PE image: it has no {0} signature")]
    Signature(&'static str),
    /// A PE image, but not for a 64-bit machine.
    #[error("it is no PE32+ image: its optional header has the magic number {0:#06x}")]
    Magic(u16),
    /// A header field contradicts another, or the file's size.
    #[error("the PE header field {field} has the impossible value {value:#x}")]
    Field {
        /// The field's name in the reference.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// A row of the section table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    /// The name, at most 8 bytes; those that are no UTF-8 become replacement characters.
    pub name: String,
    /// Bytes in memory; those beyond the raw data are zeros.
    pub virtual_size: u32,
    /// Where the section is loaded, from the image's base.
    pub virtual_address: u32,
    /// Bytes in the file, a multiple of the file alignment.
    pub raw_size: u32,
    /// Where they are in the file.
    pub raw_offset: u32,
    /// Flags: contents and access.
    pub characteristics: u32,
}

impl Section {
    /// The first address behind the section.
    pub(crate) fn virtual_end(&self) -> u64 {
        u64::from(self.virtual_address) + u64::from(self.virtual_size.max(self.raw_size))
    }

    /// The first byte of the file behind the section.
    pub(crate) fn raw_end(&self) -> u64 {
        match self.raw_size {
            0 => 0,
            size => u64::from(self.raw_offset) + u64::from(size),
        }
    }

    pub(crate) fn encode(&self) -> [u8; SECTION_HEADER] {
        let mut row = [0; SECTION_HEADER];
        put(&mut row, 0, &self.name.as_bytes()[..self.name.len().min(8)]);
        put(&mut row, 8, &self.virtual_size.to_le_bytes());
        put(&mut row, 12, &self.virtual_address.to_le_bytes());
        put(&mut row, 16, &self.raw_size.to_le_bytes());
        put(&mut row, 20, &self.raw_offset.to_le_bytes());
        put(&mut row, 36, &self.characteristics.to_le_bytes());
        row
    }

    fn parse(row: &[u8]) -> Self {
        let name = row[..8].split(|byte| *byte == 0).next().unwrap_or_default();
        Section {
            name: String::from_utf8_lossy(name).into_owned(),
            virtual_size: u32_le(row, 8),
            virtual_address: u32_le(row, 12),
            raw_size: u32_le(row, 16),
            raw_offset: u32_le(row, 20),
            characteristics: u32_le(row, 36),
        }
    }
}

/// The headers of an image.
#[derive(Clone, Debug)]
pub struct Headers {
    /// Every byte up to the end of the section table.
    bytes: Vec<u8>,
    coff: usize,
    optional: usize,
    section_table: usize,
    /// The section table's rows.
    pub sections: Vec<Section>,
}

impl Headers {
    /// Reads and checks the headers of `image`.
    pub fn read(image: &(impl ReadAt + ?Sized)) -> Result<Self, Error> {
        let file_size = image.size().map_err(Error::Read)?;
        let dos = image.read_vec_at(0, PE_OFFSET + 4).map_err(Error::Read)?;
        if !dos.starts_with(b"MZ") {
            return Err(Error::Signature("MZ"));
        }
        let pe = u32_le(&dos, PE_OFFSET) as usize;
        field("e_lfanew", pe as u64, pe <= MAX_HEADERS)?;
        let coff = pe + 4;
        let optional = coff + COFF_HEADER;
        let bytes = image.read_vec_at(0, optional).map_err(Error::Read)?;
        if bytes[pe..coff] != *b"PE\0\0" {
            return Err(Error::Signature("PE"));
        }
        let (count, optional_size) = (u16_le(&bytes, coff + 2), u16_le(&bytes, coff + 16));
        let possible = usize::from(optional_size) >= OPTIONAL_HEADER;
        field("SizeOfOptionalHeader", optional_size.into(), possible)?;
        let section_table = optional + usize::from(optional_size);
        let end = section_table + SECTION_HEADER * usize::from(count);
        field("NumberOfSections", count.into(), end <= MAX_HEADERS)?;
        let bytes = image.read_vec_at(0, end).map_err(Error::Read)?;
        let magic = u16_le(&bytes, optional);
        if magic != MAGIC_PE32_PLUS {
            return Err(Error::Magic(magic));
        }
        let rows = bytes[section_table..].chunks_exact(SECTION_HEADER);
        let headers = Headers {
            sections: rows.map(Section::parse).collect(),
            coff,
            optional,
            section_table,
            bytes,
        };
        headers.validate(file_size)?;
        Ok(headers)
    }

    fn validate(&self, file_size: u64) -> Result<(), Error> {
        let (section, file) = (self.section_alignment(), self.file_alignment());
        field("FileAlignment", file.into(), file.is_power_of_two())?;
        let possible = section.is_power_of_two() && section >= file;
        field("SectionAlignment", section.into(), possible)?;
        for row in &self.sections {
            let possible = row.raw_end() <= file_size;
            field("SizeOfRawData", row.raw_size.into(), possible)?;
            let possible = row.virtual_end() <= u32::MAX.into();
            field("VirtualAddress", row.virtual_address.into(), possible)?;
        }
        Ok(())
    }

    /// To which multiple sections are loaded.
    pub fn section_alignment(&self) -> u32 {
        u32_le(&self.bytes, self.optional + 32)
    }

    /// To which multiple sections lie in the file.
    pub fn file_alignment(&self) -> u32 {
        u32_le(&self.bytes, self.optional + 36)
    }

    /// The memory that the loaded image takes.
    pub fn size_of_image(&self) -> u32 {
        u32_le(&self.bytes, self.optional + 56)
    }

    /// Whether the image carries a signature, which any change would break.
    pub fn is_signed(&self) -> bool {
        self.certificate_directory()
            .is_some_and(|at| u64_le(&self.bytes, at) != 0)
    }

    /// Where the entry of the certificate table is: offset in the file and size, 4 bytes each. `None` if the
    /// image has no such entry.
    pub(crate) fn certificate_directory(&self) -> Option<usize> {
        let directories = u32_le(&self.bytes, self.optional + 108) as usize;
        let at = self.optional + OPTIONAL_HEADER + 8 * DIRECTORY_CERTIFICATES;
        (directories > DIRECTORY_CERTIFICATES && at + 8 <= self.section_table).then_some(at)
    }

    /// Where CheckSum is, 4 bytes.
    pub(crate) fn checksum(&self) -> usize {
        self.optional + 64
    }

    /// Bytes of the file in front of the sections.
    pub(crate) fn size_of_headers(&self) -> u32 {
        u32_le(&self.bytes, self.optional + 60)
    }

    /// Every byte up to the end of the section table.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many rows can be added to the section table before it meets the sections.
    pub(crate) fn spare_rows(&self) -> usize {
        let raw = self.sections.iter().filter(|row| row.raw_size > 0);
        let firsts = raw.map(|row| row.raw_offset.min(row.virtual_address));
        let room = firsts.min().unwrap_or(0) as usize;
        let table_end = self.section_table + SECTION_HEADER * self.sections.len();
        room.min(MAX_HEADERS).saturating_sub(table_end) / SECTION_HEADER
    }

    /// The headers' bytes with `added` rows in the section table, all sizes corrected, and no checksum:
    /// UEFI does not look at it. At most [`Headers::spare_rows`] can be added.
    pub(crate) fn encode_with(&self, added: &[Section]) -> Result<Vec<u8>, Error> {
        let mut bytes = self.bytes.clone();
        for row in added {
            bytes.extend_from_slice(&row.encode());
        }
        let rows = self.sections.len() + added.len();
        let count = u16::try_from(rows).map_err(|_| Error::Field {
            field: "NumberOfSections",
            value: rows as u64,
        })?;
        put(&mut bytes, self.coff + 2, &count.to_le_bytes());
        let totals = [
            (CODE, 4, "SizeOfCode"),
            (INITIALIZED_DATA, 8, "SizeOfInitializedData"),
        ];
        for (flag, at, field) in totals {
            let added = added.iter().filter(|row| row.characteristics & flag != 0);
            let size = u64::from(u32_le(&bytes, self.optional + at))
                + added.map(|row| u64::from(row.raw_size)).sum::<u64>();
            self.put_u32(&mut bytes, at, field, size)?;
        }
        let ends = self.sections.iter().chain(added).map(Section::virtual_end);
        let end = ends.max().unwrap_or(0);
        let image = end.next_multiple_of(self.section_alignment().into());
        self.put_u32(&mut bytes, 56, "SizeOfImage", image)?;
        let headers = (bytes.len() as u64).next_multiple_of(self.file_alignment().into());
        let headers = headers.max(u32_le(&bytes, self.optional + 60).into());
        self.put_u32(&mut bytes, 60, "SizeOfHeaders", headers)?;
        self.put_u32(&mut bytes, 64, "CheckSum", 0)?;
        Ok(bytes)
    }

    fn put_u32(
        &self,
        bytes: &mut [u8],
        at: usize,
        field: &'static str,
        value: u64,
    ) -> Result<(), Error> {
        let short = u32::try_from(value).map_err(|_| Error::Field { field, value })?;
        put(bytes, self.optional + at, &short.to_le_bytes());
        Ok(())
    }
}

fn field(field: &'static str, value: u64, possible: bool) -> Result<(), Error> {
    match possible {
        true => Ok(()),
        false => Err(Error::Field { field, value }),
    }
}
