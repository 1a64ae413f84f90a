//! A reader of ELF files, as far as composing a root file system needs it: what a program or shared object
//! asks of the dynamic loader, and the sections and symbols of a kernel module.
//!
//! Only 64-bit little-endian files are read, which both architectures use; any other file is "no ELF for us"
//! ([`File::parse`] gives `None`). Every offset comes from the file and is checked against its end. Nothing is
//! loaded, relocated or executed. Which library a name leads to is [`super::libraries`]' matter.
//!
//! Layouts are those of the System V ABI, chapters 4 and 5; `.note.dlopen` is the ELF package-metadata
//! family's note of dlopen dependencies (UAPI group).

use contract::partition::Arch;
use serde::Deserialize;

const MAGIC: &[u8] = b"\x7fELF";
const CLASS_64: u8 = 2;
const DATA_LITTLE: u8 = 1;
/// Bytes of the header.
pub const HEADER: usize = 64;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;

const DT_NULL: u64 = 0;
const DT_NEEDED: u64 = 1;
const DT_STRTAB: u64 = 5;
const DT_SONAME: u64 = 14;
const DT_RPATH: u64 = 15;
const DT_RUNPATH: u64 = 29;

const SHT_NOBITS: u32 = 8;

/// Owner and type of the note that lists libraries which are opened at run time.
const DLOPEN_NOTE: (&[u8], u32) = (b"FDO\0", 0x407c_0c0a);
/// Owner and type of the note that names the operating system a file is for.
const ABI_NOTE: (&[u8], u32) = (b"GNU\0", 1);

/// Why a file that begins as an ELF file cannot be read.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ElfError {
    /// A part lies beyond the end of the file, or its place is no number that fits.
    #[error("{0} lies beyond the end of the file")]
    Truncated(&'static str),
    /// A name has no end, or is not UTF-8.
    #[error("{0} is not a text that ends")]
    Text(&'static str),
    /// An address in the dynamic section belongs to no loaded segment.
    #[error("address {0:#x} is in no loaded segment")]
    Address(u64),
    /// The note of dlopen dependencies is not the JSON it should be.
    #[error("the note of dlopen dependencies is malformed")]
    Note(#[source] NoteError),
}

/// A JSON error that can be compared, which tests like.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct NoteError(serde_json::Error);

impl PartialEq for NoteError {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_string() == other.0.to_string()
    }
}

impl Eq for NoteError {}

/// How much a program misses a library that it opens at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Priority {
    /// Without it the program does not do its work.
    Required,
    /// Without it a feature that most want is missing.
    Recommended,
    /// Without it a rare feature is missing.
    Suggested,
}

/// One dependency that is opened at run time: the first of `sonames` that exists serves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Dlopen {
    /// Names to try, in order.
    #[serde(rename = "soname")]
    pub sonames: Vec<String>,
    /// The feature it is for.
    #[serde(default)]
    pub feature: String,
    /// How much it is missed.
    #[serde(default = "recommended")]
    pub priority: Priority,
}

fn recommended() -> Priority {
    Priority::Recommended
}

/// What a program or shared object asks of the dynamic loader.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dynamic {
    /// The program's loader (`PT_INTERP`).
    pub interpreter: Option<String>,
    /// Libraries that are loaded with it (`DT_NEEDED`), in order.
    pub needed: Vec<String>,
    /// The name that others know it by (`DT_SONAME`).
    pub soname: Option<String>,
    /// Directories searched first, unless there is a `runpath` (`DT_RPATH`).
    pub rpath: Vec<String>,
    /// Directories searched before the system's (`DT_RUNPATH`).
    pub runpath: Vec<String>,
    /// Libraries that are opened at run time.
    pub dlopen: Vec<Dlopen>,
    /// The least version of the operating system, with the operating system's number first (0 is Linux).
    pub abi: Option<[u32; 4]>,
    /// Whether there is a dynamic section at all.
    pub is_dynamic: bool,
}

/// One symbol of a symbol table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name.
    pub name: &'a str,
    /// Whether it is used here and defined elsewhere.
    pub undefined: bool,
}

