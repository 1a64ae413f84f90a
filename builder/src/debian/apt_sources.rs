//! Where the host's apt gets Debian from, so that no mirror needs to be named in a profile.
//!
//! The texts of the configuration are passed in; nothing is read here. Both syntaxes of sources.list(5) are
//! understood: one line per source, and deb822 paragraphs. Only base URIs are taken: what an archive is trusted
//! to serve is decided by the profile's suite and keyring, not by the host's `Signed-By`.

use crate::debian::deb822::{self, Deb822Error};
use thiserror::Error;

/// Which of Debian's archives is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ArchiveKind {
    /// The archive with the releases and their updates.
    Main,
    /// The archive with security updates.
    Security,
}

/// One source of packages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Base URIs, at least one.
    pub uris: Vec<String>,
    /// Suites, at least one.
    pub suites: Vec<String>,
    /// Components; none for a flat archive.
    pub components: Vec<String>,
    /// The value of `Signed-By`, if there is one.
    pub signed_by: Option<String>,
}

/// Why no base URI was found.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SourcesError {
    /// A deb822 file is malformed.
    #[error("{file} cannot be read")]
    Syntax {
        /// The file.
        file: String,
        /// What is wrong with it.
        #[source]
        source: Deb822Error,
    },
    /// A line is neither empty nor a source.
    #[error("{file}, line {line} is not \"deb [options] uri suite component...\": {text:?}")]
    Line {
        /// The file.
        file: String,
        /// Counted from one.
        line: usize,
        /// The line.
        text: String,
    },
    /// No source looks like the archive wanted.
    #[error("apt's configuration names no mirror of {}; give one with --debian-mirror", describe(*.0))]
    None(ArchiveKind),
}

fn describe(kind: ArchiveKind) -> &'static str {
    match kind {
        ArchiveKind::Main => "the Debian archive",
        ArchiveKind::Security => "the Debian security archive",
    }
}

/// The base URI of an archive, without a slash at its end. `files` are pairs of file name and text, in the order in
/// which apt reads them; other names than `*.list` and `*.sources` are passed over as apt does.
pub fn base_uri(files: &[(String, String)], kind: ArchiveKind) -> Result<String, SourcesError> {
    let mut best: Option<(u8, String)> = None;
    for (file, text) in files {
        for source in parse(file, text)? {
            let Some(uri) = source.uris.iter().find(|uri| is_plain(uri)) else {
                continue;
            };
            let likeness = likeness(&source, uri, kind);
            if likeness > best.as_ref().map_or(0, |(found, _)| *found) {
                best = Some((likeness, uri.trim_end_matches('/').to_owned()));
            }
        }
    }
    best.map(|(_, uri)| uri).ok_or(SourcesError::None(kind))
}

/// All enabled sources of binary packages in one file.
pub fn parse(file: &str, text: &str) -> Result<Vec<Source>, SourcesError> {
    if file.ends_with(".sources") {
        parse_deb822(file, text)
    } else if file.ends_with(".list") {
        parse_lines(file, text)
    } else {
        Ok(Vec::new())
    }
}

/// URIs that name one mirror; `cdrom:`, `mirror:` and the like do not.
fn is_plain(uri: &str) -> bool {
    let schemes = ["http://", "https://", "file:", "copy:"];
    schemes
        .iter()
        .any(|scheme| uri.to_ascii_lowercase().starts_with(scheme))
}

/// How much a source looks like the archive wanted: 0 not at all.
fn likeness(source: &Source, uri: &str, kind: ArchiveKind) -> u8 {
    if !source
        .components
        .iter()
        .any(|component| component.ends_with("main"))
    {
        return 0;
    }
    let segments: Vec<&str> = uri.trim_end_matches('/').split('/').collect();
    let is_security = segments.contains(&"debian-security")
        || source
            .suites
            .iter()
            .any(|suite| suite.ends_with("-security") || suite.ends_with("/updates"));
    if is_security != (kind == ArchiveKind::Security) {
        return 0;
    }
    let keyring = source.signed_by.as_deref().unwrap_or_default();
    let by_key = u8::from(keyring.contains("debian-archive")) * 4;
    let by_path = u8::from(is_security || segments.contains(&"debian")) * 2;
    let foreign = !keyring.is_empty() && by_key == 0;
    // A source signed by somebody else is another vendor's, whatever its path.
    if foreign {
        by_path / 2
    } else {
        by_key + by_path
    }
}

fn parse_deb822(file: &str, text: &str) -> Result<Vec<Source>, SourcesError> {
    let paragraphs = deb822::paragraphs(text).map_err(|source| SourcesError::Syntax {
        file: file.to_owned(),
        source,
    })?;
    let mut sources = Vec::new();
    for fields in &paragraphs {
        let get = |name| deb822::get(fields, name);
        let words = |name| -> Vec<String> {
            let lines = get(name).map(deb822::lines).into_iter().flatten();
            lines
                .flat_map(str::split_whitespace)
                .map(str::to_owned)
                .collect()
        };
        let no = |value: &str| {
            ["no", "false", "0", "off", "without", "disable"]
                .contains(&value.to_ascii_lowercase().as_str())
        };
        let source = Source {
            uris: words("URIs"),
            suites: words("Suites"),
            components: words("Components"),
            signed_by: get("Signed-By").map(str::to_owned),
        };
        let is_binary = words("Types").iter().any(|word| word == "deb");
        let is_enabled = !get("Enabled").is_some_and(no);
        if is_binary && is_enabled && !source.uris.is_empty() && !source.suites.is_empty() {
            sources.push(source);
        }
    }
    Ok(sources)
}

