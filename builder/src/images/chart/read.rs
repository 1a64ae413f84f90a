//! A chart's files, from a folder or a `.tgz`.

use super::{Chart, ChartError};
use anyhow::{Context, bail};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

/// Most bytes of all files of a chart and the charts in it, unpacked: Helm's own limit for releases is far below.
const LIMIT: u64 = 64 << 20;
/// Charts in charts in charts.
const DEEPEST: usize = 8;

type Files = BTreeMap<String, Vec<u8>>;

impl Chart {
    /// Reads the chart in the folder or archive at `path`.
    pub fn read(path: &Path) -> anyhow::Result<Self> {
        let reading = || format!("reading chart {}", path.display());
        if path.is_dir() {
            let (mut files, mut left) = (Files::new(), LIMIT);
            walk(path, "", &mut files, &mut left).with_context(reading)?;
            return Chart::parse(files, 0, &mut left).with_context(reading);
        }
        let bytes = std::fs::read(path).with_context(reading)?;
        Chart::from_archive(&bytes).with_context(reading)
    }

    /// Reads a packaged chart.
    pub fn from_archive(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut left = LIMIT;
        let files = unpack(bytes, &mut left)?;
        Chart::parse(files, 0, &mut left)
    }

    /// `left` is how many bytes the charts in it may still unpack to.
    fn parse(mut files: Files, depth: usize, left: &mut u64) -> anyhow::Result<Self> {
        let text = files.remove("Chart.yaml");
        let text = text.context("there is no Chart.yaml")?;
        let mut metadata = yaml("?", "Chart.yaml", &text)?;
        let field = |key: &str| metadata[key].as_str().map(str::to_owned);
        let name = field("name").context("Chart.yaml has no name")?;
        let version = field("version").unwrap_or_default();
        // Charts of apiVersion v1 name their dependencies in a file of its own.
        if metadata["dependencies"].is_null()
            && let Some(text) = files.get("requirements.yaml")
            && let Some(fields) = metadata.as_object_mut()
        {
            let mut requirements = yaml(&name, "requirements.yaml", text)?;
            let dependencies = requirements.get_mut("dependencies").map(Value::take);
            fields.insert("dependencies".into(), dependencies.unwrap_or_default());
        }
        let values = match files.remove("values.yaml") {
            Some(text) => yaml(&name, "values.yaml", &text)?,
            None => Value::Null,
        };
        let mut chart = Chart {
            version,
            metadata,
            values: match values {
                Value::Null => Value::Object(serde_json::Map::new()),
                values => values,
            },
            templates: BTreeMap::new(),
            files: BTreeMap::new(),
            crds: BTreeMap::new(),
            charts: Vec::new(),
            name,
        };
        let mut below: BTreeMap<String, Files> = BTreeMap::new();
        for (path, bytes) in files {
            if let Some(rest) = path.strip_prefix("charts/") {
                match rest.split_once('/') {
                    Some((folder, rest)) => {
                        let files = below.entry(folder.to_owned()).or_default();
                        files.insert(rest.to_owned(), bytes);
                    }
                    None if rest.ends_with(".tgz") => {
                        let files = unpack(&bytes, left);
                        let files = files.with_context(|| format!("unpacking charts/{rest}"))?;
                        below.insert(rest.to_owned(), files);
                    }
                    None => {}
                }
                continue;
            }
            let Ok(text) = String::from_utf8(bytes) else {
                continue;
            };
            let group = match path.split_once('/') {
                Some(("templates", _)) => &mut chart.templates,
                Some(("crds", _)) => &mut chart.crds,
                _ => &mut chart.files,
            };
            group.insert(path, text);
        }
        if depth == DEEPEST {
            bail!("charts are more than {DEEPEST} deep in each other");
        }
        for (folder, files) in below {
            if folder.starts_with(['.', '_']) {
                continue;
            }
            let chart_of = Chart::parse(files, depth + 1, left);
            chart
                .charts
                .push(chart_of.with_context(|| format!("reading charts/{folder}"))?);
        }
        Ok(chart)
    }
}

fn yaml(chart: &str, path: &str, bytes: &[u8]) -> Result<Value, ChartError> {
    let text = String::from_utf8_lossy(bytes);
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).map_err(|source| ChartError::Yaml {
            chart: chart.to_owned(),
            path: path.to_owned(),
            source: Box::new(source),
        })?;
    Ok(documents.into_iter().next().unwrap_or(Value::Null))
}

fn walk(top: &Path, below: &str, files: &mut Files, left: &mut u64) -> anyhow::Result<()> {
    let folder = top.join(below);
    let entries = std::fs::read_dir(&folder);
    for entry in entries.with_context(|| format!("listing {}", folder.display()))? {
        let entry = entry.with_context(|| format!("listing {}", folder.display()))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = match below {
            "" => name.clone(),
            below => format!("{below}/{name}"),
        };
        // Links are followed, as Helm does.
        let meta = std::fs::metadata(entry.path())
            .with_context(|| format!("reading {}", entry.path().display()))?;
        if name.starts_with(".git") {
            continue;
        }
        if meta.is_dir() {
            walk(top, &path, files, left)?;
        } else if meta.is_file() {
            let reading = || format!("reading {}", entry.path().display());
            let file = File::open(entry.path()).with_context(reading)?;
            let bytes = read_within(file, left).with_context(reading)?;
            files.insert(path, bytes);
        }
    }
    Ok(())
}

/// The files of a `.tgz`, without the folder that all of them are in.
fn unpack(bytes: &[u8], left: &mut u64) -> anyhow::Result<Files> {
    let plain = flate2::read::MultiGzDecoder::new(Cursor::new(bytes));
    let plain = read_within(plain, left).context("decompressing the archive")?;
    let mut archive = tar::Archive::new(plain.as_slice());
    let mut files = Files::new();
    for entry in archive.entries().context("reading the archive")? {
        let mut entry = entry.context("reading the archive")?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        if path.starts_with('/') || path.split('/').any(|part| part == "..") {
            bail!("{path:?} leads out of the chart");
        }
        let path = path.trim_start_matches("./");
        let Some((_, path)) = path.split_once('/') else {
            continue;
        };
        let path = path.to_owned();
        let mut bytes = Vec::new();
        entry
            .read_to_end(&mut bytes)
            .with_context(|| format!("reading {path}"))?;
        if files.insert(path.clone(), bytes).is_some() {
            bail!("{path:?} is there twice");
        }
    }
    Ok(files)
}

/// All of `reader`, which takes from what is `left`.
fn read_within(reader: impl Read, left: &mut u64) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    reader.take(*left + 1).read_to_end(&mut bytes)?;
    match left.checked_sub(bytes.len() as u64) {
        Some(rest) => *left = rest,
        None => bail!("the chart and the charts in it have more than {LIMIT} bytes"),
    }
    Ok(bytes)
}
