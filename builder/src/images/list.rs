//! Which images a profile's store holds, and where each of them comes from. Nobody keeps this list by hand: it is
//! computed from what the profile names, from kubeadm's list for the version, from manifests and from charts.

pub mod kubeadm;
pub mod manifest;

use crate::images::chart::{self, Chart, Release};
use crate::images::reference::Reference;
use crate::profile::file::ImageEntry;
use crate::profile::{Chart as Wanted, Profile};
use anyhow::{Context, bail};
use contract::partition::Arch;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// What an OCI reference to a chart begins with.
pub const OCI: &str = "oci://";

/// One image of the store.
#[derive(Clone, Debug)]
pub struct Listed {
    /// How to get it.
    pub entry: ImageEntry,
    /// What names it: `profile.yaml:7`, `kubeadm v1.34.1`, `manifest.yaml:12`, `chart app 1.2: app/templates/x.yaml`.
    pub origins: Vec<String>,
}

/// The images of `profile` for `arch`, in the order of their names. `remote` gives the archive of a chart by what
/// is after `oci://`.
pub fn list(
    profile: &Profile,
    arch: Arch,
    remote: &mut dyn FnMut(&str) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<Vec<Listed>> {
    let mut list = local(profile, arch)?;
    for wanted in profile.parts(arch).charts {
        if let Some(reference) = wanted.entry.chart.strip_prefix(OCI) {
            let fetching = || format!("chart {}", wanted.entry.chart);
            let bytes = remote(reference).with_context(fetching)?;
            let chart = Chart::from_archive(&bytes).with_context(fetching)?;
            list.add_chart(&wanted, &chart, &profile.kubernetes)?;
        }
    }
    Ok(list.finish())
}

/// As [`list`], without what charts in registries bring.
pub fn list_local(profile: &Profile, arch: Arch) -> anyhow::Result<Vec<Listed>> {
    Ok(local(profile, arch)?.finish())
}

fn local(profile: &Profile, arch: Arch) -> anyhow::Result<List> {
    let parts = profile.parts(arch);
    let mut list = List::default();
    for entry in parts.images {
        let origin = parts.origins.get(&entry.name).cloned().unwrap_or_default();
        list.add(Reference::parse(&entry.name)?, entry, origin);
    }
    for path in &parts.manifests {
        list.add_manifests(path)?;
    }
    for wanted in &parts.charts {
        if !wanted.entry.chart.starts_with(OCI) {
            let chart = Chart::read(&wanted.dir.join(&wanted.entry.chart))?;
            list.add_chart(wanted, &chart, &profile.kubernetes)?;
        }
    }
    Ok(list)
}

/// Images by their whole name.
#[derive(Default)]
struct List {
    images: BTreeMap<String, Listed>,
}

impl List {
    /// The first word on how to get an image counts, and the profile's comes first.
    fn add(&mut self, reference: Reference, entry: ImageEntry, origin: String) {
        let origins = Vec::new();
        let listed = self.images.entry(reference.to_string());
        let listed = listed.or_insert(Listed { entry, origins });
        if !listed.origins.contains(&origin) {
            listed.origins.push(origin);
        }
    }

    fn add_short(&mut self, name: &str, origin: String) -> anyhow::Result<()> {
        let reference = Reference::parse_short(name).with_context(|| origin.clone())?;
        let entry = ImageEntry::pulled(reference.to_string());
        self.add(reference, entry, origin);
        Ok(())
    }

    fn add_manifests(&mut self, path: &Path) -> anyhow::Result<()> {
        let shown = path.display();
        let reading = || format!("reading manifests {shown}");
        let text = fs::read_to_string(path).with_context(reading)?;
        for (name, line) in manifest::images(&text).with_context(reading)? {
            let origin = match line {
                Some(line) => format!("{shown}:{line}"),
                None => shown.to_string(),
            };
            self.add_short(&name, origin)?;
        }
        Ok(())
    }

    fn add_chart(
        &mut self,
        wanted: &Wanted,
        chart: &Chart,
        kubernetes: &str,
    ) -> anyhow::Result<()> {
        let entry = &wanted.entry;
        let mut values = Vec::new();
        for path in entry.values.iter().rev() {
            values.push(read_values(&wanted.dir.join(path))?);
        }
        let release = Release {
            name: entry.name.clone().unwrap_or_else(|| chart.name.clone()),
            namespace: entry.namespace.clone(),
            kubernetes: kubernetes.to_owned(),
            api_versions: entry.api_versions.clone(),
            values,
        };
        let what = format!("chart {} {}", chart.name, chart.version);
        for (path, text) in chart::render(chart, &release).with_context(|| what.clone())? {
            let origin = format!("{what}: {path}");
            let images = manifest::images(&text);
            for (name, _) in images.with_context(|| format!("{origin} does not render to YAML"))? {
                self.add_short(&name, origin.clone())?;
            }
        }
        Ok(())
    }

    fn finish(self) -> Vec<Listed> {
        self.images.into_values().collect()
    }
}

fn read_values(path: &Path) -> anyhow::Result<Value> {
    let reading = || format!("reading values {}", path.display());
    let text = fs::read_to_string(path).with_context(reading)?;
    let documents = manifest::documents(&text).with_context(reading)?;
    match <[Value; 1]>::try_from(documents) {
        Ok([values]) if values.is_object() => Ok(values),
        Err(documents) if documents.is_empty() => Ok(Value::Object(serde_json::Map::new())),
        _ => bail!("{} is not one mapping", path.display()),
    }
}
