//! `report.html`: one page for people, which needs nothing but itself. It shows what takes the space, the bill of
//! materials and the kernel's configuration.
//!
//! Markup, style and script are in `report/`; here is what they show. Without script all is there, one below the
//! other.

mod map;

use super::{TOOL, created, name, outputs};
use crate::build::Built;
use crate::contents::{self, Contents, File};
use crate::inspect::kernel_config;
use crate::progress::size;
use anyhow::Context;
use map::Map;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;

const PAGE: &str = include_str!("report/page.html.j2");
const STYLE: &str = include_str!("report/style.css");
const SCRIPT: &str = include_str!("report/script.js");
/// How many files of one item the page names; the others are added up.
const NAMED_FILES: usize = 12;
/// An item that takes less than this part of the image is shown with others of its group.
const LEAST_SHARE: u64 = 2500;

/// The page for all `builds` of one run.
pub(super) fn render(builds: &[Built]) -> anyhow::Result<String> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    // The ending makes minijinja escape what it inserts.
    environment
        .add_template("report.html", PAGE)
        .context("reading the report's template")?;
    let page = Page {
        tool: format!("{} {}", TOOL.0, TOOL.1),
        style: Value::from_safe_string(STYLE.to_owned()),
        script: Value::from_safe_string(SCRIPT.to_owned()),
        images: builds.iter().map(image).collect::<anyhow::Result<_>>()?,
    };
    let template = environment
        .get_template("report.html")
        .context("rendering the report")?;
    template
        .render(Serde(&page))
        .context("rendering the report")
}

#[derive(Serialize)]
struct Page {
    tool: String,
    style: Value,
    script: Value,
    images: Vec<Image>,
}

/// What the page shows of one image.
#[derive(Serialize)]
struct Image {
    name: String,
    kubernetes: String,
    kernel: String,
    locked: String,
    arguments: Vec<String>,
    total: String,
    /// Label, value, remark.
    facts: Vec<(String, String, String)>,
    /// Name and digest of outputs, then of what is inside.
    digests: Vec<(String, String)>,
    groups: Vec<Legend>,
    maps: Vec<Map>,
    /// The items as JSON for the script.
    items: Value,
    rows: Vec<Row>,
    configuration: String,
    options: usize,
}

/// A group of the treemap, in the legend.
#[derive(Serialize)]
struct Legend {
    name: &'static str,
    class: &'static str,
    bytes: String,
    share: String,
}

/// A row of the bill of materials.
#[derive(Serialize)]
struct Row {
    name: String,
    version: String,
    kind: &'static str,
    licence: String,
    bytes: u64,
    size: String,
}

/// Items of one kind.
struct Group {
    name: &'static str,
    /// Its class in the style sheet.
    class: &'static str,
    /// By size, the largest first.
    items: Vec<Item>,
}

impl Group {
    fn bytes(&self) -> u64 {
        self.items.iter().map(|item| item.bytes).sum()
    }
}

/// A package, a container image or whatever else is one tile.
struct Item {
    name: String,
    /// Its version or its like.
    about: String,
    bytes: u64,
    /// By size, the largest first.
    files: Vec<File>,
}

impl Item {
    fn new(name: &str, about: &str, mut files: Vec<File>) -> Self {
        files.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.path.cmp(&b.path)));
        Item {
            name: name.to_owned(),
            about: about.to_owned(),
            bytes: contents::bytes(&files),
            files,
        }
    }
}

fn image(built: &Built) -> anyhow::Result<Image> {
    let (report, contents) = (&built.report, &built.contents);
    let groups = groups(contents);
    let total: u64 = groups.iter().map(Group::bytes).sum();
    let share = |bytes: u64| percent(bytes, total);
    let part = |label: &str, key: &str, remark: &str| {
        let bytes = report.bytes.get(key)?;
        Some((label.to_owned(), size(*bytes), remark.to_owned()))
    };
    let facts = [
        part("Root file system", "root", "erofs, read-only, verified"),
        part("Image store", "store", "erofs, read-only, verified"),
        part("EFI partition", "esp", "loader and unified kernel image"),
        part("Initial RAM disk", "initrd", "compressed"),
    ];
    let hashes = [
        ("root hash", &report.root_hash),
        ("store hash", &report.store_hash),
        ("lock", &contents.lock),
    ]
    .map(|(name, hash)| (name.to_owned(), hash.clone()));
    let legend = |group: &Group| Legend {
        name: group.name,
        class: group.class,
        bytes: size(group.bytes()),
        share: share(group.bytes()),
    };
    Ok(Image {
        name: name(built),
        kubernetes: contents.kubernetes.clone(),
        kernel: contents.kernel.version.clone(),
        locked: created(built)?
            .split('T')
            .next()
            .unwrap_or_default()
            .to_owned(),
        arguments: contents.kernel.arguments.clone(),
        total: size(total),
        facts: facts.into_iter().flatten().collect(),
        digests: outputs(built).into_iter().chain(hashes).collect(),
        groups: groups.iter().map(legend).collect(),
        maps: map::maps(&groups),
        items: items(&groups, total)?,
        rows: rows(contents),
        options: kernel_config::parse(&contents.kernel.configuration).len(),
        configuration: contents.kernel.configuration.clone(),
    })
}

