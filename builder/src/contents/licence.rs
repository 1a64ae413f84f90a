//! Licences of a Debian package, from its machine-readable copyright file.
//!
//! Debian calls licences by short names of its own (copyright format 1.0, section 7.2); SPDX has identifiers. A
//! name that is not in the table here has none: what is not known is not asserted.

use crate::debian::deb822;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// How the first field of a machine-readable copyright file begins.
const FORMAT: &str = "www.debian.org/doc/packaging-manuals/copyright-format/";

/// Debian's short names and SPDX identifiers, for names in lower case. Those of the GNU licences are worked out.
const KNOWN: [(&str, &str); 52] = [
    ("0bsd", "0BSD"),
    ("afl-2.1", "AFL-2.1"),
    ("apache-2", "Apache-2.0"),
    ("apache-2.0", "Apache-2.0"),
    ("artistic-2", "Artistic-2.0"),
    ("artistic-2.0", "Artistic-2.0"),
    ("bsd-1-clause", "BSD-1-Clause"),
    ("bsd-2-clause", "BSD-2-Clause"),
    ("bsd-2-clause-netbsd", "BSD-2-Clause"),
    ("bsd-3-clause", "BSD-3-Clause"),
    ("bsd-4-clause", "BSD-4-Clause"),
    ("bsd-4-clause-uc", "BSD-4-Clause-UC"),
    ("bsl-1.0", "BSL-1.0"),
    ("bzip2-1.0.6", "bzip2-1.0.6"),
    ("cc-by-3.0", "CC-BY-3.0"),
    ("cc-by-4.0", "CC-BY-4.0"),
    ("cc-by-sa-3.0", "CC-BY-SA-3.0"),
    ("cc-by-sa-4.0", "CC-BY-SA-4.0"),
    ("cc0", "CC0-1.0"),
    ("cc0-1.0", "CC0-1.0"),
    ("curl", "curl"),
    ("expat", "MIT"),
    ("fsfap", "FSFAP"),
    ("fsful", "FSFUL"),
    ("fsfullr", "FSFULLR"),
    ("ftl", "FTL"),
    ("isc", "ISC"),
    ("libpng", "Libpng"),
    ("llvm-exception", "LLVM-exception"),
    ("mit", "MIT"),
    ("mit-0", "MIT-0"),
    ("mpl-1.1", "MPL-1.1"),
    ("mpl-2.0", "MPL-2.0"),
    ("ntp", "NTP"),
    ("ofl-1.1", "OFL-1.1"),
    ("openldap-2.8", "OLDAP-2.8"),
    ("openssl", "OpenSSL"),
    ("postgresql", "PostgreSQL"),
    ("psf-2", "PSF-2.0"),
    ("python-2.0", "Python-2.0"),
    ("sleepycat", "Sleepycat"),
    ("unicode-dfs-2016", "Unicode-DFS-2016"),
    ("unlicense", "Unlicense"),
    ("vim", "Vim"),
    ("w3c", "W3C"),
    ("wtfpl", "WTFPL"),
    ("x11", "X11"),
    ("zlib", "Zlib"),
    ("zpl-2.1", "ZPL-2.1"),
    ("blessing", "blessing"),
    ("beerware", "Beerware"),
    ("hpnd", "HPND"),
];

/// Debian's words for exceptions, and SPDX's.
const EXCEPTIONS: [(&str, &str); 4] = [
    ("linux-syscall-note", "Linux-syscall-note"),
    ("llvm", "LLVM-exception"),
    ("font", "Font-exception-2.0"),
    ("classpath", "Classpath-exception-2.0"),
];

/// What is known of a package's licences.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Licence {
    /// Debian's short names in byte order, such as `GPL-2+`; none if the copyright file is free text.
    pub names: Vec<String>,
    /// All of them as one SPDX expression, if each of them is known.
    pub expression: Option<String>,
}

/// Reads a copyright file. One that is not machine-readable gives no names.
pub fn parse(copyright: &str) -> Licence {
    let Ok(paragraphs) = deb822::paragraphs(copyright) else {
        return Licence::default();
    };
    let is_readable = paragraphs.first().is_some_and(|header| {
        deb822::get(header, "Format").is_some_and(|format| format.contains(FORMAT))
    });
    if !is_readable {
        return Licence::default();
    }
    // What applies stands with the files; a paragraph without files only gives a licence's text.
    let applies = |paragraph: &&Vec<_>| {
        deb822::get(paragraph, "Files").is_some() || deb822::get(paragraph, "Format").is_some()
    };
    let licences = paragraphs.iter().filter(applies);
    let first_line = |text: &str| text.lines().next().unwrap_or_default().trim().to_owned();
    let names: BTreeSet<String> = licences
        .filter_map(|paragraph| deb822::get(paragraph, "License"))
        .map(first_line)
        .filter(|name| !name.is_empty())
        .collect();
    let known: Option<BTreeSet<String>> = names.iter().map(|name| expression(name)).collect();
    Licence {
        expression: known
            .filter(|known| !known.is_empty())
            .map(|known| join(&known)),
        names: names.into_iter().collect(),
    }
}

