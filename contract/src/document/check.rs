//! The tree against a JSON Schema, as `schemars` derives it: the value, or every place that does not fit.
//!
//! This reads the part of JSON Schema that derived types use: `$ref`, `type`, `enum`, `const`, `properties`,
//! `required`, `additionalProperties`, `items`, `minimum`, `maximum`, `format` of integers, `anyOf`, `oneOf`,
//! `allOf`, and `writeOnly`, which marks secrets. The schema decides what a scalar without quotes means, so
//! that `1.20` is text where text is expected.

use crate::document::fault::Problem;
use crate::document::nearest::nearest;
use crate::document::tree::{Entry, Node, Span, Value};
use serde_json::{Map, Value as Json};

/// How deep `$ref` and alternatives may lead without a step in the tree; a type that needs more is a mistake.
const MAX_STEPS: usize = 32;

/// The outcome of a check.
#[derive(Default)]
pub(super) struct Report {
    /// Everything that does not fit.
    pub(super) problems: Vec<Problem>,
    /// Where secrets stand, or may stand.
    pub(super) hidden: Vec<Span>,
}

/// Lowers `node` to JSON by `root`; the value is meaningless if the report holds a problem.
pub(super) fn lower(root: &Json, node: &Node) -> (Json, Report) {
    let mut check = Check {
        root,
        report: Report::default(),
    };
    let place = Place {
        name: "",
        span: node.span.first_line(),
    };
    let value = check.lower(root, node, place, 0);
    (value, check.report)
}

/// The names of all properties in the schema.
pub(super) fn names(root: &Json) -> Vec<&str> {
    let mut names = Vec::new();
    walk(root, &mut |object| {
        let properties = object.get("properties").and_then(Json::as_object);
        names.extend(
            properties
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str),
        );
    });
    names
}

/// Whether the schema marks anything as secret.
pub(super) fn holds_secrets(root: &Json) -> bool {
    let mut found = false;
    walk(root, &mut |object| {
        found |= object.get("writeOnly") == Some(&Json::Bool(true))
    });
    found
}

fn walk<'s>(schema: &'s Json, visit: &mut impl FnMut(&'s Map<String, Json>)) {
    match schema {
        Json::Object(object) => {
            visit(object);
            object.values().for_each(|value| walk(value, visit));
        }
        Json::Array(items) => items.iter().for_each(|value| walk(value, visit)),
        _ => {}
    }
}

/// What a node is called in messages, and where to point if the node itself is empty.
#[derive(Clone, Copy)]
struct Place<'n> {
    name: &'n str,
    span: Span,
}

impl Place<'_> {
    fn subject(&self) -> String {
        if self.name.is_empty() {
            "the document".into()
        } else {
            self.name.into()
        }
    }
}

struct Check<'s> {
    root: &'s Json,
    report: Report,
}

impl<'s> Check<'s> {
    fn lower(&mut self, schema: &'s Json, node: &Node, place: Place<'_>, steps: usize) -> Json {
        let Some(object) = schema.as_object().filter(|_| steps < MAX_STEPS) else {
            return untyped(node);
        };
        if object.get("writeOnly") == Some(&Json::Bool(true)) {
            self.report.hidden.push(node.extent());
        }
        if let Some(target) = object.get("$ref").and_then(|name| self.resolve(name)) {
            return self.lower(target, node, place, steps + 1);
        }
        if let Some([one]) = object
            .get("allOf")
            .and_then(Json::as_array)
            .map(Vec::as_slice)
        {
            return self.lower(one, node, place, steps + 1);
        }
        if let Some(words) = self.words(object) {
            return self.word(&words, node, place);
        }
        let alternatives = object
            .get("anyOf")
            .or_else(|| object.get("oneOf"))
            .and_then(Json::as_array);
        if let Some(alternatives) = alternatives {
            return self.alternative(alternatives, node, place, steps);
        }
        match &node.value {
            Value::Mapping(entries) if allows(object, "object") => {
                self.mapping(object, entries, place)
            }
            Value::Sequence(items) if allows(object, "array") => {
                self.sequence(object, items, place)
            }
            Value::Scalar { text, plain } => match scalar(object, text, *plain, node.is_null()) {
                Ok(value) => value,
                Err(found) => self.misfit(object, node, place, found),
            },
            Value::Mapping(_) => self.misfit(object, node, place, "a mapping (KEY: VALUE)".into()),
            Value::Sequence(_) => self.misfit(object, node, place, "a list".into()),
        }
    }

