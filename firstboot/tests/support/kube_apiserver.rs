//! A kube-apiserver on an etcd of its own, both on loopback, with the files that a machine would have.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::etcd_program;
use contract::peer::Pair;
use contract::peer::keys::EncryptionKey;
use contract::secret::Secret;
use data_encoding::BASE64;
use firstboot::host::http::{Tls, Trust};
use firstboot::host::{Host, Linux, Reply, Request};
use firstboot::pki::{self, Subject};
use firstboot::render::{audit, encryption};
use serde_json::{Value, json};

/// The user of the administrator's kubeconfig, as kubeadm names it.
pub(crate) const ADMINISTRATOR: &str = "kubernetes-admin";
/// The user of a kubelet.
pub(crate) const KUBELET: &str = "system:node:plant-1";

/// It takes seconds; here are some for a host that does much else.
const DEADLINE: Duration = Duration::from_secs(180);

/// Both programs are there.
pub(crate) fn available() -> Result<(), String> {
    let program = program()?;
    if !program.exists() {
        return Err(format!("{} is missing (`make kube`)", program.display()));
    }
    etcd_program::available().map_err(String::from)
}

fn program() -> Result<PathBuf, String> {
    match std::env::var_os("SEEDBED_KUBE") {
        Some(folder) => {
            Ok(PathBuf::from(folder).join("release/v1.20.2/bin/linux/amd64/kube-apiserver"))
        }
        None => Err(String::from(
            "SEEDBED_KUBE names no folder with Kubernetes' programs",
        )),
    }
}

/// Both programs, which end when this is dropped.
pub(crate) struct Stand {
    dir: tempfile::TempDir,
    etcd: u16,
    port: u16,
    authority: Pair,
    children: Vec<Child>,
}

impl Stand {
    /// Starts both, and waits until the API server is ready.
    pub(crate) fn start() -> Stand {
        let mut stand = Stand {
            dir: tempfile::tempdir().unwrap(),
            etcd: free_port(),
            port: free_port(),
            authority: pki::authority("kubernetes", pki::now(&Linux).unwrap()).unwrap(),
            children: Vec::new(),
        };
        stand.start_etcd();
        stand.start_api_server();
        stand.wait_until_ready();
        stand
    }

    fn start_etcd(&mut self) {
        let (clients, peers) = (self.etcd, free_port());
        let mut etcd = Command::new(etcd_program::path());
        etcd.arg("--data-dir").arg(self.dir.path().join("etcd"));
        for (name, port) in [
            ("--listen-client-urls", clients),
            ("--advertise-client-urls", clients),
            ("--listen-peer-urls", peers),
            ("--initial-advertise-peer-urls", peers),
        ] {
            etcd.arg(format!("{name}=http://127.0.0.1:{port}"));
        }
        etcd.arg(format!(
            "--initial-cluster=default=http://127.0.0.1:{peers}"
        ));
        self.spawn("etcd", &mut etcd);
    }

    fn start_api_server(&mut self) {
        let serves = Subject {
            name: "kube-apiserver",
            group: None,
            serves: Some((&["kubernetes"], &["127.0.0.1".parse().unwrap()])),
        };
        let own = pki::issue(&self.authority, &serves, pki::now(&Linux).unwrap()).unwrap();
        let accounts = pki::keys().unwrap();
        let key = EncryptionKey::new(std::array::from_fn(|i| i as u8));
        let mut server = Command::new(program().unwrap());
        for (name, text) in [
            ("client-ca-file", &self.authority.public),
            ("tls-cert-file", &own.public),
            ("tls-private-key-file", &own.key),
            ("service-account-key-file", &accounts.public),
            ("service-account-signing-key-file", &accounts.key),
            (
                "encryption-provider-config",
                &encryption::configuration(&key),
            ),
            ("audit-policy-file", &audit::policy()),
        ] {
            let path = self.dir.path().join(name);
            fs::write(&path, text).unwrap();
            server.arg(format!("--{name}={}", path.display()));
        }
        let folder = self.dir.path().join("audit");
        fs::create_dir(&folder).unwrap();
        server.arg(format!("--audit-log-path={}", self.log_path().display()));
        for (name, value) in audit::ROTATION {
            server.arg(format!("--{name}={value}"));
        }
        server
            .arg(format!("--etcd-servers=http://127.0.0.1:{}", self.etcd))
            .arg(format!("--secure-port={}", self.port))
            .arg(format!("--cert-dir={}", self.dir.path().display()))
            .args([
                "--bind-address=127.0.0.1",
                "--advertise-address=192.0.2.1",
                "--endpoint-reconciler-type=none",
                "--service-account-issuer=https://kubernetes.default.svc",
                "--service-cluster-ip-range=10.96.0.0/12",
            ]);
        self.spawn("kube-apiserver", &mut server);
    }

