//! GRUB as this crate composes it, started by SeaBIOS in QEMU: from a disk of this crate's making, from a CD, and
//! where the kernel is missing.

#![allow(clippy::unwrap_used)] // Helpers of tests are tests too.

#[path = "support/grub.rs"]
mod grub;
#[path = "support/probe_kernel.rs"]
mod probe_kernel;
#[path = "support/referee.rs"]
mod referee;
#[path = "support/unpacked.rs"]
mod unpacked;

use formats::fat::{Kind, write as fat};
use formats::gpt::{Entry, SectorSize, Table};
use formats::grub::config::{self, Boot, Serial};
use formats::grub::{Core, for_cd, for_disk};
use formats::tree::Tree;
use std::io::{Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const SECTOR: u64 = 512;
const MIB: u64 = 1 << 20;
/// Seconds are enough; the machine may have much else to do.
const DEADLINE: Duration = Duration::from_secs(180);

const BIOS_BOOT: u128 = 0x21686148_6449_6e6f_744e_656564454649;
const ESP: u128 = 0xc12a7328_f81f_11d2_ba4b_00a0c93ec93b;
const SERIAL_NUMBER: u32 = 0x1234_abcd;

const KERNEL: &str = "/EFI/seedbed/vmlinuz";
const INITRD: &str = "/EFI/seedbed/initrd";

/// Every character that GRUB's parsers or loader might take for their own, and as the kernel gets it.
const CMDLINE: &str = r#"root=UUID=1-2 $root ${root} $(a) `b` c;d # {e} é |&<>*?~!%[] f="g h" "i=j  $k" --unit=7 = l="#;
const RECEIVED: &str = r#"root=UUID=1-2 $root ${root} $(a) `b` c;d # {e} é |&<>*?~!%[] "f=g h" "i=j  $k" --unit=7 = l="#;

fn boot(cmdline: &str) -> Boot<'_> {
    Boot {
        kernel: KERNEL,
        initrd: &[INITRD],
        cmdline,
        partition: None,
        serial: Some(Serial {
            unit: 0,
            speed: 115_200,
        }),
        elsewhere: None,
    }
}

/// A disk with a BIOS boot partition that is filled, and an ESP with `files`.
fn disk(path: &Path, test: &str, boot: &Boot, files: &[(&str, Vec<u8>)]) -> Option<()> {
    let parts = grub::parts(test)?;
    let file = std::fs::File::create(path).unwrap();
    file.set_len(40 * MIB).unwrap();
    let text = config::render(boot).unwrap();
    let core = Core::compose(&parts, &config::MODULES, "(,gpt2)/EFI", &text).unwrap();
    let (first, sectors) = (MIB / SECTOR, MIB / SECTOR);
    let made = for_disk(&parts, &core, first, sectors).unwrap();
    file.write_all_at(&made.boot_code, 0).unwrap();
    file.write_all_at(&made.partition, first * SECTOR).unwrap();
    let format = fat::Format {
        kind: Kind::Fat16,
        size: 32 * MIB,
        sector_size: SectorSize::B512,
        label: "ESP".into(),
        id: SERIAL_NUMBER,
        time: 1_700_000_000,
    };
    let mut tree = Tree::new();
    for (path, bytes) in files {
        tree.insert_file(&path[1..], 0o644, bytes.clone()).unwrap();
    }
    let esp = fat::plan(&format, &tree).unwrap();
    let mut write = |offset: u64, bytes: &[u8]| file.write_all_at(bytes, 2 * MIB + offset);
    esp.write(&mut write).unwrap();
    let entry = |type_guid: u128, number: u8, first: u64, size: u64| Entry {
        type_guid: type_guid.to_be_bytes(),
        guid: [number; 16],
        first_lba: first / SECTOR,
        last_lba: (first + size) / SECTOR - 1,
        attributes: 0,
        name: String::new(),
    };
    let entries = [
        entry(BIOS_BOOT, 1, MIB, MIB),
        entry(ESP, 2, 2 * MIB, 32 * MIB),
    ];
    let table = Table::new([9; 16], SectorSize::B512, 40 * MIB / SECTOR, entries);
    for (offset, bytes) in table.write().unwrap() {
        file.write_all_at(&bytes, offset).unwrap();
    }
    Some(())
}

/// Starts a PC with a BIOS and gives what its serial line says until it ends or says `until`; then it is sent a line
/// end, and must end.
fn run(test: &str, drives: &[&str], until: Option<&str>) -> Option<String> {
    const QEMU: &str = "qemu-system-x86_64";
    referee::run(test, QEMU, &["--version"])?;
    let mut command = Command::new(QEMU);
    command.args([
        "-machine",
        "pc,accel=tcg",
        "-m",
        "128",
        "-nodefaults",
        "-display",
        "none",
    ]);
    command.args([
        "-serial",
        "stdio",
        "-no-reboot",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ]);
    command
        .args(drives)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    let mut machine = command.spawn().unwrap();
    let (mut input, mut output) = (
        machine.stdin.take().unwrap(),
        machine.stdout.take().unwrap(),
    );
    let (sender, receiver) = mpsc::channel();
    let reader = std::thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = output.read(&mut buffer) {
            sender.send(buffer[..len].to_vec()).unwrap();
        }
    });
    let (end, mut said, mut waiting) = (Instant::now() + DEADLINE, Vec::new(), until);
    let ended = loop {
        match receiver.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(bytes) => said.extend(bytes),
            Err(error) => break error == mpsc::RecvTimeoutError::Disconnected,
        }
        let text = String::from_utf8_lossy(&said);
        if waiting.is_some_and(|until| text.contains(until)) {
            waiting = None;
            input.write_all(b"\r").unwrap();
        }
    };
    if !ended {
        machine.kill().unwrap();
    }
    machine.wait().unwrap();
    drop(receiver);
    reader.join().unwrap();
    let text = String::from_utf8_lossy(&said).into_owned();
    assert!(ended, "{test}: the machine did not end; it said\n{text}");
    assert!(waiting.is_none(), "{test}: {waiting:?} is not in\n{text}");
    Some(text)
}

