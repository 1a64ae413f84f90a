//! Whether hardware virtualisation works here, found out by using it.
//!
//! `/dev/kvm` can exist, accept every call, run real mode, and still hang a guest at its first floating-point
//! instruction. So a boot sector is run that goes all the way to 64-bit code, uses the floating-point and vector
//! units, and then writes one byte to the port at which QEMU ends with that byte as its status. What does so
//! within ten seconds is believed.

use crate::process;
use crate::report::say;
use anyhow::Context;
use contract::partition::Arch;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::sync::{OnceLock, mpsc};
use std::thread;
use std::time::Duration;

/// How guests' instructions are carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Accelerator {
    /// By the processor.
    Kvm,
    /// By translation, for the reason given.
    Tcg(String),
}

impl Accelerator {
    /// QEMU's arguments for a machine of `arch`.
    pub fn arguments(&self, arch: Arch) -> [&'static str; 4] {
        match (self, arch) {
            (Accelerator::Kvm, _) => ["-accel", "kvm", "-cpu", "host"],
            (Accelerator::Tcg(_), Arch::Amd64) => ["-accel", "tcg,thread=multi", "-cpu", "max"],
            // A server's processor. `max` has signed pointers, which take most of the time when they are emulated.
            (Accelerator::Tcg(_), Arch::Arm64) => {
                ["-accel", "tcg,thread=multi", "-cpu", "neoverse-n1"]
            }
        }
    }

    /// A word for reports.
    pub fn name(&self) -> &'static str {
        match self {
            Accelerator::Kvm => "kvm",
            Accelerator::Tcg(_) => "tcg",
        }
    }
}

impl fmt::Display for Accelerator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Accelerator::Kvm => f.write_str("KVM"),
            Accelerator::Tcg(why) => write!(f, "software emulation, because {why}"),
        }
    }
}

const DEVICE: &str = "/dev/kvm";
const DEADLINE: Duration = Duration::from_secs(10);
/// What the boot sector writes to the exit port.
const WORD: u8 = 0x2a;
/// QEMU ends with twice the byte plus one.
const STATUS: i32 = (WORD as i32) << 1 | 1;

static FOUND: OnceLock<Accelerator> = OnceLock::new();
static FOREIGN: OnceLock<Accelerator> = OnceLock::new();

/// The best accelerator that works for machines of `arch`; for those of this host looked for once in each process, and once after each boot of this host if
/// `cache` can be written. The first call prints what was found.
pub fn find(arch: Arch, cache: &Path) -> &'static Accelerator {
    // What is tried below is a program for x86-64.
    if arch != Arch::Amd64 {
        return FOREIGN.get_or_init(|| {
            let found = Accelerator::Tcg(format!("the machines are {arch}"));
            say(&format!("machines run by {found}"));
            found
        });
    }
    FOUND.get_or_init(|| {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let known = fs::read_to_string(cache).unwrap_or_default();
        let found = match known.split_once('\n') {
            Some((id, verdict)) if !boot.is_empty() && id == boot.trim() => remember(verdict),
            _ => {
                let found = probe();
                // Without the cache the next process probes again.
                let _ = fs::write(cache, format!("{}\n{}", boot.trim(), verdict(&found)));
                found
            }
        };
        say(&format!("machines run by {found}"));
        found
    })
}

fn verdict(found: &Accelerator) -> &str {
    match found {
        Accelerator::Kvm => "",
        Accelerator::Tcg(why) => why,
    }
}

fn remember(verdict: &str) -> Accelerator {
    match verdict {
        "" => Accelerator::Kvm,
        why => Accelerator::Tcg(why.to_owned()),
    }
}

