//! `abyme doctor --interpreter modal`, the check that somebody with a token can run, at the server that the
//! backend's own tests have.

use std::{
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio},
};

use serde_json::Value;

const SERVER: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/../abyme-interpreter-modal/tests/fake/fake_modal.py");

/// A server, which ends with this value.
struct Server {
    process: Child,
    stdin: ChildStdin,
    lines: BufReader<ChildStdout>,
    url: String,
}

impl Server {
    fn start(environment: &Path) -> Self {
        let mut process = Command::new(environment.join("bin/python"))
            .args(["-I", "-B", SERVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = process.stdin.take().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap());
        let mut ready = String::new();
        lines.read_line(&mut ready).unwrap();
        let port = ready.split(' ').nth(1).unwrap_or_else(|| panic!("the server says {ready:?}"));
        let url = format!("http://127.0.0.1:{port}");
        Self { process, stdin, lines, url }
    }

    /// How things are there.
    fn state(&mut self) -> Value {
        writeln!(self.stdin, "{{}}").unwrap();
        let mut line = String::new();
        self.lines.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// Runs the doctor with a token.
    fn doctor(&self, secret: Option<&str>, arguments: &[&str]) -> Output {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_abyme"));
        command.args(["doctor", "--interpreter", "modal"]).args(arguments);
        command.env_clear().env("HOME", directory.path()).current_dir(&directory);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("MODAL_SERVER_URL", &self.url);
        if let Some(secret) = secret {
            command.env("MODAL_TOKEN_ID", "ak-test").env("MODAL_TOKEN_SECRET", secret);
        }
        command.output().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub(crate) fn the_doctor_makes_two_sandboxes(environment: &Path) {
    let mut server = Server::start(environment);
    let output = server.doctor(Some("as-test"), &[]);
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("  ok  modal       Python 3."), "{stdout}");
    assert!(
        stdout.contains("isolation: machine; network denied") && stdout.contains("first cell after"),
        "{stdout}"
    );
    let state = server.state();
    let sandboxes = state["sandboxes"].as_object().unwrap();
    assert_eq!(sandboxes.len(), 2, "what it says that it costs: {state}");
    assert!(sandboxes.values().all(|sandbox| sandbox["alive"] == false), "nothing is left: {state}");
    let memory = sandboxes.values().map(|sandbox| sandbox["memory_mb"][0].as_u64().unwrap());
    assert_eq!(memory.collect::<Vec<_>>(), [1024, 1024]);

    let json: Value = serde_json::from_slice(&server.doctor(Some("as-test"), &["--json"]).stdout).unwrap();
    assert_eq!(
        (&json["backends"][0]["name"], &json["backends"][0]["works"]),
        (&"modal".into(), &true.into())
    );
    for (secret, said) in [
        (Some("as-wrong-secret"), "Modal does not take the token from"),
        (None, "there is no token for Modal"),
    ] {
        let output = server.doctor(secret, &[]);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(3), "{stdout}{stderr}");
        let line = stdout.lines().find(|line| line.starts_with("  NO  modal")).unwrap();
        assert!(line.contains(said), "{line}");
        assert!(!format!("{stdout}{stderr}").contains("as-wrong"), "a secret is not shown: {stdout}{stderr}");
    }
    assert_eq!(server.state()["sandboxes"].as_object().unwrap().len(), 4);
}
