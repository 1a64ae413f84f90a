//! Kernel modules that do not come with the kernel: for the right kernel or another, and signed or not.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;
#[allow(dead_code)]
#[path = "support/mod.rs"]
mod support;

use builder::fixture::deb::Deb;
use builder::secure_boot;
use contract::partition::Arch;
use loopback::command::{refuse, seedbed, succeed};
use loopback::machine::{KERNEL, small_machine_with};
use loopback::module::{kernels_signature, module, with_signature};
use loopback::small::Small;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

const OTHER: &str = "6.11.9-other";
/// 2026-02-03 04:05:06 UTC.
const TIME: i64 = 1_770_091_506;

/// A machine with a package that has this module in the folder of kernel `folder`.
fn machine(folder: &str, name: &str, bytes: &[u8]) -> Small {
    let path = format!("/usr/lib/modules/{folder}/updates/dkms/{name}");
    let deb = Deb::new("gpu-modules", "1").file(&path, bytes, 0o644);
    small_machine_with(vec![deb]).done(&["lock", "fetch"])
}

fn dependencies(small: &Small) -> String {
    let mut cat = seedbed(small.dir.path());
    let image = small.out().join("seedbed-small-amd64.raw");
    let path = format!("/usr/lib/modules/{KERNEL}/modules.dep");
    succeed(cat.arg("cat").arg(image).arg(path))
}

#[test]
fn modules_for_another_kernel_are_refused_by_name() {
    let small = machine(KERNEL, "gpu.ko", &module(Arch::Amd64, KERNEL));
    succeed(&mut small.command("build"));
    let text = dependencies(&small);
    assert!(text.contains("updates/dkms/gpu.ko:"), "{text}");

    // In the right folder, and built for another kernel.
    let small = machine(KERNEL, "gpu.ko", &module(Arch::Amd64, OTHER));
    let path = format!("usr/lib/modules/{KERNEL}/updates/dkms/gpu.ko");
    let mut build = small.command("build");
    let for_other = format!("{path} is built for another kernel than {KERNEL}");
    let vermagic = format!("its vermagic is \"{OTHER} SMP");
    let remedy = "build it with the headers of";
    refuse(
        &mut build,
        &["package gpu-modules", &for_other, &vermagic, remedy],
    );
    assert_eq!(small.names(small.out()), [""; 0]);

    // In another kernel's folder, where depmod would never look.
    let small = machine(OTHER, "gpu.ko", &module(Arch::Amd64, OTHER));
    let what = format!("/usr/lib/modules/{OTHER}/updates/dkms/gpu.ko (package gpu-modules)");
    let why = format!("is a module for kernel {OTHER}, and the image boots {KERNEL}");
    let mut build = small.command("build");
    refuse(&mut build, &[&what, &why, "pin the kernel's packages"]);

    // From the profile's own overlay.
    let small = machine(KERNEL, "gpu.ko", &module(Arch::Amd64, KERNEL));
    let folder = format!("usr/lib/modules/{KERNEL}/extra");
    let folder = small.profile().join("overlay").join(folder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("own.ko"), module(Arch::Amd64, OTHER)).unwrap();
    small.write(&format!("{}overlays: [overlay]\n", small.text()));
    succeed(&mut small.command("lock"));
    let why = format!("extra/own.ko is built for another kernel than {KERNEL}");
    refuse(&mut small.command("build"), &[&why]);
}

#[test]
fn a_module_that_every_boot_loads_is_one_of_the_kernels() {
    let small = machine(KERNEL, "gpu.ko", &module(Arch::Amd64, KERNEL));
    small.write(&format!("{}modules: [gpu, erofs]\n", small.text()));
    let small = small.done(&["lock", "build"]);
    small.edit("[gpu, erofs]", "[gpu-uvm]");
    succeed(&mut small.command("lock"));
    refuse(
        &mut small.command("build"),
        &["`modules`", KERNEL, "has no module named gpu-uvm"],
    );
}

