//! Relations between packages: `a (>= 1) | b:any [amd64], c`, see Debian Policy, section 7.1.
//!
//! Everything is borrowed from the field's text. Build profiles (`<…>`) never stand in a `Packages` index and
//! are refused.

use crate::debian::version;
use std::fmt;
use thiserror::Error;

/// Why a relation field cannot be read.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("relation {text:?} cannot be read: {why}")]
pub struct RelationError {
    /// The relation in question.
    pub text: String,
    /// What is wrong with it.
    pub why: &'static str,
}

/// How a version is compared with the one in parentheses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `<<`
    Earlier,
    /// `<=`, and the old `<`.
    EarlierOrEqual,
    /// `=`
    Equal,
    /// `>=`, and the old `>`.
    LaterOrEqual,
    /// `>>`
    Later,
}

impl Operator {
    fn as_str(self) -> &'static str {
        match self {
            Operator::Earlier => "<<",
            Operator::EarlierOrEqual => "<=",
            Operator::Equal => "=",
            Operator::LaterOrEqual => ">=",
            Operator::Later => ">>",
        }
    }
}

/// One alternative of a relation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Relation<'a> {
    /// The package's name.
    pub name: &'a str,
    /// What follows a colon after the name: `any`, `native`, or an architecture.
    pub qualifier: Option<&'a str>,
    /// The version asked for.
    pub version: Option<(Operator, &'a str)>,
    /// What stands in square brackets.
    pub architectures: Option<&'a str>,
}

impl Relation<'_> {
    /// Whether `version` is one that this relation accepts.
    pub fn accepts(&self, version: &str) -> bool {
        let Some((operator, wanted)) = self.version else {
            return true;
        };
        let order = version::compare(version, wanted);
        match operator {
            Operator::Earlier => order.is_lt(),
            Operator::EarlierOrEqual => order.is_le(),
            Operator::Equal => order.is_eq(),
            Operator::LaterOrEqual => order.is_ge(),
            Operator::Later => order.is_gt(),
        }
    }

    /// Whether the relation holds on `architecture` at all.
    pub fn applies_to(&self, architecture: &str) -> bool {
        self.architectures
            .is_none_or(|list| lists(list, architecture))
    }
}

/// Whether a list of architectures, as it stands in square brackets, holds `architecture`.
pub fn lists(list: &str, architecture: &str) -> bool {
    let mut negative = false;
    for item in list.split_whitespace() {
        let (name, negated) = match item.strip_prefix('!') {
            Some(name) => (name, true),
            None => (item, false),
        };
        negative |= negated;
        if matches_architecture(name, architecture) {
            return !negated;
        }
    }
    negative
}

/// Whether an architecture matches a name or wildcard such as `any`, `linux-any` or `any-amd64`.
fn matches_architecture(pattern: &str, architecture: &str) -> bool {
    match pattern.rsplit_once('-') {
        None => pattern == "any" || pattern == architecture,
        Some((system, cpu)) => {
            let linux = matches!(
                system,
                "any" | "linux" | "any-linux" | "gnu-linux" | "any-any"
            );
            linux && (cpu == "any" || cpu == architecture)
        }
    }
}

impl fmt::Display for Relation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if let Some(qualifier) = self.qualifier {
            write!(f, ":{qualifier}")?;
        }
        if let Some((operator, version)) = self.version {
            write!(f, " ({} {version})", operator.as_str())?;
        }
        if let Some(architectures) = self.architectures {
            write!(f, " [{architectures}]")?;
        }
        Ok(())
    }
}

/// Alternatives, any one of which satisfies the relation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnyOf<'a>(pub Vec<Relation<'a>>);

impl fmt::Display for AnyOf<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, relation) in self.0.iter().enumerate() {
            write!(f, "{}{relation}", if i > 0 { " | " } else { "" })?;
        }
        Ok(())
    }
}

/// The relations of one field, all of which are to hold.
pub fn parse(field: &str) -> Result<Vec<AnyOf<'_>>, RelationError> {
    let groups = field.split(',').filter(|group| !group.trim().is_empty());
    groups
        .map(|group| {
            Ok(AnyOf(
                group.split('|').map(parse_one).collect::<Result<_, _>>()?,
            ))
        })
        .collect()
}

/// One alternative: name, qualifier, version, architectures.
pub fn parse_one(text: &str) -> Result<Relation<'_>, RelationError> {
    let text = text.trim();
    let fail = |why| {
        Err(RelationError {
            text: text.to_owned(),
            why,
        })
    };
    let name_end = text
        .find(|c: char| c.is_whitespace() || "([<".contains(c))
        .unwrap_or(text.len());
    let (full, mut rest) = text.split_at(name_end);
    let (name, qualifier) = match full.split_once(':') {
        Some((name, qualifier)) => (name, Some(qualifier)),
        None => (full, None),
    };
    if !is_name(name) {
        return fail("it does not start with a package name");
    }
    if qualifier.is_some_and(|qualifier| !is_name(qualifier)) {
        return fail("the architecture after the colon is not a name");
    }
    rest = rest.trim_start();
    let mut version = None;
    if let Some(inner) = rest.strip_prefix('(') {
        let Some((constraint, after)) = inner.split_once(')') else {
            return fail("the parenthesis is not closed");
        };
        let Some(parsed) = parse_version(constraint) else {
            return fail("the version has no known operator, or is empty");
        };
        version = Some(parsed);
        rest = after.trim_start();
    }
    let mut architectures = None;
    if let Some(inner) = rest.strip_prefix('[') {
        let Some((list, after)) = inner.split_once(']') else {
            return fail("the bracket is not closed");
        };
        architectures = Some(list.trim());
        rest = after.trim_start();
    }
    if !rest.is_empty() {
        return fail("something follows that is not known");
    }
    Ok(Relation {
        name,
        qualifier,
        version,
        architectures,
    })
}

