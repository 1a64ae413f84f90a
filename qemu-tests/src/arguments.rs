//! A machine's description as QEMU's command line. Nothing is looked up or started here.

use crate::accelerator::Accelerator;
use crate::disk::Stick;
use crate::firmware::{Firmware, Ovmf};
use crate::machine::{First, Spec};
use contract::partition::Arch;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// Where a machine's sockets and files are.
#[derive(Clone, Debug)]
pub struct Places {
    /// The socket that the serial console connects to.
    pub serial: PathBuf,
    /// The socket that the status port connects to.
    pub status: PathBuf,
    /// The socket that QMP connects to.
    pub qmp: PathBuf,
    /// The file that keeps the console's output.
    pub log: PathBuf,
}

/// The program that runs machines of `arch`.
pub fn program(arch: Arch) -> &'static str {
    match arch {
        Arch::Amd64 => "qemu-system-x86_64",
        Arch::Arm64 => "qemu-system-aarch64",
    }
}

/// Everything after the program's name. With `ovmf` the machine has UEFI, and its variables are at `variables`.
pub fn arguments(
    spec: &Spec,
    accelerator: &Accelerator,
    ovmf: Option<(&Ovmf, &Path)>,
    places: &Places,
) -> Vec<String> {
    let mut line = Line::default();
    line.add("-name", &spec.name);
    line.words(&accelerator.arguments(spec.arch));
    line.add("-smp", spec.processors.to_string());
    line.add("-m", spec.memory_mib.to_string());
    line.words(&["-nodefaults", "-display", "none", "-vga", "none"]);
    let board = match spec.arch {
        Arch::Amd64 => "q35",
        Arch::Arm64 => "virt,gic-version=3",
    };
    match ovmf {
        None => line.add("-machine", board),
        Some((ovmf, variables)) => {
            line.blockdev(json!({ "driver": "raw", "node-name": "code", "read-only": true, "file": file(&ovmf.code) }));
            line.blockdev(
                json!({ "driver": "raw", "node-name": "variables", "file": file(variables) }),
            );
            // What protects the variables from the operating system is System Management Mode.
            let smm = match spec.firmware {
                Firmware::SecureBoot => {
                    line.add("-global", "driver=cfi.pflash01,property=secure,value=on");
                    ",smm=on"
                }
                Firmware::Uefi | Firmware::Bios => "",
            };
            line.add(
                "-machine",
                format!("{board}{smm},pflash0=code,pflash1=variables"),
            );
        }
    }
    let (disks, cds, nics) = (spec.disks.len(), spec.cds.len(), spec.nics.len());
    let (first_disk, first_cd) = match spec.first {
        First::Disks => (0, disks),
        First::Cds => (cds, 0),
        First::Network => (nics, nics + disks),
    };
    for (i, disk) in spec.disks.iter().enumerate() {
        let node = format!("disk{i}");
        line.blockdev(json!({
            "driver": disk.format.name(), "node-name": node, "discard": "unmap", "file": file(&disk.path),
        }));
        line.device(json!({
            "driver": "virtio-blk-pci", "drive": node, "serial": node, "bootindex": first_disk + i,
            "logical_block_size": disk.sectors.bytes(), "physical_block_size": disk.sectors.bytes(),
        }));
    }
    for (i, cd) in spec.cds.iter().enumerate() {
        let node = format!("cd{i}");
        line.blockdev(
            json!({ "driver": "raw", "node-name": node, "read-only": true, "file": file(cd) }),
        );
        let index = first_cd + i;
        let (drive, bus) = match spec.arch {
            Arch::Amd64 => ("ide-cd", format!("ide.{i}")),
            // An Arm board has no controller for CDs.
            Arch::Arm64 => {
                line.device(json!({ "driver": "virtio-scsi-pci", "id": format!("scsi{i}") }));
                ("scsi-cd", format!("scsi{i}.0"))
            }
        };
        line.device(json!({ "driver": drive, "drive": node, "bus": bus, "bootindex": index }));
    }
    line.device(json!({ "driver": "qemu-xhci", "id": "usb" }));
    for (i, stick) in spec.sticks.iter().enumerate() {
        let node = format!("stick{i}");
        line.blockdev(stick_node(stick, &node));
        let mut device = stick_device(&node);
        device["bootindex"] = json!(nics + disks + cds + i);
        line.device(device);
    }
    for (i, nic) in spec.nics.iter().enumerate() {
        let id = format!("net{i}");
        line.add("-netdev", nic.netdev(&id));
        let mut device = json!({ "driver": "virtio-net-pci", "netdev": id, "mac": nic.mac_text() });
        if spec.first == First::Network {
            device["bootindex"] = json!(i);
        }
        line.device(device);
    }
    line.device(json!({ "driver": "virtio-rng-pci" }));
    line.device(json!({ "driver": "virtio-serial-pci" }));
    let log = escape(&places.log);
    line.add(
        "-chardev",
        format!("{},logfile={log}", socket("serial", &places.serial)),
    );
    line.add("-serial", "chardev:serial");
    line.add("-chardev", socket("status", &places.status));
    line.device(
        json!({ "driver": "virtserialport", "chardev": "status", "name": contract::journal::PORT }),
    );
    line.add("-chardev", socket("qmp", &places.qmp));
    line.add("-mon", "chardev=qmp,mode=control");
    line.0
}

