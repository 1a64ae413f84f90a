//! The generated pages below `docs/` say what the programs do. `UPDATE_DOCS=1 cargo test` writes them anew.

use builder::cli::args::Args;
use builder::reference;
use clap::CommandFactory;
use std::path::Path;

fn check(page: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs")
        .join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, expected).expect("docs/ can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        found == expected,
        "docs/{page} is not what the program says: run `UPDATE_DOCS=1 cargo test --test reference`"
    );
}

#[test]
fn profile() {
    let schema = schemars::schema_for!(builder::profile::file::ProfileFile);
    let introduction = "A profile says what to bake: `profile.yaml` in a folder of its own.";
    check(
        "profile.md",
        &reference::document("Profile", introduction, schema.as_value()),
    );
}

#[test]
fn seed() {
    let introduction = "The seed is one file for a whole cluster, the same on every machine.";
    check(
        "seed.md",
        &reference::document("Seed", introduction, &contract::seed::schema()),
    );
}

#[test]
fn command_line() {
    check("cli.md", &reference::command_line(Args::command()));
}
