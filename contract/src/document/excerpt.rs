//! The lines of a document as messages may show them: cropped, without control characters, without secrets.

use crate::document::fault::{Fault, Faults, Problem};
use crate::document::tree::{Mark, Span};

/// What stands for each hidden character.
const HIDDEN: char = '·';
/// Longest excerpt in characters.
const MAX_WIDTH: usize = 100;
/// No key and hardly any value has so many letters and digits in a row, and every key and token has.
const LONG: usize = 24;
/// How much of a cropped line stands before the caret.
const BEFORE: usize = 30;

/// The text with every secret hidden, line by line.
#[derive(Clone, Debug)]
pub(super) struct Excerpts {
    lines: Vec<Vec<char>>,
    /// The hidden words, for messages of others that may repeat them.
    secrets: Vec<String>,
}

impl Excerpts {
    /// Hides what stands in `hidden`.
    pub(super) fn new(text: &str, hidden: Vec<Span>) -> Self {
        let mut secrets = Vec::new();
        let mut lines: Vec<Vec<char>> = text.lines().map(|line| line.chars().collect()).collect();
        for (i, line) in lines.iter_mut().enumerate() {
            for span in &hidden {
                let (from, to) = columns(span, i + 1, line.len());
                let cell = &mut line[from..to];
                let word: String = cell
                    .iter()
                    .collect::<String>()
                    .trim()
                    .trim_matches(['"', '\''])
                    .into();
                if word.len() >= 4 && !word.contains(HIDDEN) {
                    secrets.push(word);
                }
                cell.iter_mut()
                    .filter(|c| !c.is_whitespace())
                    .for_each(|c| *c = HIDDEN);
            }
        }
        Excerpts { lines, secrets }
    }

    /// Hides what may be a secret wherever it stands: comments, since a secret that is commented out is still one
    /// (a `#` inside quotes is taken for one), and words as long as only secrets are.
    pub(super) fn cautious(mut self) -> Self {
        for line in &mut self.lines {
            let begins =
                |at: &usize| line[*at] == '#' && (*at == 0 || line[*at - 1].is_whitespace());
            if let Some(at) = (0..line.len()).find(begins) {
                let comment = line[at..].iter_mut();
                comment
                    .filter(|c| !c.is_whitespace())
                    .for_each(|c| *c = HIDDEN);
            }
            for word in line.split_mut(|c| !c.is_alphanumeric()) {
                if word.len() >= LONG {
                    word.fill(HIDDEN);
                }
            }
        }
        self
    }

    /// Hides every word but the known ones: for a text in which nobody can tell where a secret stands.
    pub(super) fn only_words(text: &str, known: &[&str]) -> Self {
        let hide = |line: &str| {
            let mut shown = Vec::new();
            let mut word = String::new();
            for c in line.chars().chain(['\n']) {
                if c.is_alphanumeric() {
                    word.push(c);
                    continue;
                }
                let keep = known.contains(&word.as_str());
                shown.extend(word.drain(..).map(|c| if keep { c } else { HIDDEN }));
                shown.push(c);
            }
            shown.pop();
            shown
        };
        Excerpts {
            lines: text.lines().map(hide).collect(),
            secrets: Vec::new(),
        }
    }

    /// A message of someone else, without the hidden words.
    pub(super) fn redact(&self, message: &str) -> String {
        let hide = |text: String, secret: &String| text.replace(secret.as_str(), "[redacted]");
        self.secrets.iter().fold(message.to_owned(), hide)
    }

    pub(super) fn faults(&self, name: &str, problems: Vec<Problem>) -> Faults {
        Faults::sorted(
            name,
            problems
                .into_iter()
                .map(|problem| self.fault(problem))
                .collect(),
        )
    }

    pub(super) fn fault(&self, problem: Problem) -> Fault {
        let mark = self.inside(problem.span.start);
        let empty = Vec::new();
        let line = self.lines.get(mark.line.wrapping_sub(1)).unwrap_or(&empty);
        let (_, end) = columns(
            &Span {
                start: mark,
                end: problem.span.end,
            },
            mark.line,
            line.len(),
        );
        let crop = if line.len() > MAX_WIDTH {
            mark.column.saturating_sub(BEFORE)
        } else {
            0
        };
        let printable = |c: &char| if c.is_control() { ' ' } else { *c };
        let excerpt: String = line
            .iter()
            .skip(crop)
            .take(MAX_WIDTH)
            .map(printable)
            .collect();
        let caret = mark.column - crop;
        Fault {
            line: mark.line,
            column: mark.column + 1,
            width: end
                .saturating_sub(mark.column)
                .clamp(1, MAX_WIDTH.saturating_sub(caret).max(1)),
            excerpt: excerpt.trim_end().to_owned(),
            caret,
            message: problem.message,
            hint: problem.hint,
        }
    }

    /// A place behind the last line is the end of the last line that says something.
    fn inside(&self, mark: Mark) -> Mark {
        let at = mark.line.clamp(1, self.lines.len().max(1));
        if mark.line > self.lines.len() {
            let said = |line: &Vec<char>| line.iter().any(|c| !c.is_whitespace());
            let last = self.lines.iter().rposition(said).unwrap_or(0);
            let column = self.lines.get(last).map_or(0, Vec::len);
            return Mark {
                line: last + 1,
                column,
            };
        }
        let length = self.lines.get(at - 1).map_or(0, Vec::len);
        Mark {
            line: at,
            column: mark.column.min(length),
        }
    }
}

/// The columns of line `number`, which has `length` characters, that `span` covers.
fn columns(span: &Span, number: usize, length: usize) -> (usize, usize) {
    if number < span.start.line || number > span.end.line {
        return (0, 0);
    }
    let from = if number == span.start.line {
        span.start.column.min(length)
    } else {
        0
    };
    let to = if number == span.end.line {
        span.end.column.min(length)
    } else {
        length
    };
    (from, to.max(from))
}
