//! Dictionaries, defaults and kinds.

use super::{Entries, Given, Table, arg, fail, int, list, map, of_list, of_map, string, text};
use gotmpl::Value;
use std::sync::Arc;

pub(super) const TABLE: Table = &[
    ("default", default),
    ("empty", |a| {
        Ok(Value::Bool(!arg(a, 0, "empty")?.is_truthy()))
    }),
    ("coalesce", |a| {
        Ok(a.iter()
            .find(|v| v.is_truthy())
            .cloned()
            .unwrap_or(Value::Nil))
    }),
    ("all", |a| Ok(Value::Bool(a.iter().all(Value::is_truthy)))),
    ("any", |a| Ok(Value::Bool(a.iter().any(Value::is_truthy)))),
    ("ternary", ternary),
    ("required", required),
    ("fail", |a| {
        Err(fail(format!("the chart refuses: {}", text(a.first()))))
    }),
    ("lookup", |_| of_map(Entries::new())),
    ("dict", dict),
    ("get", |a| {
        Ok(map(a.first())
            .get(text(a.get(1)).as_str())
            .cloned()
            .unwrap_or(string("")))
    }),
    ("hasKey", |a| {
        Ok(Value::Bool(
            map(a.first()).contains_key(text(a.get(1)).as_str()),
        ))
    }),
    ("keys", |a| {
        of_list(
            a.iter()
                .flat_map(|d| map(Some(d)).into_keys())
                .map(Value::String),
        )
    }),
    ("values", |a| of_list(map(a.first()).into_values())),
    ("pluck", |a| {
        let key = text(a.first());
        of_list(
            a.iter()
                .skip(1)
                .filter_map(|d| map(Some(d)).get(key.as_str()).cloned()),
        )
    }),
    ("pick", |a| {
        let keys: Vec<String> = a.iter().skip(1).map(|k| text(Some(k))).collect();
        of_map(
            map(a.first())
                .into_iter()
                .filter(|(k, _)| keys.iter().any(|n| **n == **k))
                .collect(),
        )
    }),
    ("omit", |a| {
        let keys: Vec<String> = a.iter().skip(1).map(|k| text(Some(k))).collect();
        of_map(
            map(a.first())
                .into_iter()
                .filter(|(k, _)| !keys.iter().any(|n| **n == **k))
                .collect(),
        )
    }),
    ("deepCopy", |a| Ok(copied(arg(a, 0, "deepCopy")?))),
    ("mustDeepCopy", |a| Ok(copied(arg(a, 0, "deepCopy")?))),
    ("dig", dig),
    ("kindOf", |a| Ok(string(kind(arg(a, 0, "kindOf")?)))),
    ("typeOf", |a| Ok(string(kind(arg(a, 0, "typeOf")?)))),
    ("kindIs", |a| {
        Ok(Value::Bool(text(a.first()) == kind(arg(a, 1, "kindIs")?)))
    }),
    ("typeIs", |a| {
        Ok(Value::Bool(text(a.first()) == kind(arg(a, 1, "typeIs")?)))
    }),
    ("deepEqual", |a| {
        Ok(Value::Bool(
            arg(a, 0, "deepEqual")? == arg(a, 1, "deepEqual")?,
        ))
    }),
];

fn default(args: &[Value]) -> Given {
    let given = args.get(1).filter(|value| value.is_truthy());
    Ok(given.unwrap_or(arg(args, 0, "default")?).clone())
}

fn ternary(args: &[Value]) -> Given {
    let at = if arg(args, 2, "ternary")?.is_truthy() {
        0
    } else {
        1
    };
    Ok(args[at].clone())
}

fn required(args: &[Value]) -> Given {
    match arg(args, 1, "required")? {
        Value::Nil => Err(fail(text(args.first()))),
        Value::String(empty) if empty.is_empty() => Err(fail(text(args.first()))),
        value => Ok(value.clone()),
    }
}

fn dict(args: &[Value]) -> Given {
    let pairs = args.chunks(2).map(|pair| {
        let value = pair.get(1).cloned().unwrap_or(string(""));
        (Arc::from(text(pair.first())), value)
    });
    of_map(pairs.collect())
}

/// The same value in dictionaries of its own.
fn copied(value: &Value) -> Value {
    match value {
        Value::List(items) => Value::List(items.iter().map(copied).collect()),
        Value::Map(entries) => {
            let entries = entries
                .iter()
                .map(|(key, value)| (key.clone(), copied(value)));
            Value::Map(Arc::new(entries.collect()))
        }
        value => value.clone(),
    }
}

/// `dig KEY… DEFAULT DICT`.
fn dig(args: &[Value]) -> Given {
    let [keys @ .., default, dict] = args else {
        return Err(fail("dig has too few arguments"));
    };
    let mut at = dict.clone();
    for key in keys {
        match map(Some(&at)).get(text(Some(key)).as_str()) {
            Some(value) => at = value.clone(),
            None => return Ok(default.clone()),
        }
    }
    Ok(at)
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "invalid",
        Value::Bool(_) => "bool",
        Value::Int(_) => "int",
        Value::Uint(_) => "uint",
        Value::Float(_) => "float64",
        Value::String(_) => "string",
        Value::List(_) => "slice",
        Value::Map(_) => "map",
        Value::Function(_) => "func",
    }
}

/// A value of a list by its number, as `first` and `last` want it.
pub(super) fn nth(value: Option<&Value>, at: usize) -> Value {
    list(value).get(at).cloned().unwrap_or(Value::Nil)
}

/// A number that is no length is none.
pub(super) fn length(value: Option<&Value>) -> usize {
    usize::try_from(int(value)).unwrap_or(0)
}