/// The processor of an architecture, as headers have it (`EM_X86_64`, `EM_AARCH64`).
pub fn machine(arch: Arch) -> u16 {
    match arch {
        Arch::Amd64 => 62,
        Arch::Arm64 => 183,
    }
}

/// The bytes of an ELF file with its header checked.
#[derive(Clone, Copy, Debug)]
pub struct File<'a> {
    bytes: &'a [u8],
}

impl<'a> File<'a> {
    /// Looks at the first bytes: `None` for anything but a 64-bit little-endian ELF file.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let right = bytes.len() >= HEADER
            && bytes.starts_with(MAGIC)
            && bytes[4] == CLASS_64
            && bytes[5] == DATA_LITTLE;
        right.then_some(File { bytes })
    }

    /// The processor (`e_machine`): see [`machine`].
    pub fn machine(&self) -> u16 {
        u16_at(self.bytes, 18).unwrap_or(0)
    }

    /// Whether it is a shared object or a position-independent program (`ET_DYN`).
    pub fn is_shared(&self) -> bool {
        u16_at(self.bytes, 16) == Some(3)
    }

    /// Reads the program headers and what they lead to.
    pub fn dynamic(&self) -> Result<Dynamic, ElfError> {
        let segments = self.segments()?;
        let mut dynamic = Dynamic::default();
        for segment in &segments {
            match segment.kind {
                PT_INTERP => {
                    dynamic.interpreter =
                        Some(text(self.body(segment)?, 0, "the interpreter")?.to_owned())
                }
                PT_DYNAMIC => self.read_dynamic(&segments, segment, &mut dynamic)?,
                PT_NOTE => read_notes(self.body(segment)?, segment.align, &mut dynamic)?,
                _ => {}
            }
        }
        Ok(dynamic)
    }

    /// The bytes of the section of that name, if there is one.
    pub fn section(&self, name: &str) -> Result<Option<&'a [u8]>, ElfError> {
        let names = self.section_header(usize::from(u16_at(self.bytes, 62).unwrap_or(0)))?;
        let names = self.section_body(names)?;
        for index in 0..self.section_count() {
            let header = self.section_header(index)?;
            if text(names, u32_of(header, 0) as usize, "a section's name")? == name {
                return self.section_body(header).map(Some);
            }
        }
        Ok(None)
    }

    /// The symbols of `.symtab`, without the empty one that every table begins with.
    pub fn symbols(&self) -> Result<Vec<Symbol<'a>>, ElfError> {
        let (Some(table), Some(names)) = (self.section(".symtab")?, self.section(".strtab")?)
        else {
            return Ok(Vec::new());
        };
        let entries = table.chunks_exact(24).skip(1);
        entries
            .map(|entry| {
                let name = text(names, u32_of(entry, 0) as usize, "a symbol's name")?;
                Ok(Symbol {
                    name,
                    undefined: entry[6..8] == [0, 0],
                })
            })
            .collect()
    }

    fn segments(&self) -> Result<Vec<Segment>, ElfError> {
        let size = usize::from(u16_at(self.bytes, 54).unwrap_or(0));
        let count = usize::from(u16_at(self.bytes, 56).unwrap_or(0));
        let table = self.range(
            u64_of(self.bytes, 32),
            (size * count) as u64,
            "the program header table",
        )?;
        if count > 0 && size < 56 {
            return Err(ElfError::Truncated("a program header"));
        }
        Ok(table
            .chunks_exact(size.max(1))
            .map(Segment::parse)
            .collect())
    }

    fn body(&self, segment: &Segment) -> Result<&'a [u8], ElfError> {
        self.range(segment.offset, segment.size, "a segment")
    }

    fn read_dynamic(
        &self,
        segments: &[Segment],
        segment: &Segment,
        dynamic: &mut Dynamic,
    ) -> Result<(), ElfError> {
        dynamic.is_dynamic = true;
        let entries: Vec<(u64, u64)> = self
            .body(segment)?
            .chunks_exact(16)
            .map(|entry| (u64_of(entry, 0), u64_of(entry, 8)))
            .take_while(|(tag, _)| *tag != DT_NULL)
            .collect();
        let Some((_, address)) = entries.iter().find(|(tag, _)| *tag == DT_STRTAB) else {
            return Ok(());
        };
        let strings = self.at_address(segments, *address)?;
        for (tag, value) in entries {
            let place =
                || usize::try_from(value).map_err(|_| ElfError::Truncated("a dynamic string"));
            let string = || text(strings, place()?, "a dynamic string").map(str::to_owned);
            match tag {
                DT_NEEDED => dynamic.needed.push(string()?),
                DT_SONAME => dynamic.soname = Some(string()?),
                DT_RPATH => dynamic.rpath = split_path(&string()?),
                DT_RUNPATH => dynamic.runpath = split_path(&string()?),
                _ => {}
            }
        }
        Ok(())
    }

    /// The bytes from a virtual address to the end of the file part of its segment.
    fn at_address(&self, segments: &[Segment], address: u64) -> Result<&'a [u8], ElfError> {
        for segment in segments.iter().filter(|segment| segment.kind == PT_LOAD) {
            if let Some(into) = address
                .checked_sub(segment.address)
                .filter(|into| *into < segment.size)
            {
                let offset = segment
                    .offset
                    .checked_add(into)
                    .ok_or(ElfError::Address(address))?;
                return self.range(offset, segment.size - into, "a dynamic string table");
            }
        }
        Err(ElfError::Address(address))
    }

    fn section_count(&self) -> usize {
        usize::from(u16_at(self.bytes, 60).unwrap_or(0))
    }

    fn section_header(&self, index: usize) -> Result<&'a [u8], ElfError> {
        let size = u64::from(u16_at(self.bytes, 58).unwrap_or(0));
        let offset = u64_of(self.bytes, 40).checked_add(size * index as u64);
        let header = self.range(offset.unwrap_or(u64::MAX), size, "a section header")?;
        if header.len() < 64 {
            return Err(ElfError::Truncated("a section header"));
        }
        Ok(header)
    }

    fn section_body(&self, header: &[u8]) -> Result<&'a [u8], ElfError> {
        if u32_of(header, 4) == SHT_NOBITS {
            return Ok(&[]);
        }
        self.range(u64_of(header, 24), u64_of(header, 32), "a section")
    }

    fn range(&self, offset: u64, size: u64, what: &'static str) -> Result<&'a [u8], ElfError> {
        let end = offset.checked_add(size).ok_or(ElfError::Truncated(what))?;
        let start = usize::try_from(offset).map_err(|_| ElfError::Truncated(what))?;
        let end = usize::try_from(end).map_err(|_| ElfError::Truncated(what))?;
        self.bytes.get(start..end).ok_or(ElfError::Truncated(what))
    }
}

