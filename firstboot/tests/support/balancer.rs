//! The balancer as a process, and clients of it.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use firstboot::balancer::backends::Backends;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::api_server::{ApiServer, Authority};

/// Longest time for anything to happen, on a host that does much else.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A cluster with its balancer.
pub(crate) struct Stand {
    dir: tempfile::TempDir,
    pub(crate) authority: Authority,
    process: Child,
    log: Receiver<String>,
    pub(crate) address: SocketAddr,
}

impl Stand {
    /// Starts a balancer at a free port of 127.0.0.1, with a list of servers or with none.
    pub(crate) fn start(list: Option<(&[SocketAddr], Option<SocketAddr>)>) -> Stand {
        Stand::start_with(Authority::new(), "127.0.0.1:0", list)
    }

    pub(crate) fn start_with(
        authority: Authority,
        listen: &str,
        list: Option<(&[SocketAddr], Option<SocketAddr>)>,
    ) -> Stand {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("ca.crt"), authority.pem()).unwrap();
        if let Some((backends, own)) = list {
            write(&dir, backends, own);
        }
        let mut process = Command::new(env!("CARGO_BIN_EXE_firstboot"))
            .args(["balancer", "--listen", listen, "--backends"])
            .arg(dir.path().join("backends.json"))
            .arg("--authority")
            .arg(dir.path().join("ca.crt"))
            .env("NO_COLOR", "1")
            .env_remove("SEEDBED_LOG")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (lines, log) = channel();
        let output = BufReader::new(process.stderr.take().unwrap());
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                eprintln!("{line}");
                let _ = lines.send(line);
            }
        });
        let mut stand = Stand {
            dir,
            authority,
            process,
            log,
            address: SocketAddr::from(([127, 0, 0, 1], 0)),
        };
        let line = stand.wait_for("listening on ");
        let (_, address) = line.split_once("listening on ").unwrap();
        stand.address = address.trim().parse().unwrap();
        stand
    }

    /// Replaces the list of servers, as `firstboot run` does.
    pub(crate) fn list(&self, backends: &[SocketAddr], own: Option<SocketAddr>) {
        write(&self.dir, backends, own);
        self.wait_for("API servers: ");
    }

    /// Writes or removes the file with the authority.
    pub(crate) fn trust(&self, pem: Option<&str>) {
        let path = self.dir.path().join("ca.crt");
        match pem {
            Some(pem) => fs::write(path, pem).unwrap(),
            None => fs::remove_file(path).unwrap(),
        }
    }

    /// Waits until the balancer found that all these servers answer, in any order.
    pub(crate) fn wait_for_healthy(&self, servers: &[&ApiServer]) {
        let mut awaited: Vec<String> = servers
            .iter()
            .map(|server| format!("API server {} answers", server.address))
            .collect();
        while !awaited.is_empty() {
            let line = self.wait_for("answers");
            awaited.retain(|text| !line.contains(text.as_str()));
        }
    }

    /// The next line of the log with this text.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            match self.log.recv_timeout(left) {
                Ok(line) if line.contains(text) => return line,
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => panic!("the balancer did not say {text:?}"),
                Err(RecvTimeoutError::Disconnected) => panic!("the balancer ended before {text:?}"),
            }
        }
    }

    pub(crate) fn terminate(&self) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).unwrap()).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
    }

    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.process.wait().unwrap()
    }

    /// A field of `/proc/PID/status` in KiB, such as `VmRSS`.
    pub(crate) fn memory(&self, field: &str) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        let (_, value) = lines.find(|(name, _)| *name == field).unwrap();
        value.split_whitespace().next().unwrap().parse().unwrap()
    }

    /// Processor time of the balancer so far, in clock ticks.
    pub(crate) fn ticks(&self) -> u64 {
        let text = fs::read_to_string(format!("/proc/{}/stat", self.process.id())).unwrap();
        let (_, fields) = text.rsplit_once(") ").unwrap();
        let fields: Vec<&str> = fields.split(' ').collect();
        fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn write(dir: &tempfile::TempDir, backends: &[SocketAddr], own: Option<SocketAddr>) {
    let list = Backends {
        backends: backends.to_vec(),
        own,
    };
    let (path, next) = (dir.path().join("backends.json"), dir.path().join("next"));
    fs::write(&next, list.to_json().unwrap()).unwrap();
    fs::rename(next, path).unwrap();
}

/// A connection of a client that a server has answered.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    /// The name of the server.
    pub(crate) server: u8,
}

impl Client {
    /// Connects, says one byte, and waits for the server's name and the byte.
    pub(crate) async fn connect(address: SocketAddr) -> std::io::Result<Client> {
        let connect = async {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            stream.write_all(b".").await?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await?;
            assert_eq!(answer[1], b'.');
            let server = answer[0];
            Ok(Client { stream, server })
        };
        let end = tokio::time::timeout(PATIENCE, connect).await;
        end.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()))
    }

    /// Sends a byte and waits until it is back.
    pub(crate) async fn ping(&mut self) -> std::io::Result<()> {
        self.stream.write_all(b"!").await?;
        let mut answer = [0];
        self.stream.read_exact(&mut answer).await?;
        assert_eq!(answer, *b"!");
        Ok(())
    }

    /// Waits until the connection is closed from outside.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let end = tokio::time::timeout(PATIENCE, self.stream.read_to_end(&mut rest)).await;
        // A reset is as good as an end.
        let _ = end.expect("the connection is still open");
        assert_eq!(rest, b"");
    }
}

/// Raises this process' limit of open files; says why if so many are not allowed.
pub(crate) fn allow_descriptors(count: u64) -> Result<(), String> {
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= count) {
        return Ok(());
    }
    let raised = Rlimit {
        current: Some(count),
        ..limit
    };
    setrlimit(Resource::Nofile, raised)
        .map_err(|error| format!("{count} open files are not allowed: {error}"))
}
