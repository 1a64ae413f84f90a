//! From one package to entries of a file tree, in two steps: [`expand`] decompresses, and [`read`] makes entries
//! whose contents are ranges of the expanded package.
//!
//! ```text
//! expanded package    data.tar, control.tar, both decompressed; then the length of data.tar, a u64
//! ```
//!
//! Paths come out with `/usr` merged: what a package ships in `bin`, `sbin` or `lib*` lies in `usr/…`; the
//! links at the root come from base-files. Owners stay names here, because they get their numbers only when
//! all packages are known. Nothing is created on the host, so no privilege is needed.
//!
//! Refused by name: paths and hard links that are absolute or lead out of the package, paths that come twice,
//! device nodes and pipes (Debian Policy 10.6 forbids them), and archives that are larger than [`Limits`] allow.

use crate::rootfs::deb::{self, Control};
use anyhow::{Context, bail};
use formats::tree::{Content, Kind, Metadata};
use std::collections::BTreeMap;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use tar::EntryType;

/// Directories at the root that are links into `usr` on a system with merged `/usr`.
const MERGED: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libo32", "libx32"];

/// Bounds on what a package may ask of the build host; its size tells nothing of them.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Most bytes of the uncompressed `data.tar`.
    data: u64,
    /// Most bytes of all its headers, with long names and attributes.
    headers: u64,
}

impl Limits {
    /// Of a package, 32 GiB and 256 MiB: half a million files. Debian's largest are a tenth of that.
    const DEFAULT: Limits = Limits {
        data: 32 << 30,
        headers: 256 << 20,
    };
}

/// A package, unpacked.
#[derive(Debug)]
pub struct Unpacked {
    /// What its control archive says.
    pub control: Control,
    /// Its files in the order of the archive.
    pub entries: Vec<Entry>,
}

/// One path of a package.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Where it lies in the tree.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Mode, time, and the owners' numbers as the archive has them.
    pub meta: Metadata,
    /// The owner's name; it goes before the number if the image knows the name.
    pub user: String,
    /// The group's name, likewise.
    pub group: String,
}

/// Writes `package`, a `.deb`, in its expanded form.
pub fn expand(package: &Content, out: &mut dyn Write) -> anyhow::Result<()> {
    expand_within(package, out, Limits::DEFAULT)
}

fn expand_within(package: &Content, out: &mut dyn Write, limits: Limits) -> anyhow::Result<()> {
    let deb = deb::open(package)?;
    let control = deb.control()?;
    let mut data = deb.data()?.take(limits.data.saturating_add(1));
    let len = io::copy(&mut data, out).context("decompressing data.tar")?;
    if len > limits.data {
        let limit = limits.data;
        bail!("data.tar has more than {limit} bytes uncompressed, the most that is taken");
    }
    out.write_all(&control)
        .and_then(|()| out.write_all(&len.to_le_bytes()))
        .context("writing the expanded package")
}

/// Reads an expanded package.
pub fn read(expanded: &Content) -> anyhow::Result<Unpacked> {
    read_within(expanded, Limits::DEFAULT)
}

fn read_within(expanded: &Content, limits: Limits) -> anyhow::Result<Unpacked> {
    let reading = "reading the expanded package";
    let end = expanded.len().checked_sub(8).context(reading)?;
    let mut len = [0; 8];
    expanded.read_exact_at(&mut len, end).context(reading)?;
    let len = u64::from_le_bytes(len);
    let data = expanded.slice(0, len).context(reading)?;
    let control = end.checked_sub(len).context(reading)?;
    let control = expanded.slice(len, control).context(reading)?;
    Ok(Unpacked {
        control: deb::read_control(&control.to_vec().context(reading)?)?,
        entries: read_entries(&data, limits).context("reading data.tar")?,
    })
}

/// Reads headers: contents are passed over by seeking, and so are not counted.
struct Headers<R> {
    inner: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Headers<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buf)?;
        let left = self.left.checked_sub(n as u64);
        self.left = left.ok_or_else(|| {
            let limit = self.limit;
            io::Error::other(format!(
                "names and attributes take more than {limit} bytes, the most that is taken"
            ))
        })?;
        Ok(n)
    }
}

impl<R: Seek> Seek for Headers<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

