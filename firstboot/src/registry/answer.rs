//! What the registry answers: the reading half of the OCI distribution specification 1.1 as a function.

use crate::registry::catalog::{Catalog, Lookup};
use crate::registry::name::{Digest, Repository, is_path, is_tag};
use crate::registry::range::{self, Wanted};
use serde_json::json;

/// One request, as far as it matters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<'q> {
    pub(super) method: &'q str,
    pub(super) path: &'q str,
    pub(super) query: &'q str,
    pub(super) range: Option<&'q str>,
}

/// One response.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Body,
}

/// What follows the headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    Empty,
    Text(String),
    /// `length` bytes of a blob, starting at `from`.
    File {
        digest: Digest,
        from: u64,
        length: u64,
    },
}

impl Answer {
    fn new(status: u16) -> Self {
        let version = ("Docker-Distribution-Api-Version", "registry/2.0".to_owned());
        Answer {
            status,
            headers: vec![version],
            body: Body::Empty,
        }
    }

    fn header(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    fn json(status: u16, value: &serde_json::Value) -> Self {
        let text = value.to_string();
        let answer = Answer::new(status)
            .header("Content-Type", "application/json")
            .header("Content-Length", text.len());
        Answer {
            body: Body::Text(text),
            ..answer
        }
    }

    /// The body as text; empty if it is a file.
    pub(super) fn text(&self) -> &str {
        match &self.body {
            Body::Text(text) => text,
            Body::Empty | Body::File { .. } => "",
        }
    }
}

fn error(status: u16, code: &str, message: String) -> Answer {
    Answer::json(
        status,
        &json!({"errors": [{"code": code, "message": message}]}),
    )
}

/// A blob was there, and could not be read.
pub(super) fn unreadable() -> Answer {
    error(
        500,
        "UNKNOWN",
        "the store cannot be read; the machine's log says why".into(),
    )
}

/// Answers one request; `size` says how long a blob is, or that there is none.
pub(super) fn answer(
    catalog: &Catalog,
    question: &Question<'_>,
    size: impl Fn(&Digest) -> Option<u64>,
) -> Answer {
    if !matches!(question.method, "GET" | "HEAD") {
        let message = format!(
            "{} is not possible: this registry only reads",
            question.method
        );
        return error(405, "UNSUPPORTED", message).header("Allow", "GET, HEAD");
    }
    let mut answer = find(catalog, question, size);
    if question.method == "HEAD" {
        // The length stays in the headers: it is what a client asks with HEAD.
        answer.body = Body::Empty;
    }
    answer
}

fn find(
    catalog: &Catalog,
    question: &Question<'_>,
    size: impl Fn(&Digest) -> Option<u64>,
) -> Answer {
    let path = decode(question.path);
    let Some(rest) = path.strip_prefix("/v2") else {
        return error(404, "UNSUPPORTED", "everything here is below /v2/".into());
    };
    if matches!(rest, "" | "/") {
        return Answer::json(200, &json!({}));
    }
    let parts = rest.strip_prefix('/').and_then(|rest| {
        let (head, reference) = rest.rsplit_once('/')?;
        let (name, kind) = head.rsplit_once('/')?;
        Some((name, kind, reference))
    });
    let Some((name, kind, reference)) = parts else {
        return error(
            404,
            "UNSUPPORTED",
            "this registry serves manifests, blobs and tags".into(),
        );
    };
    if !is_path(name) {
        return error(
            400,
            "NAME_INVALID",
            format!("{name:?} is not a repository's name"),
        );
    }
    let host = namespace(question.query);
    let repository = match catalog.repository(host.as_deref(), name) {
        Lookup::One(repository) => repository,
        Lookup::Unknown => {
            let full = host.map_or_else(
                || name.to_owned(),
                |host| Repository::new(&host, name).to_string(),
            );
            return error(
                404,
                "NAME_UNKNOWN",
                format!("this machine's store has no image {full}"),
            );
        }
        Lookup::Several(several) => {
            let names: Vec<String> = several.iter().map(ToString::to_string).collect();
            let message = format!("{name} may be any of {}: add ?ns=HOST", names.join(", "));
            return error(404, "NAME_UNKNOWN", message);
        }
    };
    match kind {
        "manifests" => manifest(catalog, repository, reference, size),
        "blobs" => blob(repository, reference, question.range, size),
        "tags" if reference == "list" => {
            let tags: Vec<&str> = catalog.tags(repository).map(|(tag, _)| tag).collect();
            Answer::json(200, &json!({"name": name, "tags": tags}))
        }
        _ => error(
            404,
            "UNSUPPORTED",
            "this registry serves manifests, blobs and tags".into(),
        ),
    }
}

fn manifest(
    catalog: &Catalog,
    repository: &Repository,
    reference: &str,
    size: impl Fn(&Digest) -> Option<u64>,
) -> Answer {
    let digest = match Digest::parse(reference) {
        Some(digest) => digest,
        None if is_tag(reference) => {
            match catalog.tags(repository).find(|(tag, _)| *tag == reference) {
                Some((_, digest)) => digest.clone(),
                None => {
                    let tags: Vec<&str> = catalog.tags(repository).map(|(tag, _)| tag).collect();
                    let there = tags.join(", ");
                    let message = format!(
                        "this machine's store has no image {repository}:{reference}, but {there}"
                    );
                    return error(404, "MANIFEST_UNKNOWN", message);
                }
            }
        }
        None => {
            return error(
                400,
                "DIGEST_INVALID",
                format!("{reference:?} is neither a tag nor a digest"),
            );
        }
    };
    let (Some(media_type), Some(length)) = (catalog.media_type(&digest), size(&digest)) else {
        let message =
            format!("this machine's store has no manifest {digest} of image {repository}");
        return error(404, "MANIFEST_UNKNOWN", message);
    };
    let answer = Answer::new(200)
        .header("Content-Type", media_type)
        .header("Content-Length", length)
        .header("Docker-Content-Digest", &digest);
    Answer {
        body: Body::File {
            digest,
            from: 0,
            length,
        },
        ..answer
    }
}

fn blob(
    repository: &Repository,
    reference: &str,
    header: Option<&str>,
    size: impl Fn(&Digest) -> Option<u64>,
) -> Answer {
    let Some(digest) = Digest::parse(reference) else {
        return error(
            400,
            "DIGEST_INVALID",
            format!("{reference:?} is not a SHA-256 digest"),
        );
    };
    let Some(total) = size(&digest) else {
        let message = format!("this machine's store has no blob {digest} of image {repository}");
        return error(404, "BLOB_UNKNOWN", message);
    };
    let (status, from, length) = match range::parse(header, total) {
        Wanted::Whole => (200, 0, total),
        Wanted::Part { first, last } => (206, first, last - first + 1),
        Wanted::Beyond => {
            let message = format!("blob {digest} has {total} bytes");
            let answer = error(416, "RANGE_INVALID", message);
            return answer.header("Content-Range", format!("bytes */{total}"));
        }
    };
    let mut answer = Answer::new(status)
        .header("Content-Type", "application/octet-stream")
        .header("Content-Length", length)
        .header("Accept-Ranges", "bytes")
        .header("Docker-Content-Digest", &digest);
    if status == 206 {
        answer = answer.header(
            "Content-Range",
            format!("bytes {from}-{}/{total}", from + length - 1),
        );
    }
    Answer {
        body: Body::File {
            digest,
            from,
            length,
        },
        ..answer
    }
}

/// The registry that the client means, from containerd's `ns` parameter.
fn namespace(query: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix("ns="))?;
    Some(decode(value)).filter(|host| !host.is_empty())
}

/// Percent-decoding (RFC 3986, section 2.1); what is not an escape, or no UTF-8, stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let value = escaped.and_then(|digits| std::str::from_utf8(digits).ok());
        match value
            .filter(|d| !d.starts_with('+'))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
        {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}
