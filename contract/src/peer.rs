//! The peers' channel: how an operator's program or another machine speaks to a machine, over TCP port
//! [`crate::port::PEER`].
//!
//! The handshake is Noise (the Noise Protocol Framework, revision 34, section 9). Both sides prove that they know
//! the pre-shared key, which is derived from the cluster secret, and the session's keys are ephemeral. An
//! operator's is `NNpsk0`; a machine's is `IKpsk1`, by which both machines also prove who they are: the asked
//! one's key is known from the founding of the cluster. Each Noise message travels behind its length, two bytes, big-endian. After the handshake the
//! client sends one [`Request`] and the machine answers with one [`Response`], both JSON, each in as many
//! Noise messages as it takes (the first that is not full ends a document). A machine that does not share
//! the key answers the handshake with an empty message.

pub mod channel;
pub mod keys;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::peer::keys::EncryptionKey;
use crate::secret::Secret;

/// The Noise protocol that an operator's program speaks.
pub const OPERATOR_NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

/// The Noise protocol that machines speak with each other.
pub const MACHINE_NOISE: &str = "Noise_IKpsk1_25519_ChaChaPoly_SHA256";

/// Most bytes of plain text in one Noise message: 65,535 less the authentication tag.
pub const MAX_PLAIN: usize = 65_535 - 16;

/// Most bytes of a response; a longer one is refused.
pub const MAX_RESPONSE: usize = 1 << 20;

/// Most bytes of a request; a longer one is refused.
pub const MAX_REQUEST: usize = 4096;

/// The pre-shared key: SHA-256 over a label and the cluster secret.
pub fn psk(secret: &Secret) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"seedbed peer channel v1\0");
    hash.update(secret.expose().as_bytes());
    hash.finalize().into()
}

/// What a peer or an operator asks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "ask")]
pub enum Request {
    /// The administrator's kubeconfig; answered once the API server is ready.
    Kubeconfig,
    /// The machine's status, as `firstboot status --json` prints it.
    Status,
    /// The cluster's authorities with their keys; for machines that hold a seat of the control plane.
    Authorities,
    /// A certificate for a worker's kubelet; once the cluster is founded.
    Join(Join),
    /// A place in etcd for the machine that asks; for machines that hold a seat.
    EtcdMember(EtcdMember),
    /// A vote in etcd for the learner that asks.
    EtcdVote(EtcdMember),
    /// Whether the machine that asks is still taken for a member of the cluster.
    Standing,
    /// A machine is to be taken out for good; for operators.
    Remove(Removal),
}

/// A worker that wants to join.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Join {
    /// Its node's name.
    pub host_name: String,
    /// A certificate signing request (PKCS #10, PEM), of which only the public key counts.
    pub request: String,
    /// Whether it came with a join seed, and so is none of the machines that the founding seed expects.
    pub joins: bool,
}

/// A machine that is to be taken out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Removal {
    /// Its host name, or the first eight or more hexadecimal digits of its id.
    pub machine: String,
    /// Whether only to say what would be done.
    pub dry_run: bool,
}

/// A member of etcd, or one to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct EtcdMember {
    /// Its name.
    pub name: String,
    /// Where other members reach it, such as `https://192.168.7.10:2380`.
    pub url: String,
}

/// What a worker is admitted with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Admission {
    /// The cluster's authority (PEM).
    pub authority: String,
    /// The certificate of its kubelet (PEM).
    pub certificate: String,
    /// The addresses of the machines that run API servers.
    pub api_servers: Vec<IpAddr>,
}

/// A certificate, or a public key, with its private key (PEM).
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Pair {
    /// What everybody may know.
    pub public: String,
    /// The private key.
    pub key: String,
}

impl std::fmt::Debug for Pair {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Pair([redacted])")
    }
}

/// What the machines of a control plane share, and no other machine has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Authorities {
    /// The cluster's own.
    pub kubernetes: Pair,
    /// That of the API server's aggregation layer.
    pub front_proxy: Pair,
    /// etcd's.
    pub etcd: Pair,
    /// The keys of service accounts' tokens.
    pub service_account: Pair,
    /// What Secrets are encrypted with in etcd.
    pub encryption: EncryptionKey,
}

/// The machine's answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer", content = "value")]
pub enum Response {
    /// The document that was asked for.
    Document(String),
    /// The cluster's authorities.
    Authorities(Box<Authorities>),
    /// The worker is admitted.
    Admission(Admission),
    /// What the machine is to start etcd with.
    EtcdMembers {
        /// The members, as `--initial-cluster` wants them.
        members: String,
        /// Whether these found etcd together.
        founds: bool,
    },
    /// It is so already, or now.
    Done,
    /// etcd has no such member, or none any more.
    NoMember,
    /// Not now: the reason, and the same question may be asked again later.
    NotYet(String),
    /// The question cannot be answered by this machine.
    Refused(String),
    /// The cluster refuses, whichever of its machines is asked: the reason, and what an operator can do.
    Barred(String),
}

/// A document may be a kubeconfig, which nobody wants in a log.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Response::Document(text) => write!(f, "Document({} bytes)", text.len()),
            Response::Authorities(_) => f.write_str("Authorities([redacted])"),
            Response::Admission(_) => f.write_str("Admission"),
            Response::EtcdMembers { members, .. } => {
                f.debug_tuple("EtcdMembers").field(members).finish()
            }
            Response::Done => f.write_str("Done"),
            Response::NoMember => f.write_str("NoMember"),
            Response::NotYet(reason) => f.debug_tuple("NotYet").field(reason).finish(),
            Response::Refused(reason) => f.debug_tuple("Refused").field(reason).finish(),
            Response::Barred(reason) => f.debug_tuple("Barred").field(reason).finish(),
        }
    }
}
