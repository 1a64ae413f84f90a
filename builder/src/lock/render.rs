//! The lock as text: JSON, sorted, one entry a line, so that two locks can be compared with `diff`.

use crate::lock::Lock;
use serde_json::Value;

/// The lock's text. Equal locks give equal bytes.
pub fn render(lock: &Lock) -> String {
    document(&serde_json::to_value(lock).expect("a lock is plain data"))
}

/// Any value in the form of a lock.
pub fn document(value: &Value) -> String {
    let mut text = String::new();
    write(value, 0, &mut text);
    text.push('\n');
    text
}

/// A value without further lists or maps of maps stands on one line.
fn write(value: &Value, depth: usize, text: &mut String) {
    let (open, close, children): (char, char, Vec<(Option<&String>, &Value)>) = match value {
        Value::Object(map) if !is_leaf(value) => (
            '{',
            '}',
            map.iter().map(|(key, child)| (Some(key), child)).collect(),
        ),
        Value::Array(list) if !is_leaf(value) => {
            ('[', ']', list.iter().map(|child| (None, child)).collect())
        }
        leaf => return text.push_str(&leaf.to_string()),
    };
    text.push(open);
    for (i, (key, child)) in children.iter().enumerate() {
        text.push_str(if i == 0 { "\n" } else { ",\n" });
        text.push_str(&"  ".repeat(depth + 1));
        if let Some(key) = key {
            text.push_str(&Value::String((*key).clone()).to_string());
            text.push_str(": ");
        }
        write(child, depth + 1, text);
    }
    text.push('\n');
    text.push_str(&"  ".repeat(depth));
    text.push(close);
}

fn is_leaf(value: &Value) -> bool {
    let scalar = |child: &Value| !child.is_object() && !child.is_array();
    match value {
        Value::Object(map) => map.values().all(scalar),
        Value::Array(list) => list.iter().all(scalar),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_a_line() {
        let value =
            serde_json::json!({"b": [{"y": 1, "x": [1, 2]}, {"z": 2}], "a": [], "c": ["p", "q"]});
        let mut text = String::new();
        write(&value, 0, &mut text);
        let expected = "{\n  \"a\": [],\n  \"b\": [\n    {\n      \"x\": [1,2],\n      \"y\": 1\n    },\n    {\"z\":2}\n  ],\n  \"c\": [\"p\",\"q\"]\n}";
        assert_eq!(text, expected);
    }
}
