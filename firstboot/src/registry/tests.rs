//! A client over TCP against a small layout on disk.

use super::*;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";

struct Store {
    dir: tempfile::TempDir,
    entries: Vec<Value>,
}

impl Store {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("blobs/sha256")).unwrap();
        Store {
            dir,
            entries: Vec::new(),
        }
    }

    fn blob(&self, bytes: &[u8]) -> String {
        let hex: String = Sha256::digest(bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        std::fs::write(self.dir.path().join("blobs/sha256").join(&hex), bytes).unwrap();
        format!("sha256:{hex}")
    }

    fn manifest(&self, layer: &str) -> String {
        self.blob(
            json!({"schemaVersion": 2, "layers": [{"digest": layer}]})
                .to_string()
                .as_bytes(),
        )
    }

    fn name(&mut self, name: &str, media_type: &str, digest: &str) {
        let annotations = json!({"org.opencontainers.image.ref.name": name});
        self.entries.push(json!({"mediaType": media_type, "digest": digest, "size": 1, "annotations": annotations}));
    }

    /// Serves the layout in the background, for as long as the test runs.
    fn serve(&self) -> Client {
        let index = json!({"schemaVersion": 2, "manifests": self.entries}).to_string();
        std::fs::write(self.dir.path().join("index.json"), index).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let store = self.dir.path().to_owned();
        std::thread::spawn(move || serve(&store, listener).unwrap());
        Client(address)
    }
}

struct Client(SocketAddr);

struct Reply {
    status: u16,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

impl Client {
    fn ask(&self, method: &str, path: &str, more: &str) -> Reply {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{more}\r\n");
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes
            .windows(4)
            .position(|window| window == b"\r\n\r\n")
            .expect("headers end")
            + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let header = |line: &str| {
            line.split_once(": ")
                .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
        };
        Reply {
            status: head[9..12].parse().unwrap(),
            headers: head.lines().skip(1).filter_map(header).collect(),
            body: bytes[end..].to_vec(),
        }
    }

    fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, "")
    }

    #[track_caller]
    fn check_error(&self, path: &str, status: u16, code: &str, contains: &str) {
        let reply = self.get(path);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(
            (reply.status, body["errors"][0]["code"].as_str()),
            (status, Some(code)),
            "{path} {body}"
        );
        let message = body["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains(contains), "{message}");
    }
}

#[test]
fn an_image_is_pulled_by_tag_then_by_digest() {
    let mut store = Store::new();
    let bytes: Vec<u8> = (0..3_000_000u32).flat_map(|i| i.to_le_bytes()).collect();
    let layer = store.blob(&bytes);
    let manifest = store.manifest(&layer);
    store.name("k8s.gcr.io/pause:3.2", MANIFEST, &manifest);
    let client = store.serve();

    assert_eq!(client.get("/v2/").status, 200);
    for path in [
        "/v2/pause/manifests/3.2?ns=k8s.gcr.io",
        &format!("/v2/pause/manifests/{manifest}?ns=k8s.gcr.io"),
    ] {
        let reply = client.get(path);
        assert_eq!(reply.status, 200, "{path}");
        assert_eq!(reply.headers["content-type"], MANIFEST);
        assert_eq!(reply.headers["docker-content-digest"], manifest);
        assert_eq!(store.blob(&reply.body), manifest);
        let head = client.ask("HEAD", path, "");
        assert_eq!((head.status, head.body.len()), (200, 0));
        assert_eq!(head.headers["content-length"], reply.body.len().to_string());
    }
    let path = format!("/v2/pause/blobs/{layer}?ns=k8s.gcr.io");
    let whole = client.get(&path);
    assert_eq!((whole.status, whole.body == bytes), (200, true));
    let part = client.ask("GET", &path, "Range: bytes=1000-1999999\r\n");
    assert_eq!(
        (part.status, part.body == bytes[1000..2_000_000]),
        (206, true)
    );
    assert_eq!(part.headers["content-range"], "bytes 1000-1999999/12000000");
    let beyond = client.ask("GET", &path, "Range: bytes=12000000-\r\n");
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.headers["content-range"], "bytes */12000000");
    let escaped = client.get(
        &path
            .replace("sha256:", "sha256%3A")
            .replace("k8s.gcr.io", "k8s%2egcr.io"),
    );
    assert_eq!(escaped.status, 200);
    assert_eq!(
        client.get("/v2/pause/tags/list").body,
        br#"{"name":"pause","tags":["3.2"]}"#
    );
    assert_eq!(
        client.ask("PUT", &path, "Content-Length: 0\r\n").status,
        405
    );
}

#[test]
fn an_index_serves_its_manifests() {
    let mut store = Store::new();
    let manifest = store.manifest("sha256:0");
    let child = json!({"mediaType": MANIFEST, "digest": manifest, "size": 1});
    let index = store.blob(
        json!({"schemaVersion": 2, "manifests": [child]})
            .to_string()
            .as_bytes(),
    );
    store.name("registry.k8s.io/coredns/coredns:v1.11.3", INDEX, &index);
    let client = store.serve();

    let reply = client.get("/v2/coredns/coredns/manifests/v1.11.3?ns=registry.k8s.io");
    assert_eq!(
        (reply.status, reply.headers["content-type"].as_str()),
        (200, INDEX)
    );
    let reply = client.get(&format!(
        "/v2/coredns/coredns/manifests/{manifest}?ns=registry.k8s.io"
    ));
    assert_eq!(
        (reply.status, reply.headers["content-type"].as_str()),
        (200, MANIFEST)
    );
}

