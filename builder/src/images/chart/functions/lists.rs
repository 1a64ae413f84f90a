//! Lists.

use super::data::{length, nth};
use super::{Given, Table, arg, fail, int, list, of_list, string, text};
use gotmpl::Value;

/// More numbers than any chart counts.
const MOST: i64 = 1 << 16;

pub(super) const TABLE: Table = &[
    ("list", |a| of_list(a.iter().cloned())),
    ("tuple", |a| of_list(a.iter().cloned())),
    ("first", |a| Ok(nth(a.first(), 0))),
    ("mustFirst", |a| Ok(nth(a.first(), 0))),
    ("last", |a| {
        Ok(list(a.first()).last().cloned().unwrap_or(Value::Nil))
    }),
    ("mustLast", |a| {
        Ok(list(a.first()).last().cloned().unwrap_or(Value::Nil))
    }),
    ("rest", |a| of_list(list(a.first()).iter().skip(1).cloned())),
    ("initial", |a| {
        let items = list(a.first());
        of_list(items[..items.len().saturating_sub(1)].iter().cloned())
    }),
    ("append", append),
    ("mustAppend", append),
    ("push", append),
    ("prepend", |a| {
        of_list(
            std::iter::once(arg(a, 1, "prepend")?)
                .chain(list(a.first()))
                .cloned(),
        )
    }),
    ("concat", |a| {
        of_list(a.iter().flat_map(|l| list(Some(l))).cloned())
    }),
    ("uniq", uniq),
    ("mustUniq", uniq),
    ("compact", |a| {
        of_list(list(a.first()).iter().filter(|v| v.is_truthy()).cloned())
    }),
    ("mustCompact", |a| {
        of_list(list(a.first()).iter().filter(|v| v.is_truthy()).cloned())
    }),
    ("without", |a| {
        of_list(
            list(a.first())
                .iter()
                .filter(|v| !a[1..].contains(v))
                .cloned(),
        )
    }),
    ("has", has),
    ("mustHas", has),
    ("reverse", |a| {
        of_list(list(a.first()).iter().rev().cloned())
    }),
    ("sortAlpha", |a| {
        let mut items: Vec<String> = list(a.first()).iter().map(|v| text(Some(v))).collect();
        items.sort();
        of_list(items.into_iter().map(string))
    }),
    ("toStrings", |a| {
        of_list(list(a.first()).iter().map(|v| string(text(Some(v)))))
    }),
    ("chunk", |a| {
        let items = list(a.get(1)).chunks(length(a.first()).max(1));
        of_list(items.map(|items| Value::List(items.to_vec().into())))
    }),
    ("until", |a| {
        count(0, int(a.first()), if int(a.first()) < 0 { -1 } else { 1 })
    }),
    ("untilStep", |a| {
        count(int(a.first()), int(a.get(1)), int(a.get(2)))
    }),
    ("seq", seq),
];

fn append(args: &[Value]) -> Given {
    of_list(
        list(args.first())
            .iter()
            .chain([arg(args, 1, "append")?])
            .cloned(),
    )
}

fn uniq(args: &[Value]) -> Given {
    let mut seen: Vec<Value> = Vec::new();
    for item in list(args.first()) {
        if !seen.contains(item) {
            seen.push(item.clone());
        }
    }
    of_list(seen)
}

fn has(args: &[Value]) -> Given {
    Ok(Value::Bool(
        list(args.get(1)).contains(arg(args, 0, "has")?),
    ))
}

fn numbers(start: i64, end: i64, step: i64) -> Result<Vec<i64>, gotmpl::TemplateError> {
    let mut found = Vec::new();
    let mut at = start;
    while step != 0 && ((step > 0 && at < end) || (step < 0 && at > end)) {
        found.push(at);
        at = at.saturating_add(step);
        if found.len() as i64 > MOST {
            return Err(fail(format!("a list of more than {MOST} numbers")));
        }
    }
    Ok(found)
}

fn count(start: i64, end: i64, step: i64) -> Given {
    of_list(numbers(start, end, step)?.into_iter().map(Value::Int))
}

/// As the program `seq`: numbers with spaces between them, both ends included.
fn seq(args: &[Value]) -> Given {
    let number = |at: usize| int(args.get(at));
    let (start, step, end) = match args.len() {
        1 => (1, if number(0) < 1 { -1 } else { 1 }, number(0)),
        2 => (
            number(0),
            if number(1) < number(0) { -1 } else { 1 },
            number(1),
        ),
        _ => (number(0), number(1), number(2)),
    };
    let all = numbers(start, end.saturating_add(step.signum()), step)?;
    let all: Vec<String> = all.iter().map(i64::to_string).collect();
    Ok(string(all.join(" ")))
}