fn probe() -> Accelerator {
    if !Path::new(DEVICE).exists() {
        return Accelerator::Tcg(format!("there is no {DEVICE}"));
    }
    match run("kvm") {
        Ok(Verdict::Works) => Accelerator::Kvm,
        Ok(Verdict::Hangs) => {
            let seconds = DEADLINE.as_secs();
            Accelerator::Tcg(format!(
                "a guest under {DEVICE} did nothing for {seconds} s"
            ))
        }
        Ok(Verdict::Fails(why)) => Accelerator::Tcg(format!("QEMU cannot use {DEVICE}: {why}")),
        Err(error) => Accelerator::Tcg(format!("{DEVICE} cannot be tried: {error:#}")),
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Works,
    Hangs,
    Fails(String),
}

/// Where the firmware puts the boot sector; the jump and the table's addresses count from here.
const ORIGIN: u16 = 0x7c00;
/// Offset of the global descriptor table in the boot sector.
const GDT: u16 = 0x60;
/// Offset of the table's own descriptor.
const GDT_POINTER: u16 = 0x70;
/// Offset of the 64-bit code.
const LONG: u16 = 0x4c;

/// The boot sector. Memory is zero at power-on, so three entries make the page tables.
fn boot_sector() -> [u8; 512] {
    let [pointer_low, pointer_high] = (ORIGIN + GDT_POINTER).to_le_bytes();
    let [long_low, long_high] = (ORIGIN + LONG).to_le_bytes();
    let code: &[&[u8]] = &[
        &[0xfa],                                        // cli
        &[0x31, 0xc0],                                  // xor ax, ax
        &[0x8e, 0xd8],                                  // mov ds, ax
        &[0xc7, 0x06, 0x00, 0x10, 0x03, 0x20], // mov word [0x1000], 0x2003: PML4, present, writable
        &[0xc7, 0x06, 0x00, 0x20, 0x03, 0x30], // mov word [0x2000], 0x3003: PDPT
        &[0xc7, 0x06, 0x00, 0x30, 0x83, 0x00], // mov word [0x3000], 0x0083: one page of 2 MiB
        &[0x0f, 0x01, 0x16, pointer_low, pointer_high], // lgdt [pointer]
        &[0x66, 0xb8, 0x20, 0x02, 0x00, 0x00], // mov eax, 0x220: PAE, OSFXSR
        &[0x0f, 0x22, 0xe0],                   // mov cr4, eax
        &[0x66, 0xb8, 0x00, 0x10, 0x00, 0x00], // mov eax, 0x1000
        &[0x0f, 0x22, 0xd8],                   // mov cr3, eax
        &[0x66, 0xb9, 0x80, 0x00, 0x00, 0xc0], // mov ecx, EFER
        &[0x0f, 0x32],                         // rdmsr
        &[0x80, 0xcc, 0x01],                   // or ah, 1: LME
        &[0x0f, 0x30],                         // wrmsr
        &[0x0f, 0x20, 0xc0],                   // mov eax, cr0
        &[0x66, 0x0d, 0x01, 0x00, 0x00, 0x80], // or eax, 0x80000001: PG, PE
        &[0x0f, 0x22, 0xc0],                   // mov cr0, eax
        &[0xea, long_low, long_high, 0x08, 0x00], // jmp 8:long
        &[0x9b, 0xdb, 0xe3],                   // long: finit
        &[0x66, 0x0f, 0xef, 0xc0],             // pxor xmm0, xmm0
        &[0xb0, WORD],                         // mov al, WORD
        &[0xe6, 0xf4],                         // out 0xf4, al
        &[0xf4],                               // hlt
        &[0xeb, 0xfd],                         // jmp to hlt
    ];
    let code = code.concat();
    let mut sector = [0; 512];
    sector[..code.len()].copy_from_slice(&code);
    // Descriptor 1: code, 64-bit, present. Descriptor 0 is never used.
    let table = usize::from(GDT);
    sector[table + 8..table + 16].copy_from_slice(&0x0020_9a00_0000_0000_u64.to_le_bytes());
    // The table's size less one, and its address.
    let pointer = usize::from(GDT_POINTER);
    sector[pointer..pointer + 2].copy_from_slice(&15_u16.to_le_bytes());
    sector[pointer + 2..pointer + 4].copy_from_slice(&(ORIGIN + GDT).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xaa]);
    sector
}

fn run(accelerator: &str) -> anyhow::Result<Verdict> {
    let folder = tempfile::tempdir().context("making a temporary folder")?;
    let disk = folder.path().join("disk");
    fs::write(&disk, boot_sector()).with_context(|| format!("writing {}", disk.display()))?;
    let mut command = process::bound("qemu-system-x86_64");
    command.args([
        "-machine",
        "pc",
        "-m",
        "32",
        "-display",
        "none",
        "-nodefaults",
        "-no-reboot",
    ]);
    command.args([
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=1",
        "-accel",
        accelerator,
    ]);
    command
        .arg("-drive")
        .arg(format!("format=raw,file={}", disk.display()));
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped());
    let mut child = process::start(command)?;
    let stderr = child
        .stderr
        .take()
        .context("QEMU's standard error is not piped")?;
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || sender.send(std::io::read_to_string(stderr).unwrap_or_default()));
    // Standard error ends when QEMU does.
    let said = receiver.recv_timeout(DEADLINE);
    if said.is_err() {
        let _ = child.kill();
    }
    let status = child.wait().context("waiting for QEMU")?;
    Ok(match said {
        Err(_) => Verdict::Hangs,
        Ok(_) if status.code() == Some(STATUS) => Verdict::Works,
        Ok(text) => Verdict::Fails(text.lines().next().unwrap_or("it said nothing").to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_sector_answers_under_emulation() {
        if crate::command::Tool::new("qemu-system-x86_64")
            .arg("--version")
            .run()
            .is_err()
        {
            say(
                "SKIP the_boot_sector_answers_under_emulation: qemu-system-x86_64 is not installed",
            );
            assert!(std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"));
            return;
        }
        assert_eq!(run("tcg").unwrap(), Verdict::Works);
        assert!(matches!(run("no-such-thing").unwrap(), Verdict::Fails(_)));
    }

    #[test]
    fn verdicts_are_remembered() {
        for found in [Accelerator::Kvm, Accelerator::Tcg("it hangs".into())] {
            assert_eq!(remember(verdict(&found)), found);
        }
    }
}
