//! Questions to etcd about its members, over its JSON gateway (etcd's API, version 3.5 and newer), and what follows from
//! the answers ([`membership`]).

pub mod keys;
pub mod membership;
pub mod standing;

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use contract::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::http::{Tls, Trust};
use crate::host::{Host, Request};
use crate::render::etcd::{METRICS_PORT, PKI};

const PORT: u16 = 2379;
/// How long a member may take to answer a question, and to change its cluster, unless a client says otherwise.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a member may take to answer whether it is there.
const PROBE: Duration = Duration::from_secs(3);

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
    /// Where clients reach it; empty until it has started once.
    #[serde(default, rename = "clientURLs")]
    pub client_urls: Vec<String>,
    /// Whether it only follows, without a vote.
    #[serde(default)]
    pub is_learner: bool,
}

#[derive(Deserialize)]
struct Members {
    #[serde(default)]
    members: Vec<Member>,
}

/// One member, and how it is asked.
#[derive(Clone)]
pub struct Client<'a> {
    host: &'a dyn Host,
    /// Where it answers clients.
    address: SocketAddr,
    /// Where it answers health probes, in plain HTTP.
    health: SocketAddr,
    /// The folder with `ca.crt` and the pair `healthcheck-client`.
    pki: String,
    /// How long it may take to answer a question.
    patience: Duration,
}

impl std::fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Client({})", self.address)
    }
}

impl<'a> Client<'a> {
    /// Of this machine's own member.
    pub fn own(host: &'a dyn Host) -> Self {
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        Client::new(host, loopback(PORT), loopback(METRICS_PORT), PKI)
    }

    /// Of the member at `address`, with health probes at `health`, and certificates in the folder `pki`.
    pub fn new(host: &'a dyn Host, address: SocketAddr, health: SocketAddr, pki: &str) -> Self {
        Client {
            host,
            address,
            health,
            pki: pki.to_owned(),
            patience: PATIENCE,
        }
    }

    /// The same, which may take so long to answer a question.
    pub fn within(self, patience: Duration) -> Self {
        Client { patience, ..self }
    }

    /// Whether the member answers its health probe, which takes a quorum.
    pub fn is_healthy(&self) -> bool {
        let probe = Request {
            address: self.health,
            ..Request::loopback(METRICS_PORT, "/health")
        };
        self.host.ask(&probe).is_ok_and(|reply| reply.status == 200)
    }

    /// Every member, as a quorum knows them: a member that lags behind would tell of those that were.
    pub fn members(&self) -> Result<Vec<Member>> {
        self.change("list", &json!({ "linearizable": true }))
    }

    /// Adds a member that follows without a vote.
    pub fn add_learner(&self, url: &str) -> Result<Vec<Member>> {
        self.change("add", &json!({ "peerURLs": [url], "isLearner": true }))
    }

    /// Gives a learner its vote; etcd refuses while it is behind.
    pub fn promote(&self, id: &str) -> Result<()> {
        self.change("promote", &json!({ "ID": id })).map(drop)
    }

    /// Removes a member.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.change("remove", &json!({ "ID": id })).map(drop)
    }

    /// Whether another member answers, whatever it says.
    pub fn answers(&self, member: &Member) -> bool {
        let mut urls = member.client_urls.iter().filter_map(|url| socket(url));
        urls.any(|address| {
            self.ask(address, "/v3/maintenance/status", &json!({}), PROBE)
                .is_ok()
        })
    }

    fn change(&self, what: &str, question: &Value) -> Result<Vec<Member>> {
        let path = format!("/v3/cluster/member/{what}");
        let answer = self
            .question(&path, question)
            .with_context(|| format!("asking etcd to {what} members"))?;
        let members: Members = serde_json::from_value(answer).context("reading etcd's members")?;
        Ok(members.members)
    }

    fn question(&self, path: &str, question: &Value) -> Result<Value> {
        self.ask(self.address, path, question, self.patience)
    }

    fn ask(
        &self,
        address: SocketAddr,
        path: &str,
        question: &Value,
        timeout: Duration,
    ) -> Result<Value> {
        let file = |name: &str| -> Result<Vec<u8>> {
            let path = format!("{}/{name}", self.pki);
            self.host
                .read(&path)?
                .with_context(|| format!("{path} is missing"))
        };
        let key = String::from_utf8(file("healthcheck-client.key")?)
            .context("etcd's client key is no PEM")?;
        let tls = Tls {
            trust: Trust::Authority(file("ca.crt")?),
            client: Some((file("healthcheck-client.crt")?, Secret::new(key))),
        };
        let request = Request {
            address,
            timeout,
            ..Request::loopback(PORT, path)
        };
        let reply = self
            .host
            .ask(&request.post(question.to_string()).tls(tls))?;
        let answer: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        if reply.status != 200 {
            let why = answer["message"].as_str().or(answer["error"].as_str());
            bail!("it refuses: {}", why.unwrap_or("it gives no reason"));
        }
        Ok(answer)
    }
}

/// The address of `https://ADDRESS:PORT`, as our members advertise themselves.
fn socket(url: &str) -> Option<SocketAddr> {
    url.strip_prefix("https://")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_as_the_gateway_writes_them() {
        let text = r#"{"header":{"raft_term":"2"},"members":[
            {"ID":"9372538179322589801","name":"a","peerURLs":["https://10.0.0.1:2380"],"clientURLs":["https://10.0.0.1:2379"]},
            {"ID":"2","peerURLs":["https://10.0.0.2:2380"],"isLearner":true}]}"#;
        let members: Members = serde_json::from_str(text).unwrap();
        assert_eq!(members.members[0].id, "9372538179322589801");
        assert!(!members.members[0].is_learner && members.members[1].is_learner);
        assert_eq!(members.members[1].name, "");
        assert_eq!(members.members[0].client_urls, ["https://10.0.0.1:2379"]);
        assert_eq!(
            socket("https://[fd00::1]:2379"),
            "[fd00::1]:2379".parse().ok()
        );
        assert_eq!(socket("http://10.0.0.1:2379"), None);
        assert!(
            serde_json::from_str::<Members>("{}")
                .unwrap()
                .members
                .is_empty()
        );
    }
}
