//! Texts.

use super::{Entries, Given, Table, arg, fail, int, list, of_list, of_map, string, text};
use gotmpl::Value;
use regex::Regex;

pub(super) const TABLE: Table = &[
    ("toString", |a| Ok(string(text(a.first())))),
    ("quote", |a| {
        joined(a, |t| serde_json::Value::from(t).to_string())
    }),
    ("squote", |a| joined(a, |t| format!("'{t}'"))),
    ("trim", |a| Ok(string(text(a.first()).trim()))),
    ("trimAll", |a| {
        let chars = text(a.first());
        Ok(string(text(a.get(1)).trim_matches(|c| chars.contains(c))))
    }),
    ("trimSuffix", |a| {
        let (end, all) = (text(a.first()), text(a.get(1)));
        Ok(string(all.strip_suffix(&end).unwrap_or(&all)))
    }),
    ("trimPrefix", |a| {
        let (start, all) = (text(a.first()), text(a.get(1)));
        Ok(string(all.strip_prefix(&start).unwrap_or(&all)))
    }),
    ("upper", |a| Ok(string(text(a.first()).to_uppercase()))),
    ("lower", |a| Ok(string(text(a.first()).to_lowercase()))),
    ("title", |a| Ok(string(capital(&text(a.first()))))),
    ("camelcase", |a| {
        Ok(string(
            text(a.first())
                .split(['_', '-'])
                .map(capital)
                .collect::<String>(),
        ))
    }),
    ("snakecase", |a| {
        Ok(string(separated(&text(a.first()), '_')))
    }),
    ("kebabcase", |a| {
        Ok(string(separated(&text(a.first()), '-')))
    }),
    ("replace", |a| {
        Ok(string(
            text(a.get(2)).replace(&text(a.first()), &text(a.get(1))),
        ))
    }),
    ("contains", |a| {
        Ok(Value::Bool(text(a.get(1)).contains(&text(a.first()))))
    }),
    ("hasPrefix", |a| {
        Ok(Value::Bool(text(a.get(1)).starts_with(&text(a.first()))))
    }),
    ("hasSuffix", |a| {
        Ok(Value::Bool(text(a.get(1)).ends_with(&text(a.first()))))
    }),
    ("indent", |a| {
        Ok(string(indented(int(a.first()), &text(a.get(1)))))
    }),
    ("nindent", |a| {
        Ok(string(format!(
            "\n{}",
            indented(int(a.first()), &text(a.get(1)))
        )))
    }),
    ("repeat", |a| {
        let times = usize::try_from(int(a.first())).unwrap_or(0).min(1 << 16);
        Ok(string(text(a.get(1)).repeat(times)))
    }),
    ("cat", |a| {
        let all: Vec<String> = a
            .iter()
            .filter(|v| !matches!(v, Value::Nil))
            .map(|v| text(Some(v)))
            .collect();
        Ok(string(all.join(" ")))
    }),
    ("trunc", trunc),
    ("substr", |a| {
        let (start, end, all) = (int(a.first()), int(a.get(1)), text(a.get(2)));
        let at = |n: i64| usize::try_from(n).unwrap_or(all.len()).min(all.len());
        let start = if start < 0 { 0 } else { at(start) };
        Ok(string(
            all.get(start..at(end).max(start)).unwrap_or_default(),
        ))
    }),
    ("join", |a| {
        let items = list(a.get(1)).iter().filter(|v| !matches!(v, Value::Nil));
        let items: Vec<String> = items.map(|v| text(Some(v))).collect();
        Ok(string(match a.get(1) {
            Some(Value::List(_)) => items.join(&text(a.first())),
            other => text(other),
        }))
    }),
    ("splitList", |a| {
        of_list(pieces(&text(a.first()), &text(a.get(1))).map(string))
    }),
    ("split", |a| {
        numbered(pieces(&text(a.first()), &text(a.get(1))).collect())
    }),
    ("splitn", |a| {
        let n = usize::try_from(int(a.get(1))).unwrap_or(0);
        let (by, all) = (text(a.first()), text(a.get(2)));
        numbered(all.splitn(n, by.as_str()).map(str::to_owned).collect())
    }),
    ("nospace", |a| {
        Ok(string(
            text(a.first()).split_whitespace().collect::<String>(),
        ))
    }),
    ("regexMatch", |a| {
        Ok(Value::Bool(pattern(a)?.is_match(&text(a.get(1)))))
    }),
    ("mustRegexMatch", |a| {
        Ok(Value::Bool(pattern(a)?.is_match(&text(a.get(1)))))
    }),
    ("regexFind", |a| {
        let all = text(a.get(1));
        Ok(string(pattern(a)?.find(&all).map_or("", |m| m.as_str())))
    }),
    ("regexFindAll", |a| {
        let (all, most) = (
            text(a.get(1)),
            usize::try_from(int(a.get(2))).unwrap_or(usize::MAX),
        );
        of_list(
            pattern(a)?
                .find_iter(&all)
                .take(most)
                .map(|m| string(m.as_str())),
        )
    }),
    ("regexReplaceAll", regex_replace),
    ("mustRegexReplaceAll", regex_replace),
    ("regexReplaceAllLiteral", |a| {
        let with = text(a.get(2));
        Ok(string(
            pattern(a)?.replace_all(&text(a.get(1)), regex::NoExpand(&with)),
        ))
    }),
    ("regexSplit", |a| {
        let (all, most) = (text(a.get(1)), int(a.get(2)));
        let found = pattern(a)?;
        match usize::try_from(most) {
            Ok(most) => of_list(found.splitn(&all, most).map(string)),
            Err(_) => of_list(found.split(&all).map(string)),
        }
    }),
    ("regexQuoteMeta", |a| {
        Ok(string(regex::escape(&text(a.first()))))
    }),
    ("semverCompare", semver_compare),
    ("semver", |a| {
        let (major, minor, patch, rest) = version(&text(a.first()))?;
        let entries = [("Major", major), ("Minor", minor), ("Patch", patch)];
        let mut map: Entries = entries
            .iter()
            .map(|(k, n)| ((*k).into(), Value::Int(*n)))
            .collect();
        map.insert("Prerelease".into(), string(rest));
        of_map(map)
    }),
];

