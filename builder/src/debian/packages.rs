//! A `Packages` index: from the compressed file to one borrowed record per package.
//!
//! [`decompress`] admits the bytes only if their length and digest are what the `Release` file says, before
//! and after decompression, and never writes more than was declared. [`parse`] borrows every field from the
//! text, so that the 66,000 records of a suite cost one list. Descriptions are skipped.

use crate::debian::deb822::{Deb822Error, Event, Field, Reader};
use crate::debian::release::IndexEntry;
use crate::digest;
use crate::xz;
use std::io::{self, Read};
use thiserror::Error;

/// How an index file is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// `.xz`
    Xz,
    /// `.gz`
    Gzip,
    /// No suffix.
    None,
}

impl Compression {
    /// All, the one that costs least to transfer first.
    pub const ALL: [Compression; 3] = [Compression::Xz, Compression::Gzip, Compression::None];

    /// What the file name ends with.
    pub fn suffix(self) -> &'static str {
        match self {
            Compression::Xz => ".xz",
            Compression::Gzip => ".gz",
            Compression::None => "",
        }
    }
}

/// Why an index is refused.
#[derive(Debug, Error)]
pub enum PackagesError {
    /// The file has another length than declared.
    #[error(
        "{name} has {found} bytes, but Release declares {declared}; the mirror may be in the middle of an update"
    )]
    Length {
        /// The index.
        name: String,
        /// Bytes declared in `Release`.
        declared: u64,
        /// Bytes there are; for decompressed data one more than declared stands for "more".
        found: u64,
    },
    /// The file has another digest than declared.
    #[error(
        "{name} has the SHA-256 {found}, but Release declares {declared}; the mirror may be in the middle of an update"
    )]
    Digest {
        /// The index.
        name: String,
        /// Digest declared in `Release`.
        declared: String,
        /// Digest of the bytes.
        found: String,
    },
    /// The file does not decompress.
    #[error("{name} cannot be decompressed")]
    Compressed {
        /// The index.
        name: String,
        /// What the decompressor says.
        #[source]
        source: io::Error,
    },
    /// The decompressed file is not UTF-8.
    #[error("{name} is not UTF-8")]
    Encoding {
        /// The index.
        name: String,
        /// Where.
        #[source]
        source: std::string::FromUtf8Error,
    },
    /// The text is not made of paragraphs.
    #[error("the index is malformed")]
    Syntax(#[source] Deb822Error),
    /// A record lacks a field, has it twice, or has a value that makes no sense.
    #[error("package {package:?} before line {line} has no usable {field}")]
    Field {
        /// The record's package, where known.
        package: String,
        /// The field.
        field: &'static str,
        /// The line where the record ends.
        line: usize,
    },
}

/// Checks `bytes` against `compressed` and decompresses them. `plain` is what `Release` declares of the
/// uncompressed index: its size is the limit, its digest is checked too.
pub fn decompress(
    bytes: Vec<u8>,
    compression: Compression,
    name: &str,
    compressed: &IndexEntry,
    plain: &IndexEntry,
) -> Result<String, PackagesError> {
    admit(&bytes, name, compressed)?;
    let failed = |source: io::Error| PackagesError::Compressed {
        name: name.to_owned(),
        source,
    };
    let text = match compression {
        Compression::None => bytes,
        Compression::Gzip => read_limited(
            flate2::read::MultiGzDecoder::new(bytes.as_slice()),
            plain.size,
        )
        .map_err(failed)?,
        Compression::Xz => {
            let decoder = xz::decoder(bytes.as_slice()).map_err(failed)?;
            read_limited(decoder, plain.size).map_err(failed)?
        }
    };
    if compression != Compression::None {
        let plain_name = name.strip_suffix(compression.suffix()).unwrap_or(name);
        admit(&text, plain_name, plain)?;
    }
    String::from_utf8(text).map_err(|source| PackagesError::Encoding {
        name: name.to_owned(),
        source,
    })
}

/// Reads at most one byte more than `limit`, so that the caller sees that there is too much.
fn read_limited(reader: impl Read, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn admit(bytes: &[u8], name: &str, declared: &IndexEntry) -> Result<(), PackagesError> {
    let found = bytes.len() as u64;
    if found != declared.size {
        return Err(PackagesError::Length {
            name: name.to_owned(),
            declared: declared.size,
            found,
        });
    }
    let found = digest::sha256(bytes);
    if found != declared.sha256 {
        return Err(PackagesError::Digest {
            name: name.to_owned(),
            declared: declared.sha256.clone(),
            found,
        });
    }
    Ok(())
}

/// Whether and how a package can serve another architecture.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MultiArch {
    /// Not stated.
    #[default]
    No,
    /// `same`
    Same,
    /// `foreign`
    Foreign,
    /// `allowed`
    Allowed,
}

/// Priorities, the most important first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// `required`
    Required,
    /// `important`
    Important,
    /// `standard`
    Standard,
    /// `optional`, or not stated.
    #[default]
    Optional,
    /// `extra`
    Extra,
}