/// All of them apply.
fn join(expressions: &BTreeSet<String>) -> String {
    let alone = expressions.len() == 1;
    let part = |one: &String| match one.contains(" OR ") && !alone {
        true => format!("({one})"),
        false => one.clone(),
    };
    expressions
        .iter()
        .map(part)
        .collect::<Vec<_>>()
        .join(" AND ")
}

/// The SPDX expression of Debian's, which may join names by `and`, `or` and `with`. A comma changes what binds
/// tighter, and is not understood.
fn expression(name: &str) -> Option<String> {
    if name.contains(',') {
        return None;
    }
    let either = name.split(" or ").map(|all| {
        let all = all.split(" and ").map(|one| identifier(one.trim()));
        Some(all.collect::<Option<Vec<_>>>()?.join(" AND "))
    });
    Some(either.collect::<Option<Vec<_>>>()?.join(" OR "))
}

fn identifier(name: &str) -> Option<String> {
    let lower = name.to_ascii_lowercase();
    if let Some((licence, exception)) = lower.split_once(" with ") {
        let exception = exception.strip_suffix(" exception").unwrap_or(exception);
        let (_, exception) = EXCEPTIONS.iter().find(|(debian, _)| *debian == exception)?;
        return Some(format!("{} WITH {exception}", identifier(licence)?));
    }
    let known = KNOWN.iter().find(|(debian, _)| *debian == lower);
    known
        .map(|(_, spdx)| (*spdx).to_owned())
        .or_else(|| gnu(&lower))
}

/// `GPL-2+` is `GPL-2.0-or-later`, `LGPL-2.1` is `LGPL-2.1-only`.
fn gnu(lower: &str) -> Option<String> {
    let (family, version) = lower.split_once('-')?;
    let (version, later) = match version.strip_suffix('+') {
        Some(version) => (version, "or-later"),
        None => (version, "only"),
    };
    let versions: &[&str] = match family {
        "gpl" => &["1.0", "2.0", "3.0"],
        "lgpl" => &["2.0", "2.1", "3.0"],
        "agpl" => &["3.0"],
        "gfdl" => &["1.1", "1.2", "1.3"],
        _ => return None,
    };
    let is = |full: &&&str| **full == version || full.strip_suffix(".0") == Some(version);
    let version = versions.iter().find(is)?;
    Some(format!("{}-{version}-{later}", family.to_ascii_uppercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(licences: &[&str], expected: Option<&str>) {
        let files = licences
            .iter()
            .map(|name| format!("Files: *\nLicense: {name}\n text\n\n"));
        let files: String = files.collect();
        let text = format!(
            "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\n{files}License: secret\n text\n"
        );
        assert_eq!(parse(&text).expression.as_deref(), expected, "{licences:?}");
    }

    #[test]
    fn debians_names_become_spdx_expressions() {
        check(&["GPL-2+"], Some("GPL-2.0-or-later"));
        check(&["LGPL-2.1"], Some("LGPL-2.1-only"));
        check(&["GPL-1+ or Expat"], Some("GPL-1.0-or-later OR MIT"));
        check(
            &[
                "Expat",
                "GPL-2 with Linux-syscall-note exception",
                "ISC or GPL-3",
            ],
            Some("GPL-2.0-only WITH Linux-syscall-note AND (ISC OR GPL-3.0-only) AND MIT"),
        );
        check(&["Expat", "Expat"], Some("MIT"));
        check(&["Expat", "public-domain"], None);
        check(&["GPL-2+, or MIT"], None);
        check(&["GPL"], None);
        check(&["GPL-4"], None);
        check(&[], None);
    }

    #[test]
    fn free_text_says_nothing() {
        assert_eq!(parse("This is free software.\n"), Licence::default());
        assert_eq!(parse("License: Expat\n"), Licence::default());
    }

    #[test]
    fn names_stay_as_they_are() {
        let text = "Format: http://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nLicense: odd\n\nFiles: *\nLicense: Expat\n";
        assert_eq!(parse(text).names, ["Expat", "odd"]);
    }
}
