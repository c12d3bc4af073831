//! What a user can get wrong in `abyme run`: one clear line, the right code, nothing started.

use crate::support::TestDir;

/// A directory whose `.env` configures a model; no test sends it a request.
fn dir() -> TestDir {
    let dir = TestDir::new();
    dir.write(".env", "ABYME_MODEL=m\nABYME_API_BASE=http://127.0.0.1:9/v1\nABYME_API_KEY=sk-canary-1234\n");
    dir
}

fn fails(args: &[&str], parts: &[&str]) {
    let ended = dir().run(&[&["run"], args].concat());
    ended.failed(2, parts);
    assert!(!ended.stderr.contains("canary"), "{ended:?}");
}

/// The prompt goes to no other server than the one that was meant. The URL is not shown: it may hold a key.
#[test]
fn a_base_url_that_is_none() {
    let dir = dir();
    for model in ["anthropic/claude-x", "gemini/gemini-x", "openai/gpt-x"] {
        let mut command = dir.command(&["run", "-s", "q -> a", "-i", "q=1", "--model", model]);
        let output = command.env("ABYME_API_BASE", "gateway:8000/v1").output().unwrap();
        crate::support::CommandEnd::from(output).failed(2, &["ABYME_API_BASE", "http://", "not `gateway:`"]);
    }
}

#[test]
fn inputs_that_are_missing_unknown_or_given_twice() {
    fails(&["-s", "docs, query -> a"], &["missing inputs: `docs`, `query`"]);
    fails(&["-s", "docs -> a", "-i", "docs=1", "-i", "doc=2"], &["unknown input: `doc`"]);
    fails(&["-s", "docs -> a", "-i", "docs=1", "-i", "docs=2"], &["`docs` is given twice"]);
    fails(&["-s", "a, b -> c", "-i", "a=-", "-i", "b=-"], &["stdin", "`a`", "`b`"]);
    fails(&["-s", "docs -> a", "-i", "docs"], &["name=value"]);
    fails(&["-s", "n: int -> a", "-i", "n=many"], &["input `n`", "int"]);
}

#[test]
fn files_that_cannot_be_read() {
    let dir = dir();
    dir.write("latin.txt", b"caf\xe9");
    dir.write("bad.json", "{\n  'a': 1}");
    let run = |input: &str| dir.run(&["run", "-s", "docs -> a", "-i", input]);
    run("docs=@none.txt").failed(2, &["input `docs`", "`none.txt`", "there is no such file"]);
    run("docs=@.").failed(2, &["is a directory"]);
    run("docs=@").failed(2, &["the name of a file is missing"]);
    run("docs=@latin.txt").failed(2, &["input `docs`", "`latin.txt`", "byte 3", "not UTF-8"]);
    run("docs=@latin.txt").failed(2, &["iconv -f LATIN1 -t UTF-8 latin.txt", "declare the input as `bytes`"]);
    dir.write("wide.txt", b"\xff\xfeh\0i\0");
    run("docs=@wide.txt").failed(2, &["it is UTF-16", "iconv -f UTF-16 -t UTF-8 wide.txt"]);
    run("docs=@alice said what?").failed(2, &["there is no such file", "`@@`"]);
    for device in ["/dev/zero", "/dev/full", "/dev/null"] {
        run(&format!("docs=@{device}")).failed(2, &["input `docs`", device, "no file and no pipe"]);
        dir.run(&["run", "-s", "q -> a", "-i", "q=1", "--tool", device]).failed(2, &["--tool", device]);
    }
    run("docs=@bad.json").failed(2, &["`bad.json`", "line 2"]);
    dir.run_with_stdin(&["run", "-s", "docs -> a", "-i", "docs=-"], b"caf\xe9")
        .failed(2, &["stdin", "byte 3"]);
}

#[test]
fn names_that_cannot_be_used() {
    fails(&["-s", "my docs -> a"], &["signature"]);
    fails(&["-s", "print -> a", "-i", "print=1"], &["`print`"]);
    fails(&["-s", "SUBMIT -> a", "-i", "SUBMIT=1"], &["`SUBMIT`"]);
    fails(&["-s", "class -> a", "-i", "class=1"], &["`class`"]);
    fails(&["-s", "docs -> a", "-i", "docs=1", "--describe", "dogs=x"], &["`dogs`", "did you mean `docs`"]);
}

#[test]
fn signatures_that_do_not_parse() {
    for signature in ["", "docs", "docs ->", "-> a: list[", "a -> a", "docs -> x: wat"] {
        fails(&["-s", signature, "-i", "docs=1"], &["a signature looks like"]);
    }
}

