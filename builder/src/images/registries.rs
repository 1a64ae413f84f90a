//! All registries that images come from, each opened once.

use crate::images::credentials::Credentials;
use crate::images::reference::Reference;
use crate::images::registry::Registry;
use crate::source::Sources;
use crate::transport::Transport;
use anyhow::Context;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The registries at their chosen places and those that stand in for them, with the user's logins.
#[derive(Debug)]
pub struct Registries {
    sources: Sources,
    transport: Transport,
    credentials: Credentials,
    /// By URL.
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

    /// Does `attempt` with one place of `image` after the other, until one succeeds: with a registry, and what the
    /// image is called there.
    pub fn try_each<T>(
        &self,
        image: &Reference,
        mut attempt: impl FnMut(&Registry, &Reference) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        self.sources.try_registries(image, |url, there| {
            let registry = self.at(url);
            let registry =
                registry.with_context(|| format!("opening registry {}", image.registry))?;
            attempt(&registry, there)
        })
    }

    fn at(&self, url: &str) -> anyhow::Result<Arc<Registry>> {
        let open = self.open.lock();
        let mut open = open.unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some(registry) = open.get(url) {
            return Ok(registry.clone());
        }
        let registry = Registry::open(url, &self.transport, &self.credentials)?;
        let registry = Arc::new(registry);
        open.insert(url.to_owned(), registry.clone());
        Ok(registry)
    }
}
