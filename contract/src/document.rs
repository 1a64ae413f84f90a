//! Documents that people write: YAML text to a value, or everything that is wrong with it.
//!
//! `text -tree-> nodes with places -check-> value and faults`: serde stops at its first error and forgets
//! where it was, so a document is held against the JSON Schema of its type first, as a whole. What a schema
//! cannot say is checked by the caller, who hangs further faults on key paths by [`Document::fault`].
//!
//! A field with `writeOnly: true` in its schema is a secret. No excerpt, message or hint shows it, also not
//! when it stands in the wrong place or the text is not YAML.

mod check;
mod excerpt;
mod fault;
mod nearest;
mod tree;

use crate::document::excerpt::Excerpts;
use crate::document::fault::Problem;
use crate::document::tree::{Mark, Node, Span, Unreadable, Value};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;

pub use crate::document::fault::{Fault, Faults};
pub use crate::document::nearest::nearest;

/// Longest document in bytes.
pub const MAX_BYTES: usize = 1 << 20;

/// A value together with the text it was read from.
#[derive(Clone, Debug)]
pub struct Document<T> {
    /// The value, which fits its schema.
    pub value: T,
    name: String,
    root: Node,
    excerpts: Excerpts,
}

/// The bytes of a file as text; the fault says what an editor did to them.
pub fn text<'b>(name: &str, bytes: &'b [u8]) -> Result<&'b str, Faults> {
    let hint = "save the file as UTF-8 text";
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(Faults::whole(name, "the file is UTF-16", hint));
    }
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count();
        Faults::whole(name, format!("line {line} is not UTF-8"), hint)
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(text))
}

/// The line of the first carriage return that ends a line for YAML and not for anybody's editor, so that faults
/// would point at the wrong place.
fn lone_carriage_return(text: &str) -> Option<usize> {
    let at = text
        .match_indices('\r')
        .map(|(at, _)| at)
        .find(|at| !text[at + 1..].starts_with('\n'))?;
    Some(1 + text[..at].matches('\n').count())
}

