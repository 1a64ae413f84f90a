//! All registries that images come from, each opened once.

use crate::images::credentials::Credentials;
use crate::images::registry::Registry;
use crate::source::Sources;
use crate::transport::Transport;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The registries at their chosen places, with the user's logins.
#[derive(Debug)]
pub struct Registries {
    sources: Sources,
    transport: Transport,
    credentials: Credentials,
    open: Mutex<BTreeMap<String, Arc<Registry>>>,
}

impl Registries {
    /// None is asked anything yet.
    pub fn new(sources: &Sources, transport: &Transport, credentials: Credentials) -> Self {
        Registries {
            sources: sources.clone(),
            transport: transport.clone(),
            credentials,
            open: Mutex::default(),
        }
    }

    /// The registry that images call `host`.
    pub fn get(&self, host: &str) -> anyhow::Result<Arc<Registry>> {
        let mut open = self
            .open
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(registry) = open.get(host) {
            return Ok(registry.clone());
        }
        let url = self.sources.registry(host);
        let registry = Registry::open(&url, &self.transport, &self.credentials);
        let registry = Arc::new(registry.with_context(|| format!("opening registry {host}"))?);
        open.insert(host.to_owned(), registry.clone());
        Ok(registry)
    }
}
