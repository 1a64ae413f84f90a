//! Reference pages for people, generated from what programs use: schemas and the command line.
//!
//! A test compares them with `docs/`, so that they cannot drift.

use clap::Command;
use serde_json::Value;
use std::fmt::Write;

/// A page for a document: one section for each type, one row for each key.
pub fn document(title: &str, introduction: &str, schema: &Value) -> String {
    let mut page =
        format!("# {title}\n\n{introduction}\n\nThis page is generated from the schema.\n");
    section(&mut page, None, schema, schema);
    for (name, definition) in schema["$defs"].as_object().into_iter().flatten() {
        if definition.get("properties").is_some() {
            section(&mut page, Some(name), definition, schema);
        }
    }
    page
}

fn section(page: &mut String, name: Option<&str>, definition: &Value, schema: &Value) {
    let heading = name.map_or("The document".to_owned(), |name| {
        name.trim_end_matches("File").to_owned()
    });
    let about = definition["description"].as_str().unwrap_or_default();
    let required: Vec<&str> = definition["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let written = write!(
        page,
        "\n## {heading}\n\n{about}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
    );
    written.expect("writing to a String never fails");
    for (key, property) in definition["properties"].as_object().into_iter().flatten() {
        let default = match property.get("default") {
            _ if required.contains(&key.as_str()) => "required".to_owned(),
            None | Some(Value::Null) => String::new(),
            Some(value) => format!("`{value}`"),
        };
        let meaning = property["description"]
            .as_str()
            .unwrap_or_default()
            .replace('\n', " ")
            .replace('|', "\\|");
        let kind = kind(property, schema);
        writeln!(page, "| `{key}` | {kind} | {default} | {meaning} |")
            .expect("writing to a String never fails");
    }
}

/// What kind of value a property takes, in a few words.
fn kind(property: &Value, schema: &Value) -> String {
    if let Some(reference) = property["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        let target = &schema["$defs"][name];
        if target.get("properties").is_some() {
            let shown = name.trim_end_matches("File");
            return format!("[{shown}](#{})", shown.to_lowercase());
        }
        return kind(target, schema);
    }
    if let Some(choices) = property["anyOf"]
        .as_array()
        .or_else(|| property["oneOf"].as_array())
    {
        let kinds = choices
            .iter()
            .filter(|choice| choice["type"] != "null")
            .map(|choice| kind(choice, schema));
        return kinds.collect::<Vec<_>>().join(" or ");
    }
    if let Some(constant) = property.get("const") {
        return format!("`{constant}`");
    }
    if let Some(values) = property["enum"].as_array() {
        return values
            .iter()
            .map(|value| format!("`{value}`"))
            .collect::<Vec<_>>()
            .join(", ");
    }
    let types: Vec<&str> = match &property["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds
            .iter()
            .filter_map(Value::as_str)
            .filter(|kind| *kind != "null")
            .collect(),
        _ => Vec::new(),
    };
    match types.as_slice() {
        ["array"] => format!("list of {}", kind(&property["items"], schema)),
        ["object"] => match property.get("additionalProperties") {
            Some(values) if values.is_object() => format!("map to {}", kind(values, schema)),
            _ => "map".to_owned(),
        },
        ["string"] => "text".to_owned(),
        ["integer"] => "number".to_owned(),
        other => other.join(" or "),
    }
}

/// A page with the help of every subcommand.
pub fn command_line(mut command: Command) -> String {
    let mut page =
        String::from("# The command line\n\nThis page is generated from `seedbed --help`.\n");
    command = command.term_width(100).disable_help_subcommand(true);
    command.build();
    help(&mut page, &mut command, "");
    page
}

fn help(page: &mut String, command: &mut Command, parent: &str) {
    let name = format!("{parent}{}", command.get_name());
    let text = command.render_long_help().to_string();
    let lines: Vec<&str> = text.lines().map(str::trim_end).collect();
    let written = write!(page, "\n## {name}\n\n```text\n{}\n```\n", lines.join("\n"));
    written.expect("writing to a String never fails");
    for child in command.get_subcommands_mut() {
        help(page, child, &format!("{name} "));
    }
}
