//! Numbers.

use super::{Given, Table, fail, float, int, string, text};
use gotmpl::Value;

pub(super) const TABLE: Table = &[
    ("int", |a| Ok(Value::Int(int(a.first())))),
    ("int64", |a| Ok(Value::Int(int(a.first())))),
    ("atoi", |a| Ok(Value::Int(int(a.first())))),
    ("float64", |a| Ok(Value::Float(float(a.first())))),
    ("toDecimal", |a| {
        Ok(Value::Int(
            i64::from_str_radix(&text(a.first()), 8).unwrap_or(0),
        ))
    }),
    ("add", |a| fold(a, 0, i64::wrapping_add)),
    ("add1", |a| Ok(Value::Int(int(a.first()).wrapping_add(1)))),
    ("sub", |a| {
        Ok(Value::Int(int(a.first()).wrapping_sub(int(a.get(1)))))
    }),
    ("mul", |a| fold(a, 1, i64::wrapping_mul)),
    ("div", |a| divide(a, i64::wrapping_div)),
    ("mod", |a| divide(a, i64::wrapping_rem)),
    ("max", |a| {
        Ok(Value::Int(
            a.iter().map(|v| int(Some(v))).max().unwrap_or(0),
        ))
    }),
    ("min", |a| {
        Ok(Value::Int(
            a.iter().map(|v| int(Some(v))).min().unwrap_or(0),
        ))
    }),
    ("addf", |a| {
        Ok(Value::Float(a.iter().map(|v| float(Some(v))).sum()))
    }),
    ("mulf", |a| {
        Ok(Value::Float(a.iter().map(|v| float(Some(v))).product()))
    }),
    ("subf", |a| {
        Ok(Value::Float(float(a.first()) - float(a.get(1))))
    }),
    ("divf", |a| {
        Ok(Value::Float(float(a.first()) / float(a.get(1))))
    }),
    ("floor", |a| Ok(Value::Float(float(a.first()).floor()))),
    ("ceil", |a| Ok(Value::Float(float(a.first()).ceil()))),
    ("round", |a| {
        let scale = 10_f64.powi(i32::try_from(int(a.get(1))).unwrap_or(0));
        Ok(Value::Float((float(a.first()) * scale).round() / scale))
    }),
    // Nothing of these may differ from one lock to the next, and no image depends on them.
    ("now", |_| Ok(string("1970-01-01T00:00:00Z"))),
    ("date", |_| Ok(string("1970-01-01"))),
    ("dateInZone", |_| Ok(string("1970-01-01"))),
    ("unixEpoch", |_| Ok(string("0"))),
];

fn fold(args: &[Value], start: i64, with: fn(i64, i64) -> i64) -> Given {
    Ok(Value::Int(
        args.iter().map(|v| int(Some(v))).fold(start, with),
    ))
}

fn divide(args: &[Value], with: fn(i64, i64) -> i64) -> Given {
    match int(args.get(1)) {
        0 => Err(fail("a division by zero")),
        by => Ok(Value::Int(with(int(args.first()), by))),
    }
}
