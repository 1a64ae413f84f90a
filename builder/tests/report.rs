//! `report.html` in a real browser: no fault, both colour schemes, wide and narrow, by keyboard, without script, on
//! paper, and with names that mean harm.

#![allow(clippy::unwrap_used)] // All of it is tests.

// Other tests use the rest of it.
#[allow(dead_code, unreachable_pub)]
#[path = "support/loopback/mod.rs"]
mod loopback;

#[allow(unreachable_pub)]
#[path = "support/browser/mod.rs"]
mod browser;

use browser::{Browser, Page, View};
use builder::fixture::deb::Deb;
use loopback::command::{seedbed, succeed};
use loopback::machine::{small_machine, small_machine_with};
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

/// What a wide window shows in light colours.
const WIDE: View = View {
    dark: false,
    width: 1280,
    script: true,
};
/// Names of packages that the contents show.
const SHOWN: &str = "[...document.querySelectorAll('.contents tbody tr')].filter((row) => !row.hidden).map((row) => row.querySelector('summary').textContent)";

fn start(test: &str) -> Option<Browser> {
    match Browser::start() {
        Ok(browser) => Some(browser),
        Err(reason) => {
            let required = std::env::var("SEEDBED_REQUIRE_REFEREES").as_deref() == Ok("1");
            assert!(!required, "{test}: {reason}");
            println!("SKIP {test}: {reason}");
            None
        }
    }
}

/// Keeps a picture, if somebody wants to see it.
fn keep(page: &mut Page<'_>, name: &str) {
    let picture = page.picture();
    assert!(picture.starts_with(b"\x89PNG"));
    if let Some(folder) = std::env::var_os("SEEDBED_TEST_SCREENSHOTS") {
        fs::create_dir_all(&folder).unwrap();
        fs::write(PathBuf::from(folder).join(name), picture).unwrap();
    }
}

/// The report of a built image: the one that `SEEDBED_TEST_REPORT` names, too.
fn reports(built: PathBuf) -> Vec<PathBuf> {
    let named = std::env::var_os("SEEDBED_TEST_REPORT").map(PathBuf::from);
    named.into_iter().chain([built]).collect()
}

#[test]
fn the_report_works_in_a_browser() {
    let Some(mut browser) = start("the_report_works_in_a_browser") else {
        return;
    };
    let small = small_machine().done(&["lock", "fetch", "build"]);
    let report = small.out().join("report.html");
    for report in reports(report.clone()) {
        for (dark, width) in [(false, 1280), (true, 1280), (false, 360), (true, 360)] {
            let view = View {
                dark,
                width,
                ..WIDE
            };
            look(&mut browser, &report, view);
        }
    }
    use_keys(&mut browser.open(&report, WIDE));
    search(&mut browser.open(&report, WIDE));

    // Equal inputs give equal bytes, wherever they go to.
    let other = small.dir.path().join("other");
    let mut command = seedbed(small.dir.path());
    command.arg("build").arg(small.profile());
    command.arg("--firstboot").arg(small.firstboot());
    succeed(command.args(["--no-cache", "--out"]).arg(&other));
    assert_eq!(
        fs::read(other.join("report.html")).unwrap(),
        fs::read(&report).unwrap()
    );
}

/// Everything that is seen can be read, and nothing is wider than the window.
fn look(browser: &mut Browser, report: &Path, view: View) {
    let mut page = browser.open(report, view);
    let paper = page.value("getComputedStyle(document.documentElement).backgroundColor");
    let expected = if view.dark {
        "rgb(15, 17, 21)"
    } else {
        "rgb(255, 255, 255)"
    };
    assert_eq!(paper, expected);
    for part in ["size", "contents", "kernel", "digests"] {
        page.click(&format!(".parts a[href='#{part}-0']"));
        let shown = page.value("[...document.querySelectorAll('section')].filter((one) => !one.hidden).map((one) => one.id)");
        assert_eq!(shown, json!([format!("{part}-0")]));
        let (faint, texts) = page.contrast();
        assert!(faint.is_empty(), "{view:?} {part}: {faint:?}");
        assert!(texts > 10, "{view:?} {part}: {texts} texts");
        let wider = page
            .value("document.documentElement.scrollWidth - document.documentElement.clientWidth");
        assert_eq!(wider, 0, "{view:?} {part}");
        let scheme = if view.dark { "dark" } else { "light" };
        keep(&mut page, &format!("{scheme}-{}-{part}.png", view.width));
    }
    assert_eq!(page.faults(), [""; 0], "{view:?}");
}