/// A program header's fields that matter here.
#[derive(Clone, Copy, Debug)]
struct Segment {
    kind: u32,
    offset: u64,
    address: u64,
    size: u64,
    align: u64,
}

impl Segment {
    /// `header` has at least 56 bytes.
    fn parse(header: &[u8]) -> Self {
        Segment {
            kind: u32_of(header, 0),
            offset: u64_of(header, 8),
            address: u64_of(header, 16),
            size: u64_of(header, 32),
            align: u64_of(header, 48),
        }
    }
}

/// Notes are (name size, description size, type), name, description, each part padded to `align`.
fn read_notes(mut notes: &[u8], align: u64, dynamic: &mut Dynamic) -> Result<(), ElfError> {
    let align = if align == 8 { 8 } else { 4 };
    let truncated = ElfError::Truncated("a note");
    while notes.len() >= 12 {
        let (name_size, size) = (u32_of(notes, 0) as usize, u32_of(notes, 4) as usize);
        let kind = u32_of(notes, 8);
        let start = (12 + name_size).next_multiple_of(align);
        let (Some(name), Some(body)) = (
            notes.get(12..12 + name_size),
            notes.get(start..start + size),
        ) else {
            return Err(truncated);
        };
        if (name, kind) == DLOPEN_NOTE {
            let json = body.split(|byte| *byte == 0).next().unwrap_or_default();
            let mut found: Vec<Dlopen> =
                serde_json::from_slice(json).map_err(|error| ElfError::Note(NoteError(error)))?;
            dynamic.dlopen.append(&mut found);
        }
        if (name, kind) == ABI_NOTE && body.len() >= 16 {
            dynamic.abi = Some([0, 4, 8, 12].map(|at| u32_of(body, at)));
        }
        notes = notes
            .get((start + size).next_multiple_of(align)..)
            .unwrap_or_default();
    }
    Ok(())
}