/// All that takes space, by kind.
fn groups(contents: &Contents) -> Vec<Group> {
    let packages = contents.packages.iter();
    let packages =
        packages.map(|package| Item::new(&package.name, &package.version, package.files.clone()));
    let made = Item::new(
        "overlays and indices",
        "made by the build",
        contents.made.clone(),
    );
    let sources = contents.files.iter().map(|file| {
        let version = file.version().unwrap_or_default();
        let file = File {
            path: file.path.clone(),
            bytes: file.bytes,
        };
        let name = file.path.rsplit('/').next().unwrap_or_default().to_owned();
        Item::new(&name, version, vec![file])
    });
    let images = contents.images.iter().map(|image| {
        let blobs = image.blobs.iter().map(|blob| File {
            path: format!("blobs/sha256/{}", blob.sha256),
            bytes: blob.bytes,
        });
        Item::new(
            &image.name,
            &image.digest,
            image.layers.iter().cloned().chain(blobs).collect(),
        )
    });
    let boot = contents
        .boot
        .iter()
        .map(|file| Item::new(&file.path, "", vec![file.clone()]));
    let groups = [
        ("Packages", "os", packages.chain([made]).collect::<Vec<_>>()),
        ("Container images", "images", images.collect()),
        ("Files of sources", "sources", sources.collect()),
        ("Boot", "boot", boot.collect()),
    ];
    let total: u64 = groups
        .iter()
        .flat_map(|(_, _, items)| items)
        .map(|item| item.bytes)
        .sum();
    let group = |(name, class, items)| Group {
        name,
        class,
        items: gathered(items, total),
    };
    let mut groups: Vec<Group> = groups.into_iter().map(group).collect();
    groups.retain(|group| group.bytes() > 0);
    groups.sort_by_key(|group| std::cmp::Reverse(group.bytes()));
    groups
}

/// Items by size, with the small ones as one.
fn gathered(items: Vec<Item>, total: u64) -> Vec<Item> {
    let is_large = |item: &Item| item.bytes > total / LEAST_SHARE;
    let (mut large, small): (Vec<_>, Vec<_>) = items.into_iter().partition(is_large);
    let small: Vec<Item> = small.into_iter().filter(|item| item.bytes > 0).collect();
    if !small.is_empty() {
        let each = small.iter().map(|item| File {
            path: item.name.clone(),
            bytes: item.bytes,
        });
        large.push(Item::new(
            &format!("{} smaller ones", small.len()),
            "",
            each.collect(),
        ));
    }
    large.sort_by(|a, b| b.bytes.cmp(&a.bytes).then_with(|| a.name.cmp(&b.name)));
    large
}

/// The items in the order of the tiles, for the script: what it shows of the one that is chosen.
fn items(groups: &[Group], total: u64) -> anyhow::Result<Value> {
    let item = |group: &Group, item: &Item| {
        let named = item.files.iter().take(NAMED_FILES);
        let rest = item.files.get(NAMED_FILES..).unwrap_or_default();
        serde_json::json!({
            "name": item.name,
            "about": item.about,
            "group": group.name,
            "class": group.class,
            "size": size(item.bytes),
            "share": percent(item.bytes, total),
            "files": named.map(|file| [file.path.clone(), size(file.bytes)]).collect::<Vec<_>>(),
            "rest": (!rest.is_empty()).then(|| {
                format!("{} more files, {}", rest.len(), size(contents::bytes(rest)))
            }),
        })
    };
    let items = groups
        .iter()
        .flat_map(|group| group.items.iter().map(|one| item(group, one)));
    let text = serde_json::to_string(&items.collect::<Vec<_>>()).context("rendering the report")?;
    // Within a script element, only this character could end it.
    Ok(Value::from_safe_string(text.replace('<', "\\u003c")))
}

/// The bill of materials: packages, files and container images, by name within each kind.
fn rows(contents: &Contents) -> Vec<Row> {
    let packages = contents.packages.iter().map(|package| {
        let names = || package.licence.names.join(", ");
        let bytes = contents::bytes(&package.files);
        Row {
            name: package.name.clone(),
            version: package.version.clone(),
            kind: "package",
            licence: package.licence.expression.clone().unwrap_or_else(names),
            bytes,
            size: size(bytes),
        }
    });
    let files = contents.files.iter().map(|file| Row {
        name: file.path.clone(),
        version: file.version().unwrap_or_default().to_owned(),
        kind: "file",
        licence: String::new(),
        bytes: file.bytes,
        size: size(file.bytes),
    });
    let images = contents.images.iter().map(|image| {
        let bytes =
            contents::bytes(&image.layers) + image.blobs.iter().map(|blob| blob.bytes).sum::<u64>();
        Row {
            name: image.name.clone(),
            version: image.digest.clone(),
            kind: "image",
            licence: String::new(),
            bytes,
            size: size(bytes),
        }
    });
    packages.chain(files).chain(images).collect()
}

fn percent(part: u64, total: u64) -> String {
    let tenths = (part.saturating_mul(1000) + total / 2)
        .checked_div(total)
        .unwrap_or(0);
    format!("{}.{} %", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(name: &str, bytes: u64) -> Item {
        Item::new(
            name,
            "",
            vec![File {
                path: name.to_owned(),
                bytes,
            }],
        )
    }

    #[test]
    fn small_items_are_one() {
        let items = vec![
            item("a", 1),
            item("big", 9000),
            item("b", 3),
            item("none", 0),
        ];
        let found = gathered(items, 10_000);
        let found: Vec<_> = found
            .iter()
            .map(|item| (item.name.as_str(), item.bytes))
            .collect();
        assert_eq!(found, [("big", 9000), ("2 smaller ones", 4)]);
    }

    #[test]
    fn shares_are_rounded() {
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(2, 3), "66.7 %");
        assert_eq!(percent(1, 0), "0.0 %");
    }

    #[test]
    fn a_name_cannot_end_the_script() {
        let group = Group {
            name: "x",
            class: "os",
            items: vec![item("</script>", 1)],
        };
        let text = items(&[group], 1).unwrap().to_string();
        assert!(
            !text.contains('<') && text.contains("\\u003c/script>"),
            "{text}"
        );
    }
}