/// Tabs and treemap by keyboard alone.
fn use_keys(page: &mut Page<'_>) {
    let focused = "document.activeElement.textContent";
    page.press("Tab");
    assert_eq!(page.value(focused), "Size");
    page.press("ArrowRight");
    assert_eq!(page.value(focused), "Contents");
    page.press("ArrowLeft");
    page.press("Tab");
    let label = "document.activeElement.getAttribute('aria-label')";
    let first = page.value(label);
    assert!(
        first.as_str().unwrap().contains("Container images"),
        "{first}"
    );
    // Into the group, into its only image, and out again.
    page.press("Enter");
    page.press("Enter");
    let steps =
        "[...document.querySelectorAll('.where button, .where b')].map((step) => step.textContent)";
    let image = "registry.example/pause:1";
    let title = "seedbed-small-amd64";
    let path = json!([title, "Container images", image]);
    assert_eq!(page.value(steps), path);
    let tiles = page.value("document.querySelectorAll('.map [role=button]').length");
    assert!(tiles.as_u64() > Some(1), "{tiles}");
    let largest = page.value("document.querySelector('.largest tbody th').textContent");
    assert_eq!(largest, "blobs/sha256");
    let first = page.value(label);
    page.press("ArrowRight");
    assert_ne!(page.value(label), first);
    let caption = page.value("document.querySelector('.caption').textContent");
    assert!(caption.as_str().unwrap().contains(" · "), "{caption}");
    page.press("Escape");
    page.press("Escape");
    assert_eq!(page.value(steps), json!([title]));
    // Each thing that can be pressed has a name.
    let nameless = "[...document.querySelectorAll('button, a, input, select, [role=button], [role=tab]')].filter((one) => \
        !one.textContent.trim() && !one.getAttribute('aria-label')).length";
    assert_eq!(page.value(nameless), 0);
    assert_eq!(page.faults(), [""; 0]);
}

/// The table is sorted and searched, and the kernel's configuration searched.
fn search(page: &mut Page<'_>) {
    page.click("a[href='#contents-0']");
    page.click(".contents input");
    page.enter("linux-image");
    assert_eq!(page.value(SHOWN), json!(["linux-image-amd64"]));
    page.value("document.querySelector('.contents input').select()");
    page.enter("GPL-2.0");
    assert_eq!(page.value(SHOWN), json!(["system"]));
    page.value("document.querySelector('.contents form').reset()");
    page.value("document.querySelector('.contents select').value = 'container image'");
    page.value("document.querySelector('.contents form').dispatchEvent(new Event('input'))");
    assert_eq!(page.value(SHOWN), json!(["registry.example/pause:1"]));
    page.value("document.querySelector('.contents form').reset()");
    page.value("document.querySelector('.contents form').dispatchEvent(new Event('input'))");
    page.click(".contents thead th:last-child button");
    let largest = page.value(&format!("{SHOWN}[0]"));
    assert_eq!(largest, "registry.example/pause:1");
    page.click(".contents thead th:first-child button");
    let first = page.value(&format!("{SHOWN}[0]"));
    assert_eq!(first, "/pause");
    page.click(".contents tbody tr:last-child summary");
    let open = page.value("document.querySelector('.contents details[open]').textContent");
    assert!(open.as_str().unwrap().contains("SHA-256"), "{open}");
    page.click("a[href='#kernel-0']");
    page.click(".kernel input");
    page.enter("kvm");
    let text = "document.querySelector('pre').textContent";
    assert_eq!(page.value(text), "# CONFIG_KVM is not set");
    page.value("document.querySelector('.kernel form').reset()");
    page.value("document.querySelector('.kernel select').value = 'm'");
    page.value("document.querySelector('.kernel form').dispatchEvent(new Event('input'))");
    assert_eq!(page.value(text), "CONFIG_EROFS_FS=m");
    assert_eq!(page.faults(), [""; 0]);
}