#[test]
fn hosts_are_told_apart_and_docker_is_normalised() {
    let mut store = Store::new();
    let first = store.manifest("sha256:1");
    let second = store.manifest("sha256:2");
    store.name("a.example/app:1", MANIFEST, &first);
    store.name("b.example:5000/app:1", MANIFEST, &second);
    store.name("docker.io/busybox:1", MANIFEST, &first);
    let client = store.serve();

    let digest = |path: &str| {
        client
            .get(path)
            .headers
            .get("docker-content-digest")
            .cloned()
    };
    assert_eq!(
        digest("/v2/app/manifests/1?ns=a.example"),
        Some(first.clone())
    );
    assert_eq!(
        digest("/v2/app/manifests/1?x=y&ns=b.example:5000"),
        Some(second)
    );
    for path in [
        "/v2/library/busybox/manifests/1?ns=docker.io",
        "/v2/busybox/manifests/1?ns=registry-1.docker.io",
        "/v2/library/busybox/manifests/1",
        "/v2/busybox/manifests/1",
    ] {
        assert_eq!(digest(path), Some(first.clone()), "{path}");
    }
    client.check_error(
        "/v2/app/manifests/1",
        404,
        "NAME_UNKNOWN",
        "a.example/app, b.example:5000/app",
    );
}

#[test]
fn what_is_missing_is_named() {
    let mut store = Store::new();
    let manifest = store.manifest("sha256:1");
    let layer = store.blob(b"not a manifest");
    store.name("k8s.gcr.io/pause:3.2", MANIFEST, &manifest);
    let client = store.serve();
    let none = format!("sha256:{}", "0".repeat(64));
    for (path, status, code, contains) in [
        (
            "/v2/app/manifests/1?ns=k8s.gcr.io",
            404,
            "NAME_UNKNOWN",
            "k8s.gcr.io/app",
        ),
        (
            "/v2/pause/manifests/3.2?ns=quay.io",
            404,
            "NAME_UNKNOWN",
            "quay.io/pause",
        ),
        (
            "/v2/pause/manifests/3.9?ns=k8s.gcr.io",
            404,
            "MANIFEST_UNKNOWN",
            "k8s.gcr.io/pause:3.9, but 3.2",
        ),
        (
            &format!("/v2/pause/manifests/{none}"),
            404,
            "MANIFEST_UNKNOWN",
            "k8s.gcr.io/pause",
        ),
        (
            &format!("/v2/pause/manifests/{layer}"),
            404,
            "MANIFEST_UNKNOWN",
            &layer,
        ),
        (
            &format!("/v2/pause/blobs/{none}"),
            404,
            "BLOB_UNKNOWN",
            "k8s.gcr.io/pause",
        ),
        ("/v2/pause/blobs/latest", 400, "DIGEST_INVALID", "latest"),
        ("/v2/Pause/manifests/3.2", 400, "NAME_INVALID", "Pause"),
        ("/v2/pause/uploads/x", 404, "UNSUPPORTED", ""),
        ("/v1/", 404, "UNSUPPORTED", ""),
        ("/v2/pause", 404, "UNSUPPORTED", ""),
    ] {
        client.check_error(path, status, code, contains);
    }
}

#[test]
fn no_path_leads_out_of_the_store() {
    let mut store = Store::new();
    let manifest = store.manifest("sha256:1");
    store.name("k8s.gcr.io/pause:3.2", MANIFEST, &manifest);
    let client = store.serve();
    for path in [
        "/v2/pause/blobs/sha256:../../index.json",
        "/v2/pause/blobs/..%2f..%2findex.json",
        "/v2/pause/blobs/sha256:..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2f..%2fetc%2fpasswd",
        "/v2/../../etc/passwd",
        "/v2/pause/manifests/..%2f..%2findex.json",
        "/v2/pause/manifests/%00",
        "/v2/%2e%2e/blobs/x",
        "/v2/pause/blobs/%ff",
    ] {
        let reply = client.get(path);
        assert!(
            (400..500).contains(&reply.status),
            "{path}: {}",
            reply.status
        );
    }
}

#[test]
fn a_broken_layout_is_an_error_with_its_name() {
    let store = Store::new();
    let error = |index: &str| {
        std::fs::write(store.dir.path().join("index.json"), index).unwrap();
        format!("{:#}", read_catalog(store.dir.path()).unwrap_err())
    };
    assert!(error("{").contains("index.json is not an OCI image index"));
    let named = |name: &str, digest: &str| {
        let annotations = json!({"org.opencontainers.image.ref.name": name});
        let entry = json!({"mediaType": INDEX, "digest": digest, "annotations": annotations});
        json!({"manifests": [entry]}).to_string()
    };
    let none = format!("sha256:{}", "0".repeat(64));
    assert!(error(&named("a.b/c:1", "sha256:1")).contains("of image a.b/c:1 is not sha256"));
    assert!(error(&named("a.b/c:1", &none)).contains("of image a.b/c:1 cannot be read"));
    let store_manifest = store.blob(br#"{"manifests": []}"#);
    assert!(error(&named("pause", &store_manifest)).contains("\"pause\" is not of the form"));
}