    fn resolve(&self, name: &Json) -> Option<&'s Json> {
        self.root.pointer(name.as_str()?.strip_prefix('#')?)
    }

    fn mapping(
        &mut self,
        object: &'s Map<String, Json>,
        entries: &[Entry],
        place: Place<'_>,
    ) -> Json {
        let properties = object.get("properties").and_then(Json::as_object);
        let others = object
            .get("additionalProperties")
            .or_else(|| object.get("unevaluatedProperties"));
        let mut value = Map::new();
        for entry in entries {
            let inner = Place {
                name: &entry.key,
                span: entry.key_span,
            };
            let known = properties.and_then(|properties| properties.get(&entry.key));
            match (known, others) {
                (None, Some(Json::Bool(false))) => self.unknown(properties, entry),
                (Some(schema), _) | (None, Some(schema)) => {
                    value.insert(entry.key.clone(), self.lower(schema, &entry.node, inner, 0));
                }
                (None, None) => {
                    value.insert(entry.key.clone(), untyped(&entry.node));
                }
            }
        }
        let required = object
            .get("required")
            .and_then(Json::as_array)
            .into_iter()
            .flatten();
        for key in required.filter_map(Json::as_str) {
            if entries.iter().all(|entry| entry.key != key) {
                let schema = properties.and_then(|properties| properties.get(key));
                self.missing(key, schema, place);
            }
        }
        Json::Object(value)
    }

    fn unknown(&mut self, properties: Option<&Map<String, Json>>, entry: &Entry) {
        self.report.hidden.push(entry.node.extent());
        let known = || {
            properties
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str)
        };
        let near = nearest(&entry.key, known());
        // A word that resembles no key may be a secret in the wrong place.
        if near.is_none() && entry.key.chars().count() >= 16 {
            self.report.hidden.push(entry.key_span);
        }
        let hint = match near {
            Some(near) => format!("did you mean {near}?"),
            None => format!("known here: {}", known().collect::<Vec<_>>().join(", ")),
        };
        self.report
            .problems
            .push(Problem::new(entry.key_span, "unknown key").hint(hint));
    }

    fn missing(&mut self, key: &str, schema: Option<&Json>, place: Place<'_>) {
        let message = match place.name {
            "" => format!("{key} is missing"),
            name => format!("{key} is missing in {name}"),
        };
        let described = schema
            .and_then(|schema| schema.get("description"))
            .and_then(Json::as_str);
        let hint = match described {
            Some(text) => format!("{key}: {}", text.replace('\n', " ").trim_end_matches('.')),
            None => format!("write {key}: VALUE"),
        };
        self.report
            .problems
            .push(Problem::new(place.span, message).hint(hint));
    }

    fn sequence(
        &mut self,
        object: &'s Map<String, Json>,
        items: &[Node],
        place: Place<'_>,
    ) -> Json {
        let schema = object.get("items").unwrap_or(&Json::Bool(true));
        let name = format!("each of {}", place.subject());
        let mut values = Vec::new();
        for item in items {
            let inner = Place {
                name: &name,
                span: item.span.first_line(),
            };
            values.push(self.lower(schema, item, inner, 0));
        }
        Json::Array(values)
    }

    /// The words of an enumeration: `enum`, `const`, or alternatives that are nothing else.
    fn words(&self, object: &'s Map<String, Json>) -> Option<Vec<&'s str>> {
        if let Some(words) = object.get("enum").and_then(Json::as_array) {
            return words.iter().map(Json::as_str).collect();
        }
        if let Some(word) = object.get("const").and_then(Json::as_str) {
            return Some(vec![word]);
        }
        let alternatives = object.get("oneOf").and_then(Json::as_array)?;
        let mut words = Vec::new();
        for alternative in alternatives {
            words.extend(self.words(alternative.as_object()?)?);
        }
        Some(words)
    }

    fn word(&mut self, words: &[&str], node: &Node, place: Place<'_>) -> Json {
        if let Value::Scalar { text, .. } = &node.value
            && words.contains(&text.as_str())
        {
            return Json::String(text.clone());
        }
        let written = match &node.value {
            Value::Scalar { text, .. } => nearest(text, words.iter().copied()),
            Value::Sequence(_) | Value::Mapping(_) => None,
        };
        let message = format!("{} must be one of: {}", place.subject(), words.join(", "));
        let problem = Problem::new(pointed(node, place), message);
        self.report.problems.push(match written {
            Some(near) => problem.hint(format!("did you mean {near}?")),
            None => problem,
        });
        Json::Null
    }

    /// The first alternative that fits; else what is wrong with the one that fits best.
    fn alternative(
        &mut self,
        alternatives: &'s [Json],
        node: &Node,
        place: Place<'_>,
        steps: usize,
    ) -> Json {
        let mut best: Option<(usize, Json, Report)> = None;
        for schema in alternatives {
            let mut attempt = Check {
                root: self.root,
                report: Report::default(),
            };
            let value = attempt.lower(schema, node, place, steps + 1);
            let kind = usize::from(!self.same_kind(schema, node, steps));
            let score = kind * 1000 + attempt.report.problems.len();
            if best.as_ref().is_none_or(|(least, _, _)| score < *least) {
                best = Some((score, value, attempt.report));
            }
        }
        match best {
            Some((_, value, report)) => {
                self.report.problems.extend(report.problems);
                self.report.hidden.extend(report.hidden);
                value
            }
            None => untyped(node),
        }
    }

    fn same_kind(&self, schema: &'s Json, node: &Node, steps: usize) -> bool {
        let Some(object) = schema.as_object().filter(|_| steps < MAX_STEPS) else {
            return true;
        };
        if let Some(target) = object.get("$ref").and_then(|name| self.resolve(name)) {
            return self.same_kind(target, node, steps + 1);
        }
        match &node.value {
            Value::Mapping(_) => allows(object, "object"),
            Value::Sequence(_) => allows(object, "array"),
            Value::Scalar { .. } if node.is_null() => allows(object, "null"),
            Value::Scalar { .. } => ["string", "integer", "number", "boolean"]
                .iter()
                .any(|kind| allows(object, kind)),
        }
    }

    fn misfit(
        &mut self,
        object: &Map<String, Json>,
        node: &Node,
        place: Place<'_>,
        found: String,
    ) -> Json {
        // What does not belong here may be a secret that does not, and so may what is nested in it.
        if !allows(object, "string") || !matches!(node.value, Value::Scalar { .. }) {
            self.report.hidden.push(node.extent());
        }
        let subject = place.subject();
        let message = format!("{subject} must be {}, but is {found}", expected(object));
        let problem = Problem::new(pointed(node, place), message);
        self.report.problems.push(match advice(object, node) {
            Some(hint) => problem.hint(hint),
            None => problem,
        });
        Json::Null
    }
}

