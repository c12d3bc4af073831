//! A headless Chromium, driven by the DevTools protocol over its pipe: no port, no library.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value as Json, json};
use tempfile::TempDir;

/// How long the browser may take to answer, and a page to get where a test waits for it.
const TIMEOUT: Duration = Duration::from_secs(60);

/// The names of the browser.
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// The browser of this machine, if it has one.
pub(crate) fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|program| {
        let version = Command::new(program).arg("--version").stderr(Stdio::null()).output();
        version.is_ok_and(|version| version.status.success())
    })
}

/// A browser with one page.
pub(crate) struct Chrome {
    child: Child,
    to: ChildStdin,
    from: Receiver<Json>,
    session: Option<String>,
    last: u64,
    /// What the page complained about: exceptions, and what its policy kept from it.
    problems: Vec<String>,
    _profile: TempDir,
}

impl Chrome {
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        let program = program().unwrap();
        let data = format!("--user-data-dir={}", profile.path().display());
        let mut child = Command::new("sh")
            // The browser reads commands from descriptor 3 and answers on 4.
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", program])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", &data])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--hide-scrollbars", "--remote-debugging-pipe", "about:blank"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (sender, from) = channel();
        let answers = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || {
            for message in answers.split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON of the browser");
                if sender.send(message).is_err() {
                    break;
                }
            }
        });
        let to = child.stdin.take().unwrap();
        let mut chrome =
            Self { child, to, from, session: None, last: 0, problems: Vec::new(), _profile: profile };
        let target = chrome.command("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = chrome.command("Target.attachToTarget", attach);
        chrome.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page.enable", "Runtime.enable", "Log.enable"] {
            chrome.command(domain, json!({}));
        }
        chrome.window(1280, 800, false);
        chrome
    }

    pub(crate) fn window(&mut self, width: u32, height: u32, is_dark: bool) {
        let metrics =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600});
        self.command("Emulation.setDeviceMetricsOverride", metrics);
        let scheme = if is_dark { "dark" } else { "light" };
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", features);
    }

    /// Opens a page anew, also where only the part after `#` differs.
    pub(crate) fn open(&mut self, url: &str) {
        self.command("Page.navigate", json!({"url": "about:blank"}));
        self.wait_for("location.href === 'about:blank'");
        self.command("Page.navigate", json!({"url": url}));
        self.wait_for("document.readyState === 'complete' && globalThis.abyme !== undefined");
        self.settle();
    }

    pub(crate) fn open_file(&mut self, path: &Path, place: &str) {
        self.open(&format!("file://{}{place}", path.display()));
    }

    /// What an expression is; a promise is waited for.
    pub(crate) fn get(&mut self, expression: &str) -> Json {
        self.try_get(expression).unwrap_or_else(|problem| panic!("{expression}: {problem}"))
    }

    fn try_get(&mut self, expression: &str) -> Result<Json, Json> {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.try_command("Runtime.evaluate", asked)?;
        let exception = &answer["exceptionDetails"];
        if exception.is_null() { Ok(answer["result"]["value"].clone()) } else { Err(exception.clone()) }
    }

    pub(crate) fn text(&mut self, selector: &str) -> String {
        let all =
            format!("[...document.querySelectorAll({selector:?})].map((one) => one.textContent).join('\\n')");
        self.get(&all).as_str().unwrap_or_default().to_owned()
    }

    pub(crate) fn count(&mut self, selector: &str) -> u64 {
        self.get(&format!("document.querySelectorAll({selector:?}).length")).as_u64().unwrap()
    }

    pub(crate) fn click(&mut self, selector: &str) {
        self.get(&format!("document.querySelector({selector:?}).click()"));
        self.settle();
    }

    pub(crate) fn wait_for(&mut self, condition: &str) {
        let began = Instant::now();
        // A page that is just loaded anew has no answer.
        while self.try_get(condition) != Ok(json!(true)) {
            assert!(began.elapsed() < TIMEOUT, "the page never got there: {condition}");
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the page has drawn what it has to.
    pub(crate) fn settle(&mut self) {
        self.get(
            "new Promise((done) => setTimeout(() => requestAnimationFrame(() => setTimeout(done, 20)), 200))",
        );
    }

    /// Presses a key, as a person does.
    pub(crate) fn press(&mut self, key: &str) {
        let text = if key.chars().count() == 1 { key } else { "" };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            self.command("Input.dispatchKeyEvent", json!({"type": kind, "key": key, "text": text}));
        }
    }

    pub(crate) fn write(&mut self, text: &str) {
        self.command("Input.insertText", json!({"text": text}));
        self.settle();
    }

    pub(crate) fn picture(&mut self, path: &Path) {
        use base64::{Engine, prelude::BASE64_STANDARD};
        let picture = self.command("Page.captureScreenshot", json!({}));
        let bytes = BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// What the page complained about until now.
    pub(crate) fn problems(&mut self) -> Vec<String> {
        self.get("0");
        std::mem::take(&mut self.problems)
    }

    fn command(&mut self, method: &str, parameters: Json) -> Json {
        self.try_command(method, parameters).unwrap_or_else(|problem| panic!("{method}: {problem}"))
    }

    fn try_command(&mut self, method: &str, parameters: Json) -> Result<Json, Json> {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).unwrap();
        loop {
            let answer = self.from.recv_timeout(TIMEOUT).expect("an answer of the browser");
            if answer["id"] == self.last {
                let problem = &answer["error"];
                return if problem.is_null() { Ok(answer["result"].clone()) } else { Err(problem.clone()) };
            }
            let details = &answer["params"];
            match answer["method"].as_str() {
                Some("Runtime.exceptionThrown") => {
                    self.problems.push(details["exceptionDetails"].to_string());
                }
                Some("Log.entryAdded") if details["entry"]["level"] == "error" => {
                    self.problems.push(details["entry"].to_string());
                }
                _ => {}
            }
        }
    }
}

impl Drop for Chrome {
    fn drop(&mut self) {
        self.session = None;
        let close = json!({"id": self.last + 1, "method": "Browser.close"}).to_string() + "\0";
        let _ = self.to.write_all(close.as_bytes());
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(5) {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