#[test]
fn tools_that_cannot_be_used() {
    let dir = dir();
    dir.write("print.py", "def print(x):\n    return x\n");
    dir.write("broken.py", "def f(:\n");
    dir.write("docs.py", "def docs():\n    return 1\n");
    let run = |tool: &str| dir.run(&["run", "-s", "docs -> a", "-i", "docs=1", "--tool", tool]);
    run("none.py").failed(2, &["--tool", "`none.py`"]);
    run("print.py").failed(2, &["`print`"]);
    run("broken.py").failed(2, &["broken.py"]);
    run("docs.py").failed(2, &["`docs` is both an input and a tool"]);
}

#[test]
fn options_that_make_no_sense() {
    let more = |args: &[&str], parts: &[&str]| fails(&[&["-s", "q -> a", "-i", "q=1"], args].concat(), parts);
    more(&["--interpreter", "perl"], &["`perl` is no interpreter", "wasm, subprocess"]);
    more(&["--max-iterations", "0"], &["max_iterations"]);
    more(&["--run-timeout", "soon"], &["expected a time"]);
    more(&["--max-cost", "-1"], &["max"]);
    more(&["--policy", "none"], &["guard-rail"]);
    more(&["--extra-body", "[1]"], &["JSON object"]);
    more(&["--extra-body", "{\"stream\": true}"], &["`stream`"]);
    more(&["--temperature", "high"], &["--temperature"]);
    more(&["--model-timeout", "0"], &["more than 0"]);
    more(&["--trace", "/no/such/folder/run.jsonl"], &["/no/such/folder/run.jsonl"]);
    more(&["--frob"], &["--frob", "abyme run --help"]);
    fails(&[], &["--signature"]);
    TestDir::new().run(&["frob"]).failed(2, &["frob"]);
}

#[test]
fn no_model_and_no_key() {
    let dir = TestDir::new();
    let args = ["run", "-s", "q -> a", "-i", "q=1"];
    dir.run(&args).failed(2, &["no model is configured", "ABYME_MODEL"]);
    dir.run(&[&args[..], &["--model", "openai/gpt-5-mini"]].concat()).failed(2, &["OPENAI_API_KEY"]);
    dir.write(".env", "this is not ours\nABYME_API_KEY='sk-canary\n");
    let ended = dir.run(&[&args[..], &["--model", "openai/gpt-5-mini"]].concat());
    ended.failed(2, &[".env, line 2: `ABYME_API_KEY`"]);
    assert!(!ended.stderr.contains("canary"), "{ended:?}");
}

#[test]
fn no_python() {
    let dir = dir();
    let args = ["run", "-s", "q -> a", "-i", "q=1", "--interpreter", "subprocess"];
    let empty = dir.temp.path().to_owned();
    let ended = dir.command(&args).env("PATH", &empty).output().unwrap();
    crate::support::CommandEnd::from(ended).failed(3, &["python3", "doctor"]);
    dir.run(&[&args[..], &["--python", "/no/python"]].concat()).failed(3, &["/no/python"]);
}

/// `wasm` brings its own Python, so a `--python` with it is an error.
#[test]
fn a_python_for_an_interpreter_that_takes_none() {
    let dir = dir();
    let args = ["run", "-s", "q -> a", "-i", "q=1", "--python", "/no/python"];
    let parts = ["--python /no/python", "`wasm`", "`subprocess`"];
    dir.run(&args).failed(2, &parts);
    dir.run(&[&args[..], &["--interpreter", "wasm"]].concat()).failed(2, &parts);
    dir.run(&["demo", "--python", "/no/python"]).failed(2, &parts);
    dir.run(&["interpreter", "--python", "/no/python"]).failed(2, &parts);
    dir.run(&["prepare", "--python", "/no/python"]).failed(2, &["--python"]);
}

/// Only `subprocess` has an isolation to choose.
#[test]
fn an_isolation_for_an_interpreter_that_takes_none() {
    let dir = dir();
    let parts = ["--isolation", "`wasm`", "`subprocess`"];
    dir.run(&["run", "-s", "q -> a", "-i", "q=1", "--isolation", "off"]).failed(2, &parts);
    dir.run(&["interpreter", "--isolation", "best-effort"]).failed(2, &parts);
    dir.run(&["interpreter", "--backend", "subprocess", "--isolation", "some"]).failed(2, &["best-effort"]);
}

#[test]
fn help_has_the_exit_codes() {
    for command in [&["--help"][..], &["run", "--help"], &["interpreter", "--help"], &["prepare", "--help"]] {
        let ended = TestDir::new().run(command);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
        assert!(
            ended.stdout.contains("Exit codes:") && ended.stdout.contains("130  interrupted"),
            "{ended:?}"
        );
    }
}