/// An empty value has no place of its own: its key is pointed at.
fn pointed(node: &Node, place: Place<'_>) -> Span {
    match &node.value {
        Value::Scalar { .. } if node.is_null() => place.span,
        Value::Scalar { .. } => node.span,
        Value::Sequence(_) | Value::Mapping(_) => node.span.first_line(),
    }
}

fn kinds(object: &Map<String, Json>) -> Vec<&str> {
    match object.get("type") {
        Some(Json::String(kind)) => vec![kind],
        Some(Json::Array(kinds)) => kinds.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// A schema without a type allows every kind.
fn allows(object: &Map<String, Json>, kind: &str) -> bool {
    let kinds = kinds(object);
    kinds.is_empty() || kinds.contains(&kind)
}

fn expected(object: &Map<String, Json>) -> String {
    let range = range(object);
    let name = |kind: &&str| match *kind {
        "object" => "a mapping (KEY: VALUE)".to_owned(),
        "array" => "a list".to_owned(),
        "string" => "text".to_owned(),
        "boolean" => "true or false".to_owned(),
        "integer" if range.0 == i128::MIN || range.1 == i128::MAX => "a whole number".to_owned(),
        "integer" => format!("a whole number from {} to {}", range.0, range.1),
        "number" => "a number".to_owned(),
        other => other.to_owned(),
    };
    let kinds = kinds(object);
    let names: Vec<String> = kinds
        .iter()
        .filter(|kind| **kind != "null")
        .map(name)
        .collect();
    names.join(" or ")
}

fn advice(object: &Map<String, Json>, node: &Node) -> Option<&'static str> {
    match &node.value {
        Value::Scalar { .. } if node.is_null() && allows(object, "array") => {
            Some("write [] for an empty list, or take the key away")
        }
        Value::Scalar { .. } if node.is_null() => Some("give a value, or take the key away"),
        Value::Scalar { .. } if allows(object, "array") => Some("write [VALUE] for a list of one"),
        Value::Scalar { plain: false, .. } => Some("write it without quotes"),
        Value::Scalar { .. } if allows(object, "object") => Some(
            "put KEY: VALUE lines below it, two spaces further in, with a space after each colon",
        ),
        Value::Scalar { .. } | Value::Sequence(_) | Value::Mapping(_) => None,
    }
}

/// Least and greatest value of an integer by its `format`, `minimum` and `maximum`.
fn range(object: &Map<String, Json>) -> (i128, i128) {
    let (low, high) = match object.get("format").and_then(Json::as_str) {
        Some("uint8") => (0, u8::MAX.into()),
        Some("uint16") => (0, u16::MAX.into()),
        Some("uint32") => (0, u32::MAX.into()),
        Some("uint64" | "uint") => (0, u64::MAX.into()),
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("int64" | "int") => (i64::MIN.into(), i64::MAX.into()),
        _ => (i128::MIN, i128::MAX),
    };
    let bound = |key: &str| {
        let bound = object.get(key)?;
        bound
            .as_i64()
            .map(i128::from)
            .or_else(|| bound.as_u64().map(i128::from))
    };
    (
        bound("minimum").map_or(low, |least| least.max(low)),
        bound("maximum").map_or(high, |most| most.min(high)),
    )
}

/// The scalar as the schema wants it, or the name of what it is instead.
fn scalar(object: &Map<String, Json>, text: &str, plain: bool, null: bool) -> Result<Json, String> {
    if kinds(object).is_empty() {
        return Ok(infer(text, plain, null));
    }
    if null {
        return if allows(object, "null") {
            Ok(Json::Null)
        } else {
            Err("empty".into())
        };
    }
    if plain
        && allows(object, "boolean")
        && let Some(value) = boolean(text)
    {
        return Ok(Json::Bool(value));
    }
    if plain
        && allows(object, "integer")
        && let Some(number) = integer(text)
    {
        let (least, most) = range(object);
        let value = u64::try_from(number)
            .map(Json::from)
            .or_else(|_| i64::try_from(number).map(Json::from));
        return match value {
            Ok(value) if (least..=most).contains(&number) => Ok(value),
            _ => Err(number.to_string()),
        };
    }
    if plain
        && allows(object, "number")
        && let Ok(number) = text.parse::<f64>()
    {
        return Ok(Json::from(number));
    }
    if allows(object, "string") {
        return Ok(Json::String(text.to_owned()));
    }
    Err(match infer(text, plain, null) {
        Json::Bool(_) => "true or false".into(),
        Json::Number(_) => "a number".into(),
        _ => "text".into(),
    })
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "true" | "True" | "TRUE" => Some(true),
        "false" | "False" | "FALSE" => Some(false),
        _ => None,
    }
}

