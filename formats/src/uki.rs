//! Unified kernel images (UAPI.5): systemd's UEFI stub with the kernel, its initrd and command line appended
//! as sections of one PE image, so that one signature vouches for all of them.
//!
//! ```text
//! the stub, with rows added to its section table
//! .osrel .cmdline .uname .initrd .linux     each at the next file and section alignment
//! ```
//!
//! `.linux` comes last, since a kernel needs more memory than its file has bytes and takes it from behind
//! its section. Nothing here signs, and sections that a stub has already are never replaced.

use crate::pe::{self, Headers};
use crate::tree::Content;
use std::io::{self, Write};

const KERNEL: &str = ".linux";

/// A section to append.
#[derive(Clone, Debug)]
pub struct Section {
    /// Its name, at most 8 bytes.
    pub name: String,
    /// Its bytes.
    pub content: Content,
}

impl Section {
    /// A section of that name and content.
    pub fn new(name: &str, content: impl Into<Content>) -> Self {
        Section {
            name: name.to_owned(),
            content: content.into(),
        }
    }
}

/// What a bootable image is made of. Rarer sections (`.ucode`, `.dtb`, `.splash`) go before these, in the
/// list that [`plan`] takes.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The text of os-release; its `PRETTY_NAME` is what a boot menu shows.
    pub os_release: Content,
    /// The kernel's command line, without a line end.
    pub cmdline: String,
    /// The kernel's release, as `uname -r` says it.
    pub uname: String,
    /// The kernel.
    pub kernel: Content,
    /// Its initial file system: cpio archives, compressed or not.
    pub initrd: Content,
}

impl Parts {
    /// The sections, in their order.
    pub fn sections(&self) -> Vec<Section> {
        vec![
            Section::new(".osrel", self.os_release.clone()),
            Section::new(".cmdline", self.cmdline.as_str()),
            Section::new(".uname", self.uname.as_str()),
            Section::new(".initrd", self.initrd.clone()),
            Section::new(KERNEL, self.kernel.clone()),
        ]
    }
}