/// Reads a document of type `T`; `name` stands in messages. The faults are all there are, except that what
/// follows a syntax error is not looked at.
pub fn parse<T: DeserializeOwned + JsonSchema>(
    name: &str,
    text: &str,
) -> Result<Document<T>, Faults> {
    if text.len() > MAX_BYTES {
        let message = format!(
            "the document has {} bytes, more than {MAX_BYTES}",
            text.len()
        );
        return Err(Faults::whole(name, message, "is this the right file?"));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if let Some(line) = lone_carriage_return(text) {
        return Err(Faults::whole(
            name,
            format!("line {line} has a carriage return that no line feed follows"),
            "save it with line ends of Unix (LF) or Windows (CRLF)",
        ));
    }
    let schema = schemars::schema_for!(T).to_value();
    let secrets = check::holds_secrets(&schema);
    let mut problems = Vec::new();
    let root = match tree::parse(text, &mut problems) {
        Ok(root) => root,
        Err(Unreadable::Empty) => {
            return Err(Faults::whole(
                name,
                "the document is empty",
                "its first line is version: 1",
            ));
        }
        Err(Unreadable::Syntax(problem)) => {
            problems.push(*problem);
            let excerpts = match secrets {
                true => Excerpts::only_words(text, &check::names(&schema)),
                false => Excerpts::new(text, Vec::new()),
            };
            return Err(excerpts.faults(name, problems));
        }
    };
    let (value, report) = check::lower(&schema, &root);
    let mut hidden = report.hidden;
    hidden.extend(problems.iter().filter_map(|problem| problem.hides));
    problems.extend(report.problems);
    let excerpts = match secrets {
        true if problems.iter().any(|problem| problem.obscures) => {
            Excerpts::only_words(text, &check::names(&schema))
        }
        true => Excerpts::new(text, hidden).cautious(),
        false => Excerpts::new(text, Vec::new()),
    };
    if !problems.is_empty() {
        return Err(excerpts.faults(name, problems));
    }
    match serde_json::from_value(value) {
        Ok(value) => Ok(Document {
            value,
            name: name.to_owned(),
            root,
            excerpts,
        }),
        Err(error) => {
            let problem = Problem::new(root.span.first_line(), excerpts.redact(&error.to_string()));
            Err(excerpts.faults(name, vec![problem]))
        }
    }
}

impl<T> Document<T> {
    /// A fault at a key path such as `cluster.secret` or `files[2].from`; keys that contain dots are found
    /// too. A path that the text does not spell out, because a default holds, points at what is there of it.
    pub fn fault(&self, path: &str, message: impl Into<String>, hint: Option<String>) -> Fault {
        let problem = Problem {
            hint,
            ..Problem::new(find(&self.root, path), message)
        };
        self.excerpts.fault(problem)
    }

    /// All faults found after parsing, in the order of their lines; none is success.
    pub fn faults(&self, list: Vec<Fault>) -> Result<(), Faults> {
        if list.is_empty() {
            Ok(())
        } else {
            Err(Faults::sorted(&self.name, list))
        }
    }

    /// The document's name, as given to [`parse`].
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Where the value at `path` stands; of a mapping or list, its key.
fn find(root: &Node, path: &str) -> Span {
    let (mut node, mut key, mut rest) = (root, root.span.first_line(), path);
    while !rest.is_empty() {
        match &node.value {
            Value::Mapping(entries) => {
                let fits = |after: &str| after.is_empty() || after.starts_with(['.', '[']);
                let found = entries
                    .iter()
                    .filter_map(|entry| Some((entry, rest.strip_prefix(entry.key.as_str())?)))
                    .filter(|(_, after)| fits(after))
                    .max_by_key(|(entry, _)| entry.key.len());
                let Some((entry, after)) = found else {
                    return key;
                };
                (node, key, rest) = (
                    &entry.node,
                    entry.key_span,
                    after.strip_prefix('.').unwrap_or(after),
                );
            }
            Value::Sequence(items) => {
                let index = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let found = index
                    .and_then(|(i, after)| Some((items.get(i.parse::<usize>().ok()?)?, after)));
                let Some((item, after)) = found else {
                    return key;
                };
                (node, key, rest) = (
                    item,
                    item.span.first_line(),
                    after.strip_prefix('.').unwrap_or(after),
                );
            }
            Value::Scalar { .. } => break,
        }
    }
    match &node.value {
        Value::Scalar { .. } if !node.is_null() && node.span.start != Mark::default() => node.span,
        _ => key,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "lowercase")]
    #[allow(dead_code)]
    enum Colour {
        /// Like the sky.
        Blue,
        /// Like grass.
        Green,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct Inner {
        /// Where to listen.
        port: u16,
        /// Known to friends.
        #[schemars(extend("writeOnly" = true))]
        secret: Option<String>,
    }

    #[derive(Debug, Deserialize, JsonSchema)]
    #[serde(rename_all = "camelCase", deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        /// Which one.
        name: String,
        inner: Option<Inner>,
        #[serde(default)]
        list: Vec<Colour>,
        #[serde(default)]
        more: BTreeMap<String, Inner>,
        #[serde(default)]
        switch: bool,
    }

    fn check(text: &str, expected: &str) {
        let faults = parse::<Outer>("test.yaml", text).expect_err("the text has faults");
        assert_eq!(faults.to_string(), expected.trim_matches('\n'), "{text}");
    }

    #[test]
    fn a_good_document_has_its_value_and_places() {
        let text = "name: 1.20\ninner: {port: 0x50}\nlist: [blue]\nmore:\n  a.b/c:\n    port: 81\n";
        let document = parse::<Outer>("test.yaml", text).unwrap();
        assert_eq!(document.value.name, "1.20");
        assert_eq!(document.value.inner.as_ref().unwrap().port, 80);
        let place = |path: &str| {
            let fault = document.fault(path, "x", None);
            (fault.line, fault.column, fault.width)
        };
        assert_eq!(place("name"), (1, 7, 4));
        assert_eq!(place("inner.port"), (2, 15, 4));
        assert_eq!(place("inner.secret"), (2, 1, 5));
        assert_eq!(place("list[0]"), (3, 8, 4));
        assert_eq!(place("more.a.b/c.port"), (6, 11, 2));
        assert_eq!(place("more.a.b/c"), (5, 3, 5));
        assert_eq!(place("switch").0, 1);
    }

    #[test]
    fn every_fault_is_reported_at_once() {
        check(
            "nmae: x\ninner:\n  prot: 1\nlist: [bleu, 3]\nmore: 7\nswitch: yes\n",
            "
test.yaml:1:1: unknown key
  1 | nmae: ·
    | ^^^^
  hint: did you mean name?
test.yaml:1:1: name is missing
  1 | nmae: ·
    | ^
  hint: name: Which one
test.yaml:2:1: port is missing in inner
  2 | inner:
    | ^^^^^
  hint: port: Where to listen
test.yaml:3:3: unknown key
  3 |   prot: ·
    |   ^^^^
  hint: did you mean port?
test.yaml:4:8: each of list must be one of: blue, green
  4 | list: [bleu, 3]
    |        ^^^^
  hint: did you mean blue?
test.yaml:4:14: each of list must be one of: blue, green
  4 | list: [bleu, 3]
    |              ^
test.yaml:5:7: more must be a mapping (KEY: VALUE), but is a number
  5 | more: ·
    |       ^
  hint: put KEY: VALUE lines below it, two spaces further in, with a space after each colon
test.yaml:6:9: switch must be true or false, but is text
  6 | switch: ···
    |         ^^^
",
        );
    }

    #[test]
    fn numbers_have_a_range() {
        check(
            "name: x\ninner: {port: 70000}\n",
            "
test.yaml:2:15: port must be a whole number from 0 to 65535, but is 70000
  2 | inner: {port: ·····}
    |               ^^^^^
",
        );
    }

    #[test]
    fn duplicate_keys_name_both_lines() {
        check(
            "name: x\nswitch: true\nname: y\n",
            "
test.yaml:3:1: this key was already given on line 1
  3 | name: ·
    | ^^^^
  hint: keep one of the two lines
",
        );
    }

    #[test]
    fn tabs_are_named() {
        check(
            "name: x\ninner:\n\tport: 80\n",
            "
test.yaml:3:1: a tab begins this line
  3 |  port: ··
    | ^
  hint: tabs cannot indent YAML: use two spaces for each level
",
        );
    }

    #[test]
    fn what_yaml_has_beyond_configuration_is_refused() {
        for text in [
            "name: &a x\n",
            "name: !b x\n",
            "name: x\nlist: *a\n",
            "name: x\n---\nname: y\n",
            "? [a]\n: b\n",
            "",
            "# nothing\n",
            "~",
            "- 1",
            "name:",
        ] {
            parse::<Outer>("test.yaml", text).expect_err(text);
        }
    }

    #[test]
    fn secrets_are_never_shown() {
        let secret = "hunter2hunter2hunter2";
        for text in [
            "name: x\ninner: {port: x, secret: hunter2hunter2hunter2}\n",
            "name: x\ninner: {port: 1, secrt: hunter2hunter2hunter2}\n",
            "name: x\ninner: {port: 1, secret: [hunter2hunter2hunter2]}\n",
            "name: x\ninner: {port: 1, secret: hunter2hunter2hunter2, secret: hunter2hunter2hunter2}\n",
            "name: x\ninner: hunter2hunter2hunter2\n",
            "name: x\ninner: [hunter2hunter2hunter2]\n",
            "name: x\ninner:\n  port: 1\n  hunter2hunter2hunter2: secret\n",
            "name: x\ninner:\n  port: 1\n  secret: \"hunter2hunter2hunter2\n",
            "name: x\ninner:\n  port: 1\n  secret: hunter2hunter2hunter2: x\n",
            "name: x\ninner:\n\tsecret: hunter2hunter2hunter2\n",
            "hunter2hunter2hunter2",
        ] {
            let shown = parse::<Outer>("test.yaml", text)
                .expect_err(text)
                .to_string();
            assert!(!shown.contains(secret), "{text}\n{shown}");
        }
    }

    #[test]
    fn editors_that_do_not_write_utf_8_are_named() {
        let shown = |bytes: &[u8]| text("s", bytes).expect_err("no UTF-8").to_string();
        assert!(shown(b"\xff\xfen\0").contains("UTF-16"));
        assert!(shown(b"a\nb\xff").contains("line 2 is not UTF-8"));
        assert_eq!(text("s", b"\xef\xbb\xbfname").unwrap(), "name");
    }
}