fn joined(args: &[Value], with: fn(&str) -> String) -> Given {
    let all = args.iter().filter(|v| !matches!(v, Value::Nil));
    let all: Vec<String> = all.map(|v| with(&text(Some(v)))).collect();
    Ok(string(all.join(" ")))
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>());
    first.unwrap_or_default() + chars.as_str()
}

fn separated(words: &str, by: char) -> String {
    let mut found = String::new();
    for c in words.chars() {
        match c {
            '_' | '-' | ' ' => found.push(by),
            c if c.is_uppercase() && !found.is_empty() && !found.ends_with(by) => {
                found.push(by);
                found.extend(c.to_lowercase());
            }
            c => found.extend(c.to_lowercase()),
        }
    }
    found
}

fn indented(by: i64, all: &str) -> String {
    let space = " ".repeat(usize::try_from(by).unwrap_or(0).min(1 << 10));
    space.clone() + &all.replace('\n', &format!("\n{space}"))
}

/// A negative length counts from the end.
fn trunc(args: &[Value]) -> Given {
    let (n, all) = (int(args.first()), text(args.get(1)));
    let size = usize::try_from(n.unsigned_abs())
        .unwrap_or(usize::MAX)
        .min(all.len());
    let cut = match n < 0 {
        true => all.get(all.len() - size..),
        false => all.get(..size),
    };
    Ok(string(cut.ok_or_else(|| {
        fail("trunc would cut a character in two")
    })?))
}

fn pieces<'a>(by: &'a str, all: &'a str) -> impl Iterator<Item = String> + use<> {
    let found: Vec<String> = match by {
        "" => all.chars().map(String::from).collect(),
        by => all.split(by).map(str::to_owned).collect(),
    };
    found.into_iter()
}