fn integer(text: &str) -> Option<i128> {
    let parsed = match (text.strip_prefix("0x"), text.strip_prefix("0o")) {
        (Some(digits), _) if digits.starts_with(|c: char| c.is_ascii_hexdigit()) => {
            i128::from_str_radix(digits, 16)
        }
        (_, Some(digits)) if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            i128::from_str_radix(digits, 8)
        }
        _ => text.parse(),
    };
    parsed.ok()
}

/// A node that the schema says nothing about, by YAML's core schema.
fn untyped(node: &Node) -> Json {
    match &node.value {
        Value::Scalar { text, plain } => infer(text, *plain, node.is_null()),
        Value::Sequence(items) => Json::Array(items.iter().map(untyped).collect()),
        Value::Mapping(entries) => entries
            .iter()
            .map(|entry| (entry.key.clone(), untyped(&entry.node)))
            .collect(),
    }
}

fn infer(text: &str, plain: bool, null: bool) -> Json {
    if !plain {
        return Json::String(text.to_owned());
    }
    if null {
        return Json::Null;
    }
    let number = integer(text)
        .and_then(|number| i64::try_from(number).ok())
        .map(Json::from);
    let decimal = || {
        text.parse::<f64>()
            .ok()
            .filter(|number| number.is_finite())
            .map(Json::from)
    };
    boolean(text)
        .map(Json::Bool)
        .or(number)
        .or_else(decimal)
        .unwrap_or_else(|| Json::String(text.to_owned()))
}
