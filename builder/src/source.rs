//! Where the sources of a profile are: names in the profile and lock, places outside both.

use crate::debian::apt_sources::{ArchiveKind, base_uri};
use crate::debian::archive::is_flat;
use crate::images::list;
use crate::images::reference::Reference;
use crate::profile::file::SourceFile;
use crate::profile::{Profile, package};
use crate::rewrite::Rewrites;
use crate::transport::{TransportError, shown};
use anyhow::{Context, bail};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;

/// Base URLs by source name, without a trailing slash.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    urls: BTreeMap<String, String>,
    rewrites: Rewrites,
}

/// How places are chosen: given ones first, then the environment, the profile, and apt's configuration.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// `--source NAME=URL`.
    pub given: BTreeMap<String, String>,
    /// `--debian-mirror URL`: for every Debian archive that is not given by name.
    pub debian_mirror: Option<String>,
    /// Mirrors that are asked before these places.
    pub rewrites: Rewrites,
}

impl Sources {
    /// Finds the place of every source, or says of each one that has none how to give it. The registries of
    /// pulled images and of charts are sources too, by their host name.
    pub fn locate(profile: &Profile, places: &Places) -> anyhow::Result<Self> {
        let mut registries = BTreeSet::new();
        for arch in &profile.arch {
            let listed = list::list_local(profile, *arch)?;
            let pulled = listed.iter().filter(|listed| listed.entry.is_pulled());
            registries
                .extend(pulled.filter_map(|listed| {
                    Some(Reference::parse(&listed.entry.name).ok()?.registry)
                }));
            let charts = profile.parts(*arch).charts;
            let remote = charts.iter().filter_map(|chart| {
                let name = chart.entry.chart.strip_prefix(list::OCI)?;
                Some(Reference::parse(name).ok()?.registry)
            });
            registries.extend(remote);
        }
        let known: BTreeSet<&str> = profile
            .sources
            .keys()
            .chain(&registries)
            .map(String::as_str)
            .collect();
        // Charts that are not there yet may name any registry.
        let registry = |name: &str| profile.has_remote_charts() && name.contains(['.', ':']);
        if let Some(name) = places
            .given
            .keys()
            .find(|name| !known.contains(name.as_str()) && !registry(name))
        {
            let known: Vec<&str> = known.into_iter().collect();
            bail!(
                "--source {name}=…: the profile has no such source; it has {}",
                known.join(", ")
            );
        }
        let mut urls = BTreeMap::new();
        let mut missing = Vec::new();
        for name in places.given.keys().filter(|name| registry(name)) {
            urls.insert(name.clone(), places.given[name].clone());
        }
        for (name, source) in &profile.sources {
            match locate(name, Some(source), places)? {
                Some(url) => {
                    urls.insert(name.clone(), url.trim_end_matches('/').to_owned());
                }
                // What else a source says of a registry, such as its authority, counts at its own place.
                None if registries.contains(name) || registry(name) => {
                    urls.insert(name.clone(), format!("https://{name}"));
                }
                None => missing.push(format!(
                    "source {name:?} has no place: give --source {name}=URL"
                )),
            }
        }
        for name in registries {
            if !urls.contains_key(&name) {
                let url = locate(&name, None, places)?;
                urls.insert(
                    name.clone(),
                    url.unwrap_or_else(|| format!("https://{name}")),
                );
            }
        }
        if !missing.is_empty() {
            bail!("{}", missing.join("\n"));
        }
        let dir = profile.dir.canonicalize();
        let dir = dir.with_context(|| format!("finding {}", profile.dir.display()))?;
        urls.insert(package::OWN.to_owned(), format!("file://{}", dir.display()));
        Ok(Sources {
            urls,
            rewrites: places.rewrites.clone(),
        })
    }

    /// Every source and registry, with the URL where it is.
    pub fn places(&self) -> impl Iterator<Item = (&str, &str)> {
        self.urls
            .iter()
            .map(|(name, url)| (name.as_str(), url.as_str()))
    }

    /// The URLs of all mirrors.
    pub fn mirrors(&self) -> impl Iterator<Item = &str> {
        self.rewrites.mirrors()
    }

    /// Does `attempt` with one place of an image after the other, until one succeeds: with the URL of a registry,
    /// and what the image is called there.
    pub fn try_registries<T>(
        &self,
        image: &Reference,
        mut attempt: impl FnMut(&str, &Reference) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let registry = self.registry(&image.registry);
        let url = format!("{registry}/{}", image.repository);
        self.rewrites.try_each(&url, is_unreachable, |place| {
            if place == url {
                return attempt(&registry, image);
            }
            let (scheme, rest) = place.split_once("://").unwrap_or(("https", place));
            let (host, repository) = rest.split_once('/').unwrap_or((rest, ""));
            let there = Reference {
                repository: repository.to_owned(),
                ..image.clone()
            };
            attempt(&format!("{scheme}://{host}"), &there)
        })
    }

