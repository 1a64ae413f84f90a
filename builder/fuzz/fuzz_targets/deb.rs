//! Debian packages: what is unpacked stays below the tree, and brings no devices.
#![no_main]

use builder::fixture::deb::Deb;
use builder::rootfs::unpack;
use formats::tree::{Content, Kind};
use fuzzing::{seeds, tar::with_checksums};
use libfuzzer_sys::fuzz_target;
use std::io::{self, Write};

/// More than any input of a fuzzer should become.
const MOST: usize = 16 << 20;

struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MOST {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One as dpkg-deb makes it, and one whose archives the fuzzer can change.
fn packages() -> Vec<(&'static str, Vec<u8>)> {
    let deb = Deb::new("x", "1")
        .field("Depends", "y")
        .file("/usr/bin/x", "hello", 0o755)
        .symlink("/usr/bin/y", "x");
    let archive = |files: &[(&str, &str)]| {
        let mut tar = tar::Builder::new(Vec::new());
        tar.append_pax_extensions([("SCHILY.xattr.user.a", b"b".as_slice())])
            .unwrap();
        for (path, text) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            tar.append_data(&mut header, path, text.as_bytes()).unwrap();
        }
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Link);
        header.set_size(0);
        tar.append_link(&mut header, "link", files[0].0).unwrap();
        tar.into_inner().unwrap()
    };
    let control = archive(&[
        ("control", "Package: x\nVersion: 1\nArchitecture: all\n"),
        ("postinst", "#!/bin/sh\n"),
    ]);
    let data = archive(&[("usr/bin/x", "hello")]);
    let mut plain = b"!<arch>\n".to_vec();
    for (name, bytes) in [
        ("debian-binary", b"2.0\n".to_vec()),
        ("control.tar", control),
        ("data.tar", data),
    ] {
        let size = bytes.len();
        plain.extend(
            format!(
                "{name:<16}{:<12}{:<6}{:<6}{:<8}{size:<10}`\n",
                0, 0, 0, 100_644
            )
            .bytes(),
        );
        plain.extend(bytes);
    }
    vec![("xz", deb.build().unwrap()), ("plain", plain)]
}

fuzz_target!(init: seeds(packages), |bytes: &[u8]| {
    let package = Content::from(with_checksums(bytes));
    let mut expanded = Limited(Vec::new());
    if unpack::expand(&package, &mut expanded).is_err() {
        return;
    }
    let Ok(unpacked) = unpack::read(&expanded.0.into()) else { return };
    assert!(!unpacked.control.package().is_empty());
    for entry in unpacked.entries {
        let mut parts = entry.path.split('/');
        assert!(parts.all(|part| !matches!(part, "" | "." | "..")), "{:?}", entry.path);
        assert!(!matches!(entry.kind, Kind::CharDevice(..) | Kind::BlockDevice(..)));
    }
});
