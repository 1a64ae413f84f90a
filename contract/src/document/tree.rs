//! YAML text as a tree of nodes that know where they stand.
//!
//! Only what configuration needs of YAML 1.2 is accepted: one document of mappings with text keys, sequences
//! and scalars. Anchors, aliases, tags and second documents are faults, so that a node is read once and a
//! small file stays small. What a scalar means is decided later, by the schema: see [`super::check`].

use crate::document::fault::Problem;
use granit_parser::{Event, Parser, ScalarStyle, ScanError};

/// How deep mappings and sequences may nest; configuration needs fewer than ten.
const MAX_NESTING: usize = 48;

/// A place in the text: 1-based line, 0-based column in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Mark {
    pub(super) line: usize,
    pub(super) column: usize,
}

/// From the first character to the one after the last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) start: Mark,
    pub(super) end: Mark,
}

/// A value of the document.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) span: Span,
    pub(super) value: Value,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    /// Text, and whether it stands without quotes: only then it may mean a number, a truth value or nothing.
    Scalar {
        text: String,
        plain: bool,
    },
    Sequence(Vec<Node>),
    Mapping(Vec<Entry>),
}

/// One key of a mapping with its value.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_span: Span,
    pub(super) node: Node,
}

impl Node {
    /// Whether the value is absent: `key:`, `key: ~` or `key: null`.
    pub(super) fn is_null(&self) -> bool {
        let nothing = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar { text, plain: true } if nothing.contains(&text.as_str()))
    }

    /// From the value's first character to its last, over all that is nested in it.
    pub(super) fn extent(&self) -> Span {
        let last = match &self.value {
            Value::Scalar { .. } => None,
            Value::Sequence(items) => items.last(),
            Value::Mapping(entries) => entries.last().map(|entry| &entry.node),
        };
        let end = last.map_or(self.span.end, |node| node.extent().end.max(self.span.end));
        Span {
            start: self.span.start,
            end,
        }
    }
}

/// Why there is no tree at all.
pub(super) enum Unreadable {
    /// The text holds nothing but comments.
    Empty,
    /// The text is not YAML from this place on.
    Syntax(Box<Problem>),
}

/// Reads the text; duplicate keys and unsupported features are left out of the tree and added to `problems`.
pub(super) fn parse(text: &str, problems: &mut Vec<Problem>) -> Result<Node, Unreadable> {
    let options = granit_parser::options! {
        emit_comments: false,
        emit_unresolved_aliases: true,
        flow_nesting_limit: MAX_NESTING,
        block_nesting_limit: MAX_NESTING,
    };
    let parser = Parser::new_from_str_with_options(text, options);
    let mut reader = Reader {
        text,
        parser,
        problems,
    };
    let root = loop {
        match reader.next()? {
            Some((Event::DocumentStart(..), _)) => break reader.document()?,
            Some(_) => {}
            None => return Err(Unreadable::Empty),
        }
    };
    while let Some((event, span)) = reader.next()? {
        if let Event::DocumentStart(..) = event {
            let problem = Problem::new(span, "a second document begins here")
                .hint("keep one document in the file, and no line that is only ---")
                .obscures();
            reader.problems.push(problem);
            break;
        }
    }
    match root {
        Some(node) if node.is_null() => Err(Unreadable::Empty),
        Some(node) => Ok(node),
        None => Err(Unreadable::Empty),
    }
}

struct Reader<'t, 'p> {
    text: &'t str,
    parser: Parser<'t, granit_parser::StrInput<'t>>,
    problems: &'p mut Vec<Problem>,
}

