//! `abyme interpreter`, driven line by line as a host in another language does.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, ChildStdout, Stdio},
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{TestDir, eventually, exit_within, is_alive, signal};

/// Cells that do not end by themselves, for `close_stdin_during`.
const ENDLESS: [&str; 3] = ["f()\nwhile True: pass", "f()\nimport time; time.sleep(100)", "f()"];

/// For what is about a process of its own.
const SUBPROCESS: [&str; 2] = ["--backend", "subprocess"];
/// Code that knows its process by the number that the test knows it by.
const OPEN: [&str; 4] = ["--backend", "subprocess", "--isolation", "off"];

/// Where the process of a host has its temporary files.
const TEMPORARY: &str = "temporary";

/// A host.
struct Host {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    dir: TestDir,
}

impl Host {
    fn start(args: &[&str]) -> Self {
        let dir = TestDir::new();
        std::fs::create_dir(dir.path(TEMPORARY)).unwrap();
        let mut command = dir.command(&[&["interpreter"], args].concat());
        command.env("TMPDIR", dir.path(TEMPORARY)).stdin(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout, dir }
    }

    fn send(&mut self, line: impl AsRef<[u8]>) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(line.as_ref()).unwrap();
        stdin.write_all(b"\n").unwrap();
    }

    /// The next line, as it is.
    fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line
    }

    fn receive(&mut self) -> Value {
        let line = self.line();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }

    fn ask(&mut self, line: impl AsRef<[u8]>) -> Value {
        self.send(line);
        self.receive()
    }

    /// Runs code that should not fail.
    fn run(&mut self, code: &str) -> Value {
        let answer = self.ask(json!({ "code": code }).to_string());
        assert_eq!(answer["error"], Value::Null, "{answer}");
        answer
    }

    fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Closes stdin in the middle of a cell that begins with a call of `f`, and sees the cell and the process
    /// end. If the call is all of the cell, it is not answered.
    fn close_stdin_during(&mut self, code: &str) {
        self.send(json!({"code": code, "tool_names": ["f"]}).to_string());
        assert_eq!(self.receive()["tool_call"]["name"], "f");
        if code != "f()" {
            self.send(r#"{"tool_result": "go on"}"#);
            // The cell began before its call, so the end of stdin cannot pass for sent together with it.
            std::thread::sleep(Duration::from_millis(200));
        }
        self.close_stdin();
        assert!(["SessionEnded", "EOFError"].contains(&self.receive()["error"]["type"].as_str().unwrap()));
        assert_eq!((self.line().as_str(), self.exit()), ("", 0), "{code}");
    }

    fn exit(&mut self) -> i32 {
        exit_within(&mut self.child, Duration::from_secs(10))
    }

    /// What the process has, or left, among the temporary files.
    fn temporary_files(&self) -> Vec<std::path::PathBuf> {
        let entries = std::fs::read_dir(self.dir.path(TEMPORARY)).unwrap();
        entries.map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn state_is_kept_and_everything_arrives() {
    let mut host = Host::start(&[]);
    let answer = host.ask(r#"{"code": "import sys\nprint('out', x)\nprint('err', file=sys.stderr)\nx + 1", "variables": {"x": 41}}"#);
    assert_eq!(
        answer,
        json!({"stdout": "out 41\n", "stderr": "err\n", "final": null, "value": "42", "error": null})
    );
    assert_eq!(host.run("x += 1\nx")["value"], "42");
    let answer = host.ask(r#"{"code": "y = 5\n1 / 0"}"#);
    assert_eq!(answer["error"]["type"], "ZeroDivisionError");
    assert!(answer["error"]["traceback"].as_str().unwrap().contains("1 / 0"), "{answer}");
    // Hosts that read stdout and stderr alone see it there.
    let stderr = answer["stderr"].as_str().unwrap();
    assert!(
        stderr.contains("1 / 0") && stderr.ends_with("ZeroDivisionError: division by zero\n"),
        "{answer}"
    );
    let answer = host.ask(r#"{"code": "import sys\nprint('own', end='', file=sys.stderr)\nf(:"}"#);
    assert!(answer["stderr"].as_str().unwrap().contains("SyntaxError"), "{answer}");
    assert_eq!(host.run("y")["value"], "5");
    assert_eq!(host.ask(r#"{"code": "def f(:"}"#)["error"]["type"], "SyntaxError");
    host.close_stdin();
    assert_eq!((host.line().as_str(), host.exit()), ("", 0));
}

#[test]
fn submissions_of_all_kinds() {
    let mut host = Host::start(&[]);
    let mut last = |outputs: Value, code: &str| {
        host.ask(json!({"code": code, "output_names": outputs}).to_string())["final"].clone()
    };
    assert_eq!(last(json!(["a", "b"]), "SUBMIT(1, b=[2])"), json!({"a": 1, "b": [2]}));
    assert_eq!(last(json!([]), "SUBMIT(1)"), json!({"output": 1}));
    assert_eq!(last(json!(null), "SUBMIT(1, 2)"), json!({"output": [1, 2]}));
    assert_eq!(last(json!([]), "SUBMIT(k=1)"), json!({"k": 1}));
    assert_eq!(last(json!(["a"]), "FINAL('x')"), json!({"a": "x"}));
    assert_eq!(last(json!(["a"]), "v = {'a': 1}\nFINAL_VAR('v')"), json!({"a": 1}));
    assert_eq!(last(json!([]), "answer['value'] = 3\nanswer['ready'] = True"), json!({"output": 3}));
    assert_eq!(
        last(json!(["a", "b"]), "try:\n    SUBMIT(1, 2)\nexcept BaseException:\n    pass"),
        json!({"a": 1, "b": 2})
    );
    assert_eq!(last(json!(["a", "b"]), "SUBMIT(1)"), Value::Null);
}

#[test]
fn values_that_json_lacks_are_written_as_python_writes_them() {
    let mut host = Host::start(&[]);
    host.send(
        r#"{"code": "SUBMIT(big=big + 1, nan=x, inf=-1e999, raw=b'ab', many={1, 2}, esc='\u2028\u001b')",
            "variables": {"big": 123456789012345678901234567890, "x": NaN}}"#
            .replace('\n', " "),
    );
    assert_eq!(
        host.line(),
        "{\"stdout\": \"\", \"stderr\": \"\", \"final\": {\"big\": 123456789012345678901234567891, \
         \"nan\": NaN, \"inf\": -Infinity, \"raw\": \"YWI=\", \"many\": [1, 2], \
         \"esc\": \"\\u2028\\u001b\"}, \"value\": null, \"error\": null}\n"
    );
    assert_eq!(host.ask(r#"{"code": "SUBMIT({'$int': '5'})"}"#)["final"], json!({"output": {"$int": "5"}}));
}

#[test]
fn tools_are_called_and_answered_in_order() {
    let mut host = Host::start(&[]);
    let call = host.ask(
        r#"{"code": "print(llm_query('a', 2, k=[1]), class_(5))", "tool_names": ["llm_query", "class_"]}"#,
    );
    assert_eq!(
        call,
        json!({"tool_call": {"id": 1, "name": "llm_query", "args": ["a", 2], "kwargs": {"k": [1]}}})
    );
    assert_eq!(host.ask(r#"{"tool_result": {"r": null}}"#)["tool_call"]["name"], "class_");
    assert_eq!(host.ask(r#"{"tool_result": null}"#)["stdout"], "{'r': None} None\n");
    // The tools stay until a line names others.
    host.send(r#"{"code": "try:\n    class_()\nexcept RuntimeError as error:\n    print(error)"}"#);
    assert_eq!(host.receive()["tool_call"]["id"], 3);
    assert_eq!(host.ask(r#"{"tool_error": "KeyError: 'x'"}"#)["stdout"], "KeyError: 'x'\n");
    assert_eq!(host.ask(r#"{"code": "class_()", "tool_names": []}"#)["error"]["type"], "NameError");
}

#[test]
fn parallel_calls_are_answered_in_any_order_by_id_and_in_order_without() {
    let mut host = Host::start(&[]);
    host.send(
        json!({
            "code": "from concurrent.futures import ThreadPoolExecutor\ndef go():\n    \
                     with ThreadPoolExecutor(4) as pool:\n        print(list(pool.map(f, range(4))))\ngo()",
            "tool_names": ["f"],
        })
        .to_string(),
    );
    let calls: Vec<Value> = (0..4).map(|_| host.receive()["tool_call"].clone()).collect();
    for call in calls.iter().rev() {
        host.send(
            json!({"id": call["id"], "tool_result": call["args"][0].as_i64().unwrap() * 10}).to_string(),
        );
    }
    assert_eq!(host.receive()["stdout"], "[0, 10, 20, 30]\n");
    host.send(r#"{"code": "go()"}"#);
    let calls: Vec<Value> = (0..4).map(|_| host.receive()["tool_call"].clone()).collect();
    for call in &calls {
        host.send(json!({"tool_result": call["args"][0].as_i64().unwrap() + 1}).to_string());
    }
    assert_eq!(host.receive()["stdout"], "[1, 2, 3, 4]\n");
}

#[test]
fn bad_lines_are_answered_and_the_session_goes_on() {
    let mut host = Host::start(&["--max-line-mb", "1"]);
    host.run("x = 1");
    let long = format!("{{\"code\": \"{}\"}}", "x".repeat(1 << 20));
    let lines: [&[u8]; 16] = [
        b"",
        b"nonsense",
        b"[1]",
        b"{}",
        b"{\"code\": 1}",
        b"{\"code\": \"\", \"variables\": [1]}",
        b"{\"code\": \"\", \"variables\": {\"a b\": 1}}",
        b"{\"code\": \"\", \"variables\": {\"SUBMIT\": 1}}",
        b"{\"code\": \"\", \"tool_names\": [\"class\"]}",
        b"{\"code\": \"\", \"tool_names\": [\"SUBMIT\"]}",
        b"{\"code\": \"\", \"output_names\": [5]}",
        b"{\"tool_result\": 1}",
        b"{\"tool_result\": 1, \"id\": 7}",
        b"{\"tool_error\": 5}",
        b"{\"code\": \"\xff\"}",
        long.as_bytes(),
    ];
    for line in lines {
        let answer = host.ask(line);
        let shown = String::from_utf8_lossy(&line[..line.len().min(60)]);
        assert_eq!(answer["error"]["type"], "BadInput", "{shown}: {answer}");
        assert_eq!(answer.as_object().unwrap().len(), 5, "{answer}");
    }
    assert_eq!(host.run("x")["value"], "1");
    // In the middle of a cell too: the call stays open.
    host.ask(r#"{"code": "f()", "tool_names": ["f"]}"#);
    assert_eq!(host.ask("nonsense")["error"]["type"], "BadInput");
    assert_eq!(host.ask(r#"{"tool_result": 1, "id": 99}"#)["error"]["type"], "BadInput");
    assert_eq!(host.ask(r#"{"tool_result": "late"}"#)["value"], "'late'");
}

#[test]
fn lines_sent_ahead_are_taken_in_order() {
    let lines = "{\"code\": \"print(f(1), f(2))\", \"tool_names\": [\"f\"]}\n{\"tool_result\": 10}\n\
                 {\"tool_result\": 20}\nbad\n{\"code\": \"3\"}\n{\"tool_result\": 5}\n{\"code\": \"f(4)\"}";
    let ended = TestDir::new().run_with_stdin(&["interpreter"], lines.as_bytes());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    let answers: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let answers: Vec<_> = answers.iter().filter(|answer| answer.get("tool_call").is_none()).collect();
    assert_eq!(answers.len(), 5, "{ended:?}");
    assert_eq!(answers[0]["stdout"], "10 20\n");
    assert_eq!(answers[1]["error"]["type"], "BadInput");
    assert_eq!(answers[2]["value"], "3");
    assert_eq!(answers[3]["error"]["type"], "BadInput");
    assert_eq!(answers[4]["error"]["type"], "EOFError");
}

#[test]
fn a_lost_session_says_so_and_exits() {
    let mut host = Host::start(&SUBPROCESS);
    let answer = host.ask(r#"{"code": "import os\nprint('last words', flush=True)\nos._exit(1)"}"#);
    assert_eq!(
        (&answer["error"]["type"], &answer["stdout"]),
        (&"SessionEnded".into(), &"last words\n".into())
    );
    assert_eq!((host.line().as_str(), host.exit()), ("", 7));
}

#[test]
fn a_crashed_session_comes_back() {
    let mut host = Host::start(&[]);
    host.run("kept = ['before']\nopen('notes.txt', 'w').write('before')");
    let answer = host.ask(
        r#"{"code": "kept.append(given)\nopen('notes.txt', 'w').write('lost')\nprint('last words', flush=True)\nimport os\nos._exit(3)", "variables": {"given": 5}}"#,
    );
    assert_eq!(
        (&answer["error"]["type"], &answer["stdout"]),
        (&"SessionRestored".into(), &"last words\n".into())
    );
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("code 3") && message.contains("as it was before this cell"), "{answer}");
    let answer = host.run("kept, open('notes.txt').read(), 'given' in globals(), 'os' in globals()");
    assert_eq!(answer["value"], "(['before'], 'before', False, False)");
    // Tools too, any number of times; and what was submitted before the crash is not lost.
    host.ask(r#"{"code": "f()", "tool_names": ["f"]}"#);
    assert_eq!(host.ask(r#"{"tool_result": 1}"#)["value"], "1");
    for _ in 0..3 {
        let answer = host.ask(r#"{"code": "try:\n    SUBMIT(1)\nfinally:\n    import os\n    os.abort()"}"#);
        assert_eq!(
            (&answer["error"]["type"], &answer["final"]),
            (&"SessionRestored".into(), &json!({"output": 1}))
        );
        assert_eq!(host.ask(r#"{"code": "f()"}"#)["tool_call"]["name"], "f");
        assert_eq!(host.ask(r#"{"tool_result": "again"}"#)["value"], "'again'");
    }
    host.close_stdin();
    assert_eq!((host.line().as_str(), host.exit()), ("", 0));
}

/// The end of a cell that nothing interrupts: killed, and the session as it was.
#[test]
fn a_killed_session_comes_back() {
    let mut host = Host::start(&["--cell-timeout", "0.5"]);
    host.run("x = 1");
    let answer = host.ask(
        r#"{"code": "x = 2\nwhile True:\n    try:\n        while True: pass\n    except BaseException: pass"}"#,
    );
    assert_eq!(answer["error"]["type"], "SessionRestored", "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("time limit") && message.contains("killed"), "{answer}");
    assert_eq!(host.run("x")["value"], "1");
}

#[test]
fn memory_and_files_are_limited() {
    let mut host = Host::start(&["--memory-mb", "64"]);
    host.run("x = 1");
    assert_eq!(host.ask(r#"{"code": "y = bytearray(100 << 20)"}"#)["error"]["type"], "MemoryError");
    // What goes in counts as well as what is made there.
    let line = json!({"code": "len(docs)", "variables": {"docs": "x".repeat(40 << 20)}}).to_string();
    let error = host.ask(line)["error"].clone();
    assert_eq!(error["type"], "MemoryError");
    assert!(error["message"].as_str().unwrap().contains("`docs` (at least 40 MiB in Python)"), "{error}");
    assert_eq!(host.run("x, len(bytearray(5 << 20))")["value"], "(1, 5242880)");

    let mut host = Host::start(&["--max-message-mb", "1"]);
    let error = host.ask(r#"{"code": "SUBMIT([0] * 100_000)"}"#)["error"].clone();
    assert_eq!(error["type"], "ValueError");
    assert!(error["message"].as_str().unwrap().contains("more than 1 MiB of the host's memory"), "{error}");

    let mut host = Host::start(&["--disk-mb", "1"]);
    let error = host.ask(r#"{"code": "open('big', 'wb').write(bytes(2 << 20))"}"#)["error"].clone();
    assert_eq!(error["type"], "OSError");
    assert!(error["message"].as_str().unwrap().contains("No space left on device"), "{error}");
    // All files together, and what is removed can be used again.
    host.run("import os\nos.remove('big')\nopen('a', 'wb').write(bytes(700 << 10))");
    let error = host.ask(r#"{"code": "open('b', 'wb').write(bytes(700 << 10))"}"#)["error"].clone();
    assert!(error["message"].as_str().unwrap().contains("No space left on device"), "{error}");
    host.run("os.remove('a'); os.remove('b')\nopen('b', 'wb').write(bytes(700 << 10))");
}

/// The machine's files are not there, unlike with `subprocess`.
#[test]
fn nothing_of_the_machine_is_seen() {
    let mut host = Host::start(&[]);
    let name = host.dir.path("secret.txt");
    std::fs::write(&name, "secret").unwrap();
    let code = format!("open({:?}).read()", name.to_str().unwrap());
    assert_eq!(host.ask(json!({"code": code}).to_string())["error"]["type"], "FileNotFoundError");
    assert_eq!(host.run("import os; dict(os.environ)")["value"], "{}");
    let error = host.ask(r#"{"code": "import subprocess; subprocess.run(['true'])"}"#)["error"].clone();
    assert!(error["type"].is_string(), "{error}");
    host.run("open('left.txt', 'w').write('x')");
    assert!(!host.dir.path("left.txt").exists());
}

#[test]
fn the_end_of_stdin_ends_it_promptly() {
    for code in ENDLESS {
        Host::start(&[]).close_stdin_during(code);
    }
}

#[test]
fn a_time_limit_keeps_the_session_if_it_can() {
    // Every other cell here has to be done within it, on a machine that stalls too.
    let mut host = Host::start(&["--cell-timeout", "5"]);
    let answer = host.ask(r#"{"code": "x = 5\nwhile True: pass"}"#);
    assert_eq!(answer["error"]["type"], "KeyboardInterrupt");
    assert!(answer["error"]["message"].as_str().unwrap().contains(" 5 s"), "{answer}");
    assert_eq!(host.run("x")["value"], "5");
    // An answer to a call whose cell is over is dropped, so host and session stay in step.
    host.send(r#"{"code": "f()", "tool_names": ["f"]}"#);
    assert_eq!(host.receive()["tool_call"]["id"], 1);
    assert_eq!(host.receive()["error"]["type"], "KeyboardInterrupt");
    host.send(r#"{"tool_result": "too late"}"#);
    host.send(r#"{"code": "f()"}"#);
    assert_eq!(host.receive()["tool_call"]["id"], 2);
    assert_eq!(host.ask(r#"{"tool_result": "in time"}"#)["value"], "'in time'");
}

#[test]
fn output_over_the_cap_keeps_both_ends() {
    let mut host = Host::start(&["--max-output-chars", "10"]);
    let stdout = host.run("print('a' * 500 + 'z' * 500)")["stdout"].as_str().unwrap().to_owned();
    assert!(
        stdout.starts_with("aaaaa\n") && stdout.ends_with("zzzz\n") && stdout.contains("991 char"),
        "{stdout}"
    );
}

#[test]
fn the_end_of_stdin_leaves_no_child() {
    for code in ENDLESS {
        let mut host = Host::start(&OPEN);
        let pid: i64 = host.run("import os; os.getpid()")["value"].as_str().unwrap().parse().unwrap();
        assert!(is_alive(pid));
        host.close_stdin_during(code);
        eventually("the child is gone", || !is_alive(pid));
    }
}

/// Half of a surrogate pair, as Python's `json` writes it, costs neither a cell nor a call.
#[test]
fn half_of_a_surrogate_pair_is_a_question_mark() {
    let mut host = Host::start(&[]);
    let call = host.ask(r#"{"code": "x + f('a')", "variables": {"x": "ab\ud83d"}, "tool_names": ["f"]}"#);
    assert_eq!(call["tool_call"]["name"], "f");
    assert_eq!(host.ask(r#"{"tool_result": "\udc00b"}"#)["value"], "'ab??b'");
    assert_eq!(host.ask(r#"{"code": "'\ud83d'"}"#)["value"], "'?'");
}

/// Names of a host's own machinery, as DSPy has them.
#[test]
fn names_may_begin_with_underscores() {
    let mut host = Host::start(&[]);
    let line = json!({
        "code": "globals()['__ask__'](token=__token)", "variables": {"__token": 7}, "tool_names": ["__ask__"],
    });
    let call = host.ask(line.to_string())["tool_call"].clone();
    assert_eq!((&call["name"], &call["kwargs"]), (&json!("__ask__"), &json!({"token": 7})));
    assert_eq!(host.ask(r#"{"tool_result": 8}"#)["value"], "8");
    for name in ["__name__", "__builtins__", "__debug__"] {
        let tool = host.ask(json!({"code": "", "tool_names": [name]}).to_string());
        let variable = host.ask(json!({"code": "", "variables": {name: 1}}).to_string());
        for answer in [tool, variable] {
            assert_eq!(answer["error"]["type"], "BadInput", "{answer}");
            assert!(answer["error"]["message"].as_str().unwrap().contains("belongs to Python"), "{answer}");
        }
    }
}

/// A full disk is told by the exit code, also if stdin has ended by then.
#[test]
fn a_stdout_that_takes_nothing_is_told() {
    for args in [&[][..], &SUBPROCESS] {
        let dir = TestDir::new();
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let mut command = dir.command(&[&["interpreter"], args].concat());
        let mut child = command.stdin(Stdio::piped()).stdout(full).spawn().unwrap();
        child.stdin.take().unwrap().write_all(b"{\"code\": \"1\"}\n").unwrap();
        assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 6, "{args:?}");
    }
}

#[test]
fn signals_and_a_closed_stdout_end_it() {
    for (name, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let mut host = Host::start(&OPEN);
        let pid: i64 = host.run("import os; os.getpid()")["value"].as_str().unwrap().parse().unwrap();
        assert_eq!(host.temporary_files().len(), 1, "the directory of the sessions");
        signal(&host.child, name);
        assert_eq!(host.exit(), code);
        eventually("the child is gone", || !is_alive(pid));
        assert!(host.temporary_files().is_empty(), "{name}: {:?}", host.temporary_files());
        // Also in the middle of a cell that never gives way by itself.
        for args in [&[][..], &SUBPROCESS] {
            let mut host = Host::start(args);
            host.run("1");
            host.send(r#"{"code": "while True: pass"}"#);
            std::thread::sleep(Duration::from_millis(200));
            signal(&host.child, name);
            assert_eq!(host.exit(), code, "{args:?}");
            assert!(host.temporary_files().is_empty(), "{name}, {args:?}: {:?}", host.temporary_files());
        }
    }
    for args in [&[][..], &SUBPROCESS] {
        let dir = TestDir::new();
        let mut child =
            dir.command(&[&["interpreter"], args].concat()).stdin(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        child.stdin.as_mut().unwrap().write_all(b"{\"code\": \"1\"}\n").unwrap();
        assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 6, "{args:?}");
    }
}

#[test]
fn it_says_at_once_when_it_cannot_start() {
    let dir = TestDir::new();
    dir.run(&["interpreter", "--backend", "subprocess", "--python", "/no/python"]).failed(3, &["/no/python"]);
    dir.run(&["interpreter", "--backend", "perl"])
        .failed(2, &["`perl` is no interpreter", "wasm, subprocess"]);
    dir.run(&["interpreter", "--memory-mb", "16"]).failed(2, &["16 M", "too small", "Python"]);
    dir.run(&["interpreter", "--memory-mb", "5000"]).failed(2, &["5000 M", "4096 M"]);
    dir.run(&["interpreter", "--memory-mb", "15"]).failed(2, &["--memory-mb", "15", "16"]);
    dir.run(&["interpreter", "--disk-mb", "0"]).failed(2, &["--disk-mb", "0"]);
    dir.run(&["interpreter", "--cell-timeout", "0"]).failed(2, &["more than 0"]);
}