fn parse_lines(file: &str, text: &str) -> Result<Vec<Source>, SourcesError> {
    let mut sources = Vec::new();
    for (i, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default().trim();
        if line.is_empty() {
            continue;
        }
        let fault = || SourcesError::Line {
            file: file.to_owned(),
            line: i + 1,
            text: line.to_owned(),
        };
        let (kind, rest) = line.split_once(char::is_whitespace).ok_or_else(fault)?;
        match kind {
            "deb" => sources.push(parse_line(rest.trim_start()).ok_or_else(fault)?),
            "deb-src" => {}
            _ => return Err(fault()),
        }
    }
    Ok(sources)
}

/// `[options] uri suite component...`
fn parse_line(rest: &str) -> Option<Source> {
    let (options, rest) = match rest.strip_prefix('[') {
        Some(inner) => inner.split_once(']')?,
        None => ("", rest),
    };
    let signed_by = options
        .split_whitespace()
        .find_map(|option| option.strip_prefix("signed-by="));
    let mut words = rest.split_whitespace().map(str::to_owned);
    Some(Source {
        uris: vec![words.next()?],
        suites: vec![words.next()?],
        components: words.collect(),
        signed_by: signed_by.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(files: &[(&str, &str)], main: Option<&str>, security: Option<&str>) {
        let files: Vec<(String, String)> = files
            .iter()
            .map(|(n, t)| (n.to_string(), t.to_string()))
            .collect();
        for (kind, expected) in [(ArchiveKind::Main, main), (ArchiveKind::Security, security)] {
            let expected = expected.map(str::to_owned).ok_or(SourcesError::None(kind));
            assert_eq!(base_uri(&files, kind), expected, "{files:?}");
        }
    }

    const DEB822: &str = "\
# A comment.
Types: deb deb-src
URIs: http://mirror.example/debian/
Suites: trixie trixie-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# Another, within the paragraph.
URIs: http://mirror.example/debian-security
Suites: trixie-security
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
";

    #[test]
    fn deb822_sources() {
        let (main, security) = (
            "http://mirror.example/debian",
            "http://mirror.example/debian-security",
        );
        check(&[("debian.sources", DEB822)], Some(main), Some(security));
        let disabled = DEB822.replace("Types: deb\n", "Enabled: no\nTypes: deb\n");
        check(&[("debian.sources", &disabled)], Some(main), None);
        let sources_only = DEB822.replace("deb deb-src", "deb-src");
        check(&[("debian.sources", &sources_only)], None, Some(security));
        check(&[("debian.sources.bak", DEB822)], None, None);
    }

    #[test]
    fn one_line_sources() {
        let text = "\
deb cdrom:[Debian]/ trixie main
deb-src http://src.example/debian trixie main
deb [arch=amd64 signed-by=/k/debian-archive-keyring.gpg] https://a.example/debian trixie main # why
#deb http://off.example/debian trixie main
deb http://b.example/sec/ trixie-security main
";
        check(
            &[("sources.list", text)],
            Some("https://a.example/debian"),
            Some("http://b.example/sec"),
        );
    }

    #[test]
    fn other_vendors_are_not_debian() {
        let docker =
            "deb [signed-by=/k/docker.asc] https://docker.example/linux/debian trixie stable\n";
        let node = "Types: deb\nURIs: https://node.example/x\nSuites: nodistro\nComponents: main\nSigned-By: /k/node.gpg\n";
        let cloud = "deb https://packages.example/apt cloud main\n";
        let others = [
            ("docker.list", docker),
            ("node.sources", node),
            ("cloud.list", cloud),
        ];
        check(&others, None, None);
        let mut files = others.to_vec();
        files.push(("debian.sources", DEB822));
        let (main, security) = (
            "http://mirror.example/debian",
            "http://mirror.example/debian-security",
        );
        check(&files, Some(main), Some(security));
    }

    #[test]
    fn an_embedded_key_is_no_obstacle() {
        let text = "Types: deb\nURIs:\n http://m.example/debian\nSuites: trixie\nComponents: main\nSigned-By:\n -----BEGIN\n .\n debian-archive\n";
        check(
            &[("x.sources", text)],
            Some("http://m.example/debian"),
            None,
        );
    }

    #[test]
    fn faults_name_file_and_line() {
        let error = parse("sources.list", "\nrubbish here\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "sources.list, line 2 is not \"deb [options] uri suite component...\": \"rubbish here\""
        );
        assert!(parse("a.list", "deb [x http://m").is_err());
        assert!(parse("a.sources", "rubbish").is_err());
    }
}
