//! Questions to this machine's etcd about itself and its members, over its JSON gateway (etcd's API, version 3.4 and
//! newer).

use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use contract::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::http::Tls;
use crate::host::{Host, Reply, Request};
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

/// A member's word on itself and on raft. Numbers are texts in etcd's JSON, and what is zero is left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Standing {
    /// Whose answer it is.
    pub header: Header,
    /// etcd's version.
    pub version: String,
    /// The leader's number; empty or 0 while there is none.
    pub leader: String,
    /// The index of raft's log that it has come to.
    pub raft_index: String,
    /// Raft's term.
    pub raft_term: String,
    /// Whether it only follows, without a vote.
    pub is_learner: bool,
}

/// What stands before etcd's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Header {
    /// The number of the member that answers.
    pub member_id: String,
}

/// Whether this machine's member answers its health probe, which takes a quorum.
pub fn is_healthy(host: &dyn Host) -> bool {
    let probe = Request::loopback(METRICS_PORT, "/health");
    host.ask(&probe).is_ok_and(|reply| reply.status == 200)
}

/// The same within a time; the reason if not.
pub fn health(host: &dyn Host, patience: Duration) -> std::result::Result<(), String> {
    let probe = Request {
        timeout: patience,
        ..Request::loopback(METRICS_PORT, "/health")
    };
    match host.ask(&probe) {
        Ok(reply) if reply.status == 200 => Ok(()),
        Ok(reply) => {
            let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
            let reason = answer["reason"].as_str().filter(|text| !text.is_empty());
            Err(match reason {
                Some(reason) => format!("etcd is not healthy: {reason}"),
                None => format!("etcd is not healthy (status {})", reply.status),
            })
        }
        Err(_) => Err(String::from("etcd does not answer its health probe")),
    }
}

/// Every member.
pub fn members(host: &dyn Host) -> Result<Vec<Member>> {
    members_within(host, PATIENCE)
}

/// The same within a time. A learner refuses to say.
pub fn members_within(host: &dyn Host, patience: Duration) -> Result<Vec<Member>> {
    let answer = change(host, "list", &json!({}), patience)?;
    let members: Members = serde_json::from_value(answer).context("reading etcd's members")?;
    Ok(members.members)
}

/// How this machine's member stands. It answers without a quorum, and a learner does, too.
pub fn standing(host: &dyn Host, patience: Duration) -> Result<Standing> {
    let reply = ask(host, "/v3/maintenance/status", &json!({}), patience)?;
    let answer = read(&reply).map_err(|why| anyhow!("etcd does not say how it stands: {why}"))?;
    serde_json::from_value(answer).context("reading etcd's standing")
}

/// Adds a member that follows without a vote.
pub fn add_learner(host: &dyn Host, url: &str) -> Result<Vec<Member>> {
    let learner = json!({ "peerURLs": [url], "isLearner": true });
    let answer = change(host, "add", &learner, PATIENCE)?;
    let members: Members = serde_json::from_value(answer).context("reading etcd's members")?;
    Ok(members.members)
}

/// Gives a learner its vote; etcd refuses while it is behind.
pub fn promote(host: &dyn Host, id: &str) -> Result<()> {
    change(host, "promote", &json!({ "ID": id }), PATIENCE).map(drop)
}

/// Removes a member.
pub fn remove(host: &dyn Host, id: &str) -> Result<()> {
    change(host, "remove", &json!({ "ID": id }), PATIENCE).map(drop)
}

/// Asks about the members, or to change them.
fn change(host: &dyn Host, what: &str, question: &Value, patience: Duration) -> Result<Value> {
    let path = format!("/v3/cluster/member/{what}");
    let reply = ask(host, &path, question, patience)?;
    read(&reply).map_err(|why| anyhow!("etcd refuses to {what} a member: {why}"))
}

/// The document of an answer, or the reason that etcd gives for having none.
fn read(reply: &Reply) -> std::result::Result<Value, String> {
    let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if reply.status == 200 {
        return Ok(answer);
    }
    let why = answer["message"].as_str().or(answer["error"].as_str());
    Err(why.unwrap_or("it gives no reason").to_owned())
}

fn ask(host: &dyn Host, path: &str, question: &Value, patience: Duration) -> Result<Reply> {
    let file = |name: &str| -> Result<Vec<u8>> {
        let path = format!("{PKI}/{name}");
        host.read(&path)?
            .with_context(|| format!("{path} is missing"))
    };
    let key = String::from_utf8(file("healthcheck-client.key")?)
        .context("etcd's client key is no PEM")?;
    let tls = Tls {
        authority: file("ca.crt")?,
        client: Some((file("healthcheck-client.crt")?, Secret::new(key))),
    };
    let request = Request {
        timeout: patience,
        ..Request::loopback(PORT, path)
    };
    host.ask(&request.post(question.to_string()).tls(tls))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standing_is_read_as_the_gateway_writes_it() {
        let text = r#"{"header":{"cluster_id":"1","member_id":"9372538179322589801","revision":"7","raft_term":"2"},
            "version":"3.5.16","dbSize":"20480","leader":"9372538179322589801","raftIndex":"4711","raftTerm":"2"}"#;
        let standing: Standing = serde_json::from_str(text).unwrap();
        assert_eq!(standing.header.member_id, "9372538179322589801");
        assert_eq!(
            (standing.leader.as_str(), standing.raft_index.as_str()),
            ("9372538179322589801", "4711")
        );
        assert!(!standing.is_learner);
        let standing: Standing = serde_json::from_str(r#"{"isLearner":true}"#).unwrap();
        assert!(standing.is_learner && standing.leader.is_empty());
    }

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
