//! `report.html` in a real browser: no console message, both colour schemes, and all that can be done on it.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

use loopback::machine::small_machine;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// What a reader does, written to attributes of the body, where `--dump-dom` shows it.
const READER: &str = r#"
const say = (name, value) => document.body.setAttribute("data-" + name, value);
const key = (target, key) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const one = (selector) => document.querySelector(selector);
say("overflow", document.documentElement.scrollWidth - innerWidth);
const map = [...document.querySelectorAll(".map")].find((map) => getComputedStyle(map).display !== "none");
const tile = map.querySelector(".tile");
key(tile, "Enter");
say("focused", document.activeElement === tile);
key(tile, "ArrowRight");
key(document.activeElement, "ArrowDown");
say("moved", document.activeElement !== tile);
say("details", one(".details h3").textContent);
one("[role=tablist] [role=tab]").focus();
key(document.activeElement, "ArrowRight");
say("tab", document.activeElement.textContent);
const type = (input, text) => { input.value = text; input.dispatchEvent(new Event("input")); };
type(one(".filter-rows"), "linux-image");
say("rows", [...document.querySelectorAll(".scroll tbody tr:not([hidden]) th")].map((th) => th.textContent));
type(one(".filter-rows"), "");
one("thead th:last-child button").click();
say("largest", one(".scroll tbody tr th").textContent);
type(one(".filter-lines"), "kvm");
say("lines", one(".configuration").textContent);
"#;

struct Browser {
    /// Its profile, and pages made for it.
    folder: tempfile::TempDir,
}

impl Browser {
    fn start(test: &str) -> Option<Self> {
        let found = Command::new("chromium").arg("--version").output().is_ok();
        if !found {
            let reason = "chromium is not installed";
            assert!(
                std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() != Ok("1"),
                "{test}: {reason}"
            );
            println!("SKIP {test}: {reason}");
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        Some(Browser { folder })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Opens a page, in light or dark, in a window so wide; `what` is to be done with it.
    fn open(&self, page: &Path, dark: bool, width: u32, what: &str) -> Output {
        let mut command = Command::new("chromium");
        // The sandbox needs namespaces that containers do not give; the page is our own.
        command.args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
        ]);
        command.args([
            "--enable-logging=stderr",
            "--no-first-run",
            "--hide-scrollbars",
        ]);
        command.arg(format!(
            "--user-data-dir={}",
            self.path("profile").display()
        ));
        let scheme = if dark { 0 } else { 1 };
        command.arg(format!("--blink-settings=preferredColorScheme={scheme}"));
        command.arg(format!("--window-size={width},1400"));
        command.arg(what).arg(format!("file://{}", page.display()));
        let out = command.output().unwrap();
        assert!(
            out.status.success(),
            "{}",
            String::from_utf8_lossy(&out.stderr)
        );
        out
    }

    /// What the console said.
    fn console(output: &Output) -> Vec<String> {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let said = stderr.lines().filter(|line| line.contains("CONSOLE"));
        said.map(str::to_owned).collect()
    }

    /// The colour of the page's corner.
    fn corner(&self, page: &Path, dark: bool, width: u32) -> [u8; 3] {
        let name = format!("{}-{width}.png", if dark { "dark" } else { "light" });
        let picture = self.path(&name);
        let out = self.open(
            page,
            dark,
            width,
            &format!("--screenshot={}", picture.display()),
        );
        assert_eq!(Self::console(&out), [""; 0]);
        if let Some(folder) = std::env::var_os("SEEDBED_TEST_SCREENSHOTS") {
            fs::copy(&picture, Path::new(&folder).join(name)).unwrap();
        }
        first_pixel(&fs::read(picture).unwrap())
    }
}

/// The first pixel of a PNG: whatever the filter, there is nothing before it to differ from.
fn first_pixel(png: &[u8]) -> [u8; 3] {
    let mut data = Vec::new();
    let mut rest = &png[8..];
    while rest.len() >= 12 {
        let len = u32::from_be_bytes(rest[..4].try_into().unwrap()) as usize;
        if &rest[4..8] == b"IDAT" {
            data.extend_from_slice(&rest[8..8 + len]);
        }
        rest = &rest[12 + len..];
    }
    let mut pixel = [0; 4];
    let mut plain = flate2::read::ZlibDecoder::new(data.as_slice());
    plain.read_exact(&mut pixel).unwrap();
    [pixel[1], pixel[2], pixel[3]]
}

#[test]
fn the_report_works_in_a_browser() {
    let Some(browser) = Browser::start("the_report_works_in_a_browser") else {
        return;
    };
    let small = small_machine().done(&["lock", "fetch", "build"]);
    let page = small.out().join("report.html");
    let text = fs::read_to_string(&page).unwrap();
    for outside in [" src=", "href=\"http", "url(", "@import", "fetch("] {
        assert!(
            !text.contains(outside),
            "{outside:?} asks for something outside the page"
        );
    }
    for width in [1280, 500] {
        assert_eq!(browser.corner(&page, false, width), [0xfb, 0xfa, 0xf7]);
        assert_eq!(browser.corner(&page, true, width), [0x16, 0x16, 0x13]);
    }
    let read = browser.path("read.html");
    fs::write(&read, format!("{text}<script>{READER}</script>")).unwrap();
    for width in [1280, 500] {
        let out = browser.open(&read, false, width, "--dump-dom");
        assert_eq!(Browser::console(&out), [""; 0]);
        let dom = String::from_utf8_lossy(&out.stdout);
        let body = dom
            .split("<body")
            .nth(1)
            .unwrap()
            .split('>')
            .next()
            .unwrap();
        for said in [
            "data-overflow=\"0\"",
            "data-focused=\"true\"",
            "data-moved=\"true\"",
            "data-tab=\"Contents\"",
            "data-rows=\"linux-image-amd64\"",
            "data-largest=\"registry.example/pause:1\"",
            "data-lines=\"# CONFIG_KVM is not set\"",
        ] {
            assert!(body.contains(said), "{said} is not in {body}");
        }
        assert!(!body.contains("data-details=\"\""), "{body}");
    }
    // A console that says nothing whatever happens would prove nothing.
    fs::write(&read, format!("{text}<script>nothing.at.all</script>")).unwrap();
    let out = browser.open(&read, false, 1280, "--dump-dom");
    let console = Browser::console(&out);
    assert!(
        console
            .iter()
            .any(|line| line.contains("nothing is not defined")),
        "{console:?}"
    );
}