#[test]
fn schemas_that_give_no_outputs() {
    let dir = dir();
    dir.write("bad.json", "{\n  'a': 1}");
    dir.write("text.json", r#"{"type": "string"}"#);
    dir.write("reserved.json", r#"{"properties": {"class": {"type": "string"}}}"#);
    dir.write("good.json", r#"{"properties": {"n": {"type": "integer"}}}"#);
    let run = |signature: &str, schema: &str| {
        dir.run(&["run", "-s", signature, "-i", "docs=x", "--schema", schema])
    };
    run("docs", "none.json").failed(2, &["--schema", "`none.json`", "there is no such file"]);
    run("docs", "bad.json").failed(2, &["--schema", "`bad.json`", "not JSON", "line 2"]);
    run("docs", "text.json").failed(2, &["--schema", "`text.json`", "`properties`"]);
    run("docs", "reserved.json").failed(2, &["--schema", "`class`"]);
    run("docs -> n", "good.json").failed(2, &["--signature and --schema both give the outputs"]);
    run("docs, more", "good.json").failed(2, &["missing input", "`more`"]);
}

#[test]
fn models_and_prices_that_cannot_be_used() {
    let dir = dir();
    dir.write("typo.json", r#"{"models": {"m": {"inptu": 1, "output": 2}}}"#);
    dir.write("other.json", r#"{"models": {"other": {"input": 1, "output": 2}}}"#);
    dir.write("m.json", r#"{"models": {"m": {"input": 1, "output": 2}}}"#);
    let run = |args: &[&str]| dir.run(&[&["run", "-s", "docs -> a", "-i", "docs=1"], args].concat());
    run(&["--sub-model", "a", "--sub-model", "b"]).failed(2, &["`a`", "`b`", "NAME=MODEL"]);
    run(&["--sub-model", "x=a", "--sub-model", "x=b"]).failed(2, &["two models `x`"]);
    run(&["--sub-model", "x="]).failed(2, &["--sub-model `x=`"]);
    run(&["--sub-price", "1,2"]).failed(2, &["--sub-price"]);
    run(&["--prices", "none.json"]).failed(2, &["none.json"]);
    run(&["--prices", "typo.json"]).failed(2, &["typo.json", "unknown field `inptu`"]);
    run(&["--max-cost", "1"]).failed(2, &["max_cost", "model `m`", "`--prices`"]);
    run(&["--max-cost", "1", "--prices", "other.json"]).failed(2, &["max_cost", "model `m`"]);
    let args = ["--max-cost", "1", "--prices", "m.json", "--sub-model", "x=b"];
    run(&args).failed(2, &["max_cost", "model `b`"]);
}

#[test]
fn files_that_are_read_and_written() {
    let dir = dir();
    let names = ["docs.txt", "t.py", "out.json", "prices.json", "calls.jsonl"];
    dir.write("docs.txt", "needle");
    dir.write("t.py", "def shout(text: str) -> str:\n    return text.upper()\n");
    dir.write("out.json", r#"{"properties": {"n": {"type": "integer"}}}"#);
    dir.write("prices.json", r#"{"models": {"m": {"input": 1, "output": 2}}}"#);
    dir.write("calls.jsonl", "");
    let read = || names.map(|name| std::fs::read(dir.path(name)).unwrap());
    let before = read();
    let run = ["run", "-s", "docs -> a", "-i", "docs=@docs.txt", "--tool", "t.py"];
    for (args, flag, name) in [
        ([&run[..], &["--trace", "docs.txt"]].concat(), "--trace", "docs.txt"),
        ([&run[..], &["--record", "t.py"]].concat(), "--record", "t.py"),
        // Nothing is opened before the second flag is checked.
        ([&run[..], &["--record", "new.jsonl", "--trace", "t.py"]].concat(), "--trace", "t.py"),
        (
            [&run[..], &["--prices", "prices.json", "--trace", "prices.json"]].concat(),
            "--trace",
            "prices.json",
        ),
        (
            [&run[..], &["--replay", "calls.jsonl", "--trace", "calls.jsonl"]].concat(),
            "--trace",
            "calls.jsonl",
        ),
        (
            vec!["run", "-s", "docs", "-i", "docs=x", "--schema", "out.json", "--trace", "out.json"],
            "--trace",
            "out.json",
        ),
        (vec!["chat", "docs.txt", "--record", "docs.txt"], "--record", "docs.txt"),
        (vec!["chat", "other=docs.txt", "--save", "docs.txt"], "--save", "docs.txt"),
        (vec!["chat", "--tool", "t.py", "--record", "t.py"], "--record", "t.py"),
    ] {
        let said = format!("{flag} would overwrite `{name}`, which this command reads; name another file");
        dir.run(&args).failed(2, &[&said]);
        assert_eq!(read(), before, "{args:?}");
    }
    assert!(!dir.path("new.jsonl").exists());
}