/// As Sprig gives pieces: `_0`, `_1`, …
fn numbered(pieces: Vec<String>) -> Given {
    let pieces = pieces.into_iter().enumerate();
    of_map(
        pieces
            .map(|(i, piece)| (format!("_{i}").into(), string(piece)))
            .collect(),
    )
}

fn pattern(args: &[Value]) -> Result<Regex, gotmpl::TemplateError> {
    let pattern = text(args.first());
    Regex::new(&pattern).map_err(|_| fail(format!("{pattern:?} is no regular expression")))
}

/// Go writes a group as `$1` or `${1}`; Rust takes the letters after `$1` for its name, as Go does.
fn regex_replace(args: &[Value]) -> Given {
    let with = text(Some(arg(args, 2, "regexReplaceAll")?));
    Ok(string(
        pattern(args)?.replace_all(&text(args.get(1)), with.as_str()),
    ))
}

type Version = (i64, i64, i64, String);

fn version(given: &str) -> Result<Version, gotmpl::TemplateError> {
    let bad = || fail(format!("{given:?} is no version"));
    let plain = given.trim().trim_start_matches('v');
    let plain = plain.split('+').next().unwrap_or_default();
    let (numbers, rest) = plain.split_once('-').unwrap_or((plain, ""));
    let mut numbers = numbers.split('.');
    let mut next = || match numbers.next() {
        None | Some("x" | "X" | "*") => Ok(0),
        Some(n) => n.parse::<i64>().map_err(|_| bad()),
    };
    Ok((next()?, next()?, next()?, rest.to_owned()))
}

/// `semverCompare ">=1.20-0, <2" VERSION`: `||` between sets, all of a set have to hold.
fn semver_compare(args: &[Value]) -> Given {
    let (constraint, given) = (text(args.first()), text(args.get(1)));
    let found = version(&given)?;
    let operators = Regex::new(r"(>=|<=|!=|>|<|=|~|\^)\s+").map_err(|_| fail("semver"))?;
    for set in constraint.split("||") {
        let set = operators.replace_all(set.trim(), "$1");
        let mut holds = true;
        for one in set.split([',', ' ']).filter(|one| !one.is_empty()) {
            holds &= holds_one(one, &found)?;
        }
        if holds {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

fn holds_one(constraint: &str, found: &Version) -> Result<bool, gotmpl::TemplateError> {
    let end = constraint.find(|c: char| c.is_ascii_alphanumeric() || c == '*');
    let (operator, wanted) = constraint.split_at(end.unwrap_or(constraint.len()));
    if wanted == "*" {
        return Ok(true);
    }
    let parts = wanted
        .trim_start_matches('v')
        .split(['-', '+'])
        .next()
        .unwrap_or_default();
    let given = parts
        .split('.')
        .filter(|p| !matches!(*p, "x" | "X" | "*"))
        .count();
    let wanted = version(wanted)?;
    // A release that is not out counts only where the constraint names one, too.
    if !found.3.is_empty() && wanted.3.is_empty() {
        return Ok(false);
    }
    let numbers = |v: &Version| (v.0, v.1, v.2);
    let (have, want) = (numbers(found), numbers(&wanted));
    let before = have < want || (have == want && !found.3.is_empty() && wanted.3.is_empty());
    Ok(match operator {
        ">=" | "=>" => !before,
        ">" => have > want,
        "<" => before,
        "<=" | "=<" => have <= want,
        "!=" => have != want,
        "~" | "~>" => !before && have.0 == want.0 && (given < 2 || have.1 == want.1),
        "^" => match (want.0, want.1) {
            (0, 0) if given > 2 => have == want,
            (0, minor) if given > 1 => !before && have.0 == 0 && have.1 == minor,
            (major, _) => !before && have.0 == major,
        },
        "" | "=" => match given {
            0 => true,
            1 => have.0 == want.0,
            2 => (have.0, have.1) == (want.0, want.1),
            _ => have == want && found.3 == wanted.3,
        },
        other => return Err(fail(format!("{other:?} compares no versions"))),
    })
}