/// The block node of a stick, as `-blockdev` and `blockdev-add` take it. A broken stick fails every read with
/// an input/output error.
pub fn stick_node(stick: &Stick, node: &str) -> Value {
    let file = file(&stick.path);
    let file = match stick.broken {
        false => file,
        true => json!({
            "driver": "blkdebug", "image": file,
            "inject-error": [{ "event": "none", "iotype": "read", "errno": 5, "once": false, "immediately": false }],
        }),
    };
    json!({ "driver": "raw", "node-name": node, "file": file })
}

/// The device of a stick, as `-device` and `device_add` take it; its id is the node's name.
pub fn stick_device(node: &str) -> Value {
    json!({ "driver": "usb-storage", "id": node, "drive": node, "bus": "usb.0", "removable": true })
}

fn file(path: &Path) -> Value {
    json!({ "driver": "file", "filename": path.to_string_lossy() })
}

/// A character device that connects to a socket of ours.
fn socket(id: &str, path: &Path) -> String {
    format!("socket,id={id},path={},server=off", escape(path))
}

/// A path inside a list of options, where a comma is written twice.
fn escape(path: &Path) -> String {
    path.to_string_lossy().replace(',', ",,")
}

#[derive(Default)]
struct Line(Vec<String>);

impl Line {
    fn words(&mut self, words: &[&str]) {
        self.0.extend(words.iter().map(|word| (*word).to_owned()));
    }

    fn add(&mut self, option: &str, value: impl Into<String>) {
        self.0.push(option.to_owned());
        self.0.push(value.into());
    }

    fn blockdev(&mut self, value: Value) {
        self.add("-blockdev", value.to_string());
    }

    fn device(&mut self, value: Value) {
        self.add("-device", value.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, Format};
    use crate::network::{Network, Nic};
    use formats::gpt::SectorSize;

    fn places() -> Places {
        let place = |name: &str| PathBuf::from(format!("/s/{name}"));
        Places {
            serial: place("serial"),
            status: place("status"),
            qmp: place("qmp"),
            log: place("a,b.log"),
        }
    }

    #[test]
    fn what_a_machine_has_is_on_the_command_line() {
        let mut spec = Spec::new("m", Path::new("/m"), Path::new("/logs"));
        spec.disks.push(Disk {
            path: "/d.qcow2".into(),
            format: Format::Qcow2,
            sectors: SectorSize::B4096,
        });
        spec.sticks.push(Stick {
            path: "/s.img".into(),
            broken: true,
        });
        spec.cds.push("/c.iso".into());
        spec.nics.push(Nic::new(1, Network::Segment(5001)));
        let ovmf = Ovmf {
            code: "/code".into(),
            variables: "/factory".into(),
        };
        let tcg = Accelerator::Tcg(String::new());
        let line = arguments(&spec, &tcg, Some((&ovmf, Path::new("/own"))), &places()).join(" ");
        for expected in [
            "-accel tcg,thread=multi -cpu max",
            "q35,pflash0=code,pflash1=variables",
            r#""filename":"/own""#,
            r#""driver":"qcow2""#,
            r#""driver":"blkdebug""#,
            r#""driver":"ide-cd""#,
            r#""logical_block_size":4096"#,
            "mcast=230.0.0.1:5001",
            "path=/s/serial,server=off,logfile=/s/a,,b.log",
        ] {
            assert!(line.contains(expected), "{expected} is not in {line}");
        }
        assert!(!line.contains("/factory"));
    }

    #[test]
    fn with_secure_boot_only_system_management_mode_writes_variables() {
        let mut spec = Spec::new("m", Path::new("/m"), Path::new("/logs"));
        spec.firmware = Firmware::SecureBoot;
        let ovmf = Ovmf {
            code: "/code".into(),
            variables: "/factory".into(),
        };
        let uefi = Some((&ovmf, Path::new("/own")));
        let line = arguments(&spec, &Accelerator::Kvm, uefi, &places()).join(" ");
        for expected in ["q35,smm=on,pflash0=code", "property=secure,value=on"] {
            assert!(line.contains(expected), "{expected} is not in {line}");
        }
    }

    #[test]
    fn an_arm_machine_has_a_board_and_a_processor_of_its_own() {
        let mut spec = Spec::new("m", Path::new("/m"), Path::new("/logs"));
        spec.arch = Arch::Arm64;
        spec.cds.push("/c.iso".into());
        let tcg = Accelerator::Tcg(String::new());
        let line = arguments(&spec, &tcg, None, &places()).join(" ");
        for expected in [
            "-cpu neoverse-n1",
            "-machine virt,gic-version=3",
            r#""bus":"scsi0.0""#,
        ] {
            assert!(line.contains(expected), "{expected} is not in {line}");
        }
        assert!(!line.contains("ide") && !line.contains("q35"), "{line}");
    }

    #[test]
    fn a_machine_without_uefi_has_no_flash() {
        let spec = Spec::new("m", Path::new("/m"), Path::new("/logs"));
        let line = arguments(&spec, &Accelerator::Kvm, None, &places()).join(" ");
        assert!(
            line.contains("-machine q35 ") && !line.contains("pflash"),
            "{line}"
        );
    }
}
