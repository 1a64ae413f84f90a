//! Opens a `.deb`: an `ar` archive of exactly three kinds of members, in this order.
//!
//! ```text
//! 0   "!<arch>\n"
//! 8   member "debian-binary": "2.0\n" (a newer minor number is accepted)
//!     member "control.tar[.gz|.xz|.zst]": control, maintainer scripts, triggers, conffiles
//!     member "data.tar[.gz|.xz|.zst]": the files
//! ```
//!
//! A member is a 60-byte header (name 16, time 12, owner 6, group 6, mode 8, size 10, `` `\n ``) and its bytes,
//! padded to an even offset. Every size is checked against the file before a byte is read. What is read is
//! described by deb(5); nothing is written, and no script runs.

use crate::xz;
use formats::tree::Content;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, BufReader, Read};
use tar::EntryType;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER: u64 = 60;
/// Most bytes of an unpacked control archive: the largest in Debian have a few megabytes of templates.
const CONTROL_LIMIT: u64 = 64 << 20;

/// Why a file is no usable Debian package.
#[derive(Debug, thiserror::Error)]
pub enum DebError {
    /// The file could not be read.
    #[error("the package cannot be read")]
    Io(#[from] io::Error),
    /// The file is no `ar` archive.
    #[error("it is no ar archive: the first eight bytes are not \"!<arch>\\n\"")]
    Magic,
    /// A member's header is not of the form that ar(5) gives.
    #[error("the header of the member at byte {0} is malformed")]
    Header(u64),
    /// A member claims more bytes than the file has.
    #[error("member {name} says it has {size} bytes, but only {left} bytes of the file are left")]
    Length {
        /// The member.
        name: String,
        /// What its header claims.
        size: u64,
        /// What there is.
        left: u64,
    },
    /// Two members have one name, and readers differ in which they take.
    #[error("member {0} is there twice")]
    Twice(String),
    /// A member that must be there is not.
    #[error("there is no member {0}")]
    Missing(&'static str),
    /// The format's major version is not 2.
    #[error("format version {0:?} is not 2.x")]
    Version(String),
    /// The member's name ends in a compression that Debian's policy does not name.
    #[error("member {0} is compressed in a way that is not known: only .gz, .xz and .zst are")]
    Compression(String),
    /// The control archive lacks the `control` file, or that lacks a field.
    #[error("the control archive has no {0}")]
    Control(&'static str),
    /// The control archive is unreasonably large.
    #[error("the control archive has more than {CONTROL_LIMIT} bytes")]
    ControlSize,
    /// A file of the control archive comes twice.
    #[error("control file {0} is there twice")]
    ControlTwice(String),
    /// A file of the control archive is a link, a device, or sparse.
    #[error("control file {0} is no regular file")]
    ControlKind(String),
    /// A field of the control file comes twice.
    #[error("the control file has its field {0} twice")]
    FieldTwice(String),
    /// A control file is not UTF-8.
    #[error("control file {0} is not UTF-8")]
    Encoding(String),
}

/// When dpkg would run a maintainer script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ScriptKind {
    /// Before debconf's questions.
    Config,
    /// Before the files are unpacked.
    Preinst,
    /// After the files are unpacked.
    Postinst,
    /// Before the files are removed.
    Prerm,
    /// After the files are removed.
    Postrm,
}

impl ScriptKind {
    const ALL: [ScriptKind; 5] = [
        Self::Config,
        Self::Preinst,
        Self::Postinst,
        Self::Prerm,
        Self::Postrm,
    ];

    /// Its file name in the control archive.
    pub fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Preinst => "preinst",
            Self::Postinst => "postinst",
            Self::Prerm => "prerm",
            Self::Postrm => "postrm",
        }
    }
}

/// What the control archive says.
#[derive(Clone, Debug, Default)]
pub struct Control {
    /// The `control` file, as written.
    pub text: String,
    /// Its fields by lower-case name; continuation lines keep their line breaks.
    pub fields: BTreeMap<String, String>,
    /// The maintainer scripts there are.
    pub scripts: BTreeMap<ScriptKind, String>,
    /// Paths of configuration files, without a leading slash.
    pub conffiles: Vec<String>,
    /// The `triggers` file without comments, one directive a line.
    pub triggers: Vec<String>,
}

impl Control {
    /// The package's name; [`read_control`] has checked that there is one.
    pub fn package(&self) -> &str {
        self.fields.get("package").map_or("", String::as_str)
    }