fn read_entries(data: &Content, limits: Limits) -> anyhow::Result<Vec<Entry>> {
    let mut archive = tar::Archive::new(Headers {
        inner: BufReader::with_capacity(64 << 10, data.reader()),
        limit: limits.headers,
        left: limits.headers,
    });
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for entry in archive.entries_with_seek()? {
        let mut entry = entry?;
        let raw = normalise(&utf8(&entry.path_bytes())?)?;
        let is_directory = entry.header().entry_type() == EntryType::Directory;
        let entry = match entry.header().entry_type() {
            EntryType::Link => {
                let target = entry
                    .link_name_bytes()
                    .context("a hard link names no target")?;
                let target = normalise(&utf8(&target)?)?;
                let Some(index) = seen.get(&target) else {
                    bail!("{raw:?} is a hard link to {target:?}, which does not come before it")
                };
                Entry {
                    path: merged(&raw, false),
                    ..entries[*index].clone()
                }
            }
            _ => read_entry(&mut entry, &raw, data)
                .with_context(|| format!("reading entry {raw:?}"))?,
        };
        if seen.insert(raw.clone(), entries.len()).is_some() {
            bail!("{raw:?} is there twice");
        }
        if !(raw.is_empty() && is_directory) {
            entries.push(entry);
        } else {
            seen.remove(&raw);
        }
    }
    Ok(entries)
}

fn read_entry(
    entry: &mut tar::Entry<'_, impl Read>,
    raw: &str,
    data: &Content,
) -> anyhow::Result<Entry> {
    let mut xattrs = BTreeMap::new();
    if let Some(extensions) = entry.pax_extensions()? {
        for extension in extensions {
            let extension = extension?;
            if let Some(name) = extension.key()?.strip_prefix("SCHILY.xattr.") {
                xattrs.insert(name.to_owned(), extension.value_bytes().to_vec());
            }
        }
    }
    let header = entry.header();
    let kind = match header.entry_type() {
        EntryType::Regular | EntryType::Continuous => {
            let (offset, size) = (entry.raw_file_position(), entry.size());
            let content = data
                .slice(offset, size)
                .with_context(|| format!("its {size} bytes reach beyond the end of data.tar"))?;
            Kind::File(content)
        }
        EntryType::Directory => Kind::Directory,
        EntryType::Symlink => {
            let target = entry
                .link_name_bytes()
                .context("the symbolic link names no target")?;
            Kind::Symlink(utf8(&target)?)
        }
        EntryType::Char | EntryType::Block => bail!("a package may not bring device nodes"),
        EntryType::Fifo => bail!("a package may not bring named pipes"),
        other => bail!(
            "entries of type {:?} are not supported",
            char::from(other.as_byte())
        ),
    };
    let id = |number: u64| u32::try_from(number).context("an owner's number is too large");
    let meta = Metadata {
        mode: u16::try_from(header.mode()? & 0o7777)?,
        uid: id(header.uid()?)?,
        gid: id(header.gid()?)?,
        mtime: i64::try_from(header.mtime()?)?,
        xattrs,
    };
    let name = |name: Result<Option<&str>, _>| name.ok().flatten().unwrap_or_default().to_owned();
    let (user, group) = (name(header.username()), name(header.groupname()));
    Ok(Entry {
        path: merged(raw, matches!(kind, Kind::Directory)),
        kind,
        meta,
        user,
        group,
    })
}

fn utf8(bytes: &[u8]) -> anyhow::Result<String> {
    let text = std::str::from_utf8(bytes);
    Ok(text
        .with_context(|| format!("name {:?} is not UTF-8", String::from_utf8_lossy(bytes)))?
        .to_owned())
}

