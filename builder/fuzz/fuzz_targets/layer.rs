//! Layers of container images: what is read becomes a tree that can be laid out.
#![no_main]

use builder::images::layer::{Limits, stack, unpack};
use formats::tree::Content;
use fuzzing::{seeds, tar::with_checksums};
use libfuzzer_sys::fuzz_target;

const LIMITS: Limits = Limits {
    archive: 1 << 30,
    headers: 1 << 20,
};

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, text) in [
        ("etc/passwd", "root"),
        ("a/.wh.b", ""),
        ("c/.wh..wh..opq", ""),
    ] {
        tar.append_pax_extensions([("SCHILY.xattr.user.a", b"b".as_slice()), ("mtime", b"1.5")])
            .unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        tar.append_data(&mut header, path, text.as_bytes()).unwrap();
    }
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_entry_type(tar::EntryType::Link);
    tar.append_link(&mut header, "etc/group", "etc/passwd")
        .unwrap();
    tar.append_data(&mut header, "n".repeat(150), std::io::empty())
        .unwrap();
    vec![("layer", tar.into_inner().unwrap())]
}

fuzz_target!(init: seeds(archives), |bytes: &[u8]| {
    let archive = Content::from(with_checksums(bytes));
    let Ok(layer) = unpack::unpack(&archive, LIMITS) else { return };
    let Ok(tree) = stack::settle(&layer, &[]) else { return };
    for (path, _) in tree.iter().filter(|(path, _)| !path.is_empty()) {
        let mut parts = path.split('/');
        assert!(parts.all(|part| !matches!(part, "" | "." | "..") && !part.starts_with(".wh.")), "{path:?}");
    }
});
