//! What a build promises, tried on the real demo profile: equal bytes wherever and however it runs, no other
//! program started, no connection made.
//!
//! They run where `make image` has left its results (`SEEDBED_IMAGE` and its companions are set).

use qemu_tests::bake::Bakery;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// The image to compare with, and what it was baked with.
struct Setup {
    image: PathBuf,
    bakery: Bakery,
}

/// What `make` tells, or `None` after saying that the test is skipped.
fn setup(test: &str) -> Option<Setup> {
    let image = std::env::var_os("SEEDBED_IMAGE").map(PathBuf::from);
    let Some(image) = image.filter(|image| image.is_file()) else {
        assert_ne!(
            std::env::var("SEEDBED_REQUIRE_IMAGE").as_deref(),
            Ok("1"),
            "{test} needs an image: make image"
        );
        println!("SKIP {test}: SEEDBED_IMAGE names no image; run it by `make machine`");
        return None;
    };
    let bakery = Bakery::read().expect("whoever gives an image gives what it was baked with");
    Some(Setup { image, bakery })
}

fn missing(test: &str, tool: &str) -> bool {
    let found = ["/usr/bin", "/bin", "/usr/sbin"]
        .iter()
        .any(|dir| Path::new(dir).join(tool).exists());
    if !found {
        assert_ne!(
            std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref(),
            Ok("1"),
            "{tool} is not installed"
        );
        println!("SKIP {test}: {tool} is not installed");
    }
    !found
}

fn check(what: &str, output: &Output) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{what}: {}\n{}{}",
        output.status,
        text(&output.stdout),
        text(&output.stderr)
    );
}

/// A build in a folder of its own; `wrap` is the command line that `seedbed` is appended to.
fn build(bakery: &Bakery, out: &Path, wrap: &[&str], environment: &[(&str, &str)]) -> Output {
    let mut command = Command::new(wrap[0]);
    command
        .args(&wrap[1..])
        .arg(&bakery.seedbed)
        .arg("build")
        .arg(&bakery.profile);
    command
        .args([
            "--no-cache",
            "--arch",
            "amd64",
            "--format",
            "raw,qcow2",
            "--out",
        ])
        .arg(out)
        .arg("--firstboot")
        .arg(&bakery.firstboot);
    command
        .arg("--store")
        .arg(&bakery.store)
        .envs(environment.iter().copied())
        .current_dir("/");
    command
        .output()
        .unwrap_or_else(|error| panic!("starting {wrap:?}: {error}"))
}

fn same(a: &Path, b: &Path) {
    // cmp reads both at the speed of the disk, and its message names the first byte that differs.
    let output = Command::new("cmp")
        .arg(a)
        .arg(b)
        .output()
        .expect("cmp is part of diffutils, which is essential");
    check(
        &format!("{} and {} differ", a.display(), b.display()),
        &output,
    );
}

/// Another folder, umask, user, time zone, clock and number of threads: the same bytes for every output.
#[test]
fn reproducible() {
    let test = "reproducible";
    let Some(setup) = setup(test) else { return };
    if missing(test, "setpriv") || missing(test, "faketime") {
        return;
    }
    // Another user cannot look into root's home, so everything it reads is linked where it can.
    let dir = tempfile::Builder::new()
        .prefix("seedbed-reproducible-")
        .tempdir_in("/var/tmp")
        .expect("a folder");
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, fs::Permissions::from_mode(0o777)).expect("the folder is ours");
    };
    open(dir.path());
    let elsewhere = dir.path().join("a-folder-with-a-much-longer-name");
    fs::create_dir(&elsewhere).expect("a folder");
    open(&elsewhere);
    let copy = |from: &Path, name: &str| {
        let to = dir.path().join(name);
        check(
            "copying",
            &Command::new("cp")
                .arg("-r")
                .arg(from)
                .arg(&to)
                .output()
                .expect("cp runs"),
        );
        check(
            "opening",
            &Command::new("chmod")
                .args(["-R", "a+rwX"])
                .arg(&to)
                .output()
                .expect("chmod runs"),
        );
        to
    };
    let bakery = &setup.bakery;
    let root = bakery
        .profile
        .parent()
        .and_then(Path::parent)
        .expect("the profile is in a repository");
    let other = Bakery {
        seedbed: copy(&bakery.seedbed, "seedbed"),
        firstboot: copy(&bakery.firstboot, "firstboot"),
        store: copy(&bakery.store, "store"),
        profile: copy(&root.join("profiles"), "profiles").join("demo"),
    };
    copy(&root.join("overlays"), "overlays");
    let wrap = [
        "faketime",
        "2031-05-06 07:08:09",
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let wrap = [&wrap[..], &["sh", "-c", "umask 077; exec \"$0\" \"$@\""]].concat();
    let environment = [
        ("TZ", "Asia/Kathmandu"),
        ("RAYON_NUM_THREADS", "5"),
        ("HOME", "/nonexistent"),
        ("LANG", "C"),
    ];
    check(
        "the build elsewhere",
        &build(&other, &elsewhere, &wrap, &environment),
    );

    for ending in ["raw", "qcow2"] {
        let ours = setup.image.with_extension(ending);
        same(
            &ours,
            &elsewhere.join(ours.file_name().expect("an image has a name")),
        );
    }
}

/// One execve in all, its own, and no socket: the build starts no program and makes no connection.
#[test]
fn starts_no_program_and_opens_no_socket() {
    let test = "starts_no_program_and_opens_no_socket";
    let Some(setup) = setup(test) else { return };
    if missing(test, "strace") {
        return;
    }
    let dir = tempfile::tempdir_in("/var/tmp").expect("a folder");
    let log = dir.path().join("trace");
    let log = log.to_str().expect("a temporary folder has a plain name");
    let wrap = [
        "strace",
        "-f",
        "--seccomp-bpf",
        "-o",
        log,
        "-e",
        "trace=execve,execveat,socket,connect",
    ];
    check(
        "the traced build",
        &build(&setup.bakery, dir.path(), &wrap, &[]),
    );
    let trace = fs::read_to_string(log).expect("strace wrote its log");
    let calls: Vec<&str> = trace.lines().filter(|line| line.contains('(')).collect();
    assert_eq!(calls.len(), 1, "{}", calls.join("\n"));
    assert!(calls[0].contains("execve("), "{}", calls[0]);
}
