//! What the laboratory takes of this host: control groups, loop devices, mounts, a network namespace.
//!
//! All of it has fixed names, so that what a killed run left is found and removed by the next.

use super::SITE;
use crate::command::Tool;
use crate::process;
use anyhow::{Context, ensure};
use contract::partition::{Arch, Role};
use formats::gpt::{self, SectorSize};
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// The hierarchies of control groups that machines get a part of.
pub(super) const CONTROLLERS: [&str; 8] = [
    "cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids",
];
const GROUPS: &str = "/sys/fs/cgroup";
/// Where the lock and the mounts are.
const FOLDER: &str = "/run/seedbed-laboratory";
/// The file below it that keeps which loop device shows which image.
const DISK: &str = "disk";
/// Joins the groups whose files come before `--`, and becomes the command after it.
const JOIN: &str = "while [ \"$1\" != -- ]; do echo $$ > \"$1\"; shift; done; shift; exec \"$@\"";
/// How long the kernel may take to end a machine's last process.
const END: Duration = Duration::from_secs(20);

/// Why this host cannot have a laboratory, if it cannot.
pub(super) fn lacks() -> Option<String> {
    if fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return Some(String::from("only root may make machines of namespaces"));
    }
    for controller in CONTROLLERS.iter().chain(&["systemd"]) {
        let folder = Path::new(GROUPS).join(controller);
        if !folder.join("cgroup.procs").exists() {
            return Some(format!(
                "{} is no hierarchy of control groups (version 1)",
                folder.display()
            ));
        }
    }
    let systems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    for system in ["erofs", "overlay"] {
        if !systems.split_whitespace().any(|word| word == system) {
            return Some(format!("the kernel has no {system}"));
        }
    }
    None
}

/// This host's uptime, in whole seconds.
pub(super) fn uptime() -> anyhow::Result<u64> {
    let text = fs::read_to_string("/proc/uptime").context("reading /proc/uptime")?;
    let seconds = text.split('.').next().unwrap_or_default();
    seconds.parse().context("reading /proc/uptime")
}

/// Takes the laboratory for this process, and removes what an earlier one left.
pub(super) fn take() -> anyhow::Result<File> {
    fs::create_dir_all(FOLDER).with_context(|| format!("creating {FOLDER}"))?;
    let lock = File::create(Path::new(FOLDER).join("lock")).context("creating a lock")?;
    lock.lock().context("waiting for another laboratory")?;
    for number in 1..=u8::MAX {
        let groups = Groups::new(number);
        if !groups.folder("pids").exists() {
            break;
        }
        groups.remove()?;
    }
    for name in ["root", "store"] {
        // Nothing is mounted there, as a rule.
        let _ = Tool::new("umount")
            .arg(Path::new(FOLDER).join(name))
            .finish()?;
    }
    detach_left()?;
    let _ = Tool::new("ip").args(["netns", "delete", SITE]).finish()?;
    Ok(lock)
}

/// Detaches the loop device that an earlier laboratory left, unless it shows something else by now.
fn detach_left() -> anyhow::Result<()> {
    let Ok(kept) = fs::read_to_string(Path::new(FOLDER).join(DISK)) else {
        return Ok(());
    };
    let Some((disk, image)) = kept.split_once('\n') else {
        return Ok(());
    };
    let name = disk.trim_start_matches("/dev/");
    let backing = format!("/sys/class/block/{name}/loop/backing_file");
    let backing = fs::read_to_string(backing).unwrap_or_default();
    // The kernel adds a word if the file is gone.
    if backing.trim().trim_end_matches(" (deleted)") == image {
        Tool::new("losetup").args(["--detach", disk]).run()?;
    }
    Ok(())
}

/// The image's root and store, mounted once for all machines.
#[derive(Debug)]
pub(super) struct Image {
    disk: String,
}

impl Image {
    /// Mounts a raw image.
    pub(super) fn mount(image: &Path) -> anyhow::Result<Self> {
        let losetup = Tool::new("losetup").args(["--find", "--show", "--read-only"]);
        let disk = losetup.arg(image).run()?.stdout.trim().to_owned();
        let kept = format!("{disk}\n{}", image.display());
        fs::write(Path::new(FOLDER).join(DISK), kept).context("noting the loop device")?;
        let mounted = Image { disk };
        let file = File::open(image).with_context(|| format!("opening {}", image.display()))?;
        let table = gpt::read(&file, SectorSize::B512)
            .with_context(|| format!("reading the partitions of {}", image.display()))?;
        for (role, name) in [(Role::Root, "root"), (Role::Store, "store")] {
            let mut entries = table.entries.values();
            let kind = role.type_guid(Arch::Amd64);
            let entry = entries.find(|entry| entry.type_guid == *kind.as_bytes());
            let entry = entry.with_context(|| format!("the image has no {}", role.label()))?;
            let place = mounted.folder().join(name);
            fs::create_dir_all(&place).with_context(|| format!("creating {}", place.display()))?;
            let (offset, size) = (512 * entry.first_lba, 512 * entry.sectors());
            Tool::new("mount")
                .args(["-t", "erofs", "-o"])
                .arg(format!("ro,loop,offset={offset},sizelimit={size}"))
                .arg(&mounted.disk)
                .arg(&place)
                .run()?;
        }
        Ok(mounted)
    }

