//! Who we are to a registry: the logins that Docker, Podman and Skopeo keep, read where they keep them.
//!
//! Files, in this order: `REGISTRY_AUTH_FILE` alone if it is set; else `DOCKER_CONFIG/config.json` if that is
//! set; else `$XDG_RUNTIME_DIR/containers/auth.json`, `~/.config/containers/auth.json` and
//! `~/.docker/config.json`, of which the first that knows the registry counts. In a file `credHelpers` go before
//! `auths`, and `credsStore` comes last (containers-auth.json(5), and Docker's "docker login" reference).
//!
//! `lock` and `fetch` read nothing before a registry asks, so that locking public images starts no helper. Apart from
//! them only `push` and `pull` get here; a build starts no process.

mod helper;

use anyhow::{Context, bail};
use base64::Engine;
use contract::secret::Secret;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Names under which Docker's own registry is kept.
const DOCKER: [&str; 4] = [
    "docker.io",
    "index.docker.io",
    "index.docker.io/v1",
    "registry-1.docker.io",
];

/// What a registry is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password.
    Basic {
        /// The user name.
        user: String,
        /// The password.
        password: Secret,
    },
    /// A token that is exchanged for others at the registry's token server: what Docker calls an identity token
    /// and OAuth 2 a refresh token.
    Identity(Secret),
    /// A token that the registry itself takes.
    Registry(Secret),
}

/// Where logins are looked for.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    files: Vec<PathBuf>,
    /// Whether the file was named by the user, and so has to be there.
    named: bool,
}

/// The part of a login file that matters.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoginFile {
    #[serde(default)]
    auths: BTreeMap<String, Entry>,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "lowercase")]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Credentials {
    /// The files that the environment names.
    pub fn from_environment() -> Self {
        let variable = |name| {
            std::env::var_os(name)
                .filter(|v| !v.is_empty())
                .map(PathBuf::from)
        };
        if let Some(file) = variable("REGISTRY_AUTH_FILE") {
            return Credentials {
                files: vec![file],
                named: true,
            };
        }
        if let Some(folder) = variable("DOCKER_CONFIG") {
            return Credentials {
                files: vec![folder.join("config.json")],
                // A folder without the file is how one says that there are no logins.
                named: false,
            };
        }
        let home = variable("HOME");
        let config = variable("XDG_CONFIG_HOME").or_else(|| Some(home.as_ref()?.join(".config")));
        let containers = [variable("XDG_RUNTIME_DIR"), config].into_iter().flatten();
        let mut files: Vec<PathBuf> = containers
            .map(|folder| folder.join("containers/auth.json"))
            .collect();
        files.extend(home.map(|home| home.join(".docker/config.json")));
        Credentials {
            files,
            named: false,
        }
    }

    /// The login for `repository` of the registry at `host`, and what it comes from, for messages.
    pub fn find(
        &self,
        host: &str,
        repository: &str,
    ) -> anyhow::Result<Option<(Credential, String)>> {
        for path in &self.files {
            let Some(file) = self.read(path)? else {
                continue;
            };
            let found = file.find(host, repository);
            let found = found.with_context(|| format!("reading {}", path.display()))?;
            if let Some((credential, what)) = found {
                return Ok(Some((credential, format!("{what} in {}", path.display()))));
            }
        }
        Ok(None)
    }

    fn read(&self, path: &Path) -> anyhow::Result<Option<LoginFile>> {
        let reading = || format!("reading logins from {}", path.display());
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !self.named => {
                return Ok(None);
            }
            Err(error) => return Err(error).with_context(reading),
        };
        // The parser's message would show what it could not read, which may be a password.
        let parsed = serde_json::from_str(&text)
            .map_err(|error| anyhow::anyhow!("line {} is not what a login file has", error.line()));
        parsed.map(Some).with_context(reading)
    }
}

impl LoginFile {
    fn find(&self, host: &str, repository: &str) -> anyhow::Result<Option<(Credential, String)>> {
        let keys = keys(host, repository);
        for key in &keys {
            let mut helpers = self.cred_helpers.iter();
            if let Some((server, name)) = helpers.find(|(known, _)| normal(known) == *key)
                && let Some(credential) = helper::get(name, server)?
            {
                return Ok(Some((credential, format!("credential helper {name}"))));
            }
            let mut auths = self.auths.iter().filter(|(known, _)| normal(known) == *key);
            if let Some((server, entry)) = auths.find(|(_, entry)| !entry.is_empty()) {
                let credential = entry.credential();
                let credential = credential.with_context(|| format!("the login for {server}"))?;
                return Ok(Some((credential, format!("the login for {server}"))));
            }
        }
        if let Some(name) = &self.creds_store {
            // Docker keeps its own registry under this URL, and leaves an empty entry for each login.
            let listed = |known: &&String| keys.contains(&normal(known));
            let server = self.auths.keys().find(listed).cloned();
            let docker = DOCKER
                .contains(&host)
                .then(|| "https://index.docker.io/v1/".to_owned());
            let server = server.or(docker).unwrap_or_else(|| host.to_owned());
            if let Some(credential) = helper::get(name, &server)? {
                return Ok(Some((credential, format!("credential store {name}"))));
            }
        }
        Ok(None)
    }
}

