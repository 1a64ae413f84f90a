//! The paragraph syntax of Debian's control files, borrowed from the text: no allocation per field.
//!
//! `name: value` lines form a paragraph, empty lines separate paragraphs, a line that starts with a space or
//! a tab continues the value before it, and a line that starts with `#` is a comment. What a field means is
//! for the caller. See deb-control(5) and Debian Policy, section 5.1.

use std::collections::BTreeSet;
use thiserror::Error;

/// What is wrong with the text.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Deb822Error {
    /// A line is neither a field, nor a continuation, nor a comment.
    #[error("line {line} is not a field: {text:?}")]
    NotAField {
        /// Counted from one.
        line: usize,
        /// The start of the line.
        text: String,
    },
    /// A continuation line comes before any field of its paragraph.
    #[error("line {line} continues a field, but none came before it")]
    Orphan {
        /// Counted from one.
        line: usize,
    },
}

/// One field: its name and its value, surrounding white space removed. A value of several lines keeps its line
/// breaks, and what indents or comments the further lines: see [`lines`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name as written.
    pub name: &'a str,
    /// The value.
    pub value: &'a str,
}

/// What [`Reader`] gives, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// A field of the current paragraph.
    Field(Field<'a>),
    /// The current paragraph, which had at least one field, is over.
    End,
}

/// Reads a text as a stream of fields and paragraph ends.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a str,
    line: usize,
    inside: bool,
}

impl<'a> Reader<'a> {
    /// From the start of `text`.
    pub fn new(text: &'a str) -> Self {
        Reader {
            rest: text,
            line: 0,
            inside: false,
        }
    }

    /// The number of the line read last, counted from one.
    pub fn line(&self) -> usize {
        self.line
    }

    fn take_line(&mut self) -> &'a str {
        let (line, rest) = self.rest.split_once('\n').unwrap_or((self.rest, ""));
        self.rest = rest;
        self.line += 1;
        line
    }

    fn field(&mut self, line: &'a str, start: &'a str) -> Result<Field<'a>, Deb822Error> {
        let (name, _) = line.split_once(':').ok_or_else(|| self.not_a_field(line))?;
        if name.is_empty() || name.bytes().any(|b| b.is_ascii_whitespace()) {
            return Err(self.not_a_field(line));
        }
        let mut end = line.len();
        // The value goes on while lines are indented; comments in between belong to it and are skipped by
        // whoever reads it line by line, but comments after it do not.
        let mut ahead = self.clone();
        while !ahead.rest.is_empty() {
            let next = ahead.take_line();
            let continues = next.starts_with([' ', '\t']) && !next.trim().is_empty();
            if continues {
                end = start.len() - ahead.rest.len();
                *self = ahead.clone();
            } else if !next.starts_with('#') {
                break;
            }
        }
        Ok(Field {
            name,
            value: start[name.len() + 1..end].trim(),
        })
    }

    fn not_a_field(&self, line: &str) -> Deb822Error {
        Deb822Error::NotAField {
            line: self.line,
            text: line.chars().take(60).collect(),
        }
    }
}

impl<'a> Iterator for Reader<'a> {
    type Item = Result<Event<'a>, Deb822Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.rest.is_empty() {
                return std::mem::take(&mut self.inside).then_some(Ok(Event::End));
            }
            let start = self.rest;
            let line = self.take_line();
            if line.starts_with('#') {
                continue;
            }
            if line.trim().is_empty() {
                if std::mem::take(&mut self.inside) {
                    return Some(Ok(Event::End));
                }
                continue;
            }
            if line.starts_with([' ', '\t']) {
                return Some(Err(Deb822Error::Orphan { line: self.line }));
            }
            self.inside = true;
            return Some(self.field(line, start).map(Event::Field));
        }
    }
}