impl<'t> Reader<'t, '_> {
    fn next(&mut self) -> Result<Option<(Event<'t>, Span)>, Unreadable> {
        match self.parser.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, from_parser(span)))),
            Some(Err(error)) => Err(Unreadable::Syntax(Box::new(syntax(self.text, &error)))),
        }
    }

    fn document(&mut self) -> Result<Option<Node>, Unreadable> {
        match self.next()? {
            Some((event, span)) => self.node(event, span),
            None => Ok(None),
        }
    }

    /// The node that `event` begins; nothing if it is one that is not supported.
    fn node(&mut self, event: Event<'t>, span: Span) -> Result<Option<Node>, Unreadable> {
        let (anchor, tagged) = match &event {
            Event::Scalar(_, _, anchor, tag)
            | Event::SequenceStart(_, anchor, tag)
            | Event::MappingStart(_, anchor, tag) => (*anchor != 0, tag.is_some()),
            _ => (false, false),
        };
        if anchor || tagged {
            let what = if anchor {
                "an anchor (&) is"
            } else {
                "a tag (!) is"
            };
            let problem = Problem::new(span.first_line(), format!("{what} not supported here"))
                .hint("write the value itself, or put it in quotes if it is meant as text")
                .obscures();
            self.problems.push(problem);
        }
        let value = match event {
            Event::Scalar(text, style, _, _) => {
                let plain = style == ScalarStyle::Plain;
                Value::Scalar {
                    text: text.into_owned(),
                    plain,
                }
            }
            Event::SequenceStart(..) => self.sequence()?,
            Event::MappingStart(..) => self.mapping()?,
            Event::Alias(_) | Event::UnresolvedAlias(_) => {
                let problem = Problem::new(span, "an alias (*) is not supported here")
                    .hint("write the value itself, or put it in quotes if it is meant as text")
                    .obscures();
                self.problems.push(problem);
                return Ok(None);
            }
            _ => return Ok(None),
        };
        Ok(Some(Node { span, value }))
    }

    fn sequence(&mut self) -> Result<Value, Unreadable> {
        let mut items = Vec::new();
        while let Some((event, span)) = self.next()? {
            if let Event::SequenceEnd = event {
                break;
            }
            items.extend(self.node(event, span)?);
        }
        Ok(Value::Sequence(items))
    }

    fn mapping(&mut self) -> Result<Value, Unreadable> {
        let mut entries: Vec<Entry> = Vec::new();
        while let Some((event, key_span)) = self.next()? {
            if let Event::MappingEnd = event {
                break;
            }
            let key = self.node(event, key_span)?;
            let Some((event, span)) = self.next()? else {
                break;
            };
            let node = self.node(event, span)?;
            let (Some(key), Some(node)) = (key, node) else {
                continue;
            };
            let Value::Scalar { text: key, .. } = key.value else {
                let problem =
                    Problem::new(key_span.first_line(), "a list or a mapping cannot be a key")
                        .hint("write KEY: VALUE with a plain word as the key")
                        .obscures();
                self.problems.push(problem);
                continue;
            };
            match entries.iter().find(|entry| entry.key == key) {
                Some(first) => {
                    let line = first.key_span.start.line;
                    let message = format!("this key was already given on line {line}");
                    let problem = Problem::new(key_span, message)
                        .hint("keep one of the two lines")
                        .hides(node.extent());
                    self.problems.push(problem);
                }
                None => entries.push(Entry {
                    key,
                    key_span,
                    node,
                }),
            }
        }
        Ok(Value::Mapping(entries))
    }
}

impl Span {
    /// The same start, one character wide: for values that reach over lines.
    pub(super) fn first_line(self) -> Span {
        Span {
            start: self.start,
            end: self.start,
        }
    }
}

fn from_parser(span: granit_parser::Span) -> Span {
    Span {
        start: from_marker(span.start),
        end: from_marker(span.end),
    }
}

fn from_marker(marker: granit_parser::Marker) -> Mark {
    Mark {
        line: marker.line(),
        column: marker.col(),
    }
}

fn syntax(text: &str, error: &ScanError) -> Problem {
    let mark = from_marker(*error.marker());
    let span = Span {
        start: mark,
        end: mark,
    };
    match tab(text, mark.line) {
        Some(tab) => Problem::new(
            Span {
                start: tab,
                end: tab,
            },
            "a tab begins this line",
        )
        .hint("tabs cannot indent YAML: use two spaces for each level"),
        None => {
            let problem = Problem::new(span, format!("this is not YAML: {}", error.info()));
            problem.hint(
                "a value with : # { [ & * ! or a leading quote in it needs quotes around the whole",
            )
        }
    }
}

/// The first tab in the indentation of a line up to `last`.
fn tab(text: &str, last: usize) -> Option<Mark> {
    text.lines().take(last).enumerate().find_map(|(i, line)| {
        let column = line
            .chars()
            .take_while(|c| c.is_whitespace())
            .position(|c| c == '\t')?;
        let content = line.trim_start();
        let counts = !content.is_empty() && !content.starts_with('#');
        counts.then_some(Mark {
            line: i + 1,
            column,
        })
    })
}