/// SignedData over a module by the key db of `keys`, as the kernel's own sign-file makes it.
fn signature(test: &str, keys: &Path, module: &[u8]) -> Option<Vec<u8>> {
    if !support::has_tool(test, "openssl") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("module");
    fs::write(&path, module).unwrap();
    let mut openssl = Command::new("openssl");
    openssl.args(["cms", "-sign", "-binary", "-noattr", "-nocerts"]);
    openssl.args(["-md", "sha256", "-outform", "DER", "-in"]);
    openssl.arg(&path).arg("-signer").arg(keys.join("db.crt"));
    let output = openssl.arg("-inkey").arg(keys.join("db.key")).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    Some(output.stdout)
}

fn new_keys(folder: &Path) -> PathBuf {
    secure_boot::new_keys(folder, TIME).unwrap();
    folder.to_owned()
}

fn xz(bytes: &[u8]) -> Vec<u8> {
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(bytes).unwrap();
    xz.finish().unwrap()
}

#[test]
fn with_secure_boot_every_module_is_signed_by_a_key_that_the_kernel_knows() {
    let test = "modules::with_secure_boot_every_module_is_signed_by_a_key_that_the_kernel_knows";
    let dir = tempfile::tempdir().unwrap();
    let keys = new_keys(&dir.path().join("keys"));
    let others = new_keys(&dir.path().join("others"));
    let plain = module(Arch::Amd64, KERNEL);
    let (Some(good), Some(foreign)) = (
        signature(test, &keys, &plain),
        signature(test, &others, &plain),
    ) else {
        return;
    };
    let build = |name: &str, bytes: &[u8]| {
        let small = machine(KERNEL, name, bytes);
        let mut build = small.command("build");
        build.arg("--secure-boot").arg(&keys);
        (small, build)
    };
    // By db, compressed or not, or by whoever signed what comes with the kernel.
    let signed = with_signature(&plain, &good);
    let by_kernel = with_signature(&plain, &kernels_signature());
    for (name, bytes) in [
        ("gpu.ko", signed.clone()),
        ("gpu.ko.xz", xz(&signed)),
        ("gpu.ko", by_kernel),
    ] {
        let (small, mut build) = build(name, &bytes);
        succeed(&mut build);
        // From the cache, too.
        fs::remove_dir_all(small.out()).unwrap();
        succeed(&mut build);
    }

    let mut changed = signed.clone();
    changed[70] ^= 1;
    let mut cut = signed.clone();
    let at = plain.len();
    cut[at..at + 4].fill(0);
    for (bytes, why) in [
        (plain.clone(), "it is not signed"),
        (
            with_signature(&plain, &foreign),
            "signed by a key that is neither the kernel's own nor db",
        ),
        (changed, "changed after it was signed"),
        (cut, "is no SignedData of PKCS#7"),
    ] {
        let (small, mut build) = build("gpu.ko", &bytes);
        refuse(&mut build, &["updates/dkms/gpu.ko", why]);
        assert_eq!(small.names(small.out()), [""; 0]);
        // Without Secure Boot the kernel loads them all.
        succeed(&mut small.command("build"));
    }
    let (_small, mut build) = build("gpu.ko", &plain);
    refuse(
        &mut build,
        &["(package gpu-modules)", "sign-file sha256 db.key db.crt"],
    );
}

#[test]
fn a_message_names_a_few_of_many_modules() {
    let dir = tempfile::tempdir().unwrap();
    let keys = new_keys(&dir.path().join("keys"));
    let folder = format!("/usr/lib/modules/{KERNEL}/extra");
    let add = |deb: Deb, name: &str| {
        let bytes = module(Arch::Amd64, KERNEL);
        deb.file(&format!("{folder}/{name}.ko"), bytes, 0o644)
    };
    let names = ["a", "b", "c", "d", "e", "f"];
    let deb = names.into_iter().fold(Deb::new("many", "1"), add);
    let small = small_machine_with(vec![deb]).done(&["lock", "fetch"]);
    let mut build = small.command("build");
    let message = refuse(
        build.arg("--secure-boot").arg(&keys),
        &["modules of the image (6)", "extra/a.ko", "and 1 more"],
    );
    assert!(!message.contains("extra/f.ko"), "{message}");
}
