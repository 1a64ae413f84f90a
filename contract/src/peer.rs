//! The peers' channel: how a program that knows the cluster secret speaks to a machine, over TCP port
//! [`crate::port::PEER`].
//!
//! The handshake is Noise `NNpsk0` (the Noise Protocol Framework, revision 34, section 9): both sides prove
//! that they know the pre-shared key, which is derived from the cluster secret, and the session's keys are
//! ephemeral. Each Noise message travels behind its length, two bytes, big-endian. After the handshake the
//! client sends one [`Request`] and the machine answers with one [`Response`], both JSON, each in as many
//! Noise messages as it takes (the first that is not full ends a document). A machine that does not share
//! the key answers the handshake with an empty message.

pub mod channel;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::secret::Secret;

/// The Noise protocol name that both sides use.
pub const NOISE: &str = "Noise_NNpsk0_25519_ChaChaPoly_SHA256";

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
}

/// The machine's answer.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "answer", content = "value")]
pub enum Response {
    /// The document that was asked for.
    Document(String),
    /// Not now: the reason, and the same question may be asked again later.
    NotYet(String),
    /// The question cannot be answered by this machine.
    Refused(String),
}

/// A document may be a kubeconfig, which nobody wants in a log.
impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Response::Document(text) => write!(f, "Document({} bytes)", text.len()),
            Response::NotYet(reason) => f.debug_tuple("NotYet").field(reason).finish(),
            Response::Refused(reason) => f.debug_tuple("Refused").field(reason).finish(),
        }
    }
}
