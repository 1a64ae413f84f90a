//! The table of mirrors: URLs that begin in a certain way are asked for elsewhere first.
//!
//! It stands outside of profile and lock, in a file of the user's and on the command line, so that no mirror gets
//! into a lock or an image. A rule names a host, with or without the beginning of a path:
//!
//! ```yaml
//! version: 1
//! rewrite:
//!   - from: registry.k8s.io
//!     to: ["https://harbor.plant/k8s", "http://10.0.0.5:5000/k8s"]
//!   - from: archive.example/debian
//!     to: ["http://mirror.plant/debian"]
//!     only: true
//! ```

use crate::transport::shown;
use anyhow::{Context, anyhow, bail};
use contract::document;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

/// The table as people write it, version 1.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RewriteFile {
    /// Version of this document: 1.
    pub version: u32,
    /// The rules. Of a URL, the places that the first fitting rule gives are asked first.
    pub rewrite: Vec<RuleFile>,
}

/// One rule.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleFile {
    /// A host, with its port if it has one, and the beginning of a path: `registry.k8s.io`, `docker.io/library`.
    pub from: String,
    /// What stands in for it, in the order in which it is asked: URLs.
    pub to: Vec<String>,
    /// Whether these places are all: later rules and the place itself are not asked.
    #[serde(default)]
    pub only: bool,
}

/// One rule that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Without a slash at its end.
    from: String,
    /// Without slashes at their ends; at least one.
    to: Vec<String>,
    only: bool,
}

/// Rules in the order in which they count.
#[derive(Clone, Debug, Default)]
pub struct Rewrites {
    rules: Vec<Rule>,
    /// Mirrors that could not be reached: they are asked last from then on.
    unreachable: Arc<Mutex<BTreeSet<String>>>,
}

impl Rule {
    fn new(from: &str, to: &[String], only: bool) -> anyhow::Result<Self> {
        let from = from.trim_end_matches('/');
        if from.is_empty() || from.contains("://") || from.starts_with('/') {
            bail!("{from:?} is no host: write it without https://, such as registry.k8s.io");
        }
        if to.is_empty() {
            bail!("nothing stands in for {from}: name at least one URL");
        }
        let schemes = ["https://", "http://", "file:///"];
        let is_url = |url: &str| schemes.iter().any(|scheme| url.starts_with(scheme));
        if let Some(url) = to.iter().find(|url| !is_url(url)) {
            bail!("{url:?} is not an http:, https: or file: URL");
        }
        let to = to.iter().map(|url| url.trim_end_matches('/').to_owned());
        Ok(Rule {
            from: plain(from),
            to: to.collect(),
            only,
        })
    }

    /// What follows the rule's beginning in `rest`, a URL without its scheme.
    fn fits<'a>(&self, rest: &'a str) -> Option<&'a str> {
        let after = rest.strip_prefix(&self.from)?;
        (after.is_empty() || after.starts_with('/')).then_some(after)
    }
}

/// A URL without its scheme as rules are compared: without a login, and the host in lower case.
fn plain(rest: &str) -> String {
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = host.rsplit('@').next().unwrap_or(host);
    host.to_ascii_lowercase() + path
}

/// `FROM=URL`, as on a command line.
impl FromStr for Rule {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (from, to) = text.split_once('=').context("expected FROM=URL")?;
        Rule::new(from, &[to.to_owned()], false)
    }
}

/// A place to ask.
struct Place<'a> {
    url: String,
    /// The rule's URL; `None` for the place itself.
    mirror: Option<&'a str>,
}

impl Rewrites {
    /// The rules `given`, and after them those of the file: `path`, or, if there is none, the user's.
    ///
    /// # Errors
    /// The file `path` does not exist, or what a file says makes no sense.
    pub fn read(given: Vec<Rule>, path: Option<&Path>) -> anyhow::Result<Self> {
        let mut rules = given;
        match (path, default_path()) {
            (Some(path), _) => {
                let text = fs::read_to_string(path);
                let text =
                    text.with_context(|| format!("reading mirrors from {}", path.display()))?;
                rules.extend(parse(path, &text)?);
            }
            (None, Some(path)) => match fs::read_to_string(&path) {
                Ok(text) => rules.extend(parse(&path, &text)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let reading = format!("reading mirrors from {}", path.display());
                    return Err(anyhow!(error).context(reading));
                }
            },
            (None, None) => {}
        }
        Ok(Rewrites {
            rules,
            unreachable: Arc::default(),
        })
    }