    /// The package's version.
    pub fn version(&self) -> &str {
        self.fields.get("version").map_or("", String::as_str)
    }
}

/// An opened package: its members are known, their content is not read yet.
#[derive(Debug)]
pub struct Deb {
    control: Member,
    data: Member,
}

/// A range of the package's file.
#[derive(Clone, Debug)]
struct Member {
    name: String,
    content: Content,
}

/// Finds the package's members.
pub fn open(package: &Content) -> Result<Deb, DebError> {
    let mut members = members(package)?.into_iter();
    let version = members
        .next()
        .filter(|m| m.name == "debian-binary")
        .ok_or(DebError::Missing("debian-binary"))?;
    let mut text = String::new();
    version
        .content
        .reader()
        .take(32)
        .read_to_string(&mut text)?;
    if !text.starts_with("2.") {
        return Err(DebError::Version(text.trim_end().to_owned()));
    }
    // Names beginning with an underscore are for others, says deb(5).
    let mut members = members.filter(|member| !member.name.starts_with('_'));
    let control = members.next().filter(|m| m.name.starts_with("control.tar"));
    let control = control.ok_or(DebError::Missing("control.tar"))?;
    let data = members
        .next()
        .filter(|m| m.name.starts_with("data.tar"))
        .ok_or(DebError::Missing("data.tar"))?;
    Ok(Deb { control, data })
}

impl Deb {
    /// The uncompressed `control.tar`.
    pub fn control(&self) -> Result<Vec<u8>, DebError> {
        let mut bytes = Vec::new();
        self.control
            .decompressed()?
            .take(CONTROL_LIMIT + 1)
            .read_to_end(&mut bytes)?;
        if bytes.len() as u64 > CONTROL_LIMIT {
            return Err(DebError::ControlSize);
        }
        Ok(bytes)
    }

    /// The uncompressed `data.tar`, as a stream.
    pub fn data(&self) -> Result<Box<dyn Read + '_>, DebError> {
        self.data.decompressed()
    }
}

impl Member {
    fn decompressed(&self) -> Result<Box<dyn Read + '_>, DebError> {
        let raw = BufReader::with_capacity(128 << 10, self.content.reader());
        let (_, compression) = self.name.split_once(".tar").unwrap_or_default();
        Ok(match compression {
            "" => Box::new(raw),
            ".gz" => Box::new(flate2::bufread::MultiGzDecoder::new(raw)),
            ".xz" => Box::new(xz::decoder(raw)?),
            ".zst" => Box::new(zstd::stream::read::Decoder::with_buffer(raw)?),
            _ => return Err(DebError::Compression(self.name.clone())),
        })
    }
}

fn members(package: &Content) -> Result<Vec<Member>, DebError> {
    let len = package.len();
    let mut magic = [0; 8];
    if len < 8 {
        return Err(DebError::Magic);
    }
    package.read_exact_at(&mut magic, 0)?;
    if &magic != MAGIC {
        return Err(DebError::Magic);
    }
    let mut members = Vec::new();
    let mut names = BTreeSet::new();
    let mut at = MAGIC.len() as u64;
    while at < len {
        let mut header = [0; HEADER as usize];
        if len - at < HEADER {
            return Err(DebError::Header(at));
        }
        package.read_exact_at(&mut header, at)?;
        let field = |from: usize, to: usize| {
            std::str::from_utf8(&header[from..to])
                .ok()
                .map(str::trim_end)
        };
        let size = field(48, 58).filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
        let (Some(name), Some(Ok(size)), b"`\n") =
            (field(0, 16), size.map(str::parse::<u64>), &header[58..])
        else {
            return Err(DebError::Header(at));
        };
        let name = name.trim_end_matches('/').to_owned();
        let (offset, left) = (at + HEADER, len - at - HEADER);
        if size > left {
            return Err(DebError::Length { name, size, left });
        }
        if !names.insert(name.clone()) {
            return Err(DebError::Twice(name));
        }
        let content = package.slice(offset, size)?;
        members.push(Member { name, content });
        at = offset + size + size % 2;
    }
    Ok(members)
}

