//! The kernel's configuration: `usr/lib/modules/VERSION/config` in the root file system, where the builder keeps
//! the file that the kernel's package has in `/boot`.

use super::image::{FileSystem, Image};
use std::collections::BTreeMap;

/// No configuration is larger, in bytes.
const MAX_CONFIG: u64 = 4 << 20;
/// Where the modules of each kernel are.
const MODULES: &str = "/usr/lib/modules";

/// The options of a configuration: value by name without `CONFIG_`; `n` is one that is named as not set.
pub fn parse(text: &str) -> BTreeMap<String, String> {
    let option = |line: &str| {
        if let Some(unset) = line.strip_prefix("# CONFIG_") {
            let name = unset.strip_suffix(" is not set")?;
            return Some((name.to_owned(), "n".to_owned()));
        }
        let (name, value) = line.strip_prefix("CONFIG_")?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    };
    text.lines().map(str::trim_end).filter_map(option).collect()
}

/// The options of the first kernel that has a configuration in the image; none if no kernel has.
pub(super) fn read(image: &Image) -> anyhow::Result<BTreeMap<String, String>> {
    let FileSystem::Erofs(root) = image.file_system("ROOT")? else {
        return Ok(BTreeMap::new());
    };
    let Ok(modules) = root.resolve(MODULES) else {
        return Ok(BTreeMap::new());
    };
    for version in root.read_dir(&modules)? {
        let path = format!("{MODULES}/{}/config", version.name);
        if root.resolve(&path).is_ok() {
            let text = image.read("ROOT", &path, MAX_CONFIG)?;
            return Ok(parse(&String::from_utf8_lossy(&text)));
        }
    }
    Ok(BTreeMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_and_unset_options() {
        let text =
            "#\n# Linux\n#\nCONFIG_EROFS_FS=m\nCONFIG_X=\"a=b\"\n# CONFIG_Y is not set\nrubbish\n";
        let expected = [("EROFS_FS", "m"), ("X", "\"a=b\""), ("Y", "n")];
        let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert_eq!(parse(text), BTreeMap::from(expected));
    }
}
