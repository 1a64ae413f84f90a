//! One module's file: decompression, and what its sections say.

use super::ModuleError;
use crate::rootfs::elf::{ElfError, File};
use crate::xz;
use formats::tree::Content;
use std::io::{self, Read};

/// No module is anywhere near as large; a compressed file that claims more is refused.
const MAX_SIZE: u64 = 1 << 29;

/// What a module says of itself (`.modinfo`) and which symbols it gives and takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ModuleFile {
    /// Patterns of devices and names that it serves, in order.
    pub(super) aliases: Vec<String>,
    /// `pre: a b post: c`, each as written.
    pub(super) softdeps: Vec<String>,
    /// Modules that it may want, each as written.
    pub(super) weakdeps: Vec<String>,
    /// Which kernel it was built for: the release, and options that have to be the kernel's, too.
    pub(super) vermagic: Option<String>,
    /// Symbols for other modules.
    pub(super) exports: Vec<String>,
    /// Symbols of the kernel and of other modules, in the order of the symbol table.
    pub(super) imports: Vec<String>,
}

/// Reads the module at `path`, whose suffix names its compression.
pub(super) fn read(path: &str, content: &Content) -> Result<ModuleFile, ModuleError> {
    let bytes = decompress(path, content).map_err(|source| ModuleError::Read {
        path: path.to_owned(),
        source,
    })?;
    let file = File::parse(&bytes).ok_or_else(|| ModuleError::NotElf(path.to_owned()))?;
    parse(file).map_err(|source| ModuleError::Elf {
        path: path.to_owned(),
        source,
    })
}

/// The module's bytes, decompressed according to the suffix of `path`.
pub(super) fn decompress(path: &str, content: &Content) -> io::Result<Vec<u8>> {
    let compressed = content.to_vec()?;
    let mut bytes = Vec::new();
    let reader: Box<dyn Read> = match path.rsplit('.').next() {
        Some("xz") => Box::new(xz::decoder(&compressed[..])?),
        Some("zst") => Box::new(zstd::Decoder::new(&compressed[..])?),
        Some("gz") => Box::new(flate2::read::GzDecoder::new(&compressed[..])),
        _ => return Ok(compressed),
    };
    reader.take(MAX_SIZE).read_to_end(&mut bytes)?;
    if bytes.len() as u64 == MAX_SIZE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it decompresses to 512 MiB or more",
        ));
    }
    Ok(bytes)
}

fn parse(file: File<'_>) -> Result<ModuleFile, ElfError> {
    let mut module = ModuleFile::default();
    for entry in texts(file.section(".modinfo")?.unwrap_or_default()) {
        match entry.split_once('=') {
            Some(("alias", value)) => module.aliases.push(value.to_owned()),
            Some(("softdep", value)) => module.softdeps.push(value.to_owned()),
            Some(("vermagic", value)) => module.vermagic = Some(value.to_owned()),
            Some(("weakdep", value)) => module.weakdeps.push(value.to_owned()),
            _ => {}
        }
    }
    for symbol in file.symbols()? {
        if let Some(exported) = symbol.name.strip_prefix("__crc_") {
            module.exports.push(exported.to_owned());
        }
        if symbol.undefined && !symbol.name.is_empty() {
            module
                .imports
                .push(symbol.name.trim_start_matches('.').to_owned());
        }
    }
    if module.exports.is_empty() {
        // A kernel without symbol versions: the names are only in this section.
        module.exports = texts(file.section("__ksymtab_strings")?.unwrap_or_default()).collect();
    }
    Ok(module)
}

/// The non-empty texts of a section that holds them one after the other, each ended by a zero.
fn texts(section: &[u8]) -> impl Iterator<Item = String> {
    let parts = section
        .split(|byte| *byte == 0)
        .filter(|part| !part.is_empty());
    parts.map(|part| String::from_utf8_lossy(part).into_owned())
}

#[cfg(test)]
mod tests {
    use super::{decompress, texts};
    use formats::tree::Content;
    use std::io::Write;

    #[test]
    fn padding_between_texts_is_skipped() {
        let found: Vec<String> = texts(b"alias=a\0\0\0softdep=b\0").collect();
        assert_eq!(found, ["alias=a", "softdep=b"]);
    }

    #[test]
    fn the_suffix_names_the_compression() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"module").unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
        xz.write_all(b"module").unwrap();
        let cases = [
            ("m.ko", b"module".to_vec()),
            ("m.ko.gz", gz.finish().unwrap()),
            ("m.ko.xz", xz.finish().unwrap()),
            ("m.ko.zst", zstd::encode_all(&b"module"[..], 1).unwrap()),
        ];
        for (path, bytes) in cases {
            assert_eq!(
                decompress(path, &Content::from(bytes)).unwrap(),
                b"module",
                "{path}"
            );
        }
        assert!(decompress("m.ko.xz", &Content::from("no xz")).is_err());
    }
}
