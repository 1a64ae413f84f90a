//! Walks the headers of an uncompressed tar archive (POSIX.1-2017 pax, ustar, GNU) without reading contents.
//!
//! The tar crate decodes the fields of a header. What comes before a header, long names and PAX records, is
//! read here: that crate takes records apart at line ends, and attributes such as file capabilities are binary.

use super::Limits;
use anyhow::{Context, bail, ensure};
use formats::tree::Content;
use std::collections::BTreeMap;
use tar::{EntryType, Header};

const BLOCK: u64 = 512;

/// One entry, with all that describes it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) header: Header,
    /// The path as written.
    pub(super) path: String,
    /// The link's target as written, empty if there is none.
    pub(super) link: String,
    /// PAX records by key.
    pub(super) records: BTreeMap<String, Vec<u8>>,
    /// Where its data starts in the archive.
    pub(super) offset: u64,
    /// How many bytes it has.
    pub(super) size: u64,
}

/// Goes from entry to entry; after an error it must not be asked again.
pub(super) struct Walk<'a> {
    archive: &'a Content,
    /// Where the next header starts.
    next: u64,
    limit: u64,
    /// How many more bytes of headers may be read.
    left: u64,
}

/// What headers before an entry's own say of it.
#[derive(Default)]
struct Extensions {
    path: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    records: BTreeMap<String, Vec<u8>>,
    any: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(archive: &'a Content, limits: Limits) -> Self {
        Walk {
            archive,
            next: 0,
            limit: limits.headers,
            left: limits.headers,
        }
    }

    /// The next entry; `None` at the end of the archive.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Entry>> {
        let mut before = Extensions::default();
        loop {
            let at = self.next;
            let Some(header) = self.header()? else {
                ensure!(
                    !before.any,
                    "the archive ends before the entry at byte {at}"
                );
                return Ok(None);
            };
            let kind = header.entry_type();
            let reading = || format!("reading the header at byte {at}");
            let mut size = header.entry_size().with_context(reading)?;
            let data = at + BLOCK;
            match kind {
                EntryType::GNULongName => before.path = Some(self.text(data, size)?),
                EntryType::GNULongLink => before.link = Some(self.text(data, size)?),
                EntryType::XHeader => {
                    let bytes = self.read(data, size)?;
                    before
                        .records
                        .extend(records(&bytes).with_context(reading)?);
                }
                // It speaks of the archive as a whole; unpackers of images pass it over.
                EntryType::XGlobalHeader => {
                    self.pass(data, size)?;
                    continue;
                }
                _ => {
                    if let Some(number) = before.number("size")? {
                        size = number;
                    }
                    if has_no_data(kind) {
                        size = 0;
                    }
                    self.pass(data, size)?;
                    return entry(header, before, data, size).map(Some);
                }
            }
            before.any = true;
            self.pass(data, size)?;
        }
    }

    fn header(&mut self) -> anyhow::Result<Option<Header>> {
        if self.next == self.archive.len() {
            return Ok(None);
        }
        let block = self.read(self.next, BLOCK)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block).clone();
        // The checksum counts its own eight bytes as spaces.
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        let expected = sum(&block[..148]) + 8 * 32 + sum(&block[156..]);
        if header.cksum().ok() != Some(expected) {
            bail!("the header at byte {} has a wrong checksum", self.next);
        }
        Ok(Some(header))
    }

    fn read(&mut self, at: u64, len: u64) -> anyhow::Result<Vec<u8>> {
        self.left = self.left.checked_sub(len).with_context(|| {
            let limit = self.limit;
            format!("names and attributes take more than {limit} bytes, the most that is taken")
        })?;
        let mut bytes = Vec::new();
        let cut = || format!("the archive ends within the {len} bytes at {at}");
        if at
            .checked_add(len)
            .is_none_or(|end| end > self.archive.len())
        {
            bail!(cut());
        }
        bytes.resize(usize::try_from(len)?, 0);
        self.archive
            .read_exact_at(&mut bytes, at)
            .context("reading the archive")?;
        Ok(bytes)
    }

    /// A GNU long name, which ends at its first NUL.
    fn text(&mut self, at: u64, len: u64) -> anyhow::Result<Vec<u8>> {
        let mut bytes = self.read(at, len)?;
        let end = bytes.iter().position(|byte| *byte == 0);
        bytes.truncate(end.unwrap_or(bytes.len()));
        Ok(bytes)
    }

    fn pass(&mut self, data: u64, size: u64) -> anyhow::Result<()> {
        let end = data
            .checked_add(size)
            .and_then(|end| end.checked_next_multiple_of(BLOCK));
        self.next = end.with_context(|| format!("a size of {size} bytes makes no sense"))?;
        Ok(())
    }
}

impl Extensions {
    /// A record that is a number, if there is one.
    fn number(&self, key: &str) -> anyhow::Result<Option<u64>> {
        let Some(value) = self.records.get(key).filter(|value| !value.is_empty()) else {
            return Ok(None);
        };
        let number = utf8(value)?.parse();
        Ok(Some(number.with_context(|| format!("{key} is no number"))?))
    }
}

fn entry(
    mut header: Header,
    mut before: Extensions,
    offset: u64,
    size: u64,
) -> anyhow::Result<Entry> {
    if let Some(uid) = before.number("uid")? {
        header.set_uid(uid);
    }
    if let Some(gid) = before.number("gid")? {
        header.set_gid(gid);
    }
    let mut record = |key: &str| before.records.remove(key).filter(|value| !value.is_empty());
    let (path, link) = (record("path"), record("linkpath"));
    let path = path
        .or(before.path)
        .unwrap_or_else(|| header.path_bytes().into_owned());
    let link = link
        .or(before.link)
        .or_else(|| header.link_name_bytes().map(|name| name.into_owned()));
    Ok(Entry {
        path: utf8(&path)?,
        link: utf8(&link.unwrap_or_default())?,
        records: before.records,
        header,
        offset,
        size,
    })
}

/// Whether nothing follows the header, whatever size it states.
fn has_no_data(kind: EntryType) -> bool {
    matches!(
        kind,
        EntryType::Link
            | EntryType::Symlink
            | EntryType::Char
            | EntryType::Block
            | EntryType::Directory
            | EntryType::Fifo
    )
}

/// PAX records: `LENGTH KEY=VALUE\n`, where LENGTH counts all of it, and VALUE may be any bytes.
fn records(mut bytes: &[u8]) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    const MALFORMED: &str = "a PAX record is malformed";
    let mut records = BTreeMap::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ');
        let space = space.context(MALFORMED)?;
        let len: usize = utf8(&bytes[..space])?.parse().context(MALFORMED)?;
        let record = bytes.get(space + 1..len).context(MALFORMED)?;
        let record = record.strip_suffix(b"\n").context(MALFORMED)?;
        let equals = record.iter().position(|byte| *byte == b'=');
        let equals = equals.context(MALFORMED)?;
        records.insert(utf8(&record[..equals])?, record[equals + 1..].to_vec());
        bytes = &bytes[len..];
    }
    Ok(records)
}

/// Names are text in the trees of this crate.
pub(super) fn utf8(bytes: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(bytes);
    let name = || format!("{:?} is not UTF-8", String::from_utf8_lossy(bytes));
    Ok(text.with_context(name)?.to_owned())
}