/// All paragraphs of a text that is small enough to be held as lists.
pub fn paragraphs(text: &str) -> Result<Vec<Vec<Field<'_>>>, Deb822Error> {
    let mut all = Vec::new();
    let mut current = Vec::new();
    for event in Reader::new(text) {
        match event? {
            Event::Field(field) => current.push(field),
            Event::End => all.push(std::mem::take(&mut current)),
        }
    }
    Ok(all)
}

/// The value of the first field called `name`; names know no case.
pub fn get<'a>(paragraph: &[Field<'a>], name: &str) -> Option<&'a str> {
    let field = paragraph
        .iter()
        .find(|field| field.name.eq_ignore_ascii_case(name))?;
    Some(field.value)
}

/// The name of a field that comes a second time, if there is one; names know no case.
pub fn twice<'a>(paragraph: &[Field<'a>]) -> Option<&'a str> {
    let mut names = BTreeSet::new();
    let mut again = paragraph
        .iter()
        .filter(|field| !names.insert(field.name.to_ascii_lowercase()));
    again.next().map(|field| field.name)
}

/// The lines of a value, without indentation, comments and empty lines.
pub fn lines(value: &str) -> impl Iterator<Item = &str> {
    value
        .split('\n')
        .enumerate()
        .filter(|(i, line)| *i == 0 || !line.starts_with('#'))
        .map(|(_, line)| line.trim())
        .filter(|line| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(text: &str, expected: &[&[(&str, &str)]]) {
        let found = paragraphs(text).unwrap();
        let found: Vec<Vec<(&str, &str)>> = found
            .iter()
            .map(|fields| fields.iter().map(|f| (f.name, f.value)).collect())
            .collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn fields_and_paragraphs() {
        check("", &[]);
        check("\n\n", &[]);
        check("A: 1", &[&[("A", "1")]]);
        check("A: 1\nB:2\n", &[&[("A", "1"), ("B", "2")]]);
        check("\nA: 1\n\n\nB:\n", &[&[("A", "1")], &[("B", "")]]);
        check("A: 1\r\n\r\nB: 2\r\n", &[&[("A", "1")], &[("B", "2")]]);
        check("A: x:y\n \t\nB: 2", &[&[("A", "x:y")], &[("B", "2")]]);
    }

    #[test]
    fn continuation_lines_stay_in_the_value() {
        check(
            "A: 1\n 2\n\t3\nB: 4\n",
            &[&[("A", "1\n 2\n\t3"), ("B", "4")]],
        );
        check("A:\n 1\n", &[&[("A", "1")]]);
        check(
            "A: 1\n# no\n 2\n# end\nB: 3",
            &[&[("A", "1\n# no\n 2"), ("B", "3")]],
        );
        let found: Vec<&str> = lines("1\n# no\n 2\n\n  3 ").collect();
        assert_eq!(found, ["1", "2", "3"]);
    }

    #[test]
    fn errors_name_the_line() {
        let not_a_field = |line, text: &str| Deb822Error::NotAField {
            line,
            text: text.into(),
        };
        assert_eq!(paragraphs("A: 1\nrubbish"), Err(not_a_field(2, "rubbish")));
        assert_eq!(paragraphs("A: 1\nx y: 2"), Err(not_a_field(2, "x y: 2")));
        assert_eq!(paragraphs(": 1"), Err(not_a_field(1, ": 1")));
        assert_eq!(paragraphs("\n A: 1"), Err(Deb822Error::Orphan { line: 2 }));
    }

    proptest! {
        #[test]
        fn no_input_panics(text in "[A-Za-z:# \t\r\n\u{e9}]{0,200}") {
            let _ = paragraphs(&text);
        }

        #[test]
        fn written_fields_are_read_back(fields in prop::collection::vec(("[A-Z][a-z-]{0,8}", "[a-z0-9][a-z0-9 ]{0,8}[a-z]"), 1..8)) {
            let text: String = fields.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
            let read = paragraphs(&text).unwrap();
            let read: Vec<(String, String)> = read[0].iter().map(|f| (f.name.into(), f.value.into())).collect();
            prop_assert_eq!(read, fields);
        }
    }
}
