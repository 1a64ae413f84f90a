//! Debian's `docker-registry`: the distribution project's own server, in a folder and on a port of its own.

use super::server::Server;
use builder::images::reference::Reference;
use reqwest::blocking::{Client, RequestBuilder};
use reqwest::{Certificate, StatusCode};
use std::fs;
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Who may read and write, where somebody has to log in.
pub const USER: &str = "fixture";
/// The password of [`USER`].
pub const PASSWORD: &str = "fixture-Passw0rd";
/// The password as the server has it: bcrypt.
const HTPASSWD: &str = "fixture:$2b$04$e.IoI3ANR0Dprd.tpv211.sQKmXbDzlqgi2Ycu.JRr1rXui0O2Bym\n";

/// A server that runs until it is dropped.
pub struct DockerRegistry {
    dir: tempfile::TempDir,
    child: Child,
    address: String,
    /// The authority that signed its certificate, PEM; without it there is no TLS.
    pub authority: Option<String>,
    login: bool,
}

/// How the server is set up.
#[derive(Clone, Copy, Debug, Default)]
pub struct Setup {
    /// With a certificate of an authority that nobody knows.
    pub tls: bool,
    /// With a user name and a password.
    pub login: bool,
    /// So that nobody may write.
    pub read_only: bool,
}

impl DockerRegistry {
    /// Starts it; `None` if the program is not installed.
    pub fn start(setup: Setup) -> Option<Self> {
        let program = ["/usr/bin/docker-registry", "/usr/sbin/docker-registry"];
        let program = program.into_iter().find(|path| fs::exists(path).unwrap())?;
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        let address = format!("127.0.0.1:{port}");
        let path = |name: &str| dir.path().join(name).display().to_string();
        let mut config = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}, maintenance: {{readonly: {{enabled: {}}}}}}}\nhttp:\n  addr: {address}\n",
            path("data"),
            setup.read_only
        );
        let mut authority = None;
        if setup.tls {
            let (ca, certificate, key) = certificates();
            fs::write(path("cert.pem"), certificate).unwrap();
            fs::write(path("key.pem"), key).unwrap();
            config += &format!(
                "  tls: {{certificate: {}, key: {}}}\n",
                path("cert.pem"),
                path("key.pem")
            );
            authority = Some(ca);
        }
        if setup.login {
            fs::write(path("htpasswd"), HTPASSWD).unwrap();
            config += &format!(
                "auth: {{htpasswd: {{realm: fixture, path: {}}}}}\n",
                path("htpasswd")
            );
        }
        fs::write(path("config.yml"), config).unwrap();
        let child = Command::new(program)
            .args(["serve", &path("config.yml")])
            .env_clear()
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let registry = DockerRegistry {
            dir,
            child,
            address,
            authority,
            login: setup.login,
        };
        registry.wait();
        Some(registry)
    }

    /// Where it is.
    pub fn url(&self) -> String {
        let scheme = if self.authority.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{}", self.address)
    }

    /// Host and port.
    pub fn host(&self) -> &str {
        &self.address
    }

    fn wait(&self) {
        let start = Instant::now();
        while self.request("GET", "/v2/").send().is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "docker-registry does not answer"
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn request(&self, method: &str, path: &str) -> RequestBuilder {
        // A second installation is refused, which means that one is there.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut client = Client::builder().no_proxy();
        if let Some(authority) = &self.authority {
            client =
                client.add_root_certificate(Certificate::from_pem(authority.as_bytes()).unwrap());
        }
        let url = match path.starts_with("http") {
            true => path.to_owned(),
            false => format!("{}{path}", self.url()),
        };
        let request = client
            .build()
            .unwrap()
            .request(method.parse().unwrap(), url);
        match self.login {
            true => request.basic_auth(USER, Some(PASSWORD)),
            false => request,
        }
    }

    /// Stores a blob in a repository.
    pub fn put_blob(&self, repository: &str, sha256: &str, bytes: Vec<u8>) {
        let begun = self.request("POST", &format!("/v2/{repository}/blobs/uploads/"));
        let begun = begun.send().unwrap();
        assert_eq!(begun.status(), StatusCode::ACCEPTED);
        let place = begun.headers()["location"].to_str().unwrap();
        let by = if place.contains('?') { '&' } else { '?' };
        let put = self.request("PUT", &format!("{place}{by}digest=sha256:{sha256}"));
        let put = put
            .header("content-type", "application/octet-stream")
            .body(bytes);
        assert_eq!(put.send().unwrap().status(), StatusCode::CREATED);
    }

    /// Copies everything of `image` from where `served` put it: blobs, manifests, and what the tag stands for.
    pub fn copy(&self, from: &Server, image: &Reference, served: &[&super::registry::Served]) {
        let repository = &image.repository;
        for served in served {
            for (sha256, bytes) in &served.blobs {
                self.put_blob(repository, sha256, bytes.clone());
            }
            let path = super::registry::manifest_path(image, &served.manifest);
            self.put_manifest(
                repository,
                &format!("sha256:{}", served.manifest),
                from,
                &path,
            );
        }
        let path = format!("/v2/{repository}/manifests/{}", image.tag);
        self.put_manifest(repository, &image.tag, from, &path);
    }

    fn put_manifest(&self, repository: &str, reference: &str, from: &Server, path: &str) {
        let (bytes, media_type) = (from.bytes(path), from.media_type(path));
        let put = self.request("PUT", &format!("/v2/{repository}/manifests/{reference}"));
        let answer = put
            .header("content-type", media_type)
            .body(bytes)
            .send()
            .unwrap();
        assert_eq!(
            answer.status(),
            StatusCode::CREATED,
            "{}",
            answer.text().unwrap()
        );
    }

    /// Clears up as its administrator does: what no manifest names is gone then.
    pub fn collect_garbage(&self) {
        let program = std::fs::read_link(format!("/proc/{}/exe", self.child.id())).unwrap();
        let collected = Command::new(program)
            .arg("garbage-collect")
            .arg(self.dir.path().join("config.yml"))
            .env_clear()
            .output()
            .unwrap();
        assert!(collected.status.success(), "{collected:?}");
    }

    /// Where the server keeps a blob.
    pub fn blob(&self, sha256: &str) -> std::path::PathBuf {
        let blobs = self.dir.path().join("data/docker/registry/v2/blobs/sha256");
        blobs.join(&sha256[..2]).join(sha256).join("data")
    }

    /// The folder that is the server's own.
    pub fn dir(&self) -> &std::path::Path {
        self.dir.path()
    }
}

impl Drop for DockerRegistry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An authority, and a certificate for 127.0.0.1 with its key, all PEM.
fn certificates() -> (String, String, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut ca = rcgen::CertificateParams::new(Vec::new()).unwrap();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    ca.distinguished_name
        .push(rcgen::DnType::CommonName, "fixture authority");
    let certificate = ca.self_signed(&key).unwrap();
    let authority = certificate.pem();
    let issuer = rcgen::Issuer::new(ca, key);
    let leaf = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    let signed = params.signed_by(&leaf, &issuer).unwrap();
    (authority, signed.pem(), leaf.serialize_pem())
}
