//! The core: kernel and modules, compressed, behind the code that unpacks them.

use super::{Error, Parts, elf, fits, module};
use crate::bytes::put;
use liblzma::stream::{Action, Filters, LzmaOptions, MatchFinder, Mode, Status, Stream};

const DECOMPRESSOR: &str = "lzma_decompress.img";
/// The decompressor's fields: sizes of what it unpacks, before and after.
const COMPRESSED_SIZE: usize = 0x08;
const UNCOMPRESSED_SIZE: usize = 0x0c;
/// The decompressor's fields end here; its code follows.
const FIELDS: usize = 0x1c;
/// Where diskboot.img and cdboot.img put the core.
const LOAD_ADDRESS: u32 = 0x8200;
/// The end of the memory that a core may take when it is loaded, counted from the kernel's address.
const LOAD_END: u32 = 0x78000;

/// A core image, not yet bound to a disk or CD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Core {
    pub(super) bytes: Vec<u8>,
}

impl Core {
    /// Composes kernel.img, `modules` with all that they depend on, `config` and `prefix`.
    ///
    /// `config` runs as soon as the modules are linked, by the parser that has neither conditions nor loops.
    /// `prefix` sets GRUB's variable of that name, and with its device the variable `root`: `(,gpt2)/EFI` is
    /// partition 2 of the disk that the firmware started, `/boot` that disk or CD as a whole.
    pub fn compose(
        parts: &Parts,
        modules: &[&str],
        prefix: &str,
        config: &str,
    ) -> Result<Self, Error> {
        let mut image = elf::load(parts.get("kernel.img")?)?;
        image.extend(module::area(parts, modules, prefix, config)?);
        let uncompressed = size("kernel and modules", image.len())?;
        let packed = compress(&image)?;
        let mut bytes = parts.get(DECOMPRESSOR)?.to_vec();
        if bytes.len() < FIELDS {
            return Err(Error::Size {
                name: DECOMPRESSOR,
                size: bytes.len(),
                expected: FIELDS,
            });
        }
        // The kernel overwrites what lies from its address on.
        let room = u64::from(elf::LINK_ADDRESS - LOAD_ADDRESS);
        fits("decompressor", bytes.len() as u64, room)?;
        let compressed = size("kernel and modules", packed.len())?;
        put(&mut bytes, COMPRESSED_SIZE, &compressed.to_le_bytes());
        put(&mut bytes, UNCOMPRESSED_SIZE, &uncompressed.to_le_bytes());
        bytes.extend(packed);
        let room = u64::from(LOAD_END - elf::LINK_ADDRESS);
        fits("core image", bytes.len() as u64, room)?;
        Ok(Core { bytes })
    }
}

fn size(what: &'static str, size: usize) -> Result<u32, Error> {
    u32::try_from(size).map_err(|_| Error::TooBig {
        what,
        size: size as u64,
        limit: u32::MAX.into(),
    })
}

/// LZMA without a header. GRUB's decoder has the properties lc=3, lp=0 and pb=2 built in, unpacks into flat memory,
/// and stops at the size that its field says, so that the end marker which liblzma writes is never read.
fn compress(image: &[u8]) -> Result<Vec<u8>, Error> {
    let mut options = LzmaOptions::new();
    options
        .dict_size(1 << 16)
        .literal_context_bits(3)
        .literal_position_bits(0)
        .position_bits(2)
        .mode(Mode::Normal)
        .match_finder(MatchFinder::BinaryTree4)
        .nice_len(64)
        .depth(64);
    let mut filters = Filters::new();
    filters.lzma1(&options);
    let mut stream = Stream::new_raw_encoder(&filters).map_err(Error::Compress)?;
    let mut packed = Vec::with_capacity(image.len() / 2 + GROWTH);
    loop {
        let done = stream.total_in() as usize;
        let rest = image.get(done..).unwrap_or_default();
        let status = stream.process_vec(rest, &mut packed, Action::Finish);
        if status.map_err(Error::Compress)? == Status::StreamEnd {
            return Ok(packed);
        }
        packed.reserve(GROWTH);
    }
}

/// By how much the output grows when it is full.
const GROWTH: usize = 1 << 16;
