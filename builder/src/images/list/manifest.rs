//! The images of Kubernetes manifests: YAML, one document or many.
//!
//! Pods are found by their shape, wherever they are: an object with `containers`, `initContainers` or
//! `ephemeralContainers`, and image volumes. So templates inside custom resources count, too. What only looks like
//! a pod, the schema in a CustomResourceDefinition, does not. An image that is an argument, or a field that only
//! its controller knows, cannot be told from any other text: list it below `images:`.

use anyhow::Context;
use serde_json::Value;

const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// The images of all documents of `text`, with the line where each stands, if it can be told.
pub fn images(text: &str) -> anyhow::Result<Vec<(String, Option<usize>)>> {
    let documents = documents(text)?;
    let mut found = Vec::new();
    for document in &documents {
        collect(document, &mut found);
    }
    let mut seen = std::collections::BTreeSet::new();
    found.retain(|image| seen.insert(image.clone()));
    let with_line = |image: String| {
        let line = line_of(text, &image);
        (image, line)
    };
    Ok(found.into_iter().map(with_line).collect())
}

/// Every document that is not empty.
pub(crate) fn documents(text: &str) -> anyhow::Result<Vec<Value>> {
    let documents: Vec<Value> = serde_saphyr::from_multiple(text).context("reading YAML")?;
    Ok(documents
        .into_iter()
        .filter(|document| !document.is_null())
        .collect())
}

fn collect(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(map) => {
            if map.get("kind").and_then(Value::as_str) == Some("CustomResourceDefinition") {
                return;
            }
            if is_test_hook(value) {
                return;
            }
            for key in CONTAINERS {
                let containers = map.get(key).and_then(Value::as_array);
                let images = containers.into_iter().flatten().map(|c| &c["image"]);
                found.extend(images.filter_map(Value::as_str).map(str::to_owned));
            }
            let volumes = map.get("volumes").and_then(Value::as_array);
            let images = volumes
                .into_iter()
                .flatten()
                .map(|v| &v["image"]["reference"]);
            found.extend(images.filter_map(Value::as_str).map(str::to_owned));
            map.values().for_each(|child| collect(child, found));
        }
        _ => {}
    }
}

/// What Helm runs when it is asked to test a release, and never otherwise.
fn is_test_hook(value: &Value) -> bool {
    let hook = value["metadata"]["annotations"]["helm.sh/hook"].as_str();
    let mut hooks = hook.unwrap_or_default().split(',').map(str::trim);
    hook.is_some() && hooks.all(|hook| matches!(hook, "test" | "test-success" | "test-failure"))
}

fn line_of(text: &str, image: &str) -> Option<usize> {
    let names = |line: &str| {
        let line = line.trim_start().trim_start_matches("- ").trim_start();
        let value = line
            .strip_prefix("image:")
            .or_else(|| line.strip_prefix("reference:"));
        value.is_some_and(|value| {
            let value = value.split(" #").next().unwrap_or_default().trim();
            value.trim_matches(['"', '\'']) == image
        })
    };
    text.lines().position(names).map(|at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// R032.
    #[test]
    fn pods_are_found_in_every_shape_and_nothing_else() {
        let text = "\
apiVersion: v1
kind: Pod
spec:
  containers:
    - {name: a, image: a.example/a:1}
  initContainers:
    - name: i
      image: \"a.example/i:1\" # comment
  ephemeralContainers:
    - image: a.example/e:1
  volumes:
    - name: v
      image:
        reference: a.example/v:1
---
kind: CronJob
spec: {jobTemplate: {spec: {template: {spec: {containers: [{image: a.example/c:1}]}}}}}
---
# Nothing here.
---
kind: List
items:
  - kind: Deployment
    spec: {template: {spec: {containers: [{image: a.example/a:1}, {name: without}]}}}
  - kind: CustomResourceDefinition
    spec: {containers: [{image: a.example/no:1}]}
  - kind: Rollout
    spec: {template: {spec: {containers: [{image: a.example/r:1}]}}}
---
kind: Pod
metadata: {annotations: {helm.sh/hook: test}}
spec: {containers: [{image: a.example/test:1}]}
---
kind: ConfigMap
data: {image: a.example/no:2}
";
        let expected = [
            ("a.example/a:1", None),
            ("a.example/i:1", Some(8)),
            ("a.example/e:1", Some(10)),
            ("a.example/v:1", Some(14)),
            ("a.example/c:1", None),
            ("a.example/r:1", None),
        ];
        let expected = expected.map(|(image, line)| (image.to_owned(), line));
        assert_eq!(images(text).unwrap(), expected);
        assert!(images("a: [").is_err());
    }
}
