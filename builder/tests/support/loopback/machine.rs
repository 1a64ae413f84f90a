//! Packages that make a whole machine, as far as the builder can tell: every program and unit is an empty file.

use super::DATE;
use super::module::{kernels_signature, module, with_signature};
use super::small::Small;
use builder::debian::date::Date;
use builder::fixture::archive::ArchivePlan;
use builder::fixture::deb::Deb;
use builder::initrd::{self, InitrdError, MODULES, Options};
use builder::rootfs::elf::machine as machine_of;
use contract::partition::Arch;
use formats::grub::config;
use formats::tree::Tree;

/// The release of its kernel.
pub const KERNEL: &str = "6.12.0-fixture";
const OS_RELEASE: &str = "usr/lib/os-release";
const COPYRIGHT: &str = "\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
License: GPL-2+ or Expat
 Text.

Files: debian/*
License: ISC
 Text.
";

/// The smallest profile with an archive that it can be built from, on a small disk.
pub fn small_machine() -> Small {
    small_machine_with(Vec::new())
}

/// The same with more packages.
pub fn small_machine_with(more: Vec<Deb>) -> Small {
    let debs = [debs(Arch::Amd64), more].concat();
    let name = |deb: &Deb| format!("  - {}\n", deb.name);
    let names: String = debs.iter().map(name).collect();
    machine(debs, &names)
}

/// The same for both architectures.
pub fn small_machine_of_both() -> Small {
    let debs = [debs(Arch::Amd64), debs(Arch::Arm64)].concat();
    let name = |deb: &Deb| format!("  - {} [{}]\n", deb.name, deb.architecture);
    let names: String = debs.iter().map(name).collect();
    let small = machine(debs, &names);
    small.edit("\narch: [amd64]\n", "\narch: [amd64, arm64]\n");
    small
}

fn machine(debs: Vec<Deb>, names: &str) -> Small {
    let small = Small::with(&ArchivePlan::new("trixie", Date::from_unix(DATE), debs));
    small.edit("  - app\n", names);
    small.write(&format!(
        "{}disk: {{esp: 264, root: 16, store: 16}}\n",
        small.text()
    ));
    small
}

fn debs(arch: Arch) -> Vec<Deb> {
    let deb = |name: &str, version| Deb::new(name, version).architecture(arch.as_str());
    let efi = match arch {
        Arch::Amd64 => "x64",
        Arch::Arm64 => "aa64",
    };
    let modules = format!("/usr/lib/modules/{KERNEL}");
    let name = |module: &&str| format!("kernel/{module}.ko\n");
    let builtin: String = MODULES.iter().map(name).collect();
    let kernel = deb(&format!("linux-image-{arch}"), "6.12")
        .file(&format!("/boot/vmlinuz-{KERNEL}"), "kernel", 0o644)
        .file(
            &format!("/boot/config-{KERNEL}"),
            "CONFIG_EROFS_FS=m\n# CONFIG_KVM is not set\n",
            0o644,
        )
        .file(&format!("{modules}/modules.builtin"), builtin, 0o644)
        .file(
            &format!("{modules}/modules.order"),
            "kernel/some.ko\n",
            0o644,
        )
        .file(
            &format!("{modules}/kernel/some.ko"),
            with_signature(&module(arch, KERNEL), &kernels_signature()),
            0o644,
        );
    let folder = "/usr/lib/systemd/boot/efi";
    let boot = deb("systemd-boot-efi", "257")
        .file(&format!("{folder}/linux{efi}.efi.stub"), stub(arch), 0o644)
        .file(
            &format!("{folder}/systemd-boot{efi}.efi"),
            stub(arch),
            0o644,
        );
    let mut system = deb("system", "1")
        .field("Homepage", "https://system.example/")
        .file(&format!("/{OS_RELEASE}"), "ID=fixture\n", 0o644)
        .file("/usr/share/doc/system/copyright", COPYRIGHT, 0o644);
    for path in needed(arch) {
        system = system.file(&format!("/{path}"), "", 0o755);
    }
    let mut all = vec![kernel, boot, system];
    if arch == Arch::Amd64 {
        all.push(grub());
    }
    all
}

/// What an initrd takes from the root file system: it says so itself, one by one.
fn needed(arch: Arch) -> Vec<String> {
    let mut root = Tree::new();
    root.insert_file(OS_RELEASE, 0o644, "ID=fixture\n").unwrap();
    let options = Options {
        arch,
        modules: &[],
        extra: None,
    };
    let mut paths = Vec::new();
    while let Err(InitrdError::Missing { path, .. }) = initrd::build(&root, KERNEL, &options) {
        root.insert_file(&path, 0o755, "").unwrap();
        paths.push(path);
    }
    paths
}

/// GRUB's parts for a BIOS: sectors filled with one letter each, a kernel of four bytes, and empty modules.
fn grub() -> Deb {
    let mut diskboot = vec![b'd'; 512];
    diskboot[0x1e8..].fill(0);
    // The segment that the block list's only row loads to.
    diskboot[0x1fe..].copy_from_slice(&[0x20, 0x08]);
    let mut files = vec![
        ("boot.img".to_owned(), vec![b'b'; 512]),
        ("diskboot.img".to_owned(), diskboot),
        ("kernel.img".to_owned(), kernel_img()),
        ("lzma_decompress.img".to_owned(), vec![b'l'; 64]),
        ("moddep.lst".to_owned(), Vec::new()),
    ];
    let modules = config::MODULES.iter();
    files.extend(modules.map(|name| (format!("{name}.mod"), Vec::new())));
    let add = |deb: Deb, (name, bytes): (String, Vec<u8>)| {
        deb.file(&format!("/usr/lib/grub/i386-pc/{name}"), bytes, 0o644)
    };
    files.into_iter().fold(Deb::new("grub-pc-bin", "2.12"), add)
}

/// A 32-bit ELF file with one section of code at 0x9000.
fn kernel_img() -> Vec<u8> {
    let mut bytes = vec![0; 52];
    bytes[..7].copy_from_slice(b"\x7fELF\x01\x01\x01");
    bytes[32] = 56;
    bytes[46] = 40;
    bytes[48] = 1;
    bytes.extend(b"code");
    for field in [0, 1, 6, 0x9000, 52, 4, 0, 0, 1, 0_u32] {
        bytes.extend(field.to_le_bytes());
    }
    bytes
}

/// A 64-bit ELF file without a section.
pub fn elf(arch: Arch) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
    // ET_REL, version 1.
    bytes[16] = 1;
    bytes[18..20].copy_from_slice(&machine_of(arch).to_le_bytes());
    bytes[20] = 1;
    bytes[52] = 64;
    bytes[58] = 64;
    bytes
}

/// A PE32+ file with one section, and room for the headers of eight more.
fn stub(arch: Arch) -> Vec<u8> {
    let (pe, headers) = (0x80, 0x400);
    let mut bytes = vec![0; headers + 0x200];
    let mut put = |at: usize, field: &[u8]| bytes[at..at + field.len()].copy_from_slice(field);
    put(0, b"MZ");
    put(0x3c, &(pe as u32).to_le_bytes());
    put(pe, b"PE\0\0");
    let machine: u16 = match arch {
        Arch::Amd64 => 0x8664,
        Arch::Arm64 => 0xaa64,
    };
    put(pe + 4, &machine.to_le_bytes());
    put(pe + 6, &1_u16.to_le_bytes());
    put(pe + 20, &240_u16.to_le_bytes());
    put(pe + 22, &0x22e_u16.to_le_bytes());
    let optional = pe + 24;
    put(optional, &[0x0b, 0x02]);
    // Alignments in memory and in the file, the image's size, the headers' size, the number of directories.
    for (at, value) in [
        (32, 0x1000),
        (36, 0x200),
        (56, 0x2000),
        (60, headers as u32),
        (108, 16),
    ] {
        put(optional + at, &value.to_le_bytes());
    }
    let row = optional + 240;
    put(row, b".text");
    for (at, value) in [
        (8, 0x123),
        (12, 0x1000),
        (16, 0x200),
        (20, headers as u32),
        (36, 0x6000_0020),
    ] {
        put(row + at, &value.to_le_bytes());
    }
    bytes
}