/// One record. Relation fields are the text as written, for [`crate::debian::relation::parse`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Package<'a> {
    /// `Package`
    pub name: &'a str,
    /// `Version`
    pub version: &'a str,
    /// `Architecture`: the index's own, or `all`.
    pub architecture: &'a str,
    /// `Multi-Arch`
    pub multi_arch: MultiArch,
    /// `Essential: yes`
    pub essential: bool,
    /// `Priority`
    pub priority: Priority,
    /// `Section`
    pub section: &'a str,
    /// `Pre-Depends`
    pub pre_depends: &'a str,
    /// `Depends`
    pub depends: &'a str,
    /// `Recommends`, which the resolver does not follow.
    pub recommends: &'a str,
    /// `Conflicts`
    pub conflicts: &'a str,
    /// `Breaks`
    pub breaks: &'a str,
    /// `Provides`
    pub provides: &'a str,
    /// `Replaces`
    pub replaces: &'a str,
    /// `Filename`, below the archive's root.
    pub filename: &'a str,
    /// `Size` of the file in bytes.
    pub size: u64,
    /// `SHA256` of the file, in hexadecimal.
    pub sha256: &'a str,
    /// `Installed-Size` in KiB, an estimate by the packager; 0 where not stated.
    pub installed_size: u64,
}

/// All records, in the order of the index.
pub fn parse(text: &str) -> Result<Vec<Package<'_>>, PackagesError> {
    let mut packages = Vec::new();
    let mut package = Package::default();
    let mut reader = Reader::new(text);
    while let Some(event) = reader.next() {
        match event.map_err(PackagesError::Syntax)? {
            Event::Field(field) => {
                if let Err(name) = set(&mut package, field) {
                    return Err(unusable(&package, name, reader.line()));
                }
            }
            Event::End => {
                let package = std::mem::take(&mut package);
                if let Some(field) = missing(&package) {
                    return Err(unusable(&package, field, reader.line()));
                }
                packages.push(package);
            }
        }
    }
    Ok(packages)
}

/// Enters a field of interest; the error is the name of a field whose value makes no sense.
fn set<'a>(package: &mut Package<'a>, field: Field<'a>) -> Result<(), &'static str> {
    let value = field.value;
    match field.name {
        "Package" => once(&mut package.name, value, "Package")?,
        "Version" => once(&mut package.version, value, "Version")?,
        "Architecture" => once(&mut package.architecture, value, "Architecture")?,
        "Section" => once(&mut package.section, value, "Section")?,
        "Pre-Depends" => once(&mut package.pre_depends, value, "Pre-Depends")?,
        "Depends" => once(&mut package.depends, value, "Depends")?,
        "Recommends" => once(&mut package.recommends, value, "Recommends")?,
        "Conflicts" => once(&mut package.conflicts, value, "Conflicts")?,
        "Breaks" => once(&mut package.breaks, value, "Breaks")?,
        "Provides" => once(&mut package.provides, value, "Provides")?,
        "Replaces" => once(&mut package.replaces, value, "Replaces")?,
        "Filename" => once(&mut package.filename, value, "Filename")?,
        "SHA256" => once(&mut package.sha256, value, "SHA256")?,
        "Essential" => package.essential = value == "yes",
        "Size" => package.size = value.parse().map_err(|_| "Size")?,
        "Installed-Size" => package.installed_size = value.parse().map_err(|_| "Installed-Size")?,
        "Multi-Arch" => {
            package.multi_arch = match value {
                "same" => MultiArch::Same,
                "foreign" => MultiArch::Foreign,
                "allowed" => MultiArch::Allowed,
                _ => MultiArch::No,
            }
        }
        "Priority" => {
            package.priority = match value {
                "required" => Priority::Required,
                "important" => Priority::Important,
                "standard" => Priority::Standard,
                "extra" => Priority::Extra,
                _ => Priority::Optional,
            }
        }
        _ => {}
    }
    Ok(())
}

/// Sets a field that is not set yet: of two, readers differ in which they take.
fn once<'a>(slot: &mut &'a str, value: &'a str, field: &'static str) -> Result<(), &'static str> {
    if !slot.is_empty() {
        return Err(field);
    }
    *slot = value;
    Ok(())
}

