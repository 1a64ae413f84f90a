//! Functions that change a dictionary in place, for an engine whose values never change.
//!
//! A new value for a variable is the same where nothing but that variable holds the dictionary. So
//! `{{ $_ := set $d "k" 1 }}` is read as `{{ $d = in_place_set $d "k" 1 }}`; and how many hold the dictionary is
//! counted when the function runs. Where others hold it too, as `.Values` holds what `$d := .Values.image` names,
//! they would go on with the old value: that is an error.

use super::{Entries, Given, Table, arg, fail, map, of_map, text};
use gotmpl::{TemplateError, Value};
use regex::{Captures, Regex};
use std::sync::{Arc, OnceLock};

/// What begins the names of functions whose result becomes their variable's value.
const PREFIX: &str = "in_place_";
/// Who holds a dictionary that nobody can look at any more: the function's argument.
const FRESH: usize = 1;
/// Who holds a variable's own dictionary: the variable, and the function's argument.
const OWN: usize = 2;

pub(super) const TABLE: Table = &[
    ("set", |a| set(a, FRESH)),
    ("unset", |a| unset(a, FRESH)),
    ("merge", |a| merged("merge", a, false, FRESH)),
    ("mustMerge", |a| merged("mustMerge", a, false, FRESH)),
    ("mergeOverwrite", |a| {
        merged("mergeOverwrite", a, true, FRESH)
    }),
    ("mustMergeOverwrite", |a| {
        merged("mustMergeOverwrite", a, true, FRESH)
    }),
    ("in_place_set", |a| set(a, OWN)),
    ("in_place_unset", |a| unset(a, OWN)),
    ("in_place_merge", |a| merged("merge", a, false, OWN)),
    ("in_place_mustMerge", |a| merged("mustMerge", a, false, OWN)),
    ("in_place_mergeOverwrite", |a| {
        merged("mergeOverwrite", a, true, OWN)
    }),
    ("in_place_mustMergeOverwrite", |a| {
        merged("mustMergeOverwrite", a, true, OWN)
    }),
];

/// Makes an assignment to a variable of what changes it in place: of actions `$_ := … set $d …`, and of those that
/// give `$d` the result of its own change.
pub(in crate::images::chart) fn assign_in_place(template: &str) -> String {
    static ACTION: OnceLock<Option<Regex>> = OnceLock::new();
    let pattern = r"(?s)\{\{(-?\s*)(\$\w+)\s*:?=(.*?)\}\}";
    let Some(action) = ACTION.get_or_init(|| Regex::new(pattern).ok()) else {
        return template.to_owned();
    };
    let assigned = |found: &Captures<'_>| {
        let assigned = assigned(&found[2], &found[3]);
        assigned.map_or(found[0].to_owned(), |action| {
            format!("{{{{{}{action}}}}}", &found[1])
        })
    };
    action.replace_all(template, assigned).into_owned()
}

/// The action `variable := pipeline`, if its last command changes a variable in place.
fn assigned(variable: &str, pipeline: &str) -> Option<String> {
    let start = last_command(pipeline)?;
    let (before, command) = pipeline.split_at(start);
    let mut words = command.split_ascii_whitespace();
    let (function, changed) = (words.next()?, words.next()?);
    let (_, rest) = command.split_once(changed)?;
    let (name, is_variable) = (changed.strip_prefix('$')?, |c: char| {
        c.is_alphanumeric() || c == '_'
    });
    let known = TABLE
        .iter()
        .any(|(name, _)| name.strip_prefix(PREFIX) == Some(function));
    let fits = known
        && !name.is_empty()
        && name.chars().all(is_variable)
        && (variable == "$_" || variable == changed);
    fits.then(|| format!("{changed} ={before} {PREFIX}{function} {changed}{rest}"))
}

/// Where the last command of a pipeline begins: after a `|` in no parentheses and no text. `None` if the pipeline
/// is not whole.
fn last_command(pipeline: &str) -> Option<usize> {
    let (mut start, mut depth, mut quote, mut escaped) = (0, 0_usize, None, false);
    for (at, c) in pipeline.char_indices() {
        match (quote, c) {
            (Some('"'), '\\') if !escaped => {
                escaped = true;
                continue;
            }
            (Some(open), c) if c == open && !escaped => quote = None,
            (Some(_), _) => {}
            (None, '"' | '`') => quote = Some(c),
            (None, '(') => depth += 1,
            (None, ')') => depth = depth.checked_sub(1)?,
            (None, '|') if depth == 0 => start = at + 1,
            (None, _) => {}
        }
        escaped = false;
    }
    (quote.is_none() && depth == 0).then_some(start)
}

fn refused(name: &str) -> TemplateError {
    fail(format!(
        "{name} changes a value in place that is no variable's own, which is not possible here: the chart would have \
         to change a copy (deepCopy)"
    ))
}

/// Whether others than `holders` hold the dictionary.
fn is_shared(value: Option<&Value>, holders: usize) -> bool {
    matches!(value, Some(Value::Map(entries)) if Arc::strong_count(entries) > holders)
}

fn set(args: &[Value], holders: usize) -> Given {
    let (mut entries, key) = (map(args.first()), text(args.get(1)));
    let value = arg(args, 2, "set")?;
    if is_shared(args.first(), holders) && entries.get(key.as_str()) != Some(value) {
        return Err(refused("set"));
    }
    entries.insert(key.into(), value.clone());
    of_map(entries)
}

fn unset(args: &[Value], holders: usize) -> Given {
    let mut entries = map(args.first());
    let removed = entries.remove(text(args.get(1)).as_str());
    if is_shared(args.first(), holders) && removed.is_some() {
        return Err(refused("unset"));
    }
    of_map(entries)
}

/// Later dictionaries fill what earlier ones lack, or go before them.
fn merged(name: &'static str, args: &[Value], overwrite: bool, holders: usize) -> Given {
    let mut result = map(args.first());
    let shared = is_shared(args.first(), holders);
    let mut merging = Merging {
        name,
        overwrite,
        visible: false,
        adopted: Vec::new(),
    };
    for other in args.iter().skip(1) {
        merging.visible = is_shared(Some(other), FRESH);
        if let Value::Map(other) = other {
            merging.add(&mut result, other, shared)?;
        }
    }
    of_map(result)
}

struct Merging {
    name: &'static str,
    overwrite: bool,
    /// Whether others see what comes from the dictionary that is being added.
    visible: bool,
    /// What came from such dictionaries: held once more, so that it counts as shared.
    adopted: Vec<Value>,
}

impl Merging {
    fn add(&mut self, to: &mut Entries, from: &Entries, shared: bool) -> Result<(), TemplateError> {
        for (key, value) in from {
            match (to.get_mut(key), value) {
                (Some(Value::Map(own)), Value::Map(other)) => {
                    // It is in the dictionary that is changed, and in the result.
                    let shared = shared || Arc::strong_count(own) > 2;
                    let mut inner = (**own).clone();
                    self.add(&mut inner, other, shared)?;
                    if inner != **own {
                        *own = Arc::new(inner);
                    }
                }
                (Some(own), _) if own.is_truthy() && !self.overwrite => {}
                (Some(own), value) if own == value => {}
                _ if shared => return Err(refused(self.name)),
                _ => {
                    if self.visible {
                        self.adopted.push(value.clone());
                    }
                    to.insert(key.clone(), value.clone());
                }
            }
        }
        Ok(())
    }
}