/// `./usr/bin/` becomes `usr/bin`; what could lead out of the tree is refused.
fn normalise(path: &str) -> anyhow::Result<String> {
    if path.starts_with('/') {
        bail!("{path:?} is an absolute path");
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if parts.contains(&"..") || path.contains('\0') {
        bail!("{path:?} leads out of the package");
    }
    Ok(parts.join("/"))
}

/// Where `path` lies once `/usr` is merged. The links at the root themselves stay.
fn merged(path: &str, is_directory: bool) -> String {
    let first = path.split('/').next().unwrap_or_default();
    if MERGED.contains(&first) && (path.len() > first.len() || is_directory) {
        return format!("usr/{path}");
    }
    path.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootfs::deb::testing;
    use std::io::Write;

    fn tar(build: impl FnOnce(&mut tar::Builder<Vec<u8>>)) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        build(&mut builder);
        builder.into_inner().unwrap()
    }

    /// A header whose name is written byte by byte, as an attacker would.
    fn raw(name: &str, kind: EntryType, link: &str, size: u64) -> tar::Header {
        let mut header = tar::Header::new_gnu();
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(42);
        header.set_groupname("shadow").unwrap();
        header.set_mtime(7);
        header.set_size(size);
        header.set_cksum();
        header
    }

    fn unpack_tar(data: &[u8]) -> anyhow::Result<Unpacked> {
        let mut expanded = Vec::new();
        expand(&testing::deb("x", &[], data), &mut expanded)?;
        read(&expanded.into())
    }

    fn refuse(data: &[u8], expected: &str) {
        let error = format!("{:#}", unpack_tar(data).unwrap_err());
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn every_kind_of_entry_comes_out() {
        let long = format!("usr/share/{}", "n".repeat(150));
        let data = tar(|tar| {
            tar.append(&raw("./", EntryType::Directory, "", 0), io::empty())
                .unwrap();
            tar.append(&raw("./lib/", EntryType::Directory, "", 0), io::empty())
                .unwrap();
            tar.append(
                &raw("./lib/x", EntryType::Regular, "", 5),
                b"hello".as_slice(),
            )
            .unwrap();
            tar.append(&raw("./bin", EntryType::Symlink, "usr/bin", 0), io::empty())
                .unwrap();
            tar.append(
                &raw("./usr/bin/y", EntryType::Link, "./lib/x", 0),
                io::empty(),
            )
            .unwrap();
            tar.append_pax_extensions([("SCHILY.xattr.user.a", b"b".as_slice())])
                .unwrap();
            tar.append_data(
                &mut raw("", EntryType::Regular, "", 2),
                &long,
                b"ok".as_slice(),
            )
            .unwrap();
        });
        let unpacked = unpack_tar(&data).unwrap();
        let paths: Vec<&str> = unpacked
            .entries
            .iter()
            .map(|entry| entry.path.as_str())
            .collect();
        assert_eq!(paths, ["usr/lib", "usr/lib/x", "bin", "usr/bin/y", &long]);
        for index in [1, 3] {
            let Kind::File(content) = &unpacked.entries[index].kind else {
                panic!("no file")
            };
            assert_eq!(content.to_vec().unwrap(), b"hello");
        }
        let entry = &unpacked.entries[1];
        assert_eq!(
            (entry.meta.mode, entry.meta.gid, entry.group.as_str()),
            (0o755, 42, "shadow")
        );
        assert!(matches!(&unpacked.entries[2].kind, Kind::Symlink(target) if target == "usr/bin"));
        assert_eq!(unpacked.entries[4].meta.xattrs["user.a"], b"b");
    }

    #[test]
    fn hostile_archives_are_refused_by_path() {
        let one = |name, kind, link| {
            tar(|tar| tar.append(&raw(name, kind, link, 0), io::empty()).unwrap())
        };
        refuse(
            &one("/etc/passwd", EntryType::Regular, ""),
            "\"/etc/passwd\" is an absolute path",
        );
        refuse(
            &one("a/../../b", EntryType::Regular, ""),
            "leads out of the package",
        );
        refuse(&one("a", EntryType::Link, "b"), "hard link to \"b\"");
        refuse(
            &one("a", EntryType::new(b'V'), ""),
            "entries of type 'V' are not supported",
        );
        refuse(
            &one("a", EntryType::Link, "/etc/passwd"),
            "\"/etc/passwd\" is an absolute path",
        );
        refuse(
            &one("a", EntryType::Link, "../../etc/passwd"),
            "leads out of the package",
        );
        for kind in [EntryType::Char, EntryType::Block] {
            refuse(
                &one("dev/sda", kind, ""),
                "reading entry \"dev/sda\": a package may not bring device nodes",
            );
        }
        refuse(
            &one("run/pipe", EntryType::Fifo, ""),
            "reading entry \"run/pipe\": a package may not bring named pipes",
        );
        let twice = tar(|tar| {
            for name in ["./a", "a"] {
                tar.append(&raw(name, EntryType::Regular, "", 0), io::empty())
                    .unwrap();
            }
        });
        refuse(&twice, "\"a\" is there twice");
    }

    #[test]
    fn decompression_bombs_are_refused() {
        let limits = Limits {
            data: 4096,
            headers: 4096,
        };
        let package = testing::deb("x", &[], &vec![0; 5000]);
        let error = expand_within(&package, &mut io::sink(), limits).unwrap_err();
        let expected = "data.tar has more than 4096 bytes uncompressed, the most that is taken";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn huge_names_and_counts_are_refused() {
        let limits = Limits {
            data: 1 << 20,
            headers: 8192,
        };
        let refuse = |data: &[u8]| {
            let mut expanded = Vec::new();
            expand_within(&testing::deb("x", &[], data), &mut expanded, limits).unwrap();
            let error = format!("{:#}", read_within(&expanded.into(), limits).unwrap_err());
            let expected = "names and attributes take more than 8192 bytes";
            assert!(error.contains(expected), "{error}");
        };
        refuse(&tar(|tar| {
            tar.append_pax_extensions([("SCHILY.xattr.user.a", vec![b'b'; 9000].as_slice())])
                .unwrap();
            tar.append(&raw("a", EntryType::Regular, "", 0), io::empty())
                .unwrap();
        }));
        refuse(&tar(|tar| {
            for n in 0..20 {
                tar.append(
                    &raw(&format!("{n}"), EntryType::Regular, "", 0),
                    io::empty(),
                )
                .unwrap();
            }
        }));
    }

    #[test]
    fn a_cut_archive_is_refused() {
        let mut data = Vec::new();
        data.write_all(raw("a", EntryType::Regular, "", 4000).as_bytes())
            .unwrap();
        data.resize(1024, 0);
        refuse(&data, "\"a\"");
    }
}
