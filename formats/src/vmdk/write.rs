//! Writes streamOptimized images.

use super::{
    AT_END, COMPRESSION_DEFLATE, FLAG_COMPRESSED, FLAG_LINE_ENDS, FLAG_MARKERS,
    GRAIN_TABLE_ENTRIES, Header, NAME, SECTOR,
};
use crate::disk::chunks::pack_each;
use crate::disk::codec::{Deflate, Encoder};
use crate::disk::{Disk, Error};
use crate::read_at::ReadAt;
use std::io::{self, Write};

/// Sectors of a grain: what VMware's own tools write.
const GRAIN_SIZE: u64 = 128;
const GRAIN: u64 = GRAIN_SIZE * SECTOR;
const DESCRIPTOR_OFFSET: u64 = 1;
const DESCRIPTOR_SIZE: u64 = 20;
/// Where the first grain is.
const OVERHEAD: u64 = 128;
const VERSION: u32 = 3;
const DEFLATE_LEVEL: u32 = 6;
/// The format's limit: 2 TiB less a sector, so that the number of any sector of the file fits 32 bits.
const MAX_SIZE: u64 = (1 << 41) - SECTOR;

const MARKER_END_OF_STREAM: u32 = 0;
const MARKER_GRAIN_TABLE: u32 = 1;
const MARKER_GRAIN_DIRECTORY: u32 = 2;
const MARKER_FOOTER: u32 = 3;

/// Writes `disk`, whose size is a multiple of 512 bytes, to `out`. `content_id` marks this content among other
/// disks of the same name; the two highest values have a meaning of their own, and become others.
pub fn write<R: ReadAt + Sync + ?Sized>(
    disk: &Disk<'_, R>,
    content_id: u32,
    out: impl Write + Send,
) -> Result<(), Error> {
    let why = "its size is no multiple of 512, or 2 TiB and more";
    let size = disk.sized(NAME, (SECTOR, MAX_SIZE), why)?;
    let capacity = size / SECTOR;
    let header = Header {
        version: VERSION,
        flags: FLAG_LINE_ENDS | FLAG_COMPRESSED | FLAG_MARKERS,
        capacity,
        grain_size: GRAIN_SIZE,
        descriptor_offset: DESCRIPTOR_OFFSET,
        descriptor_size: DESCRIPTOR_SIZE,
        grain_table_entries: GRAIN_TABLE_ENTRIES as u32,
        grain_directory: AT_END,
        overhead: OVERHEAD,
        compression: COMPRESSION_DEFLATE,
    };
    let tables = capacity.div_ceil(GRAIN_SIZE * GRAIN_TABLE_ENTRIES);
    let mut stream = Stream {
        out,
        sector: 0,
        directory: vec![0; tables as usize],
        table: None,
    };
    let mut front = header.encode();
    front.extend_from_slice(descriptor(capacity, content_id & !2).as_bytes());
    front.resize((OVERHEAD * SECTOR) as usize, 0);
    stream.put(&front).map_err(Error::Write)?;
    let state = || Ok(Encoder::deflate(DEFLATE_LEVEL, Deflate::Zlib));
    let pack = |encoder: &mut Encoder, _, bytes: &[u8]| encoder.encode(bytes);
    let take = |grain, packed: Vec<u8>| stream.grain(grain, &packed);
    pack_each(disk, GRAIN as usize, state, pack, take)?;
    stream.finish(header).map_err(Error::Write)
}

struct Stream<W> {
    out: W,
    /// Where `out` is.
    sector: u64,
    /// Sectors of grain tables.
    directory: Vec<u32>,
    /// The grain table being filled, and its number.
    table: Option<(u64, Vec<u32>)>,
}

impl<W: Write> Stream<W> {
    /// Writes `bytes`, filled up to whole sectors.
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.out.write_all(bytes)?;
        let sectors = (bytes.len() as u64).div_ceil(SECTOR);
        let padding = sectors * SECTOR - bytes.len() as u64;
        self.out
            .write_all(&[0; SECTOR as usize][..padding as usize])?;
        self.sector += sectors;
        Ok(())
    }

    fn here(&self) -> io::Result<u32> {
        let full = |_| io::Error::new(io::ErrorKind::FileTooLarge, "a vmdk image of 2 TiB or more");
        u32::try_from(self.sector).map_err(full)
    }

    fn grain(&mut self, number: u64, packed: &[u8]) -> io::Result<()> {
        let table = number / GRAIN_TABLE_ENTRIES;
        if self.table.as_ref().is_some_and(|(open, _)| *open != table) {
            self.close_table()?;
        }
        let here = self.here()?;
        let empty = || (table, vec![0; GRAIN_TABLE_ENTRIES as usize]);
        let (_, entries) = self.table.get_or_insert_with(empty);
        entries[(number % GRAIN_TABLE_ENTRIES) as usize] = here;
        let mut bytes = (number * GRAIN_SIZE).to_le_bytes().to_vec();
        // A grain does not grow by more than a few bytes.
        bytes.extend((packed.len() as u32).to_le_bytes());
        bytes.extend_from_slice(packed);
        self.put(&bytes)
    }

    fn close_table(&mut self) -> io::Result<()> {
        if let Some((number, entries)) = self.table.take() {
            self.directory[number as usize] = self.words(MARKER_GRAIN_TABLE, &entries)?;
        }
        Ok(())
    }

    /// Writes a table behind its marker; gives the sector of the table.
    fn words(&mut self, kind: u32, words: &[u32]) -> io::Result<u32> {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.marker(kind, (bytes.len() as u64).div_ceil(SECTOR))?;
        let here = self.here()?;
        self.put(&bytes)?;
        Ok(here)
    }

    /// Writes the marker of a structure of `sectors`.
    fn marker(&mut self, kind: u32, sectors: u64) -> io::Result<()> {
        let mut bytes = sectors.to_le_bytes().to_vec();
        // In place of a grain's size: this is none.
        bytes.extend([0; 4]);
        bytes.extend(kind.to_le_bytes());
        self.put(&bytes)
    }

    fn finish(mut self, header: Header) -> io::Result<()> {
        self.close_table()?;
        let directory = std::mem::take(&mut self.directory);
        let sector = self.words(MARKER_GRAIN_DIRECTORY, &directory)?;
        self.marker(MARKER_FOOTER, 1)?;
        let footer = Header {
            grain_directory: sector.into(),
            ..header
        };
        self.put(&footer.encode())?;
        self.marker(MARKER_END_OF_STREAM, 0)?;
        self.out.flush()
    }
}

fn descriptor(capacity: u64, content_id: u32) -> String {
    // What BIOSes have called a disk of this size; nothing that boots by UEFI asks.
    let cylinders = (capacity / (255 * 63)).clamp(1, 65_535);
    format!(
        "# Disk DescriptorFile\n\
         version=1\n\
         CID={content_id:08x}\n\
         parentCID=ffffffff\n\
         createType=\"streamOptimized\"\n\
         \n\
         # Extent description\n\
         RDONLY {capacity} SPARSE \"seedbed.vmdk\"\n\
         \n\
         # The Disk Data Base\n\
         #DDB\n\
         \n\
         ddb.adapterType = \"lsilogic\"\n\
         ddb.encoding = \"UTF-8\"\n\
         ddb.geometry.cylinders = \"{cylinders}\"\n\
         ddb.geometry.heads = \"255\"\n\
         ddb.geometry.sectors = \"63\"\n\
         ddb.virtualHWVersion = \"4\"\n"
    )
}
