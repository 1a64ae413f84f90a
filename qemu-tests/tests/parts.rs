//! The shipped parts on one machine: an image that extends them all boots to Ready, and the machine shows what its
//! profile says, runs each part's programs, and puts them to work.

mod parts {
    pub(crate) mod checks;
}

use anyhow::{Context, bail, ensure};
use contract::partition::Role;
use formats::fat::read::Volume;
use formats::gpt::{self, SectorSize};
use formats::read_at::Window;
use formats::tree::{Content, Tree};
use formats::{cpio, uki};
use parts::checks::{DEEDS, MODULES, PROGRAMS, SETTINGS};
use qemu_tests::bake::Bakery;
use qemu_tests::cluster::{Cluster, pod};
use qemu_tests::command::Tool;
use qemu_tests::disk::Disk;
use qemu_tests::environment;
use qemu_tests::report::say;
use qemu_tests::stand::Stand;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::Duration;

const TEST: &str = "shipped_parts";
/// Parts to extend, beside the demo. `hardware` brings `hardware-amd64`.
const PARTS: &[&str] = &[
    "hardware",
    "hypervisors",
    "storage-nfs",
    "storage-cifs",
    "storage-ceph",
    "lvm",
    "xfs",
    "debug",
];
/// What the profile says for itself. [`SETTINGS`] asks for each of these.
const PROFILE: &str = "
name: parts
disk: {esp: 1024, root: 2560, store: 1024}
sysctls: {vm.max_map_count: \"300001\"}
modules: [nbd]
timezone: Europe/Berlin
locale: C.UTF-8
banner: Plant 7 is watched
certificates: [plant.crt]
users:
  - name: maintainer
    uid: 1500
    groups: [adm]
    authorizedKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBUUaEkr0cULzaeyQ9cPtn8LVQJI7z8yLeGQYwAhKCvV maintainer@plant]
";
/// Modules that find a disk, by what the disk hangs on.
const DISK_MODULES: &[(&str, &[&str])] = &[
    ("NVMe", &["nvme", "vmd"]),
    ("SATA and IDE", &["ahci", "ata_piix"]),
    (
        "RAID controllers",
        &["megaraid_sas", "mpt3sas", "hpsa", "smartpqi", "aacraid"],
    ),
    // The bus they hang on, virtio_pci, is part of the kernel.
    ("QEMU", &["virtio_blk", "virtio_scsi"]),
    ("Hyper-V", &["hv_vmbus", "hv_storvsc"]),
    ("VMware", &["vmw_pvscsi", "mptspi", "mptsas"]),
    ("Xen", &["xen-blkfront"]),
    ("USB", &["usb-storage", "uas", "xhci-pci"]),
    ("eMMC", &["mmc_block", "sdhci-pci", "sdhci-acpi"]),
    ("CDs and disks", &["sr_mod", "sd_mod", "isofs"]),
];
/// No unified kernel image is larger, in bytes.
const MAX_UKI: u64 = 1 << 30;
/// How long all questions may take under emulation.
const LIMIT: Duration = Duration::from_secs(1200);

/// Bakes the image from a profile of its own.
fn bake(stand: &Stand) -> anyhow::Result<PathBuf> {
    let mut bakery = Bakery::read()?;
    let demo = bakery.profile.clone();
    bakery.profile = stand.path("profile");
    fs::create_dir(&bakery.profile)?;
    let mut text = format!("version: 1\nextends:\n  - {}\n", demo.display());
    for part in PARTS {
        let folder = demo.with_file_name(part);
        text += &format!("  - {}\n", folder.display());
    }
    fs::write(bakery.profile.join("profile.yaml"), text + PROFILE)?;
    let authority = Tool::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt"])
        .args(["ec_paramgen_curve:P-256", "-nodes", "-days", "3650"])
        .args(["-subj", "/CN=Plant 7", "-keyout", "/dev/null", "-out"]);
    authority.arg(bakery.profile.join("plant.crt")).run()?;
    bakery.lock()?;
    let out = stand.path("baked");
    fs::create_dir(&out)?;
    bakery.bake(&out, &["--format", "raw"], ".raw")
}

/// The sections of the image's one unified kernel image, in their order.
fn kernel_image(image: &Path) -> anyhow::Result<Vec<(String, Content)>> {
    let disk = File::open(image).with_context(|| format!("opening {}", image.display()))?;
    let table = gpt::read(&disk, SectorSize::B512)?;
    let mut entries = table.entries.values();
    let entry = entries.find(|entry| entry.name == Role::Esp.label());
    let entry = entry.context("the image has no ESP")?;
    let sector = table.sector_size.bytes();
    let esp = Window::new(disk, entry.first_lba * sector, entry.sectors() * sector)?;
    let esp = Volume::open(esp)?;
    let [file] = &esp.read_dir("EFI/Linux")?[..] else {
        bail!("the ESP has not one unified kernel image");
    };
    let bytes = esp.read_file(&format!("EFI/Linux/{}", file.name), MAX_UKI)?;
    let sections = uki::read(&bytes.into())?;
    Ok(sections
        .into_iter()
        .map(|(section, content)| (section.name, content))
        .collect())
}