/// The first field without which a package cannot be locked. A path that would leave the archive counts as none.
fn missing(package: &Package<'_>) -> Option<&'static str> {
    let leaves = |path: &str| path.starts_with('/') || path.split('/').any(|part| part == "..");
    if package.name.is_empty() {
        Some("Package")
    } else if package.version.is_empty() {
        Some("Version")
    } else if package.architecture.is_empty() {
        Some("Architecture")
    } else if package.filename.is_empty() || leaves(package.filename) {
        Some("Filename")
    } else if package.size == 0 {
        Some("Size")
    } else if !digest::is_sha256(package.sha256) {
        Some("SHA256")
    } else {
        None
    }
}

fn unusable(package: &Package<'_>, field: &'static str, line: usize) -> PackagesError {
    PackagesError::Field {
        package: package.name.to_owned(),
        field,
        line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Write;

    const SHA256: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn record(extra: &str) -> String {
        format!(
            "Package: a\nVersion: 1:2-3\nArchitecture: amd64\nFilename: pool/a.deb\nSize: 7\nSHA256: {SHA256}\n{extra}\n"
        )
    }

    #[test]
    fn fields() {
        let text = record(
            "Essential: yes\nPriority: required\nMulti-Arch: foreign\nInstalled-Size: 9\nPre-Depends: b\nDepends: c (>= 1),\n d\nDescription: x\n y\n",
        );
        let packages = parse(&text).unwrap();
        let expected = Package {
            name: "a",
            version: "1:2-3",
            architecture: "amd64",
            multi_arch: MultiArch::Foreign,
            essential: true,
            priority: Priority::Required,
            pre_depends: "b",
            depends: "c (>= 1),\n d",
            filename: "pool/a.deb",
            size: 7,
            sha256: SHA256,
            installed_size: 9,
            ..Package::default()
        };
        assert_eq!(packages, [expected]);
        let two = format!("{}\n{}", record(""), record(""));
        assert_eq!(parse(&two).unwrap().len(), 2);
        assert_eq!(parse("").unwrap().len(), 0);
    }

    #[test]
    fn unusable_records() {
        let check = |from: &str, to: &str, expected: &str| {
            let error = parse(&record("").replace(from, to)).unwrap_err();
            assert_eq!(error.to_string(), expected, "{from} -> {to}");
        };
        check(
            "Package: a\n",
            "",
            "package \"\" before line 6 has no usable Package",
        );
        check(
            "Version: 1:2-3\n",
            "",
            "package \"a\" before line 6 has no usable Version",
        );
        check(
            "pool/a.deb",
            "../a.deb",
            "package \"a\" before line 7 has no usable Filename",
        );
        check(
            "pool/a.deb",
            "/a.deb",
            "package \"a\" before line 7 has no usable Filename",
        );
        check(
            "Size: 7",
            "Size: -7",
            "package \"a\" before line 5 has no usable Size",
        );
        check(
            "Size: 7",
            "Size: 99999999999999999999",
            "package \"a\" before line 5 has no usable Size",
        );
        check(
            "Size: 7",
            "Version: 3",
            "package \"a\" before line 5 has no usable Version",
        );
        check(
            SHA256,
            "abc",
            "package \"a\" before line 7 has no usable SHA256",
        );
    }

    fn entry(bytes: &[u8]) -> IndexEntry {
        IndexEntry {
            size: bytes.len() as u64,
            sha256: digest::sha256(bytes),
        }
    }

    fn compress(text: &[u8], compression: Compression) -> Vec<u8> {
        match compression {
            Compression::None => text.to_vec(),
            Compression::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
            Compression::Xz => {
                let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 0);
                encoder.write_all(text).unwrap();
                encoder.finish().unwrap()
            }
        }
    }

    #[test]
    fn all_compressions_are_read_and_checked() {
        let text = record("").into_bytes();
        for compression in Compression::ALL {
            let bytes = compress(&text, compression);
            let read = decompress(
                bytes.clone(),
                compression,
                "P",
                &entry(&bytes),
                &entry(&text),
            )
            .unwrap();
            assert_eq!(read.as_bytes(), text);

            let mut flipped = bytes.clone();
            flipped[3] ^= 1;
            let error =
                decompress(flipped, compression, "P", &entry(&bytes), &entry(&text)).unwrap_err();
            assert!(matches!(error, PackagesError::Digest { .. }), "{error}");

            let shorter = bytes[1..].to_vec();
            let error =
                decompress(shorter, compression, "P", &entry(&bytes), &entry(&text)).unwrap_err();
            assert!(matches!(error, PackagesError::Length { .. }), "{error}");
        }
    }

    #[test]
    fn more_than_declared_is_not_decompressed() {
        let bomb = vec![b'\n'; 8 << 20];
        for compression in [Compression::Gzip, Compression::Xz] {
            let bytes = compress(&bomb, compression);
            let plain = entry(b"small");
            let error =
                decompress(bytes.clone(), compression, "P", &entry(&bytes), &plain).unwrap_err();
            let PackagesError::Length {
                declared, found, ..
            } = error
            else {
                panic!("{error}");
            };
            assert_eq!(
                (declared, found),
                (5, 6),
                "one byte more than declared is read, and no further"
            );
        }
    }

    #[test]
    fn rubbish_is_refused() {
        for compression in [Compression::Gzip, Compression::Xz] {
            let bytes = b"not compressed at all".to_vec();
            let error = decompress(
                bytes.clone(),
                compression,
                "P",
                &entry(&bytes),
                &entry(b"x"),
            )
            .unwrap_err();
            assert!(matches!(error, PackagesError::Compressed { .. }), "{error}");
        }
        let bytes = vec![0xff, 0xfe];
        let error = decompress(
            bytes.clone(),
            Compression::None,
            "P",
            &entry(&bytes),
            &entry(&bytes),
        )
        .unwrap_err();
        assert!(matches!(error, PackagesError::Encoding { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "(Package|Size|SHA256|Filename|x)?[: \n0-9a]{0,80}") {
            let _ = parse(&text);
        }
    }
}
