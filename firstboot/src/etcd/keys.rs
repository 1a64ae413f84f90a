//! Keys of our own in etcd, beside those of Kubernetes.

use anyhow::{Context, Result};
use data_encoding::BASE64;
use serde_json::{Value, json};

use super::Client;

/// Some keys, as they were at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// The moment: etcd's revision.
    pub revision: i64,
    /// Each key without the prefix, and its value.
    pub values: Vec<(String, Vec<u8>)>,
}

impl Client<'_> {
    /// Every key that begins with `prefix`, as a quorum knows them.
    pub fn keys(&self, prefix: &str) -> Result<Keys> {
        let question = json!({ "key": text(prefix), "range_end": end(prefix) });
        let answer = self
            .question("/v3/kv/range", &question)
            .with_context(|| format!("reading the keys {prefix} of etcd"))?;
        read(&answer, prefix).with_context(|| format!("reading the keys {prefix} of etcd"))
    }

    /// Sets a key, if no key that begins with `prefix` was set since `revision`. Says whether it did.
    pub fn set(&self, prefix: &str, revision: i64, key: &str, value: &[u8]) -> Result<bool> {
        let question = json!({
            "compare": [{
                "key": text(prefix),
                "range_end": end(prefix),
                "target": "MOD",
                "result": "LESS",
                "mod_revision": revision.saturating_add(1).to_string(),
            }],
            "success": [{
                "request_put": { "key": text(&format!("{prefix}{key}")), "value": BASE64.encode(value) },
            }],
        });
        let answer = self
            .question("/v3/kv/txn", &question)
            .with_context(|| format!("setting {prefix}{key} in etcd"))?;
        Ok(answer["succeeded"] == true)
    }
}

fn read(answer: &Value, prefix: &str) -> Result<Keys> {
    let bytes = |value: &Value| {
        value
            .as_str()
            .and_then(|text| BASE64.decode(text.as_bytes()).ok())
    };
    let revision = answer["header"]["revision"].as_str();
    let mut keys = Keys {
        revision: revision
            .and_then(|text| text.parse().ok())
            .context("the answer has no revision")?,
        values: Vec::new(),
    };
    for pair in answer["kvs"].as_array().into_iter().flatten() {
        let key = bytes(&pair["key"]).context("a key is no base64")?;
        let key = String::from_utf8(key).context("a key is no text")?;
        let name = key
            .strip_prefix(prefix)
            .context("a key has another prefix")?;
        // An empty value is left out.
        let value = bytes(&pair["value"]).unwrap_or_default();
        keys.values.push((name.to_owned(), value));
    }
    Ok(keys)
}

fn text(key: &str) -> String {
    BASE64.encode(key.as_bytes())
}

/// The first key after all that begin with `prefix`, which ends with an ASCII character.
fn end(prefix: &str) -> String {
    let mut bytes = prefix.as_bytes().to_vec();
    if let Some(last) = bytes.last_mut() {
        *last += 1;
    }
    BASE64.encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_the_gateway_writes_them() {
        let answer = json!({
            "header": { "revision": "17" },
            "kvs": [
                { "key": text("/a/b"), "value": text("one"), "mod_revision": "3" },
                { "key": text("/a/c") },
            ],
        });
        let keys = read(&answer, "/a/").unwrap();
        assert_eq!(keys.revision, 17);
        let expected = [("b".to_owned(), b"one".to_vec()), ("c".to_owned(), vec![])];
        assert_eq!(keys.values, expected);
        assert!(read(&json!({}), "/a/").is_err());
        assert_eq!(end("/a/"), text("/a0"));
    }
}
