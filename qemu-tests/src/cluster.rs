//! A cluster as its administrator sees it: through `kubectl`, with a kubeconfig that `seedbed` fetched.

use crate::command::Tool;
use anyhow::Context;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A name that every API server's certificate has, whatever address it is asked at.
const NAME: &str = "kubernetes";

/// `kubectl` and a kubeconfig.
#[derive(Clone, Debug)]
pub struct Cluster {
    /// A command that runs what follows it where the cluster can be reached; empty if that is here.
    before: Vec<String>,
    kubectl: PathBuf,
    kubeconfig: PathBuf,
    /// The port on loopback to ask, if not the kubeconfig's address.
    port: Option<u16>,
}

impl Cluster {
    /// Fetches the kubeconfig from the machine whose peer channel is at port `peer` of this host's loopback, for
    /// its API server at port `api`, and keeps it in `folder`.
    pub fn fetch(
        (seedbed, kubectl): (&Path, &Path),
        seed: &Path,
        (peer, api): (u16, u16),
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        let fetch = Tool::new(seedbed)
            .arg("kubeconfig")
            .arg("--seed")
            .arg(seed)
            .arg("--out")
            .arg(&kubeconfig);
        let fetch = fetch.arg("--address").arg(format!("127.0.0.1:{peer}"));
        fetch
            .arg("--server")
            .arg(format!("https://127.0.0.1:{api}"))
            .limit(Duration::from_secs(120))
            .run()?;
        Ok(Cluster {
            before: Vec::new(),
            kubectl: kubectl.to_owned(),
            kubeconfig,
            port: None,
        })
    }

    /// Fetches the kubeconfig from whatever machine answers where the command `before` runs programs, and keeps it in
    /// `folder`.
    pub fn find(
        before: Vec<String>,
        (seedbed, kubectl): (&Path, &Path),
        seed: &Path,
        folder: &Path,
    ) -> anyhow::Result<Self> {
        let kubeconfig = folder.join("kubeconfig");
        tool(&before, seedbed)
            .arg("kubeconfig")
            .arg("--seed")
            .arg(seed)
            .arg("--out")
            .arg(&kubeconfig)
            .limit(Duration::from_secs(120))
            .run()?;
        Ok(Cluster {
            before,
            kubectl: kubectl.to_owned(),
            kubeconfig,
            port: None,
        })
    }

    /// The same cluster, asked at a port on loopback where the command `before` runs programs.
    pub fn through(&self, before: Vec<String>, port: u16) -> Self {
        Cluster {
            before,
            port: Some(port),
            ..self.clone()
        }
    }

    /// `kubectl` with these arguments; its standard output.
    pub fn kubectl(&self, arguments: &[&str]) -> anyhow::Result<String> {
        self.kubectl_within(Duration::from_secs(50), arguments)
    }

    /// The same, with a limit for each question to the API server.
    pub fn kubectl_within(&self, limit: Duration, arguments: &[&str]) -> anyhow::Result<String> {
        let mut tool = tool(&self.before, &self.kubectl)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig);
        if let Some(port) = self.port {
            tool = tool
                .arg(format!("--server=https://127.0.0.1:{port}"))
                .arg(format!("--tls-server-name={NAME}"));
        }
        let limit = format!("--request-timeout={}s", limit.as_secs());
        Ok(tool.arg(limit).args(arguments).run()?.stdout)
    }

    /// An object, or a list of them.
    pub fn get(&self, what: &[&str]) -> anyhow::Result<Value> {
        let text = self.kubectl(&[&["get", "-o", "json"], what].concat())?;
        serde_json::from_str(&text)
            .with_context(|| format!("reading kubectl's answer about {}", what.join(" ")))
    }

    /// Creates or changes an object.
    pub fn apply(&self, object: &Value) -> anyhow::Result<()> {
        let file = tempfile::NamedTempFile::new().context("making a temporary file")?;
        fs::write(file.path(), object.to_string()).context("writing a manifest")?;
        self.kubectl(&["apply", "-f", &file.path().to_string_lossy()])
            .map(drop)
    }

    /// Creates what a file of manifests describes.
    pub fn create(&self, manifests: &Path) -> anyhow::Result<()> {
        self.kubectl(&["create", "-f", &manifests.to_string_lossy()])
            .map(drop)
    }

    /// The names of the nodes that are Ready.
    pub fn ready_nodes(&self) -> anyhow::Result<Vec<String>> {
        Ok(ready_nodes(&self.get(&["nodes"])?))
    }

    /// The phase of a pod in the namespace `default`, such as `Running`.
    pub fn pod_phase(&self, name: &str) -> anyhow::Result<String> {
        let pod = self.get(&["pod", name])?;
        Ok(pod["status"]["phase"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    }
}

/// `program`, run by the command `before`.
fn tool(before: &[String], program: &Path) -> Tool {
    match before {
        [] => Tool::new(program),
        [first, rest @ ..] => Tool::new(first).args(rest).arg(program),
    }
}

fn ready_nodes(list: &Value) -> Vec<String> {
    let ready = |node: &&Value| {
        let conditions = node["status"]["conditions"]
            .as_array()
            .map(Vec::as_slice)
            .unwrap_or_default();
        conditions
            .iter()
            .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
    };
    let nodes = list["items"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    let names = nodes
        .iter()
        .filter(ready)
        .filter_map(|node| node["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

/// A ConfigMap with one entry.
pub fn config_map(name: &str, key: &str, value: &str) -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": { key: value } })
}

/// A pod that runs `command` from `image`, which is pulled each time.
pub fn pod(name: &str, image: &str, command: &[&str]) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name },
        "spec": {
            "containers": [{ "name": "main", "image": image, "imagePullPolicy": "Always", "command": command }],
            "terminationGracePeriodSeconds": 0,
            // One machine does everything: it may be a control plane.
            "tolerations": [{ "operator": "Exists" }],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_nodes_count() {
        let node = |name: &str, status: &str| {
            json!({ "metadata": { "name": name }, "status": { "conditions": [
                { "type": "MemoryPressure", "status": "True" }, { "type": "Ready", "status": status },
            ] } })
        };
        let list = json!({ "items": [node("a", "True"), node("b", "Unknown"), { "metadata": { "name": "c" } }] });
        assert_eq!(ready_nodes(&list), ["a"]);
        assert!(ready_nodes(&Value::Null).is_empty());
    }
}