fn parse_version(constraint: &str) -> Option<(Operator, &str)> {
    const OPERATORS: [(&str, Operator); 7] = [
        ("<<", Operator::Earlier),
        ("<=", Operator::EarlierOrEqual),
        (">=", Operator::LaterOrEqual),
        (">>", Operator::Later),
        ("=", Operator::Equal),
        ("<", Operator::EarlierOrEqual),
        (">", Operator::LaterOrEqual),
    ];
    let constraint = constraint.trim();
    let (operator, version) = OPERATORS
        .iter()
        .find_map(|(text, operator)| Some((*operator, constraint.strip_prefix(text)?.trim())))?;
    (!version.is_empty()).then_some((operator, version))
}

/// Package names, and architectures after a colon, consist of these characters; archives of old are lenient.
fn is_name(text: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || b"+-._".contains(&b);
    text.starts_with(|c: char| c.is_ascii_alphanumeric()) && text.bytes().all(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(field: &str, expected: &str) {
        let found = match parse(field) {
            Ok(groups) => groups
                .iter()
                .map(AnyOf::to_string)
                .collect::<Vec<_>>()
                .join(", "),
            Err(error) => format!("error: {}", error.why),
        };
        assert_eq!(found, expected, "{field:?}");
    }

    #[test]
    fn syntax() {
        check("", "");
        check("a", "a");
        check("a,b ,\n c,", "a, b, c");
        check("a|b | c (>=1)", "a | b | c (>= 1)");
        check("a(<<1:2-3)", "a (<< 1:2-3)");
        check("a (< 1), b (> 2)", "a (<= 1), b (>= 2)");
        check("python3:any ( >= 3.9 )", "python3:any (>= 3.9)");
        check(
            "libc6:amd64 (= 2) [amd64 !arm64]",
            "libc6:amd64 (= 2) [amd64 !arm64]",
        );
        check("libstdc++6", "libstdc++6");
    }

    #[test]
    fn errors() {
        check(
            "a (1)",
            "error: the version has no known operator, or is empty",
        );
        check(
            "a (>= )",
            "error: the version has no known operator, or is empty",
        );
        check("a (>= 1", "error: the parenthesis is not closed");
        check("a [amd64", "error: the bracket is not closed");
        check("a b", "error: something follows that is not known");
        check("a <!nocheck>", "error: something follows that is not known");
        check("a | | b", "error: it does not start with a package name");
        check(
            "a:",
            "error: the architecture after the colon is not a name",
        );
        check("é", "error: it does not start with a package name");
    }

    #[test]
    fn versions() {
        let accepts = |relation: &str, version| parse_one(relation).unwrap().accepts(version);
        assert!(accepts("a", "1"));
        assert!(accepts("a (>= 1)", "1") && !accepts("a (>= 1)", "1~rc"));
        assert!(accepts("a (>> 1)", "1.1") && !accepts("a (>> 1)", "1"));
        assert!(accepts("a (= 1)", "1-0") && !accepts("a (= 1)", "1-1"));
        assert!(accepts("a (<< 1)", "1~") && !accepts("a (<< 1)", "1"));
        assert!(accepts("a (<= 1)", "1") && !accepts("a (<= 1)", "1+b1"));
    }

    #[test]
    fn architecture_lists() {
        let applies =
            |list: &str, arch| parse_one(&format!("a [{list}]")).unwrap().applies_to(arch);
        assert!(applies("amd64 i386", "amd64") && !applies("amd64 i386", "arm64"));
        assert!(applies("!amd64", "arm64") && !applies("!amd64", "amd64"));
        assert!(applies("linux-any", "arm64") && applies("any", "arm64"));
        assert!(applies("any-arm64", "arm64") && !applies("any-amd64", "arm64"));
        assert!(!applies("hurd-any", "amd64") && !applies("kfreebsd-amd64", "amd64"));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[a-z0-9()<>=|,: \\[\\]!\u{e9}]{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn what_is_displayed_is_read_back(text in "[a-z][a-z0-9+.-]{1,8}(:any)?( \\((<<|<=|=|>=|>>) [0-9][0-9a-z.~]{0,5}\\))?( \\[!?[a-z]{2,6}\\])?") {
            prop_assert_eq!(parse_one(&text).unwrap().to_string(), text);
        }
    }
}
