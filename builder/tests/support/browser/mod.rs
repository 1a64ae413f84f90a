//! A real browser without a window, spoken to over its DevTools protocol: Chromium reads commands from file
//! descriptor 3 and writes answers and events to 4, each ended by a zero byte.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long the browser may take for any answer; a busy machine is slow.
const PATIENCE: Duration = Duration::from_secs(180);
/// Ratios of contrast for every text that can be seen (WCAG 2.2, success criterion 1.4.3).
const CONTRAST: &str = include_str!("contrast.js");

/// A running browser. It is stopped when dropped.
pub struct Browser {
    child: Child,
    to: ChildStdin,
    from: Receiver<Value>,
    last: u64,
    events: Vec<Value>,
    /// Its profile.
    _folder: tempfile::TempDir,
}

/// How a page is looked at.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Whether the reader prefers dark colours.
    pub dark: bool,
    /// The width of the window, in pixels.
    pub width: u32,
    /// Whether scripts run.
    pub script: bool,
}

/// An open page.
pub struct Page<'a> {
    browser: &'a mut Browser,
    session: String,
    url: String,
    /// Whether scripts run.
    script: bool,
}

impl Browser {
    /// Starts Chromium; says why it cannot if it is not installed.
    pub fn start() -> Result<Self, &'static str> {
        if Command::new("chromium").arg("--version").output().is_err() {
            return Err("chromium is not installed");
        }
        let folder = tempfile::tempdir().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "exec \"$@\" 3<&0 4>&1 0</dev/null 1>/dev/null", "sh"]);
        // The sandbox needs namespaces that containers do not give; the page is our own.
        command.args(["chromium", "--headless", "--no-sandbox", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--no-first-run"]);
        command.args(["--remote-debugging-pipe", "--disable-extensions"]);
        command.arg(format!("--user-data-dir={}", folder.path().display()));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let to = child.stdin.take().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let (sender, from) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while output
                .read_until(0, &mut message)
                .is_ok_and(|read| read > 0)
            {
                message.pop();
                if sender
                    .send(serde_json::from_slice(&message).unwrap())
                    .is_err()
                {
                    return;
                }
                message.clear();
            }
        });
        Ok(Browser {
            child,
            to,
            from,
            last: 0,
            events: Vec::new(),
            _folder: folder,
        })
    }

    /// Opens a file.
    pub fn open(&mut self, file: &Path, view: View) -> Page<'_> {
        let target = self.call(None, "Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let attached = self.call(None, "Target.attachToTarget", attach);
        let session = attached["sessionId"].as_str().unwrap().to_owned();
        let url = format!("file://{}", file.display());
        let mut page = Page {
            browser: self,
            session,
            url: url.clone(),
            script: view.script,
        };
        for domain in ["Runtime", "Log", "Network", "Page"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        let scheme = if view.dark { "dark" } else { "light" };
        let feature = json!({"name": "prefers-color-scheme", "value": scheme});
        page.call("Emulation.setEmulatedMedia", json!({"features": [feature]}));
        let size =
            json!({"width": view.width, "height": 900, "deviceScaleFactor": 1, "mobile": false});
        page.call("Emulation.setDeviceMetricsOverride", size);
        let script = json!({"value": !view.script});
        page.call("Emulation.setScriptExecutionDisabled", script);
        page.call("Page.navigate", json!({"url": url}));
        page.wait("Page.loadEventFired");
        page
    }

    fn call(&mut self, session: Option<&str>, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        self.to.write_all(message.to_string().as_bytes()).unwrap();
        self.to.write_all(&[0]).unwrap();
        loop {
            let mut answer = self.receive(method);
            if answer["id"] == self.last {
                assert!(
                    answer.get("error").is_none(),
                    "{method}: {}",
                    answer["error"]
                );
                return answer["result"].take();
            }
            self.events.push(answer);
        }
    }

    fn receive(&mut self, what: &str) -> Value {
        let answer = self.from.recv_timeout(PATIENCE);
        answer.unwrap_or_else(|fault| panic!("{what}: the browser says nothing: {fault}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Page<'_> {
    fn call(&mut self, method: &str, params: Value) -> Value {
        self.browser.call(Some(&self.session), method, params)
    }

    fn wait(&mut self, event: &str) {
        let is_it = |found: &Value, session: &str| {
            found["method"] == event && found["sessionId"] == session
        };
        let session = self.session.clone();
        while !self.browser.events.iter().any(|one| is_it(one, &session)) {
            let found = self.browser.receive(event);
            self.browser.events.push(found);
        }
    }

    /// The value of an expression of JavaScript.
    pub fn value(&mut self, expression: &str) -> Value {
        let params = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let mut answer = self.call("Runtime.evaluate", params);
        let fault = answer.get("exceptionDetails");
        assert!(fault.is_none(), "{expression}: {fault:?}");
        answer["result"]["value"].take()
    }

    /// A key is pressed and let go.
    pub fn press(&mut self, key: &str) {
        let code = match key {
            "Tab" => 9,
            "Enter" => 13,
            "Escape" => 27,
            "End" => 35,
            "Home" => 36,
            "ArrowLeft" => 37,
            "ArrowUp" => 38,
            "ArrowRight" => 39,
            "ArrowDown" => 40,
            _ => panic!("no code for {key}"),
        };
        for kind in ["rawKeyDown", "keyUp"] {
            let params =
                json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            self.call("Input.dispatchKeyEvent", params);
        }
    }

    /// Clicks on the middle of what a selector finds.
    pub fn click(&mut self, selector: &str) {
        let place = self.value(&format!(
            "(() => {{ const found = document.querySelector({selector:?}); found.scrollIntoView({{ block: 'center' }}); \
             const box = found.getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        for kind in ["mousePressed", "mouseReleased"] {
            let params = json!({"type": kind, "x": place[0], "y": place[1], "button": "left", "clickCount": 1});
            self.call("Input.dispatchMouseEvent", params);
        }
    }

    /// Types into what has the focus.
    pub fn enter(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// What has not enough contrast of all text that can be seen, each with its ratio; and how many texts there
    /// are.
    pub fn contrast(&mut self) -> (Vec<Value>, u64) {
        let found = self.value(CONTRAST);
        let faint = found["faint"].as_array().unwrap().clone();
        (faint, found["texts"].as_u64().unwrap())
    }

    /// A picture of the whole page, as PNG.
    pub fn picture(&mut self) -> Vec<u8> {
        let params = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.call("Page.captureScreenshot", params);
        STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    /// The page as it would be printed, as PDF.
    pub fn print(&mut self) -> Vec<u8> {
        let printed = self.call("Page.printToPDF", json!({"printBackground": false}));
        STANDARD.decode(printed["data"].as_str().unwrap()).unwrap()
    }

    /// Exceptions, console messages, what the browser itself complains of, and requests beyond the page.
    pub fn faults(&mut self) -> Vec<String> {
        // Whatever was under way is told before the answer to this.
        self.value(match self.script {
            true => "new Promise((done) => setTimeout(done, 50))",
            false => "0",
        });
        let mine = |event: &&Value| event["sessionId"] == self.session.as_str();
        let fault = |event: &Value| {
            let params = &event["params"];
            let is_fault = match event["method"].as_str()? {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" | "Log.entryAdded" => true,
                "Network.requestWillBeSent" => {
                    let url = params["request"]["url"].as_str()?;
                    url != self.url && !url.starts_with("data:")
                }
                _ => false,
            };
            is_fault.then(|| event.to_string())
        };
        let events = self.browser.events.iter();
        events.filter(mine).filter_map(fault).collect()
    }
}
