//! The SEED partition: where any computer can drop a `seed.yaml`.

use anyhow::Context;
use formats::tree::Tree;
use std::fs;
use std::path::Path;

const README: &str = "\
This partition belongs to Seedbed.\r
\r
Put a file called seed.yaml here, next to this one, and start the machine. The same\r
file serves every machine of a cluster. `seedbed seed new NAME` writes one;\r
seed.example.yaml shows what is in it.\r
\r
A USB stick with a seed.yaml does the same, and goes before this partition.\r
";

/// The partition's files, with `seed` as `seed.yaml` if one is given; a seed with faults is refused.
pub(super) fn tree(seed: Option<&Path>) -> anyhow::Result<Tree> {
    let mut tree = Tree::new();
    tree.insert_file("README.txt", 0o644, README)?;
    let example = contract::seed::new_text("example", &[0; contract::seed::SECRET_BYTES]);
    let commented: String = example
        .lines()
        .map(|line| format!("# {line}\r\n"))
        .collect();
    tree.insert_file("seed.example.yaml", 0o644, commented.into_bytes())?;
    if let Some(path) = seed {
        let bytes = fs::read(path).with_context(|| format!("reading seed {}", path.display()))?;
        let name = path.display().to_string();
        contract::seed::parse(&name, contract::document::text(&name, &bytes)?)?;
        tree.insert_file(contract::paths::SEED_FILE, 0o644, bytes)?;
    }
    Ok(tree)
}
