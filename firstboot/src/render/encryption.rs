//! How the API server encrypts Secrets before etcd has them: an `EncryptionConfiguration` of
//! `apiserver.config.k8s.io/v1`, which every version from v1.13 on reads.

use contract::peer::keys::EncryptionKey;
use data_encoding::BASE64;
use serde::Deserialize;
use serde_json::json;

/// Where the file is, on STATE; nothing else is there, for the API server sees the folder.
pub const FOLDER: &str = "/etc/kubernetes/encryption";
/// The file.
pub const CONFIG: &str = "/etc/kubernetes/encryption/configuration.yaml";

/// The file's text. What was written without encryption is still read.
pub fn configuration(key: &EncryptionKey) -> String {
    let secret = BASE64.encode(key.expose());
    let document = json!({
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "EncryptionConfiguration",
        "resources": [{
            "resources": ["secrets"],
            "providers": [
                { "secretbox": { "keys": [{ "name": "1", "secret": secret }] } },
                { "identity": {} },
            ],
        }],
    });
    format!("{document:#}\n")
}

#[derive(Deserialize)]
struct Document {
    resources: Vec<Resources>,
}

#[derive(Deserialize)]
struct Resources {
    providers: Vec<Provider>,
}

#[derive(Deserialize)]
struct Provider {
    secretbox: Option<Secretbox>,
}

#[derive(Deserialize)]
struct Secretbox {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Key {
    secret: String,
}

/// The key that the text encrypts with; none if the text is damaged.
pub fn key(text: &str) -> Option<EncryptionKey> {
    let document: Document = serde_json::from_str(text).ok()?;
    let providers = document.resources.into_iter().flat_map(|one| one.providers);
    let mut keys = providers
        .filter_map(|one| one.secretbox)
        .flat_map(|one| one.keys);
    let secret = BASE64.decode(keys.next()?.secret.as_bytes()).ok()?;
    Some(EncryptionKey::new(secret.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_found_in_the_whole_text_alone() {
        let own = EncryptionKey::new(std::array::from_fn(|i| i as u8));
        let text = configuration(&own);
        assert_eq!(key(&text), Some(own));
        for length in 0..text.trim_end().len() {
            assert_eq!(key(&text[..length]), None);
        }
        let short = text.replace("AAECAwQF", "AAEC");
        assert_ne!(short, text);
        assert_eq!(key(&short), None);
    }
}
