//! `report.html`: one page for people, which needs nothing but itself. It shows what takes the space, the bill of
//! materials and the kernel's configuration.
//!
//! Markup, style and script are in `report/`; here is what they show. Without script all parts are there, one
//! below the other, with a treemap of one level less. Whatever comes from packages or profiles is escaped, and
//! the page's own policy lets no script and no style run but its own.

mod bill;
mod map;
mod space;

use super::{TOOL, created, name, outputs};
use crate::build::Built;
use crate::contents::Contents;
use crate::inspect::kernel_config;
use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bill::Row;
use map::Map;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, UndefinedBehavior};
use serde::Serialize;
use sha2::{Digest, Sha256};
use space::Group;

const PAGE: &str = include_str!("report/page.html.j2");
const STYLE: &str = include_str!("report/style.css");
const SCRIPT: &str = concat!(
    include_str!("report/script/page.js"),
    include_str!("report/script/treemap.js"),
    include_str!("report/script/tables.js"),
);
/// Units of amounts, each 1024 times the one before.
const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];

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
        policy: policy(),
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

/// The page's content security policy (CSP level 3): no request, and no style and script but these two.
fn policy() -> String {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)));
    format!(
        "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
        hash(STYLE),
        hash(SCRIPT)
    )
}

#[derive(Serialize)]
struct Page {
    tool: String,
    policy: String,
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
    /// The day of the inputs.
    locked: String,
    arguments: String,
    total: String,
    /// How many.
    files: String,
    figures: Vec<Figure>,
    /// Name and digest of outputs, then of what is inside.
    digests: Vec<(String, String)>,
    groups: Vec<Legend>,
    map: Map,
    /// All sizes as JSON, for the script.
    tree: Value,
    rows: Vec<Row>,
    configuration: String,
    options: Options,
}

/// A number worth a headline.
#[derive(Serialize)]
struct Figure {
    label: &'static str,
    value: String,
    remark: String,
}

/// A group of the treemap, in the legend.
#[derive(Serialize)]
struct Legend {
    name: &'static str,
    class: &'static str,
    bytes: String,
    share: String,
}

/// How many options of the kernel are how.
#[derive(Default, Serialize)]
struct Options {
    builtin: usize,
    module: usize,
    off: usize,
    value: usize,
}

fn image(built: &Built) -> anyhow::Result<Image> {
    let (report, contents) = (&built.report, &built.contents);
    let groups = space::groups(contents);
    let total: u64 = groups.iter().map(Group::bytes).sum();
    let hashes = [
        ("root hash", &report.root_hash),
        ("store hash", &report.store_hash),
        ("lock", &contents.lock),
    ]
    .map(|(name, hash)| (name.to_owned(), hash.clone()));
    let legend = |group: &Group| Legend {
        name: group.name,
        class: group.class,
        bytes: amount(group.bytes()),
        share: percent(group.bytes(), total),
    };
    let locked = created(built)?;
    Ok(Image {
        name: name(built),
        kubernetes: contents.kubernetes.clone(),
        kernel: contents.kernel.version.clone(),
        locked: locked.split('T').next().unwrap_or_default().to_owned(),
        arguments: contents.kernel.arguments.join(" "),
        total: amount(total),
        files: count(groups.iter().map(Group::files).sum()),
        figures: figures(built),
        digests: outputs(built).into_iter().chain(hashes).collect(),
        groups: groups.iter().map(legend).collect(),
        map: map::map(&groups),
        tree: json(&groups)?,
        rows: bill::rows(contents),
        options: options(&contents.kernel.configuration),
        configuration: contents.kernel.configuration.clone(),
    })
}

fn figures(built: &Built) -> Vec<Figure> {
    let (bytes, contents) = (&built.report.bytes, &built.contents);
    let part = |label, key: &str, remark: &str| {
        Some(Figure {
            label,
            value: amount(*bytes.get(key)?),
            remark: remark.to_owned(),
        })
    };
    let initrd = bytes.get("initrd").copied().unwrap_or_default();
    let number = |label, number: usize, remark: String| {
        Some(Figure {
            label,
            value: count(number),
            remark,
        })
    };
    [
        part("Root file system", "root", "erofs, read-only, verified"),
        part("Image store", "store", "erofs, read-only, verified"),
        part(
            "Boot files",
            "esp",
            &format!("initial RAM disk {}", amount(initrd)),
        ),
        number(
            "Packages",
            contents.packages.len(),
            format!("and {} files of sources", contents.files.len()),
        ),
        number("Container images", contents.images.len(), pulled(contents)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// How many images come from registries; the others were composed of packages and files.
fn pulled(contents: &Contents) -> String {
    let is_pulled = |image: &&crate::contents::ContainerImage| {
        image.packages.is_empty() && image.files.is_empty()
    };
    let pulled = contents.images.iter().filter(is_pulled).count();
    match contents.images.len() - pulled {
        0 => "all pulled".to_owned(),
        composed if pulled == 0 => format!("{composed} composed"),
        composed => format!("{composed} composed, {pulled} pulled"),
    }
}

fn options(configuration: &str) -> Options {
    let mut options = Options::default();
    for value in kernel_config::parse(configuration).values() {
        match value.as_str() {
            "y" => options.builtin += 1,
            "m" => options.module += 1,
            "n" => options.off += 1,
            _ => options.value += 1,
        }
    }
    options
}

/// JSON within a script element.
fn json(value: &impl Serialize) -> anyhow::Result<Value> {
    let text = serde_json::to_string(value).context("rendering the report")?;
    // Only this character could end the element.
    Ok(Value::from_safe_string(text.replace('<', "\\u003c")))
}

/// A number of bytes with three digits that count, as the script writes it, too.
fn amount(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        value if value >= 99.95 => 0,
        value if value >= 9.995 => 1,
        _ => 2,
    };
    format!("{value:.digits$} {}", UNITS[unit])
}

/// A number with its thousands apart.
fn count(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
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

    #[test]
    fn amounts_have_three_digits() {
        for (bytes, expected) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.00 KiB"),
            (10_235, "10.0 KiB"),
            (102_350, "100 KiB"),
            (1 << 30, "1.00 GiB"),
            (56_300_000, "53.7 MiB"),
        ] {
            assert_eq!(amount(bytes), expected);
        }
    }

    #[test]
    fn shares_are_rounded_and_thousands_apart() {
        assert_eq!(percent(1, 3), "33.3 %");
        assert_eq!(percent(2, 3), "66.7 %");
        assert_eq!(percent(1, 0), "0.0 %");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
    }

    #[test]
    fn options_are_counted() {
        let options = options("CONFIG_A=y\nCONFIG_B=m\n# CONFIG_C is not set\nCONFIG_D=\"y\"\n");
        let Options {
            builtin,
            module,
            off,
            value,
        } = options;
        assert_eq!((builtin, module, off, value), (1, 1, 1, 1));
    }

    #[test]
    fn json_cannot_end_the_script() {
        let text = json(&["</script><!--"]).unwrap().to_string();
        assert_eq!(text, "[\"\\u003c/script>\\u003c!--\"]");
    }

    #[test]
    fn style_and_script_can_stand_in_their_elements() {
        assert!(!STYLE.contains("</") && !SCRIPT.contains("</") && !SCRIPT.contains("<!--"));
    }
}