    /// The folder with `root` and `store`.
    pub(super) fn folder(&self) -> PathBuf {
        PathBuf::from(FOLDER)
    }

    /// The loop device that is the whole image.
    pub(super) fn disk(&self) -> &str {
        &self.disk
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        for name in ["root", "store"] {
            let _ = Tool::new("umount").arg(self.folder().join(name)).finish();
        }
        let _ = Tool::new("losetup").args(["--detach", &self.disk]).finish();
    }
}

/// The site: a network namespace with two switches, where this host's own address is the last.
pub(super) fn set_up_site(address: &str) -> anyhow::Result<()> {
    let ip = |line: &str| Tool::new("ip").args(line.split(' ')).run().map(drop);
    ip(&format!("netns add {SITE}"))?;
    for line in [
        "link set lo up",
        "link add switch0 type bridge",
        "link add switch1 type bridge",
        "link set switch0 up",
        "link set switch1 up",
        &format!("address add {address} dev switch0"),
    ] {
        ip(&format!("-netns {SITE} {line}"))?;
    }
    // Programs of several machines watch more files than one user's usual share.
    for (setting, least) in [
        ("fs/inotify/max_user_instances", 8192),
        ("fs/inotify/max_user_watches", 1_048_576),
    ] {
        let path = Path::new("/proc/sys").join(setting);
        let now: u64 = fs::read_to_string(&path)?.trim().parse()?;
        if now < least {
            fs::write(&path, least.to_string())
                .with_context(|| format!("raising {}", path.display()))?;
        }
    }
    Ok(())
}

/// Removes the site.
pub(super) fn take_down_site() {
    let _ = Tool::new("ip").args(["netns", "delete", SITE]).finish();
}

/// Plugs a machine's cable into one of the two switches.
pub(super) fn plug(number: u8, switch: u8) -> anyhow::Result<()> {
    let line = format!("-netns {SITE} link set port{number} master switch{switch}");
    Tool::new("ip").args(line.split(' ')).run().map(drop)
}

/// A machine's control groups.
#[derive(Debug)]
pub(super) struct Groups {
    name: String,
}

impl Groups {
    pub(super) fn new(number: u8) -> Self {
        Groups {
            name: format!("seedbed-laboratory-{number}"),
        }
    }

    fn folder(&self, hierarchy: &str) -> PathBuf {
        Path::new(GROUPS).join(hierarchy).join(&self.name)
    }

    /// The unified hierarchy, which has no controllers here and is mounted nowhere for good.
    fn unified() -> anyhow::Result<PathBuf> {
        let place = Path::new(FOLDER).join("unified");
        fs::create_dir_all(&place).with_context(|| format!("creating {}", place.display()))?;
        if !place.join("cgroup.procs").exists() {
            let mount = Tool::new("mount").args(["-t", "cgroup2", "unified"]);
            mount.arg(&place).run()?;
        }
        Ok(place)
    }

    fn folders(&self) -> anyhow::Result<Vec<PathBuf>> {
        let hierarchies = CONTROLLERS.iter().chain(&["systemd"]);
        let mut folders: Vec<PathBuf> = hierarchies.map(|name| self.folder(name)).collect();
        folders.push(Self::unified()?.join(&self.name));
        Ok(folders)
    }

    /// A command for `program` in them, which dies with this process.
    pub(super) fn command(&self, program: &str) -> anyhow::Result<Command> {
        let mut places = Vec::new();
        for folder in self.folders()? {
            fs::create_dir_all(&folder)
                .with_context(|| format!("creating {}", folder.display()))?;
            places.push(folder.join("cgroup.procs"));
        }
        let cpuset = self.folder("cpuset");
        for file in ["cpuset.cpus", "cpuset.mems"] {
            let all = fs::read(Path::new(GROUPS).join("cpuset").join(file))?;
            fs::write(cpuset.join(file), all).with_context(|| format!("setting {file}"))?;
        }
        fs::write(cpuset.join("cgroup.clone_children"), "1").context("setting up cpuset")?;
        let mut command = process::bound("sh");
        command.args(["-euc", JOIN, "join"]).args(places);
        command.args(["--", program]);
        Ok(command)
    }

    /// Ends what is in them, and removes them.
    pub(super) fn remove(&self) -> anyhow::Result<()> {
        let deadline = Instant::now() + END;
        loop {
            let left = processes(&self.folder("pids"));
            if left.is_empty() {
                break;
            }
            ensure!(
                Instant::now() < deadline,
                "processes {left:?} of {} do not end",
                self.name
            );
            let kill = Tool::new("kill").arg("-KILL");
            // One that has ended by now is no failure.
            let _ = kill.args(left.iter().map(ToString::to_string)).finish()?;
            thread::sleep(Duration::from_millis(50));
        }
        for folder in self.folders()? {
            remove(&folder);
        }
        Ok(())
    }
}

/// Every process in a group and below.
fn processes(group: &Path) -> Vec<u32> {
    let own = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    let mut found: Vec<u32> = own.lines().filter_map(|line| line.parse().ok()).collect();
    for below in below(group) {
        found.extend(processes(&below));
    }
    found
}

/// A group without processes may still be busy for a moment; an empty one does no harm.
fn remove(group: &Path) {
    for below in below(group) {
        remove(&below);
    }
    let _ = fs::remove_dir(group);
}

fn below(group: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(group).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    folders.map(|entry| entry.path()).collect()
}