    /// The URLs that rules give.
    pub fn mirrors(&self) -> impl Iterator<Item = &str> {
        let all = self.rules.iter().flat_map(|rule| &rule.to);
        all.map(String::as_str)
    }

    /// Does `attempt` with one place of `url` after the other, until one succeeds. A mirror for which
    /// `is_unreachable` holds is asked last from then on.
    pub fn try_each<T>(
        &self,
        url: &str,
        is_unreachable: impl Fn(&anyhow::Error) -> bool,
        mut attempt: impl FnMut(&str) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let mut failures = Vec::new();
        for place in self.places(url) {
            match attempt(&place.url) {
                Ok(value) => return Ok(value),
                Err(error) => {
                    tracing::debug!("{}: {error:#}", shown(&place.url));
                    if let Some(mirror) = place.mirror.filter(|_| is_unreachable(&error)) {
                        self.unreachable().insert(mirror.to_owned());
                    }
                    failures.push(error);
                }
            }
        }
        match failures.len() {
            1 => Err(failures.remove(0)),
            n => {
                let list: Vec<String> = failures.iter().map(|e| format!("{e:#}")).collect();
                bail!("none of {n} places gives it: {}", list.join("; "))
            }
        }
    }

    /// Where to ask for `url`, in order: at least one place.
    fn places(&self, url: &str) -> Vec<Place<'_>> {
        let mut places: Vec<Place<'_>> = Vec::new();
        let mut only = false;
        let rest = plain(url.split_once("://").map_or("", |(_, rest)| rest));
        for rule in &self.rules {
            let Some(after) = rule.fits(&rest) else {
                continue;
            };
            places.extend(rule.to.iter().map(|to| Place {
                url: format!("{to}{after}"),
                mirror: Some(to),
            }));
            if rule.only {
                only = true;
                break;
            }
        }
        let unreachable = self.unreachable();
        places.sort_by_key(|place| place.mirror.is_some_and(|m| unreachable.contains(m)));
        if !only {
            let place = Place {
                url: url.to_owned(),
                mirror: None,
            };
            let gone = |place: &Place<'_>| place.mirror.is_some_and(|m| unreachable.contains(m));
            let at = places.iter().position(gone).unwrap_or(places.len());
            places.insert(at, place);
        }
        places
    }

    fn unreachable(&self) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
        let locked = self.unreachable.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }
}

/// `$XDG_CONFIG_HOME/seedbed/mirrors.yaml`, or below `~/.config`.
fn default_path() -> Option<PathBuf> {
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".config"));
    Some(config.or_else(home)?.join("seedbed/mirrors.yaml"))
}

