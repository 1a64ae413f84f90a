//! cpio archives: a tree that can be written again is read as it was.
#![no_main]

use formats::cpio::{self, Padding};
use formats::tree::{Content, Kind, Metadata, Node, Tree};
use fuzzing::seeds;
use libfuzzer_sys::fuzz_target;

fn archives() -> Vec<(&'static str, Vec<u8>)> {
    let mut tree = Tree::new();
    tree.insert_file("etc/a", 0o644, "hello").unwrap();
    tree.insert_symlink("etc/b", "a").unwrap();
    let (kind, meta) = (Kind::CharDevice(1, 3), Metadata::root(0o666));
    tree.insert("dev/null", Node { kind, meta }).unwrap();
    let mut archive = Vec::new();
    cpio::write(&tree, &mut archive, Padding::Word).unwrap();
    vec![("archive", archive)]
}

fn lines(tree: &Tree) -> Vec<String> {
    let line = |(path, node): (String, &Node)| {
        let what = match &node.kind {
            Kind::File(content) => format!("{:?}", content.to_vec().unwrap()),
            other => format!("{other:?}"),
        };
        format!("{path} {:?} {what}", node.meta)
    };
    tree.iter().map(line).collect()
}

fuzz_target!(init: seeds(archives), |bytes: &[u8]| {
    let Ok(tree) = cpio::read(&Content::from(bytes.to_vec())) else { return };
    let mut again = Vec::new();
    if cpio::write(&tree, &mut again, Padding::Word).is_ok() {
        let read = cpio::read(&again.into()).expect("what was written is read");
        assert_eq!(lines(&read), lines(&tree));
    }
});
