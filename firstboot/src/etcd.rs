//! Questions to this machine's etcd about its members, over its JSON gateway (etcd's API, version 3.4 and newer).

pub mod standing;

use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::http::{Tls, Trust};
use crate::host::{Host, Request};
use crate::render::etcd::{METRICS_PORT, PKI};

const PORT: u16 = 2379;
/// How long a change of the members may take, and the list that one is made from.
const PATIENCE: Duration = Duration::from_secs(10);

/// A member of etcd.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Member {
    /// Its number, as etcd writes it in JSON.
    #[serde(rename = "ID")]
    pub id: String,
    /// Its name; empty until it has started once.
    #[serde(default)]
    pub name: String,
    /// Where other members reach it.
    #[serde(default, rename = "peerURLs")]
    pub peer_urls: Vec<String>,
    /// Whether it only follows, without a vote.
    #[serde(default)]
    pub is_learner: bool,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    members: Vec<Member>,
}

/// Whether this machine's member answers its health probe, which takes a quorum.
pub fn is_healthy(host: &dyn Host) -> bool {
    let probe = Request::loopback(METRICS_PORT, "/health");
    host.ask(&probe).is_ok_and(|reply| reply.status == 200)
}

/// Every member.
pub fn members(host: &dyn Host) -> Result<Vec<Member>> {
    let answer = ask(host, "list", &json!({}))?;
    let members: Members = serde_json::from_value(answer).context("reading etcd's members")?;
    Ok(members.members)
}

/// Adds a member that follows without a vote.
pub fn add_learner(host: &dyn Host, url: &str) -> Result<Vec<Member>> {
    let answer = ask(
        host,
        "add",
        &json!({ "peerURLs": [url], "isLearner": true }),
    )?;
    let members: Members = serde_json::from_value(answer).context("reading etcd's members")?;
    Ok(members.members)
}

/// Gives a learner its vote; etcd refuses while it is behind.
pub fn promote(host: &dyn Host, id: &str) -> Result<()> {
    ask(host, "promote", &json!({ "ID": id })).map(drop)
}

/// Removes a member.
pub fn remove(host: &dyn Host, id: &str) -> Result<()> {
    ask(host, "remove", &json!({ "ID": id })).map(drop)
}

fn ask(host: &dyn Host, what: &str, asked: &Value) -> Result<Value> {
    let path = format!("/v3/cluster/member/{what}");
    question(host, &path, asked, PATIENCE)
        .with_context(|| format!("asking etcd to {what} a member"))
}

/// One question to the gateway.
fn question(host: &dyn Host, path: &str, asked: &Value, patience: Duration) -> Result<Value> {
    let file = |name: &str| -> Result<Vec<u8>> {
        let path = format!("{PKI}/{name}");
        host.read(&path)?
            .with_context(|| format!("{path} is missing"))
    };
    let key = String::from_utf8(file("healthcheck-client.key")?)
        .context("etcd's client key is no PEM")?;
    let tls = Tls {
        trust: Trust::Authority(file("ca.crt")?),
        client: Some((file("healthcheck-client.crt")?, Secret::new(key))),
    };
    let request = Request {
        timeout: patience,
        ..Request::loopback(PORT, path)
    };
    let reply = host.ask(&request.post(asked.to_string()).tls(tls))?;
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status != 200 {
        let why = answer["message"].as_str().or(answer["error"].as_str());
        bail!("it refuses: {}", why.unwrap_or("it gives no reason"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_the_gateway_writes_them() {
        let text = r#"{"header":{"raft_term":"2"},"members":[
            {"ID":"9372538179322589801","name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["x"]},
            {"ID":"2","peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]}"#;
        let members: Members = serde_json::from_str(text).unwrap();
        assert_eq!(members.members[0].id, "9372538179322589801");
        assert!(!members.members[0].is_learner && members.members[1].is_learner);
        assert_eq!(members.members[1].name, "");
        assert!(
            serde_json::from_str::<Members>("{}")
                .unwrap()
                .members
                .is_empty()
        );
    }
}
