//! YAML, JSON, base64 and digests; and what draws keys, which here are none.

use super::{Entries, Given, Table, fail, from_json, int, of_map, string, text, to_json};
use crate::digest;
use base64::Engine;
use gotmpl::Value;

pub(super) const TABLE: Table = &[
    ("toYaml", |a| Ok(string(yaml(a.first())?))),
    ("mustToYaml", |a| Ok(string(yaml(a.first())?))),
    ("toYamlPretty", |a| Ok(string(yaml(a.first())?))),
    ("fromYaml", |a| {
        Ok(parsed(&text(a.first())).unwrap_or(Value::Nil))
    }),
    ("fromYamlArray", |a| {
        Ok(parsed(&text(a.first())).unwrap_or(Value::Nil))
    }),
    ("toJson", |a| Ok(string(json(a.first())))),
    ("mustToJson", |a| Ok(string(json(a.first())))),
    ("toRawJson", |a| Ok(string(json(a.first())))),
    ("mustToRawJson", |a| Ok(string(json(a.first())))),
    ("toPrettyJson", |a| {
        let value = a.first().map(to_json).unwrap_or_default();
        Ok(string(
            serde_json::to_string_pretty(&value).map_err(|e| fail(e.to_string()))?,
        ))
    }),
    ("fromJson", |a| {
        Ok(parsed(&text(a.first())).unwrap_or(Value::Nil))
    }),
    ("mustFromJson", |a| {
        parsed(&text(a.first())).ok_or_else(|| fail("it is not JSON"))
    }),
    ("fromJsonArray", |a| {
        Ok(parsed(&text(a.first())).unwrap_or(Value::Nil))
    }),
    ("toToml", |_| Ok(string(""))),
    ("b64enc", |a| {
        Ok(string(
            base64::engine::general_purpose::STANDARD.encode(text(a.first())),
        ))
    }),
    ("b64dec", |a| {
        let bytes = base64::engine::general_purpose::STANDARD.decode(text(a.first()));
        let bytes = bytes.map_err(|_| fail("it is not base64"))?;
        Ok(string(String::from_utf8_lossy(&bytes)))
    }),
    ("sha256sum", |a| {
        Ok(string(digest::sha256(text(a.first()).as_bytes())))
    }),
    // As long as theirs; none of these is part of an image's name.
    ("sha1sum", |a| {
        Ok(string(&digest::sha256(text(a.first()).as_bytes())[..40]))
    }),
    ("adler32sum", |a| {
        Ok(string(&digest::sha256(text(a.first()).as_bytes())[..8]))
    }),
    ("randAlphaNum", |a| random(a)),
    ("randAlpha", |a| random(a)),
    ("randNumeric", |a| random(a)),
    ("randAscii", |a| random(a)),
    ("randBytes", |a| random(a)),
    ("uuidv4", |_| {
        Ok(string("00000000-0000-4000-8000-000000000000"))
    }),
    ("genPrivateKey", |_| Ok(string("key"))),
    ("genCA", |_| certificate()),
    ("genCAWithKey", |_| certificate()),
    ("genSelfSignedCert", |_| certificate()),
    ("genSelfSignedCertWithKey", |_| certificate()),
    ("genSignedCert", |_| certificate()),
    ("genSignedCertWithKey", |_| certificate()),
    ("buildCustomCert", |_| certificate()),
    ("derivePassword", |_| Ok(string("password"))),
    ("htpasswd", |a| {
        Ok(string(format!("{}:password", text(a.first()))))
    }),
    ("bcrypt", |_| Ok(string("password"))),
    ("encryptAES", |a| Ok(string(text(a.get(1))))),
    ("getHostByName", |_| Ok(string(""))),
    ("urlParse", |a| url(&text(a.first()))),
    ("base", |a| {
        Ok(string(
            text(a.first()).rsplit('/').next().unwrap_or_default(),
        ))
    }),
    ("dir", |a| {
        Ok(string(
            text(a.first()).rsplit_once('/').map_or(".", |(dir, _)| dir),
        ))
    }),
    ("ext", |a| {
        let path = text(a.first());
        let name = path.rsplit('/').next().unwrap_or_default();
        Ok(string(name.rfind('.').map_or("", |at| &name[at..])))
    }),
    ("clean", |a| {
        Ok(string(text(a.first()).trim_end_matches('/')))
    }),
];

/// JSON is YAML in one line; strings that a template cuts to pieces are the reason for the long form.
fn yaml(value: Option<&Value>) -> Result<String, gotmpl::TemplateError> {
    let value = value.map(to_json).unwrap_or_default();
    let text = serde_saphyr::to_string(&value).map_err(|error| fail(error.to_string()))?;
    Ok(text.trim_end_matches('\n').to_owned())
}

fn json(value: Option<&Value>) -> String {
    value.map(to_json).unwrap_or_default().to_string()
}

fn parsed(text: &str) -> Option<Value> {
    let value: serde_json::Value = serde_saphyr::from_str(text).ok()?;
    Some(from_json(&value))
}

fn random(args: &[Value]) -> Given {
    let n = usize::try_from(int(args.first())).unwrap_or(0).min(1 << 12);
    Ok(string("0".repeat(n)))
}

fn certificate() -> Given {
    let entries = [("Cert", string("certificate")), ("Key", string("key"))];
    of_map(
        entries
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect(),
    )
}

fn url(text: &str) -> Given {
    let parsed = reqwest::Url::parse(text).map_err(|_| fail(format!("{text:?} is no URL")))?;
    let host = match parsed.port() {
        Some(port) => format!("{}:{port}", parsed.host_str().unwrap_or_default()),
        None => parsed.host_str().unwrap_or_default().to_owned(),
    };
    let entries = [
        ("scheme", parsed.scheme()),
        ("host", host.as_str()),
        ("hostname", parsed.host_str().unwrap_or_default()),
        ("path", parsed.path()),
        ("query", parsed.query().unwrap_or_default()),
        ("fragment", parsed.fragment().unwrap_or_default()),
        ("userinfo", parsed.username()),
    ];
    let entries: Entries = entries
        .iter()
        .map(|(k, v)| ((*k).into(), string(v)))
        .collect();
    of_map(entries)
}
