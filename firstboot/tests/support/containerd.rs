//! containerd with a root of its own, with the snapshotter as a process beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// containerd's programs are on the path or in the folder `SEEDBED_CONTAINERD`, and this is root.
pub(crate) fn available() -> Result<(), &'static str> {
    if !rustix::process::geteuid().is_root() {
        return Err("mounting needs root");
    }
    let Ok(output) = program("containerd").arg("--version").output() else {
        return Err("containerd is not installed (SEEDBED_CONTAINERD can name its folder)");
    };
    let text = String::from_utf8_lossy(&output.stdout);
    // Before, `ctr` fetched every layer before it asked any snapshotter.
    match text
        .split(' ')
        .nth(2)
        .is_some_and(|version| version < "1.7")
    {
        true => {
            Err("containerd is older than 1.7 (SEEDBED_CONTAINERD can name another one's folder)")
        }
        false => Ok(()),
    }
}

fn program(name: &str) -> Command {
    match std::env::var_os("SEEDBED_CONTAINERD") {
        Some(folder) => Command::new(PathBuf::from(folder).join(name)),
        None => Command::new(name),
    }
}

/// All of it in one temporary folder; processes and mounts end with it.
pub(crate) struct Stand {
    pub(crate) dir: tempfile::TempDir,
    processes: Vec<(&'static str, Child)>,
    mounted: Vec<PathBuf>,
}

impl Stand {
    pub(crate) fn new() -> Stand {
        Stand {
            dir: tempfile::tempdir().unwrap(),
            processes: Vec::new(),
            mounted: Vec::new(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// Shows the store as a machine does: nothing in it can be written or run.
    pub(crate) fn seal_store(&mut self) {
        let store = self.store();
        run(Command::new("mount").arg("--bind").args([&store, &store]));
        let options = "remount,bind,ro,nodev,nosuid,noexec";
        run(Command::new("mount").args(["-o", options]).arg(&store));
        self.mounted.push(store);
    }

    pub(crate) fn unseal_store(&self) {
        run(Command::new("mount")
            .args(["-o", "remount,bind,rw"])
            .arg(self.store()));
    }

    pub(crate) fn start_snapshotter(&mut self) {
        let _ = fs::remove_file(self.path("run/snapshotter.sock"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_firstboot"));
        command.arg("snapshotter");
        command.arg("--store").arg(self.store());
        command.arg("--root").arg(self.path("root"));
        command.arg("--run").arg(self.path("run"));
        let child = command.stdin(Stdio::null()).spawn().unwrap();
        self.processes.push(("snapshotter", child));
        self.wait_for(&self.path("run/snapshotter.sock"));
    }

    /// Kills the snapshotter as a power cut would.
    pub(crate) fn kill_snapshotter(&mut self) {
        let at = self
            .processes
            .iter()
            .position(|(name, _)| *name == "snapshotter");
        let (_, mut child) = self.processes.remove(at.unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Resident memory of the snapshotter, in KiB.
    pub(crate) fn snapshotter_memory(&self) -> u64 {
        let (_, child) = self
            .processes
            .iter()
            .find(|(name, _)| *name == "snapshotter")
            .unwrap();
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    pub(crate) fn start_containerd(&mut self) {
        let dir = self.dir.path().display();
        let config = format!(
            r#"version = 2
root = "{dir}/containerd"
state = "{dir}/state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
address = "{dir}/containerd.sock"
[ttrpc]
address = "{dir}/containerd.sock.ttrpc"
[proxy_plugins.seedbed]
type = "snapshot"
address = "{dir}/run/snapshotter.sock"
[plugins."io.containerd.transfer.v1.local"]
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux"
snapshotter = "seedbed"
differ = "walking"
[[plugins."io.containerd.transfer.v1.local".unpack_config]]
platform = "linux"
snapshotter = "overlayfs"
differ = "walking"
"#
        );
        fs::write(self.path("config.toml"), config).unwrap();
        let log = fs::File::create(self.path("containerd.log")).unwrap();
        let child = program("containerd")
            .arg("--config")
            .arg(self.path("config.toml"))
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.processes.push(("containerd", child));
        self.wait_for(&self.path("containerd.sock"));
        let end = Instant::now() + Duration::from_secs(30);
        while self.try_ctr(&["version"]).is_err() {
            assert!(Instant::now() < end, "containerd does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn wait_for(&self, path: &Path) {
        let end = Instant::now() + Duration::from_secs(30);
        while !path.exists() {
            assert!(Instant::now() < end, "{} does not appear", path.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Standard output of `ctr`, or the end of its errors.
    pub(crate) fn try_ctr(&self, args: &[&str]) -> Result<String, String> {
        let mut command = program("ctr");
        command.arg("--address").arg(self.path("containerd.sock"));
        let output = command.args(args).stdin(Stdio::null()).output().unwrap();
        match output.status.success() {
            true => Ok(String::from_utf8(output.stdout).unwrap()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    pub(crate) fn ctr(&self, args: &[&str]) -> String {
        self.try_ctr(args).unwrap_or_else(|error| {
            let log = fs::read_to_string(self.path("containerd.log")).unwrap_or_default();
            panic!("ctr {}: {error}\n{log}", args.join(" "))
        })
    }

    /// `ctr snapshots` on a snapshotter.
    pub(crate) fn snapshots(&self, snapshotter: &str, args: &[&str]) -> Result<String, String> {
        let all = [&["snapshots", "--snapshotter", snapshotter], args].concat();
        self.try_ctr(&all)
    }

    /// Takes an image in as the CRI plugin does when it pulls: containerd asks the snapshotter for each layer
    /// before it asks for the layer's blob. The archive's image is called like the archive.
    pub(crate) fn take(&self, namespace: &str, snapshotter: &str, archive: &Path) {
        let base = format!(
            "registry.test/{}",
            archive.file_stem().unwrap().to_str().unwrap()
        );
        let archive = archive.to_str().unwrap();
        let import = [
            "-n",
            namespace,
            "images",
            "import",
            "--local=false",
            "--base-name",
            &base,
        ];
        self.ctr(&[&import[..], &["--snapshotter", snapshotter, archive]].concat());
    }

    /// Carries out the mounts that the snapshotter gives for the snapshot.
    pub(crate) fn mount(&mut self, key: &str) -> PathBuf {
        let target = self.path(&format!("mnt-{key}"));
        fs::create_dir_all(&target).unwrap();
        let line = self.snapshots("seedbed", &["mounts", target.to_str().unwrap(), key]);
        run(Command::new("sh").arg("-c").arg(line.unwrap().trim()));
        self.mounted.push(target.clone());
        target
    }

    pub(crate) fn unmount(&mut self, target: &Path) {
        run(Command::new("umount").arg(target));
        self.mounted.retain(|mounted| mounted != target);
    }
}

impl Drop for Stand {
    fn drop(&mut self) {
        for (_, child) in self.processes.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
        for target in self.mounted.iter().rev() {
            let _ = Command::new("umount").arg(target).status();
        }
    }
}

/// Runs a command that has to succeed.
pub(crate) fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
}