/// What the uncompressed `control.tar` in `bytes` says.
pub fn read_control(bytes: &[u8]) -> Result<Control, DebError> {
    let mut control = Control::default();
    let mut seen = BTreeSet::new();
    for entry in tar::Archive::new(bytes).entries()? {
        let mut entry = entry?;
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = path.trim_start_matches("./").to_owned();
        let script = ScriptKind::ALL.into_iter().find(|kind| kind.name() == name);
        if script.is_none() && !["control", "conffiles", "triggers"].contains(&name.as_str()) {
            continue;
        }
        // A sparse file's header may promise more zeros than there is memory.
        if entry.header().entry_type() != EntryType::Regular {
            return Err(DebError::ControlKind(name));
        }
        if !seen.insert(name.clone()) {
            return Err(DebError::ControlTwice(name));
        }
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        // Old changelog-like comments in scripts are sometimes Latin-1; only control must be UTF-8.
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) if script.is_some() => {
                String::from_utf8_lossy(error.as_bytes()).into_owned()
            }
            Err(_) => return Err(DebError::Encoding(name)),
        };
        match (script, name.as_str()) {
            (Some(kind), _) => drop(control.scripts.insert(kind, text)),
            (None, "control") => {
                control.fields = parse_fields(&text)?;
                control.text = text;
            }
            (None, "conffiles") => control.conffiles = conffiles(&text),
            (None, _) => control.triggers = directives(&text),
        }
    }
    for field in ["package", "version", "architecture"] {
        if control.text.is_empty() {
            return Err(DebError::Control("control file"));
        }
        if control.fields.get(field).is_none_or(String::is_empty) {
            return Err(DebError::Control(field));
        }
    }
    Ok(control)
}

/// The first paragraph of a deb822 text, by lower-case field name.
fn parse_fields(text: &str) -> Result<BTreeMap<String, String>, DebError> {
    let mut fields: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in text.lines().take_while(|line| !line.trim().is_empty()) {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = current.as_ref().and_then(|name| fields.get_mut(name)) {
                value.push('\n');
                value.push_str(line.trim());
            }
        } else if let Some((name, value)) = line.split_once(':') {
            let name = name.to_ascii_lowercase();
            if fields
                .insert(name.clone(), value.trim().to_owned())
                .is_some()
            {
                return Err(DebError::FieldTwice(name));
            }
            current = Some(name);
        }
    }
    Ok(fields)
}

fn conffiles(text: &str) -> Vec<String> {
    // "remove-on-upgrade /path" names a file that is no longer shipped.
    let paths = text
        .lines()
        .filter_map(|line| line.trim_end().strip_prefix('/'));
    paths.map(str::to_owned).collect()
}

