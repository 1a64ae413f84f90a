//! The OCI client as push and pull use it. It is asynchronous; nothing outside this folder knows.

use super::ArtifactReference;
use anyhow::Context;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::secrets::RegistryAuth;
use oci_client::{Reference, RegistryOperation};
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::runtime::Runtime;

/// How often a request that failed for a passing reason is tried in all.
const TRIES: u32 = 4;
/// How long the first pause between two of them is; each is three times the one before.
const PAUSE: Duration = Duration::from_millis(500);

/// A registry, as one artifact's reference names it.
pub(super) struct Registry {
    pub(super) client: Client,
    runtime: Runtime,
    reference: ArtifactReference,
}

/// Why a registry did not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// It refused, or could not be reached.
    #[error("the registry does not do it")]
    Registry(#[source] OciDistributionError),
    /// The connection broke.
    #[error("the connection broke")]
    Connection(#[source] io::Error),
    /// The local file could not be read or written.
    #[error("reading or writing the file")]
    File(#[source] io::Error),
}

impl Refusal {
    fn is_passing(&self) -> bool {
        match self {
            Refusal::Registry(OciDistributionError::ServerError { code, .. }) => {
                *code == 429 || *code >= 500
            }
            Refusal::Registry(OciDistributionError::RequestError(error)) => {
                let by_server = |status: reqwest::StatusCode| {
                    status.is_server_error() || status.as_u16() == 429
                };
                error.status().map_or(!error.is_builder(), by_server)
            }
            Refusal::Registry(_) | Refusal::File(_) => false,
            Refusal::Connection(_) => true,
        }
    }
}

impl Registry {
    /// A client for the registry of `reference`, with `auth` from now on. TLS is asked for, except by a registry on
    /// this machine.
    pub(super) fn open(
        reference: &ArtifactReference,
        auth: &RegistryAuth,
        operation: RegistryOperation,
    ) -> anyhow::Result<Self> {
        // A second installation is refused, which means that one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let protocol = match reference.is_loopback() {
            true => ClientProtocol::Http,
            false => ClientProtocol::Https,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let registry = Registry {
            client: Client::new(ClientConfig {
                protocol,
                // One request for a file: its size is known, and no registry has trouble with it.
                use_monolithic_push: true,
                ..ClientConfig::default()
            }),
            runtime: runtime.context("starting the registry client")?,
            reference: reference.clone(),
        };
        let at = registry.at("latest");
        let signing_in = || format!("signing in at {}", reference.registry);
        registry
            .ask(|client| {
                let at = at.clone();
                async move { client.auth(&at, auth, operation).await.map(|_| ()) }
            })
            .with_context(signing_in)?;
        Ok(registry)
    }

    /// The artifact's repository at a tag or digest. Both stand at the same place of every URL, and the client takes
    /// whatever is called a tag as it is; it falls over a digest if a registry does not say where a manifest went.
    pub(super) fn at(&self, tag_or_digest: &str) -> Reference {
        let ArtifactReference {
            registry,
            repository,
            ..
        } = &self.reference;
        Reference::with_tag(
            registry.clone(),
            repository.clone(),
            tag_or_digest.to_owned(),
        )
    }

    /// Asks the registry, again if it fails for a passing reason.
    pub(super) fn ask<'a, T, F>(&'a self, question: impl Fn(&'a Client) -> F) -> anyhow::Result<T>
    where
        F: Future<Output = Result<T, OciDistributionError>>,
    {
        self.attempt(|| {
            let asking = question(&self.client);
            self.runtime.block_on(asking).map_err(Refusal::Registry)
        })
    }

    /// Does something with the registry, again if it fails for a passing reason.
    pub(super) fn attempt<T>(
        &self,
        mut attempt: impl FnMut() -> Result<T, Refusal>,
    ) -> anyhow::Result<T> {
        let mut pause = PAUSE;
        for _ in 1..TRIES {
            match attempt() {
                Err(refusal) if refusal.is_passing() => {
                    tracing::debug!("{:#}", anyhow::Error::new(refusal));
                    std::thread::sleep(pause);
                    pause *= 3;
                }
                result => return Ok(result?),
            }
        }
        Ok(attempt()?)
    }

    /// Waits for what the client does.
    pub(super) fn wait<T>(&self, what: impl Future<Output = T>) -> T {
        self.runtime.block_on(what)
    }
}
