//! Text that a machine sent, made fit for a terminal: it may hold nothing that moves the cursor or turns the line
//! around, whoever wrote it.

use serde_json::Value;

/// The text without control characters, and without those that only change how others are shown. What separates lines
/// or columns becomes a space.
pub fn plain(text: &str) -> String {
    let shown = text.chars().filter_map(|c| match c {
        '\n' | '\r' | '\t' | '\u{2028}' | '\u{2029}' => Some(' '),
        c if is_hidden(c) => None,
        c => Some(c),
    });
    shown.collect()
}

/// Every text of a document, keys too.
pub fn plain_document(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(plain(&text)),
        Value::Array(items) => items.into_iter().map(plain_document).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (plain(&name), plain_document(value)))
            .collect(),
        other => other,
    }
}

/// Control characters (Unicode's category Cc), and the marks of direction and width without a shape of their own.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{feff}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_moves_the_cursor() {
        for (text, expected) in [
            ("plain ä ✓", "plain ä ✓"),
            ("\u{1b}[2Jgone\u{7}", "[2Jgone"),
            ("\u{9b}31mred\u{7f}", "31mred"),
            ("one\r\ntwo\tthree", "one  two three"),
            ("\u{202e}abc\u{2066}", "abc"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
        let document = json!({ "a\u{1b}": ["\u{1b}x", 1, null], "b": { "c": "\u{85}y" } });
        let expected = json!({ "a": ["x", 1, null], "b": { "c": "y" } });
        assert_eq!(plain_document(document), expected);
    }
}