fn directives(text: &str) -> Vec<String> {
    let lines = text
        .lines()
        .map(|line| line.split('#').next().unwrap_or_default().trim());
    lines
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
pub(crate) mod testing {
    //! Packages made in memory, for tests of this module and its neighbours.

    use formats::tree::Content;

    /// One member of an ar archive.
    pub(crate) fn member(name: &str, bytes: &[u8]) -> Vec<u8> {
        let mut out = format!(
            "{name:<16}{:<12}{:<6}{:<6}{:<8}{:<10}`\n",
            0,
            0,
            0,
            100644,
            bytes.len()
        )
        .into_bytes();
        out.extend(bytes);
        if bytes.len() % 2 == 1 {
            out.push(b'\n');
        }
        out
    }

    /// A tar of regular files.
    pub(crate) fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    /// A package named `name` with the control files and the data archive given.
    pub(crate) fn deb(name: &str, control: &[(&str, &str)], data: &[u8]) -> Content {
        let text = format!("Package: {name}\nVersion: 1.0-1\nArchitecture: all\n");
        let mut files = vec![("./control", text.as_str())];
        files.extend(control);
        let parts = [
            b"!<arch>\n".to_vec(),
            member("debian-binary", b"2.0\n"),
            member("control.tar", &tar(&files)),
            member("data.tar", data),
        ];
        parts.concat().into()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{member, tar};
    use super::*;
    use proptest::prelude::*;

    fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
        let parts = members.iter().flat_map(|(name, bytes)| member(name, bytes));
        MAGIC.iter().copied().chain(parts).collect()
    }

    fn small() -> Vec<u8> {
        let control = tar(&[
            (
                "./control",
                "Package: x\nVersion: 1\nArchitecture: all\nDescription: a\n b\n",
            ),
            ("./postinst", "#!/bin/sh\n"),
            ("./conffiles", "/etc/x\nremove-on-upgrade /etc/y\n"),
            ("./triggers", "# hello\nactivate-noawait ldconfig\n"),
        ]);
        let data = zstd::encode_all(tar(&[("./a", "hello")]).as_slice(), 1).unwrap();
        archive(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar", &control),
            ("_x", b"?"),
            ("data.tar.zst", &data),
        ])
    }

    fn read(bytes: &[u8]) -> Result<(Deb, Control), DebError> {
        let deb = open(&bytes.to_vec().into())?;
        let control = read_control(&deb.control()?)?;
        Ok((deb, control))
    }

    fn check(bytes: &[u8], expected: &str) {
        let error = read(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_package_is_read() {
        let (deb, control) = read(&small()).unwrap();
        assert_eq!((control.package(), control.version()), ("x", "1"));
        assert_eq!(control.fields["description"], "a\nb");
        assert_eq!(control.conffiles, ["etc/x"]);
        assert_eq!(control.triggers, ["activate-noawait ldconfig"]);
        assert_eq!(
            control.scripts.keys().collect::<Vec<_>>(),
            [&ScriptKind::Postinst]
        );
        let mut data = Vec::new();
        deb.data().unwrap().read_to_end(&mut data).unwrap();
        assert_eq!(&data[512..517], b"hello");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let good = tar(&[("./control", "Package: x\nVersion: 1\nArchitecture: all\n")]);
        let bare = tar(&[("./control", "Package: x\n")]);
        let version: (&str, &[u8]) = ("debian-binary", b"2.0\n");
        check(b"", "no ar archive");
        check(b"!<arch>\nxyz", "member at byte 8");
        check(
            &archive(&[("debian-binary", b"3.0\n")]),
            "\"3.0\" is not 2.x",
        );
        check(&archive(&[version]), "no member control.tar");
        let data: (&str, &[u8]) = ("data.tar", b"");
        check(
            &archive(&[version, ("control.tar.lz", b""), data]),
            "control.tar.lz is compressed",
        );
        check(
            &archive(&[version, ("control.tar", &bare), data]),
            "no version",
        );
        check(
            &archive(&[version, ("control.tar", &good)]),
            "no member data.tar",
        );
    }

    #[test]
    fn a_member_that_lies_about_its_length_is_refused() {
        let bytes = small();
        check(&bytes[..bytes.len() - 4], "member data.tar.zst says it has");
    }

    #[test]
    fn duplicate_entries_are_refused_by_name() {
        let version: (&str, &[u8]) = ("debian-binary", b"2.0\n");
        let text = "Package: x\nVersion: 1\nArchitecture: all\n";
        let good = tar(&[("./control", text)]);
        let control: (&str, &[u8]) = ("control.tar", &good);
        check(
            &archive(&[version, control, ("data.tar", b""), ("data.tar", b"")]),
            "member data.tar is there twice",
        );
        let twice = tar(&[("./control", text), ("control", text)]);
        check(
            &archive(&[version, ("control.tar", &twice), ("data.tar", b"")]),
            "control file control is there twice",
        );
        let field = tar(&[("./control", &format!("{text}package: y\n"))]);
        check(
            &archive(&[version, ("control.tar", &field), ("data.tar", b"")]),
            "its field package twice",
        );
    }

    #[test]
    fn a_sparse_control_file_is_refused_by_name() {
        let mut header = tar::Header::new_gnu();
        header.set_path("control").unwrap();
        header.set_entry_type(EntryType::GNUSparse);
        header.set_size(0);
        let gnu = header.as_gnu_mut().unwrap();
        gnu.set_real_size(1 << 50);
        gnu.sparse[0].set_offset(1 << 50);
        gnu.sparse[0].set_length(0);
        header.set_cksum();
        let mut builder = tar::Builder::new(Vec::new());
        builder.append(&header, io::empty()).unwrap();
        let control = builder.into_inner().unwrap();
        check(
            &archive(&[
                ("debian-binary", b"2.0\n"),
                ("control.tar", &control),
                ("data.tar", b""),
            ]),
            "control file control is no regular file",
        );
    }

    proptest! {
        #[test]
        fn damaged_packages_never_panic(at in 0usize..4000, byte: u8) {
            let mut bytes = small();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok((deb, _)) = read(&bytes) && let Ok(mut data) = deb.data() {
                let _ = data.read_to_end(&mut Vec::new());
            }
        }
    }
}