fn split_path(path: &str) -> Vec<String> {
    path.split(':')
        .filter(|part| !part.is_empty())
        .map(str::to_owned)
        .collect()
}

/// The text from `start` to its terminating zero.
fn text<'a>(bytes: &'a [u8], start: usize, what: &'static str) -> Result<&'a str, ElfError> {
    let rest = bytes.get(start..).ok_or(ElfError::Truncated(what))?;
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .ok_or(ElfError::Text(what))?;
    std::str::from_utf8(&rest[..end]).map_err(|_| ElfError::Text(what))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let field = bytes.get(at..at + 2)?;
    Some(u16::from_le_bytes([field[0], field[1]]))
}

/// The caller has checked that `bytes` is long enough; beyond its end there are zeros.
fn u32_of(bytes: &[u8], at: usize) -> u32 {
    let mut field = [0; 4];
    if let Some(found) = bytes.get(at..at + 4) {
        field.copy_from_slice(found);
    }
    u32::from_le_bytes(field)
}

/// As [`u32_of`], for eight bytes.
fn u64_of(bytes: &[u8], at: usize) -> u64 {
    u64::from(u32_of(bytes, at)) | u64::from(u32_of(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::{Dlopen, ElfError, File, Priority};
    use proptest::prelude::{any, proptest};

    /// This very test program is a dynamic ELF file that the reader has never seen.
    fn own_program() -> Vec<u8> {
        std::fs::read(std::env::current_exe().unwrap()).unwrap()
    }

    #[test]
    fn a_program_names_its_loader_and_libraries() {
        let bytes = own_program();
        let file = File::parse(&bytes).unwrap();
        let dynamic = file.dynamic().unwrap();
        assert!(dynamic.interpreter.unwrap().contains("/ld-linux"));
        assert!(
            dynamic.needed.iter().any(|name| name == "libc.so.6"),
            "{:?}",
            dynamic.needed
        );
        assert!(dynamic.is_dynamic && file.is_shared());
    }

    #[test]
    fn what_is_no_elf_file_is_none() {
        for bytes in [&b""[..], b"#!/bin/sh\n", b"\x7fELF", &[0; 100]] {
            assert!(File::parse(bytes).is_none());
        }
    }

    #[test]
    fn dlopen_notes_are_read() {
        let json = br#"[{"soname":["libkmod.so.2"],"feature":"kmod","priority":"required"}]"#;
        let mut note = Vec::new();
        for word in [4, json.len() as u32, 0x407c_0c0a] {
            note.extend(word.to_le_bytes());
        }
        note.extend(b"FDO\0");
        note.extend(json);
        let mut dynamic = super::Dynamic::default();
        super::read_notes(&note, 4, &mut dynamic).unwrap();
        let expected = Dlopen {
            sonames: vec!["libkmod.so.2".into()],
            feature: "kmod".into(),
            priority: Priority::Required,
        };
        assert_eq!(dynamic.dlopen, [expected]);
        assert_eq!(
            super::read_notes(&note[..30], 4, &mut dynamic),
            Err(ElfError::Truncated("a note"))
        );
    }

    proptest! {
        #[test]
        fn damage_is_never_a_panic(changes in proptest::collection::vec((0usize..4096, any::<u8>()), 1..20), cut in 64usize..8192) {
            let mut bytes = own_program();
            for (at, byte) in changes {
                if at > 5 {
                    bytes[at] = byte;
                }
            }
            for bytes in [&bytes[..], &bytes[..cut]] {
                let file = File::parse(bytes).unwrap();
                let _ = file.dynamic();
                let _ = file.section(".text");
                let _ = file.symbols();
            }
        }
    }
}