    fn spawn(&mut self, name: &str, command: &mut Command) {
        let output = File::create(self.dir.path().join(format!("{name}.txt"))).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        self.children.push(child.unwrap());
    }

    fn wait_until_ready(&mut self) {
        let deadline = Instant::now() + DEADLINE;
        while !matches!(self.ask(ADMINISTRATOR, "/readyz", None), Ok(reply) if reply.status == 200)
        {
            let ended = self
                .children
                .iter_mut()
                .any(|child| child.try_wait().unwrap().is_some());
            if ended || Instant::now() > deadline {
                let said = |name: &str| fs::read_to_string(self.dir.path().join(name)).unwrap();
                panic!(
                    "the API server did not become ready: {}{}",
                    said("etcd.txt"),
                    said("kube-apiserver.txt")
                );
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    fn ask(&self, user: &str, path: &str, body: Option<&Value>) -> anyhow::Result<Reply> {
        let group = match user {
            KUBELET => "system:nodes",
            _ => "system:masters",
        };
        let subject = Subject {
            name: user,
            group: Some(group),
            serves: None,
        };
        let client = pki::issue(&self.authority, &subject, pki::now(&Linux)?)?;
        let request = Request::loopback(self.port, path).tls(Tls {
            trust: Trust::Authority(self.authority.public.clone().into_bytes()),
            client: Some((client.public.into_bytes(), Secret::new(client.key))),
        });
        Linux.ask(&match body {
            Some(body) => request.post(body.to_string()),
            None => request,
        })
    }

    /// What the API server answers this user.
    pub(crate) fn get(&self, user: &str, path: &str) -> Value {
        let reply = self.ask(user, path, None).unwrap();
        let text = String::from_utf8(reply.body).unwrap();
        assert_eq!(reply.status, 200, "{path}: {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Makes an object, as the administrator.
    pub(crate) fn create(&self, path: &str, object: &Value) {
        let reply = self.ask(ADMINISTRATOR, path, Some(object)).unwrap();
        let text = String::from_utf8_lossy(&reply.body);
        assert_eq!(reply.status, 201, "{path}: {text}");
    }

    /// The bytes that etcd has.
    pub(crate) fn raw(&self, key: &str) -> Vec<u8> {
        let answer = self.etcd("range", &json!({ "key": BASE64.encode(key.as_bytes()) }));
        let value = answer["kvs"][0]["value"].as_str();
        BASE64.decode(value.unwrap().as_bytes()).unwrap()
    }

    /// Writes an object past the API server.
    pub(crate) fn put(&self, key: &str, object: &Value) {
        let object = BASE64.encode(object.to_string().as_bytes());
        self.etcd(
            "put",
            &json!({ "key": BASE64.encode(key.as_bytes()), "value": object }),
        );
    }

    fn etcd(&self, what: &str, question: &Value) -> Value {
        let path = format!("/v3/kv/{what}");
        let request = Request::loopback(self.etcd, &path).post(question.to_string());
        let reply = Linux.ask(&request).unwrap();
        assert_eq!(reply.status, 200, "{path}");
        serde_json::from_slice(&reply.body).unwrap()
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("audit/audit.log")
    }

    /// What the API server has written down.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Nobody has it at this moment.
fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    listener.local_addr().unwrap().port()
}