/// Processors' microcode is a section of its own, which the stub puts in front of the initrd.
fn microcode(sections: &[(String, Content)]) -> anyhow::Result<()> {
    let at = |name: &str| sections.iter().position(|(section, _)| section == name);
    let ucode = at(".ucode").context("the kernel image has no microcode")?;
    ensure!(
        Some(ucode) < at(".initrd"),
        "microcode is behind the initrd"
    );
    let early = cpio::read(&sections[ucode].1)?;
    for vendor in ["GenuineIntel", "AuthenticAMD"] {
        let path = format!("kernel/x86/microcode/{vendor}.bin");
        ensure!(early.get(&path).is_some(), "there is no {path}");
    }
    Ok(())
}

/// The initial RAM disk as a tree.
fn initrd(stand: &Stand, sections: &[(String, Content)]) -> anyhow::Result<Tree> {
    let found = sections.iter().find(|(name, _)| name == ".initrd");
    let (_, compressed) = found.context("the kernel image has no initrd")?;
    let (from, to) = (stand.path("initrd.zst"), stand.path("initrd"));
    fs::write(&from, compressed.to_vec()?)?;
    let unpack = Tool::new("zstd").args(["-q", "-d"]).arg(&from);
    unpack.arg("-o").arg(&to).run()?;
    Ok(cpio::read(&fs::read(to)?.into())?)
}

/// Every driver that a disk may need is in the initrd.
fn disk_modules(initrd: &Tree) -> anyhow::Result<()> {
    let files: BTreeSet<String> = initrd
        .descendants("usr/lib/modules")
        .filter_map(|(path, _)| Some(path.rsplit('/').next()?.strip_suffix(".ko")?.to_owned()))
        .collect();
    let missing = DISK_MODULES.iter().flat_map(|(on, modules)| {
        let missing = modules.iter().filter(|module| !files.contains(**module));
        missing.map(move |module| format!("{module} ({on})"))
    });
    let missing: Vec<String> = missing.collect();
    ensure!(
        missing.is_empty(),
        "the initrd lacks {}",
        missing.join(", ")
    );
    say(&format!("{TEST}: {} modules in the initrd", files.len()));
    Ok(())
}

/// All questions as one piece of shell, which tells of each in one line.
fn script() -> (Vec<String>, String) {
    let modules = MODULES.iter();
    let modules = modules.map(|module| (format!("module {module}"), format!("modprobe {module}")));
    let fixed = [SETTINGS, PROGRAMS, DEEDS].concat().into_iter();
    let all = fixed.map(|(name, shell)| (name.to_owned(), shell.to_owned()));
    let all: Vec<(String, String)> = all.chain(modules).collect();
    let mut script = "export PATH=/usr/sbin:/usr/bin\n\
        ask() { out=$(timeout 200 sh -c \"$2\" 2>&1); was=$?; out=$(echo \"$out\" | tail -n 8 | tr '\\n' '~'); \
        if [ $was = 0 ]; then echo \"good $1: $out\"; else echo \"bad $1: status $was: $out\"; fi; }\n"
        .to_owned();
    for (name, shell) in &all {
        let quoted = shell.replace('\'', "'\\''");
        let name = name.replace('\'', "'\\''");
        script += &format!("ask '{name}' '{quoted}'\n");
    }
    (all.into_iter().map(|(name, _)| name).collect(), script)
}

/// A pod that runs a script as the machine's own root, in all of its namespaces.
fn root_pod(name: &str, script: &str) -> Value {
    let enter = [
        "/usr/bin/busybox",
        "nsenter",
        "-t",
        "1",
        "-m",
        "-u",
        "-i",
        "-n",
        "-p",
    ];
    let command = [&enter[..], &["--", "/bin/sh", "-c", script]].concat();
    let mut pod = pod(name, "seedbed.internal/busybox:1", &command);
    let spec = &mut pod["spec"];
    spec["restartPolicy"] = json!("Never");
    spec["hostPID"] = json!(true);
    spec["containers"][0]["securityContext"] = json!({ "privileged": true });
    pod
}

/// What the machine answered, line by line, when the script has come to its end.
fn answers(
    cluster: &Cluster,
    machine: &mut qemu_tests::machine::Machine,
    script: &str,
) -> anyhow::Result<String> {
    cluster.apply(&root_pod("asking", script))?;
    machine.until("the machine to answer", LIMIT, || {
        let phase = cluster.pod_phase("asking")?;
        let ended = ["Succeeded", "Failed"].contains(&phase.as_str());
        ended
            .then(|| cluster.kubectl(&["logs", "asking"]))
            .transpose()
    })
}

#[test]
fn shipped_parts() -> anyhow::Result<()> {
    if environment::long(TEST)?.is_none() {
        return Ok(());
    }
    let Some(mut stand) = Stand::for_test(TEST)? else {
        return Ok(());
    };
    let image = bake(&stand)?;
    let sections = kernel_image(&image)?;
    microcode(&sections)?;
    disk_modules(&initrd(&stand, &sections)?)?;

    let disk = stand.path("parts.qcow2");
    stand.spec.disks = vec![Disk::over(&image, &disk, 20)?];
    let spec = stand.spec.clone();
    let mut machine = stand.boot(&spec, "parts")?;
    let cluster = stand.cluster(&mut machine)?;
    let (names, script) = script();
    let text = answers(&cluster, &mut machine, &script)?;
    let bad: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("good "))
        .collect();
    ensure!(bad.is_empty(), "the machine says:\n{}", bad.join("\n"));
    for name in &names {
        let begin = format!("good {name}: ");
        ensure!(
            text.lines().any(|line| line.starts_with(&begin)),
            "the machine says nothing of {name}:\n{text}"
        );
    }
    say(&format!("{TEST}: {} answers are good", names.len()));
    stand.report.finish()
}
