//! Runs every example as its users do, without a model, and looks at what it prints.

#![allow(clippy::unwrap_used, clippy::panic, reason = "this is a test, its helpers included")]

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

/// Runs an example away from any `.env` and without a model in its environment, but with these variables.
fn run(name: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(binary(name));
    command.args(arguments).current_dir(&folder);
    for (name, _) in std::env::vars_os() {
        let of_models =
            |name: &str| ["ABYME_", "DSPY_", "OPENAI_"].iter().any(|start| name.starts_with(start));
        if name.to_str().is_some_and(of_models) {
            command.env_remove(name);
        }
    }
    command.envs(variables.iter().copied()).output().unwrap()
}

/// Cargo builds the examples for `cargo test`, into a folder beside the tests' own.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let file = format!("examples/{name}{}", std::env::consts::EXE_SUFFIX);
    let found = test.ancestors().skip(1).map(|folder| folder.join(&file)).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no {file}: run `cargo test -p abyme-examples` without naming a target"))
}

/// Runs an example and asks for lines that begin so. All its checks have to hold.
fn expect(name: &str, arguments: &[&str], lines: &[&str]) {
    expect_with(name, arguments, &[], lines);
}

fn expect_with(name: &str, arguments: &[&str], variables: &[(&str, &str)], lines: &[&str]) {
    let output = run(name, arguments, variables);
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = format!("{name} printed:\n{stdout}\nand on stderr:\n{stderr}");
    assert!(output.status.success(), "{report}");
    assert!(
        stdout.lines().filter(|line| line.starts_with("check: ")).all(|line| line.ends_with(": yes")),
        "{report}"
    );
    for start in lines {
        assert!(
            stdout.lines().any(|line| line.starts_with(start)),
            "no line starts with {start:?}: {report}"
        );
    }
}

#[test]
fn smallest_run() {
    let numbers = "numbers: [0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89]";
    expect("smallest_run", &[], &[numbers, "run: submitted after 3 turns", "check: the numbers are"]);
}

#[test]
fn sub_calls() {
    let lines = ["design principles: ", "run: submitted", "check: features: ", "check: types: "];
    expect("sub_calls", &[], &lines);
}

#[test]
fn batched_calls() {
    expect("batched_calls", &[], &["found ", "  - ", "run: submitted after 2 turns", "check: endpoints: "]);
}

#[test]
fn stateful_turns() {
    let lines =
        ["found ", "memory: ", "run: submitted after 5 turns", "check: the total ", "check: every fix "];
    expect("stateful_turns", &[], &lines);
}

#[test]
fn trajectory() {
    let lines = ["turn 3:", "summary: ", "sub-call 1 has ", "check: the loaded events ", "check: the file "];
    expect("trajectory", &[], &lines);
}

#[test]
fn custom_tool() {
    let lines =
        ["structure: ", "run: submitted after 3 turns", "check: the headers ", "check: the code blocks "];
    expect("custom_tool", &[], &lines);
}

#[test]
fn mcp() {
    let lines = ["tool: find_books(author: str)", "titles: {", "run: submitted after 1 turns", "check: "];
    expect("mcp", &[], &lines);
}

/// The tutorial that this project was started from: its sections 2 and 5 to 10, over the server of the Modal
/// backend's tests.
#[test]
fn on_modal() {
    let python = Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("venvs").join("modal/bin/python");
    if !python.exists() {
        let is_required =
            std::env::var("ABYME_REQUIRE").unwrap_or_default().split(',').any(|name| name == "modal");
        assert!(!is_required, "no {}: see the README of abyme-interpreter-modal", python.display());
        eprintln!("left out: no {}", python.display());
        return;
    }
    let server = "../crates/abyme-interpreter-modal/tests/fake/fake_modal.py";
    let mut server = Server(
        Command::new(python)
            .args(["-I", "-B"])
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(server))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut said = BufReader::new(server.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let ready = said.next().unwrap();
    let url = format!("http://127.0.0.1:{}", ready.split(' ').nth(1).unwrap());
    let secret = r#"{"set": {"secrets": {"LITELLM": {"DSPY_LLM_API_KEY": "very-secret"}}}}"#;
    std::io::Write::write_all(server.0.stdin.as_mut().unwrap(), format!("{secret}\n").as_bytes()).unwrap();
    said.next().unwrap();
    let variables = [
        ("MODAL_SERVER_URL", url.as_str()),
        ("MODAL_TOKEN_ID", "ak-test"),
        ("MODAL_TOKEN_SECRET", "as-test"),
        ("ABYME_EXAMPLES_ON", "modal"),
    ];
    expect_with("modal_secret", &[], &variables, &["present: {", "length of the key: 11"]);
    for name in ["smallest_run", "sub_calls", "batched_calls", "stateful_turns", "trajectory", "custom_tool"]
    {
        expect_with(name, &[], &variables, &["check: "]);
    }
}

/// A process that ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn session() {
    let lines = [
        "value: (200000, 4400000)",
        "stdout: \"before\\n\", error: ZeroDivisionError: division by zero, line Some(3)",
        "policy: Blocked",
        "final by FINAL_VAR: 1",
        "after the end: ",
    ];
    expect("session", &[], &lines);
}

#[test]
fn the_first_argument_names_the_document() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notes.md");
    std::fs::write(&path, "# Notes\n\n- Fix a panic in `a::b()`.\n").unwrap();
    let path = path.to_str().unwrap();
    expect("batched_calls", &[path], &["found 1 endpoints", "  - a::b"]);
    expect("stateful_turns", &[path], &["found 1 error patterns", "crash: 1 errors"]);
    expect("custom_tool", &[path], &["found 1 headers and 0 code blocks"]);
    expect("sub_calls", &[path], &["0 features", "0 types"]);
    expect("trajectory", &[path], &["turn 1:"]);
}

#[test]
fn best_of_8() {
    let lines = ["best of 8: ", "run: submitted after 2 turns", "check: the forks did not all find the same"];
    expect("best_of_8", &[], &lines);
}