fn drive(path: &Path) -> String {
    format!("file={},format=raw,if=ide", path.display())
}

fn assert_started(text: &str, mark: &str) {
    let expected = format!("BOOT_IMAGE={KERNEL} {RECEIVED}\n{mark}");
    assert!(text.contains(&expected), "{expected}\nis not in\n{text}");
}

#[test]
fn a_disk_starts_its_kernel() {
    let test = "grub_boot::a_disk_starts_its_kernel";
    let work = tempfile::tempdir().unwrap();
    let mut drives = Vec::new();
    for (name, mark) in [("first", "this disk's"), ("second", "the other disk's")] {
        let path = work.path().join(name);
        let files = [(KERNEL, probe_kernel::image()), (INITRD, mark.into())];
        if disk(&path, test, &boot(CMDLINE), &files).is_none() {
            return;
        }
        drives.push(drive(&path));
    }
    let drives = ["-drive", &drives[0], "-drive", &drives[1]];
    let Some(text) = run(test, &drives, None) else {
        return;
    };
    assert_started(&text, "this disk's");
}

#[test]
fn what_is_missing_is_named() {
    let test = "grub_boot::what_is_missing_is_named";
    let work = tempfile::tempdir().unwrap();
    let path = work.path().join("disk");
    let files = [(KERNEL, probe_kernel::image())];
    if disk(&path, test, &boot(CMDLINE), &files).is_none() {
        return;
    }
    let drives = ["-drive", &drive(&path)];
    let Some(text) = run(test, &drives, Some("Press Enter to restart.")) else {
        return;
    };
    let expected = format!("The initial RAM disk {INITRD} cannot be read from (hd0,gpt2).");
    assert!(text.contains(&expected), "{text}");
    assert!(!text.contains("BOOT_IMAGE"), "{text}");
}

#[test]
fn another_disk_may_have_the_kernel() {
    let test = "grub_boot::another_disk_may_have_the_kernel";
    let work = tempfile::tempdir().unwrap();
    let (empty, full) = (work.path().join("empty"), work.path().join("full"));
    let files = [(KERNEL, probe_kernel::image()), (INITRD, "found".into())];
    let elsewhere = Boot {
        elsewhere: Some("1234-ABCD"),
        ..boot(CMDLINE)
    };
    if disk(&full, test, &elsewhere, &files).is_none() {
        return;
    }
    disk(&empty, test, &elsewhere, &[]).unwrap();
    // The disk that is started has lost its ESP altogether.
    let file = std::fs::File::options().write(true).open(&empty).unwrap();
    file.write_all_at(&[0; 4096], 2 * MIB).unwrap();
    let drives = ["-drive", &drive(&empty), "-drive", &drive(&full)];
    let Some(text) = run(test, &drives, None) else {
        return;
    };
    assert!(
        text.contains(&format!(
            "The kernel {KERNEL} cannot be read from (hd0,gpt2)."
        )),
        "{text}"
    );
    assert_started(&text, "found");
}

#[test]
fn a_cd_starts_its_kernel() {
    let test = "grub_boot::a_cd_starts_its_kernel";
    let Some(parts) = grub::parts(test) else {
        return;
    };
    let work = tempfile::tempdir().unwrap();
    let (tree, iso) = (work.path().join("tree"), work.path().join("cd.iso"));
    let text = config::render(&boot(CMDLINE)).unwrap();
    let core = Core::compose(&parts, &config::MODULES, "/EFI", &text).unwrap();
    std::fs::create_dir_all(tree.join("EFI/seedbed")).unwrap();
    std::fs::write(tree.join(&KERNEL[1..]), probe_kernel::image()).unwrap();
    std::fs::write(tree.join(&INITRD[1..]), "the CD's").unwrap();
    std::fs::write(tree.join("grub.img"), for_cd(&parts, &core, 0).unwrap()).unwrap();
    let (tree, iso) = (tree.to_str().unwrap(), iso.to_str().unwrap());
    let args =
        "-as mkisofs -quiet -R -b grub.img -no-emul-boot -boot-load-size 4 -boot-info-table -o";
    let mut args: Vec<&str> = args.split(' ').collect();
    args.extend([iso, tree]);
    if referee::run(test, "xorriso", &args).is_none() {
        return;
    }
    // The boot record's catalog (El Torito 1.0, figures 7 and 3), whose first entry is the second row.
    let cd = std::fs::read(iso).unwrap();
    let u32_at = |at: usize| u32::from_le_bytes(cd[at..at + 4].try_into().unwrap());
    let catalog = u32_at(17 * 2048 + 0x47) as usize * 2048;
    let lba = u32_at(catalog + 32 + 8);
    let image = for_cd(&parts, &core, lba).unwrap();
    let at = lba as usize * 2048;
    assert!(
        cd[at..at + image.len()] == image,
        "xorriso fills the information table differently"
    );
    let Some(text) = run(test, &["-cdrom", iso], None) else {
        return;
    };
    assert_started(&text, "the CD's");
}