impl Entry {
    fn is_empty(&self) -> bool {
        let fields = [
            &self.auth,
            &self.username,
            &self.identitytoken,
            &self.registrytoken,
        ];
        fields
            .iter()
            .all(|field| field.as_deref().unwrap_or_default().is_empty())
    }

    fn credential(&self) -> anyhow::Result<Credential> {
        let token =
            |token: &Option<String>| token.clone().filter(|t| !t.is_empty()).map(Secret::new);
        if let Some(token) = token(&self.registrytoken) {
            return Ok(Credential::Registry(token));
        }
        if let Some(token) = token(&self.identitytoken) {
            return Ok(Credential::Identity(token));
        }
        if let Some(auth) = self.auth.as_deref().filter(|auth| !auth.is_empty()) {
            let bytes = base64::engine::general_purpose::STANDARD.decode(auth.trim());
            let text = bytes.ok().and_then(|bytes| String::from_utf8(bytes).ok());
            let pair = text
                .as_deref()
                .and_then(|text| text.trim_end_matches('\0').split_once(':'));
            let Some((user, password)) = pair else {
                bail!("its auth is not the base64 form of USER:PASSWORD");
            };
            return Ok(Credential::Basic {
                user: user.to_owned(),
                password: Secret::new(password),
            });
        }
        Ok(Credential::Basic {
            user: self.username.clone().unwrap_or_default(),
            password: Secret::new(self.password.clone().unwrap_or_default()),
        })
    }
}

/// What a login may be kept under, the closest first: `host/team/app`, `host/team`, `host`.
fn keys(host: &str, repository: &str) -> Vec<String> {
    let hosts: Vec<&str> = match DOCKER.contains(&host) {
        true => DOCKER.to_vec(),
        false => vec![host],
    };
    let mut paths = vec![repository];
    while let Some((above, _)) = paths.last().and_then(|path| path.rsplit_once('/')) {
        paths.push(above);
    }
    let below = paths
        .iter()
        .filter(|path| !path.is_empty())
        .flat_map(|path| hosts.iter().map(move |host| format!("{host}/{path}")));
    below
        .chain(hosts.iter().map(|host| (*host).to_owned()))
        .collect()
}

/// A key without what Docker wrote around hosts in former times.
fn normal(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let key = key.trim_end_matches('/');
    let key = match key {
        "index.docker.io/v1" => key,
        key => key
            .strip_suffix("/v1")
            .or_else(|| key.strip_suffix("/v2"))
            .unwrap_or(key),
    };
    key.to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(text: &str, host: &str, repository: &str) -> Option<Credential> {
        let file: LoginFile = serde_json::from_str(text).unwrap();
        file.find(host, repository)
            .unwrap()
            .map(|(credential, _)| credential)
    }

    fn basic(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Basic {
            user: user.into(),
            password: Secret::new(password),
        })
    }

    /// R013: `dTpw` is `u:p`, `djpx` is `v:q`.
    #[test]
    fn the_closest_login_counts() {
        let text = r#"{"auths": {
            "r.example": {"auth": "dTpw"},
            "r.example/team": {"auth": "djpx"},
            "https://old.example/v1/": {"username": "a", "password": "b"},
            "https://index.docker.io/v1/": {"auth": "dTpw"},
            "t.example": {"identitytoken": "i"},
            "empty.example": {}
        }}"#;
        assert_eq!(login(text, "r.example", "app"), basic("u", "p"));
        assert_eq!(login(text, "r.example", "team/app"), basic("v", "q"));
        assert_eq!(login(text, "r.example", "teams"), basic("u", "p"));
        assert_eq!(login(text, "r.example:5000", "app"), None);
        assert_eq!(login(text, "old.example", "app"), basic("a", "b"));
        assert_eq!(
            login(text, "registry-1.docker.io", "library/nginx"),
            basic("u", "p")
        );
        let token = Some(Credential::Identity(Secret::new("i")));
        assert_eq!(login(text, "t.example", "app"), token);
        assert_eq!(login(text, "empty.example", "app"), None);
    }

    /// R013.
    #[test]
    fn a_login_that_cannot_be_read_is_not_shown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config.json");
        for text in [
            r#"{"auths": {"r.example": {"auth": "hunter2"}}}"#,
            r#"{"auths": {"r.example": "hunter2"}}"#,
            r#"{"auths": {"r.example": {"auth": hunter2}}}"#,
        ] {
            std::fs::write(&path, text).unwrap();
            let credentials = Credentials {
                files: vec![path.clone()],
                named: true,
            };
            let error = format!("{:#}", credentials.find("r.example", "a").unwrap_err());
            assert!(
                error.contains("config.json") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }
}