    /// The URL of the registry `host`.
    fn registry(&self, host: &str) -> String {
        let known = self.urls.get(host);
        known.map_or(format!("https://{host}"), |url| {
            url.trim_end_matches('/').to_owned()
        })
    }

    /// Does `attempt` with one place of `path` in the source `name` after the other, until one succeeds.
    pub fn try_each<T>(
        &self,
        name: &str,
        path: &str,
        attempt: impl FnMut(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let url = self.url(name, path)?;
        self.rewrites.try_each(&url, is_unreachable, attempt)
    }

    /// As [`Sources::try_each`], with `None` where there is nothing: the source's own place says so, or all that
    /// are asked do.
    pub fn try_each_optional<T>(
        &self,
        name: &str,
        path: &str,
        mut attempt: impl FnMut(&str) -> anyhow::Result<Option<T>>,
    ) -> anyhow::Result<Option<T>> {
        let own = self.url(name, path)?;
        let (mut nothing, mut failed) = (false, false);
        let found = self.try_each(name, path, |url| match attempt(url) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => {
                nothing |= url == own;
                bail!("{} does not exist (404)", shown(url))
            }
            Err(error) => {
                failed = true;
                Err(error)
            }
        });
        match found {
            Ok(value) => Ok(Some(value)),
            Err(_) if nothing || !failed => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The URL of `path` in the source `name`.
    pub fn url(&self, name: &str, path: &str) -> anyhow::Result<String> {
        let base = self
            .urls
            .get(name)
            .with_context(|| format!("source {name:?} is not declared in the profile"))?;
        Ok(format!("{base}/{}", path.trim_start_matches('/')))
    }
}

/// Whether a place did not answer.
fn is_unreachable(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<TransportError>();
    matches!(cause, Some(TransportError::Io { .. }))
}

fn locate(
    name: &str,
    source: Option<&SourceFile>,
    places: &Places,
) -> anyhow::Result<Option<String>> {
    if let Some(url) = places.given.get(name) {
        return Ok(Some(url.clone()));
    }
    let variable = format!(
        "SEEDBED_SOURCE_{}",
        name.to_uppercase().replace(['-', '.'], "_")
    );
    if let Ok(url) = std::env::var(&variable) {
        return Ok(Some(url));
    }
    let Some(source) = source else {
        return Ok(None);
    };
    if source.debian.is_some()
        && let Some(url) = &places.debian_mirror
    {
        return Ok(Some(url.clone()));
    }
    if source.url.is_some() {
        return Ok(source.url.clone());
    }
    if let Some(path) = &source.path {
        return Ok(Some(format!("file://{path}")));
    }
    let Some(debian) = &source.debian else {
        return Ok(None);
    };
    // What apt has are suites; a folder is somebody's own archive.
    if debian.suites().any(is_flat) {
        return Ok(None);
    }
    let kind = if debian.suites().any(|suite| suite.ends_with("-security")) {
        ArchiveKind::Security
    } else {
        ArchiveKind::Main
    };
    Ok(Some(base_uri(&apt_configuration()?, kind)?))
}

/// The text of every file that names archives to the host's apt, by file name.
fn apt_configuration() -> anyhow::Result<Vec<(String, String)>> {
    let mut paths = vec![PathBuf::from("/etc/apt/sources.list")];
    if let Ok(entries) = fs::read_dir("/etc/apt/sources.list.d") {
        let mut more: Vec<PathBuf> = entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect();
        more.sort();
        paths.extend(more);
    }
    let known = |path: &&PathBuf| {
        path.is_file()
            && path
                .extension()
                .is_some_and(|e| e == "list" || e == "sources")
    };
    let read = |path: &PathBuf| {
        let text =
            fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        Ok((path.display().to_string(), text))
    };
    paths.iter().filter(known).map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile;

    const PROFILE: &str = "\
version: 1
name: charts
arch: [amd64]
sources:
  debian: {debian: {suite: trixie, components: [main], keyring: keyring.pgp}}
  later.test: {ca: ca.pem}
kubernetes: {version: v1.34.1, imageRepository: registry.test, pause: \"registry.test/pause:1\"}
packages: [app]
images:
  - name: registry.test/pause:1
charts:
  - {chart: \"oci://charts.test/team/app:1\"}
";

    /// R013: registries that a chart is in, or may name, are places like others.
    #[test]
    fn registries_of_charts_have_places() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("profile.yaml"), PROFILE).unwrap();
        let profile = profile::read(dir.path()).unwrap();
        let debian = "http://archive.test/debian".to_owned();
        let places = Places {
            debian_mirror: Some(debian),
            ..Places::default()
        };
        let sources = Sources::locate(&profile, &places).unwrap();
        let found: BTreeMap<&str, &str> = sources.places().collect();
        for host in ["charts.test", "later.test", "registry.test"] {
            assert_eq!(found[host], format!("https://{host}"));
        }
    }
}
