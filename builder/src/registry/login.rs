//! Getting past a registry's door: from its challenge and the user's login to the header that lets us in.

use super::challenge::{self, Challenge};
use crate::registry::credentials::{Credential, Credentials};
use crate::transport::{Ask, Body, Transport, TransportError, access, check, read_all};
use anyhow::{Context, anyhow, bail};
use reqwest::blocking::Response;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use reqwest::{Method, Url};
use serde::Deserialize;

/// Token servers answer with a few KiB.
const TOKEN_LIMIT: u64 = 1 << 20;
const CLIENT: &str = "seedbed";

/// Whom to ask, and about what.
pub(super) struct Door<'a> {
    pub(super) transport: &'a Transport,
    pub(super) credentials: &'a Credentials,
    /// Host and port of the registry.
    pub(super) host: &'a str,
    pub(super) repository: &'a str,
    /// Whether something is to be written there.
    pub(super) writes: bool,
}

#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

impl Door<'_> {
    /// The value of `Authorization` that the challenges of `refusal` ask for, and what login it comes from.
    pub(super) fn open(&self, refusal: &Response) -> anyhow::Result<(HeaderValue, String)> {
        let headers = refusal.headers().get_all(WWW_AUTHENTICATE);
        let challenges = challenge::parse(headers.iter().filter_map(|h| h.to_str().ok()));
        let found = self.credentials.find(self.host, self.repository)?;
        let (credential, origin) = match found {
            Some((credential, origin)) => (Some(credential), origin),
            None => (None, "no login".to_owned()),
        };
        if let Some(Credential::Registry(token)) = &credential {
            let token = access::sensitive(&format!("Bearer {}", token.expose()))?;
            return Ok((token, origin));
        }
        let host = self.host;
        for challenge in &challenges {
            match (challenge, &credential) {
                (Challenge::Basic, Some(Credential::Basic { user, password })) => {
                    return Ok((access::basic(user, password)?, origin));
                }
                (Challenge::Basic, _) => {}
                (
                    Challenge::Bearer {
                        realm,
                        service,
                        scope,
                    },
                    _,
                ) => {
                    let scope = scope.clone();
                    let actions = if self.writes { "pull,push" } else { "pull" };
                    let scope = scope
                        .unwrap_or_else(|| format!("repository:{}:{actions}", self.repository));
                    let service = service.as_deref().unwrap_or_default();
                    self.refuse_open_realm(realm, refusal.url(), credential.is_some())?;
                    let token = self.token(realm, service, &scope, credential.as_ref());
                    let token = token
                        .with_context(|| format!("getting a token for {host} with {origin}"))?;
                    return Ok((token, origin));
                }
            }
        }
        if challenges.is_empty() {
            bail!("registry {host} answered 401 and does not say what login it takes");
        }
        bail!(
            "registry {host} wants a user name and a password; there is {origin} for it. \
             Log in with docker, podman or skopeo, or name a login file in REGISTRY_AUTH_FILE"
        )
    }

    /// A login does not leave an encrypted connection for an open one.
    fn refuse_open_realm(&self, realm: &str, from: &Url, secret: bool) -> anyhow::Result<()> {
        if secret && from.scheme() == "https" && !realm.starts_with("https://") {
            let host = self.host;
            bail!("registry {host} names a token server without TLS, which no login is sent to");
        }
        Ok(())
    }

    fn token(
        &self,
        realm: &str,
        service: &str,
        scope: &str,
        credential: Option<&Credential>,
    ) -> anyhow::Result<HeaderValue> {
        let form;
        let mut ask = Ask {
            access: false,
            ..Ask::get(realm)
        };
        let mut url = Url::parse(realm).map_err(|_| anyhow!("the token server has no URL"))?;
        if let Some(Credential::Identity(token)) = credential {
            // A query has the encoding of a form.
            let mut pairs = url.clone();
            pairs.query_pairs_mut().clear().extend_pairs([
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", CLIENT),
                ("scope", scope),
                ("refresh_token", token.expose()),
            ]);
            form = pairs.query().unwrap_or_default().to_owned();
            ask.method = Method::POST;
            ask.body = Body::Form(&form);
        } else {
            let mut query = url.query_pairs_mut();
            query
                .append_pair("service", service)
                .append_pair("scope", scope);
            drop(query);
            if let Some(Credential::Basic { user, password }) = credential {
                ask.headers =
                    HeaderMap::from_iter([(AUTHORIZATION, access::basic(user, password)?)]);
            }
        }
        ask.url = url.as_str();
        let answer = self.transport.retry(|| {
            let response = check(self.transport.send(&ask)?, ask.url)?;
            read_all(response, ask.url, TOKEN_LIMIT)
        });
        let answer = match answer {
            Err(error) if matches!(error.downcast_ref(), Some(TransportError::Denied { .. })) => {
                return Err(error.context("the token server does not accept it"));
            }
            answer => answer?,
        };
        let token: Option<Token> = serde_json::from_slice(&answer).ok();
        let token = token
            .and_then(|t| t.token.or(t.access_token))
            .filter(|t| !t.is_empty());
        let token = token.context("the token server's answer has no token")?;
        access::sensitive(&format!("Bearer {token}"))
    }
}
