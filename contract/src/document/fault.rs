//! What is wrong in a document, as people are told: file, line, caret, and what to do.

use crate::document::tree::Span;
use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1; 0 if the fault is not at a place in the text.
    pub line: usize,
    /// The column, counted from 1.
    pub column: usize,
    /// How many characters the caret underlines.
    pub width: usize,
    /// The line's text, without any secret; empty if there is none.
    pub excerpt: String,
    /// Where in `excerpt` the caret begins, counted from 0.
    pub caret: usize,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
}

/// Everything that is wrong with one document, in the order of its lines; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults {
    name: String,
    list: Vec<Fault>,
}

impl Faults {
    /// A fault of the document as a whole.
    pub fn whole(name: &str, message: impl Into<String>, hint: &str) -> Self {
        let fault = Fault {
            line: 0,
            column: 0,
            width: 0,
            excerpt: String::new(),
            caret: 0,
            message: message.into(),
            hint: Some(hint.to_owned()),
        };
        Faults {
            name: name.to_owned(),
            list: vec![fault],
        }
    }

    pub(super) fn sorted(name: &str, mut list: Vec<Fault>) -> Self {
        list.sort_by_key(|fault| (fault.line, fault.column));
        list.dedup();
        Faults {
            name: name.to_owned(),
            list,
        }
    }

    /// The document's name: a path, as far as there is one.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The faults, in the order of their lines.
    pub fn list(&self) -> &[Fault] {
        &self.list
    }
}

impl std::error::Error for Faults {}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, fault) in self.list.iter().enumerate() {
            if i > 0 {
                f.write_str("\n")?;
            }
            write_fault(f, &self.name, fault)?;
        }
        Ok(())
    }
}

fn write_fault(f: &mut fmt::Formatter<'_>, name: &str, fault: &Fault) -> fmt::Result {
    if fault.line == 0 {
        write!(f, "{name}: {}", fault.message)?;
    } else {
        write!(
            f,
            "{name}:{}:{}: {}",
            fault.line, fault.column, fault.message
        )?;
        let number = fault.line.to_string();
        let margin = " ".repeat(number.len());
        if !fault.excerpt.is_empty() {
            let (indent, carets) = (" ".repeat(fault.caret), "^".repeat(fault.width.max(1)));
            write!(
                f,
                "\n  {number} | {}\n  {margin} | {indent}{carets}",
                fault.excerpt
            )?;
        }
    }
    if let Some(hint) = &fault.hint {
        write!(f, "\n  hint: {hint}")?;
    }
    Ok(())
}

/// A fault before it is laid over the text.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    pub(super) span: Span,
    pub(super) message: String,
    pub(super) hint: Option<String>,
    /// Text that no excerpt may show, because it may be a secret in the wrong place.
    pub(super) hides: Option<Span>,
    /// Whether values may stand where no key of the schema points at them, so that no value may be shown.
    pub(super) obscures: bool,
}

impl Problem {
    pub(super) fn new(span: Span, message: impl Into<String>) -> Self {
        Problem {
            span,
            message: message.into(),
            hint: None,
            hides: None,
            obscures: false,
        }
    }

    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    pub(super) fn hides(mut self, span: Span) -> Self {
        self.hides = Some(span);
        self
    }

    pub(super) fn obscures(mut self) -> Self {
        self.obscures = true;
        self
    }
}