/// Why an image cannot be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The stub, or the image to read, is no PE image.
    #[error("the UEFI stub or unified kernel image is not usable")]
    Pe(#[source] pe::Error),
    /// A signature would no longer hold.
    #[error(
        "the UEFI stub is signed, and appending sections would break its signature: use the unsigned stub"
    )]
    Signed,
    /// The section table cannot grow.
    #[error("the UEFI stub has room for {room} more sections, but {wanted} are to be appended")]
    NoRoom {
        /// Rows that fit.
        room: usize,
        /// Rows wanted.
        wanted: usize,
    },
    /// A name that does not fit in the table.
    #[error("the section name {0:?} is empty, or longer than 8 bytes")]
    Name(String),
    /// A section of that name exists, in the stub or among those given.
    #[error("there is a section {0} already")]
    Exists(String),
    /// An image of 4 GiB or more.
    #[error("section {0} ends beyond 4 GiB, the most that a PE image can hold")]
    TooLarge(String),
    /// The bytes of a section, or of the stub, cannot be read.
    #[error("reading the bytes of {what} failed")]
    Read {
        /// The section's name, or "the UEFI stub".
        what: String,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The image cannot be written.
    #[error("writing the unified kernel image failed")]
    Write(#[source] io::Error),
}

/// An image with every offset decided, ready to be written.
#[derive(Clone, Debug)]
pub struct Plan {
    headers: Vec<u8>,
    stub: Content,
    sections: Vec<(pe::Section, Content)>,
    size: u64,
}

/// Decides where each of `sections` goes behind `stub`.
pub fn plan(stub: &Content, sections: &[Section]) -> Result<Plan, Error> {
    let headers = Headers::read(stub).map_err(Error::Pe)?;
    if headers.is_signed() {
        return Err(Error::Signed);
    }
    let (room, wanted) = (headers.spare_rows(), sections.len());
    if wanted > room {
        return Err(Error::NoRoom { room, wanted });
    }
    let file_alignment = u64::from(headers.file_alignment());
    let section_alignment = u64::from(headers.section_alignment());
    let ends = headers.sections.iter().map(pe::Section::virtual_end);
    let mut address = ends.max().unwrap_or(0);
    let mut offset = stub.len().next_multiple_of(file_alignment);
    let mut placed: Vec<(pe::Section, Content)> = Vec::new();
    for Section { name, content } in sections {
        if name.is_empty() || name.len() > 8 {
            return Err(Error::Name(name.clone()));
        }
        let given = placed.iter().map(|(row, _)| &row.name);
        let mut taken = headers.sections.iter().map(|row| &row.name).chain(given);
        if taken.any(|other| other == name) {
            return Err(Error::Exists(name.clone()));
        }
        address = address.next_multiple_of(section_alignment);
        let raw_size = content.len().next_multiple_of(file_alignment);
        let short = |value: u64| u32::try_from(value).map_err(|_| Error::TooLarge(name.clone()));
        let row = pe::Section {
            name: name.clone(),
            virtual_size: short(virtual_size(name, content))?,
            virtual_address: short(address)?,
            raw_size: short(raw_size)?,
            raw_offset: short(offset)?,
            characteristics: characteristics(name),
        };
        (address, offset) = (row.virtual_end(), offset + raw_size);
        short(address)?;
        short(offset)?;
        placed.push((row, content.clone()));
    }
    let rows: Vec<pe::Section> = placed.iter().map(|(row, _)| row.clone()).collect();
    Ok(Plan {
        headers: headers.encode_with(&rows).map_err(Error::Pe)?,
        stub: stub.clone(),
        sections: placed,
        size: offset,
    })
}

/// A kernel's section has as much memory as the kernel's own headers ask for.
fn virtual_size(name: &str, content: &Content) -> u64 {
    let kernel = (name == KERNEL).then(|| Headers::read(content).ok());
    let wanted = kernel.flatten().map_or(0, |kernel| kernel.size_of_image());
    content.len().max(wanted.into())
}

fn characteristics(name: &str) -> u32 {
    match name {
        // A kernel that is started by the EFI handover protocol runs where its section lies.
        KERNEL => pe::CODE | pe::EXECUTE | pe::READ,
        _ => pe::INITIALIZED_DATA | pe::READ,
    }
}

impl Plan {
    /// The size of the image in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the image.
    pub fn write(&self, out: &mut impl Write) -> Result<(), Error> {
        let mut out = Output { out, written: 0 };
        out.bytes(&self.headers)?;
        out.content("the UEFI stub", &self.stub, self.headers.len() as u64)?;
        for (row, content) in &self.sections {
            out.zeros_until(row.raw_offset.into())?;
            out.content(&format!("section {}", row.name), content, 0)?;
        }
        out.zeros_until(self.size)
    }
}

struct Output<'a, W> {
    out: &'a mut W,
    written: u64,
}

impl<W: Write> Output<'_, W> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.out.write_all(bytes).map_err(Error::Write)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    fn content(&mut self, what: &str, content: &Content, start: u64) -> Result<(), Error> {
        let unreadable = |source| Error::Read {
            what: what.to_owned(),
            source,
        };
        content.read_chunks(start, unreadable, |_, chunk| self.bytes(chunk))
    }

    fn zeros_until(&mut self, end: u64) -> Result<(), Error> {
        let zeros = [0; 4096];
        while self.written < end {
            let n = (end - self.written).min(zeros.len() as u64);
            self.bytes(&zeros[..n as usize])?;
        }
        Ok(())
    }
}

/// The sections of an image, the stub's own included, with the bytes that the file holds of each.
pub fn read(image: &Content) -> Result<Vec<(pe::Section, Content)>, Error> {
    let headers = Headers::read(image).map_err(Error::Pe)?;
    let with_content = |row: pe::Section| {
        let len = row.raw_size.min(row.virtual_size);
        let content = image.slice(row.raw_offset.into(), len.into());
        match content {
            Ok(content) => Ok((row, content)),
            Err(source) => Err(Error::Read {
                what: format!("section {}", row.name),
                source,
            }),
        }
    };
    headers.sections.into_iter().map(with_content).collect()
}