#[test]
fn the_report_needs_no_script_and_prints() {
    let Some(mut browser) = start("the_report_needs_no_script_and_prints") else {
        return;
    };
    let small = small_machine().done(&["lock", "fetch", "build"]);
    for report in reports(small.out().join("report.html")) {
        for width in [1280, 360] {
            let view = View {
                width,
                script: false,
                ..WIDE
            };
            let mut page = browser.open(&report, view);
            let shown = "[...document.querySelectorAll('section, .map, .map rect, tbody tr, pre')].filter((one) => one.checkVisibility()).length";
            let shown = page.value(shown);
            assert!(shown.as_u64() > Some(10), "{shown}");
            let sections =
                "[...document.querySelectorAll('section')].every((one) => one.checkVisibility())";
            assert_eq!(page.value(sections), true);
            let dead = "[...document.querySelectorAll('input, select, button, .where')].some((one) => one.checkVisibility())";
            assert_eq!(page.value(dead), false);
            let (faint, texts) = page.contrast();
            assert!(faint.is_empty() && texts > 50, "{texts} texts, {faint:?}");
            keep(&mut page, &format!("no-script-{width}.png"));
            assert_eq!(page.faults(), [""; 0]);
        }
        let mut page = browser.open(&report, WIDE);
        let pdf = page.print();
        assert!(
            pdf.starts_with(b"%PDF") && pdf.len() > 10_000,
            "{}",
            pdf.len()
        );
        assert_eq!(page.faults(), [""; 0]);
    }
}

#[test]
fn names_that_mean_harm_are_only_text() {
    let Some(mut browser) = start("names_that_mean_harm_are_only_text") else {
        return;
    };
    let evil = "</script></title></style><script>boom()</script><img src=x onerror=boom()>\"'&amp;";
    let copyright = format!(
        "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\n\nFiles: *\nLicense: {evil}\n"
    );
    let hostile = Deb::new("hostile", "1")
        .field("Maintainer", "\"><b>boom()</b> <a@b>")
        .field("Homepage", "https://hostile.example/\"onclick=boom()")
        .field("Source", "hostile'><script>boom()</script>")
        .file("/usr/share/doc/hostile/copyright", copyright, 0o644)
        .file(
            "/usr/share/<img src=x onerror=boom()>",
            "x".repeat(9000),
            0o644,
        )
        .file("/usr/share/]]><!--<script>", "x".repeat(9000), 0o644)
        .file("/usr/share/__proto__", "x".repeat(9000), 0o644);
    let small = small_machine_with(vec![hostile]).done(&["lock", "fetch", "build"]);
    let report = small.out().join("report.html");
    for script in [true, false] {
        let mut page = browser.open(&report, View { script, ..WIDE });
        assert_eq!(page.value("document.querySelectorAll('script').length"), 2);
        assert_eq!(
            page.value(
                "document.querySelectorAll('img, article b b, [onclick], [onerror]').length"
            ),
            0
        );
        let licences = "[...document.querySelectorAll('.licence')].map((one) => one.textContent)";
        let licences = page.value(licences);
        assert!(
            licences.as_array().unwrap().contains(&json!(evil)),
            "{licences}"
        );
        if script {
            let open = "[...document.querySelectorAll('.largest button')].find((one) => one.textContent === 'Packages').click()";
            page.value(open);
            let open = open.replace("Packages", "hostile");
            page.value(&open);
            let names = page.value("document.querySelector('.largest').textContent");
            let names = names.as_str().unwrap();
            for name in ["<img src=x onerror=boom()>", "]]><!--<script>", "__proto__"] {
                assert!(names.contains(name), "{name} is not in {names}");
            }
        }
        assert_eq!(page.faults(), [""; 0]);
    }
}

/// A browser that says nothing whatever happens would prove nothing.
#[test]
fn faults_are_seen() {
    let Some(mut browser) = start("faults_are_seen") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("page.html");
    let policy = "<meta http-equiv=Content-Security-Policy content=\"default-src 'none'\">";
    for (body, expected) in [
        (
            "<script>nothing.at.all</script>".to_owned(),
            "nothing is not defined",
        ),
        (
            "<script>console.log('x')</script>".to_owned(),
            "consoleAPICalled",
        ),
        (
            "<img src=\"http://127.0.0.1:9/x.png\">".to_owned(),
            "127.0.0.1:9",
        ),
        (
            format!("{policy}<script>1</script>"),
            "Content Security Policy",
        ),
    ] {
        fs::write(&path, format!("<!doctype html><title>x</title>{body}")).unwrap();
        let faults = browser.open(&path, WIDE).faults();
        let found = faults.iter().any(|fault| fault.contains(expected));
        assert!(found, "{body}: {faults:?}");
    }
    let faint = "<p style=\"color: #999\">faint</p><p>clear</p>";
    fs::write(&path, format!("<!doctype html><title>x</title>{faint}")).unwrap();
    let (faint, texts) = browser.open(&path, WIDE).contrast();
    assert_eq!((faint.len(), texts), (1, 2), "{faint:?}");
}
