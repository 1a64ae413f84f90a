//! The functions of Helm and Sprig that charts use, by subject. A name that is in no table is an error when the
//! template is read.

mod data;
mod encoding;
mod in_place;
mod lists;
mod numbers;
mod strings;

pub(super) use in_place::assign_in_place;

use gotmpl::{FuncMap, TemplateError, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a function gives.
pub(super) type Given = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> Given;
type Table = &'static [(&'static str, Function)];

/// All functions that need nothing but their arguments.
pub(super) fn table() -> FuncMap {
    let tables: [Table; 6] = [
        data::TABLE,
        encoding::TABLE,
        in_place::TABLE,
        lists::TABLE,
        numbers::TABLE,
        strings::TABLE,
    ];
    let mut functions = FuncMap::new();
    for (name, function) in tables.into_iter().flatten() {
        functions.insert((*name).to_owned(), Arc::new(*function));
    }
    functions
}

fn fail(why: impl Into<String>) -> TemplateError {
    TemplateError::Exec(why.into())
}

/// A text as a value.
pub(super) fn string(text: impl AsRef<str>) -> Value {
    Value::String(text.as_ref().into())
}

/// A value as Go prints it; nothing is the empty text.
pub(super) fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Nil) => String::new(),
        Some(Value::String(text)) => text.to_string(),
        Some(value) => value.to_string(),
    }
}

fn int(value: Option<&Value>) -> i64 {
    match value {
        Some(Value::Int(n)) => *n,
        Some(Value::Uint(n)) => i64::try_from(*n).unwrap_or(i64::MAX),
        // As Go converts: towards zero.
        Some(Value::Float(n)) => *n as i64,
        Some(Value::Bool(b)) => i64::from(*b),
        Some(Value::String(text)) => text.trim().parse().unwrap_or(0),
        _ => 0,
    }
}

fn float(value: Option<&Value>) -> f64 {
    match value {
        Some(Value::Float(n)) => *n,
        Some(Value::String(text)) => text.trim().parse().unwrap_or(0.0),
        value => int(value) as f64,
    }
}

/// An argument by its place; `name` is the function's.
fn arg<'a>(args: &'a [Value], at: usize, name: &str) -> Result<&'a Value, TemplateError> {
    args.get(at)
        .ok_or_else(|| fail(format!("{name} has too few arguments")))
}

fn list(value: Option<&Value>) -> &[Value] {
    match value {
        Some(Value::List(items)) => items,
        _ => &[],
    }
}

type Entries = BTreeMap<Arc<str>, Value>;

fn map(value: Option<&Value>) -> Entries {
    match value {
        Some(Value::Map(entries)) => (**entries).clone(),
        _ => Entries::new(),
    }
}

fn of_map(entries: Entries) -> Given {
    Ok(Value::Map(Arc::new(entries)))
}

fn of_list(items: impl IntoIterator<Item = Value>) -> Given {
    Ok(Value::List(items.into_iter().collect()))
}

/// A JSON value as templates see it.
pub(super) fn from_json(value: &serde_json::Value) -> Value {
    match value {
        serde_json::Value::Null => Value::Nil,
        serde_json::Value::Bool(b) => Value::Bool(*b),
        serde_json::Value::Number(n) => match (n.as_i64(), n.as_f64()) {
            (Some(n), _) => Value::Int(n),
            (None, Some(n)) => Value::Float(n),
            (None, None) => string(n.to_string()),
        },
        serde_json::Value::String(s) => string(s),
        serde_json::Value::Array(items) => Value::List(items.iter().map(from_json).collect()),
        serde_json::Value::Object(entries) => {
            let entries = entries
                .iter()
                .map(|(key, v)| (key.as_str().into(), from_json(v)));
            Value::Map(Arc::new(entries.collect()))
        }
    }
}

/// What templates see as JSON.
fn to_json(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil | Value::Function(_) => serde_json::Value::Null,
        Value::Bool(b) => (*b).into(),
        Value::Int(n) => (*n).into(),
        Value::Uint(n) => (*n).into(),
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 1e15 => (*n as i64).into(),
        Value::Float(n) => (*n).into(),
        Value::String(s) => s.to_string().into(),
        Value::List(items) => items.iter().map(to_json).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|(key, v)| (key.to_string(), to_json(v)));
            serde_json::Value::Object(entries.collect())
        }
    }
}
