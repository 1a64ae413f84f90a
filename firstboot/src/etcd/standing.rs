//! What this machine's member of etcd says of itself, for people to read. It is asked for a while and no longer, and
//! without a quorum where that does.

use std::time::Duration;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Client, Member, Members};
use crate::host::{Host, Request};
use crate::render::etcd::METRICS_PORT;

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

/// Whether the member answers its health probe, which takes a quorum; the reason if not.
pub fn health(host: &dyn Host, patience: Duration) -> Result<(), String> {
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

/// How the member stands. It answers without a quorum, and a learner does, too.
pub fn standing(host: &dyn Host, patience: Duration) -> Result<Standing> {
    let answer = Client::own(host)
        .within(patience)
        .question("/v3/maintenance/status", &json!({}))
        .context("asking etcd how it stands")?;
    serde_json::from_value(answer).context("reading etcd's standing")
}

/// Every member as this one knows them, which may be behind. A learner refuses to say.
pub fn members(host: &dyn Host, patience: Duration) -> Result<Vec<Member>> {
    let answer = Client::own(host)
        .within(patience)
        .question("/v3/cluster/member/list", &json!({}))
        .context("asking etcd for its members")?;
    let members: Members = serde_json::from_value(answer).context("reading etcd's members")?;
    Ok(members.members)
}

#[cfg(test)]
mod tests {
    use super::Standing;

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
        // Without a quorum there is no leader.
        let text = r#"{"isLearner":true,"raftIndex":"7","errors":["etcdserver: no leader"]}"#;
        let standing: Standing = serde_json::from_str(text).unwrap();
        assert!(standing.is_learner && standing.leader.is_empty());
    }
}