/// The rules of a table's text.
fn parse(path: &Path, text: &str) -> anyhow::Result<Vec<Rule>> {
    let document: document::Document<RewriteFile> =
        document::parse(&path.display().to_string(), text)?;
    let mut faults = Vec::new();
    if document.value.version != 1 {
        let message = format!("version {} is not known", document.value.version);
        let hint = "this seedbed reads version 1".to_owned();
        faults.push(document.fault("version", message, Some(hint)));
    }
    let mut rules = Vec::new();
    for (i, rule) in document.value.rewrite.iter().enumerate() {
        match Rule::new(&rule.from, &rule.to, rule.only) {
            Ok(rule) => rules.push(rule),
            Err(error) => {
                let message = error.to_string();
                faults.push(document.fault(&format!("rewrite[{i}].from"), message, None));
            }
        }
    }
    document.faults(faults)?;
    Ok(rules)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
version: 1
rewrite:
  - {from: a.example/x, to: ['http://one', 'http://two/deep/']}
  - {from: a.example/, to: ['http://three/all']}
  - {from: b.example, to: ['file:///mnt/b'], only: true}
  - {from: b.example, to: ['http://never']}
";

    fn table(given: &[&str]) -> Rewrites {
        let mut rules: Vec<Rule> = given.iter().map(|rule| rule.parse().unwrap()).collect();
        rules.extend(parse(Path::new("mirrors.yaml"), TABLE).unwrap());
        Rewrites {
            rules,
            unreachable: Arc::default(),
        }
    }

    fn urls(table: &Rewrites, url: &str) -> Vec<String> {
        table.places(url).into_iter().map(|p| p.url).collect()
    }

    /// A login in a URL and capitals in a host change nothing of where it is.
    #[test]
    fn places_are_compared_without_logins_and_case() {
        let rule = Rule::new("Site.Example/x", &["https://mirror.example".into()], true).unwrap();
        let rewrites = Rewrites {
            rules: vec![rule],
            unreachable: Arc::default(),
        };
        for url in [
            "https://ann:pw@site.example/x/a",
            "https://SITE.example/x/a",
        ] {
            let places = rewrites.places(url);
            let urls: Vec<&str> = places.iter().map(|place| place.url.as_str()).collect();
            assert_eq!(urls, ["https://mirror.example/a"], "{url}");
        }
        assert_eq!(rewrites.places("https://site.example/X/a").len(), 1);
    }

    /// R020: host and path prefix, in order, the place itself last unless `only` says otherwise.
    #[test]
    fn mirrors_come_first_and_in_order() {
        let check = |url: &str, expected: &[&str]| {
            assert_eq!(urls(&table(&[]), url), expected, "{url}");
        };
        check(
            "https://a.example/x/y",
            &[
                "http://one/y",
                "http://two/deep/y",
                "http://three/all/x/y",
                "https://a.example/x/y",
            ],
        );
        check(
            "https://a.example/xy",
            &["http://three/all/xy", "https://a.example/xy"],
        );
        check("https://a.example:1/x", &["https://a.example:1/x"]);
        check("http://b.example/c", &["file:///mnt/b/c"]);
        check("file:///b.example/c", &["file:///b.example/c"]);
        let given = table(&["b.example=http://mine"]);
        assert_eq!(
            urls(&given, "https://b.example/c"),
            ["http://mine/c", "file:///mnt/b/c"]
        );
    }

    /// R020: a mirror that is down costs one attempt, and not one a file.
    #[test]
    fn a_mirror_that_cannot_be_reached_is_asked_last_from_then_on() {
        let table = table(&[]);
        let url = "https://a.example/x/y";
        let mut asked = Vec::new();
        let attempt = |place: &str| {
            asked.push(place.to_owned());
            match place {
                "http://one/y" | "http://two/deep/y" => bail!("{place} is down"),
                _ => Ok(place.to_owned()),
            }
        };
        let down = |error: &anyhow::Error| error.to_string().contains("one");
        let found = table.try_each(url, down, attempt).unwrap();
        assert_eq!(found, "http://three/all/x/y");
        assert_eq!(asked.len(), 3);
        let last = urls(&table, url).pop().unwrap();
        assert_eq!(last, "http://one/y");
        let fail = |place: &str| Err::<(), _>(anyhow!("{place} is down"));
        let error = table.try_each(url, down, fail);
        let error = error.unwrap_err().to_string();
        assert!(
            error.starts_with("none of 4 places gives it: http://two"),
            "{error}"
        );
    }

    #[test]
    fn what_makes_no_sense_is_pointed_at() {
        let check = |rule: &str, expected: &str| {
            let text = format!("version: 1\nrewrite:\n  - {rule}\n");
            let error = parse(Path::new("mirrors.yaml"), &text).unwrap_err();
            let error = error.to_string();
            assert!(
                error.contains(expected) && error.contains("mirrors.yaml:3:"),
                "{error}"
            );
        };
        check("{from: 'https://a', to: ['http://b']}", "is no host");
        check("{from: a, to: []}", "name at least one URL");
        check("{from: a, to: [b]}", "not an http:, https: or file: URL");
        check("{from: a, into: ['http://b']}", "into");
    }
}
