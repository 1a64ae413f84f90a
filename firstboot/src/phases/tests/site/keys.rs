//! etcd's keys in memory.

use data_encoding::BASE64;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// etcd's keys, each with the revision at which it was set.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) revision: i64,
    pub(super) values: BTreeMap<String, (i64, String)>,
}

impl Keys {
    /// Answers as etcd's gateway does. Only the prefix of a range counts.
    pub(super) fn answer(&mut self, path: &str, question: &str) -> Value {
        let question: Value = serde_json::from_str(question).unwrap();
        let key = |value: &Value| {
            let bytes = BASE64.decode(value.as_str().unwrap().as_bytes()).unwrap();
            String::from_utf8(bytes).unwrap()
        };
        let below = |keys: &Keys, prefix: String| -> Vec<(String, (i64, String))> {
            let all = keys.values.clone().into_iter();
            all.filter(|(name, _)| name.starts_with(&prefix)).collect()
        };
        if path == "range" {
            let kvs: Vec<Value> = below(self, key(&question["key"]))
                .into_iter()
                .map(|(name, (_, value))| json!({ "key": BASE64.encode(name.as_bytes()), "value": value }))
                .collect();
            return json!({ "header": { "revision": self.revision.to_string() }, "kvs": kvs });
        }
        let compare = &question["compare"][0];
        let limit: i64 = compare["mod_revision"].as_str().unwrap().parse().unwrap();
        let succeeded = below(self, key(&compare["key"]))
            .iter()
            .all(|(_, (revision, _))| *revision < limit);
        if succeeded {
            let put = &question["success"][0]["request_put"];
            self.revision += 1;
            let value = put["value"].as_str().unwrap().to_owned();
            self.values.insert(key(&put["key"]), (self.revision, value));
        }
        json!({ "succeeded": succeeded })
    }
}
