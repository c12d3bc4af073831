//! `abyme run` against a server on the loopback interface.

use std::{
    collections::VecDeque,
    io::Read,
    os::unix::fs::PermissionsExt,
    process::Stdio,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    server::{Server, completion, reply},
    support::{CommandEnd, TestDir, eventually, exit_within, signal},
    terminal::on_a_terminal,
};

/// A directory whose `.env` configures the model of `server`.
pub(crate) fn dir(server: &Server) -> TestDir {
    let dir = TestDir::new();
    dir.write(
        ".env",
        format!(
            "ABYME_MODEL=test-model\nABYME_API_KEY=sk-canary-0123456789\nABYME_API_BASE={}\n",
            server.url()
        ),
    );
    dir
}

fn ok(ended: CommandEnd) -> CommandEnd {
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    ended
}

#[test]
fn inputs_of_all_kinds_a_tool_a_sub_call_a_trace() {
    let server = Server::scripted(&[
        "Look first.\n```python\n\
         print(len(docs), meta['k'], note, shout(question), llm_query('sub ' + question))\n```",
        "Done.\n```python\nSUBMIT(count=docs.count('needle'), big=10**30, odd=float('nan'))\n```",
    ]);
    let dir = dir(&server);
    dir.write("docs.txt", "hay needle hay needle\n".repeat(50_000));
    dir.write("meta.json", r#"{"k": [1, 2.5, 123456789012345678901234567890]}"#);
    dir.write(
        "tools.py",
        "def shout(text: str) -> str:\n    \"\"\"Shouts.\"\"\"\n    return text.upper() + '!'\n",
    );
    let ended = ok(dir.run_with_stdin(
        &[
            "run",
            "--signature",
            "docs, meta: dict, note, question -> count: int, big: int, odd: float",
            "--input",
            "docs=@docs.txt",
            "--input",
            "meta=@meta.json",
            "--input",
            "note=-",
            "--input",
            "question=a=b",
            "--tool",
            "tools.py",
            "--json",
            "--trace",
            "run.jsonl",
            "--instructions",
            "Count needles.",
            "--describe",
            "docs=The hay.",
        ],
        "von stdin é".as_bytes(),
    ));
    let object: Value = ended.json();
    assert_eq!(object["outputs"]["count"], 100_000);
    assert!(ended.stdout.contains("\"big\": 1000000000000000000000000000000, \"odd\": \"NaN\""), "{ended:?}");
    assert_eq!((&object["status"], &object["turns"]), (&"submitted".into(), &2.into()));
    assert_eq!((&object["interpreter"], &object["trace"]), (&"wasm".into(), &"run.jsonl".into()));
    assert_eq!(object["usage"]["calls"], 3);
    assert!(object["seconds"].as_f64().unwrap() > 0.0);
    let requests = server.requests();
    let all = serde_json::to_string(&requests).unwrap();
    for part in [
        "Count needles.",
        "The hay.",
        "Shouts.",
        "1100000 [1, 2.5, 123456789012345678901234567890] von stdin é A=B! SUB A=B",
    ] {
        assert!(all.contains(part), "the model never read `{part}`");
    }
    let trace = std::fs::read_to_string(dir.path("run.jsonl")).unwrap();
    let header: Value = serde_json::from_str(trace.lines().next().unwrap()).unwrap();
    assert_eq!(header["abyme_trajectory"], 1);
    assert!(trace.contains("run_started"));
    assert!(trace.contains("run_finished") && !trace.contains("canary"));
    assert!(ended.stderr.contains("turn 1: running a cell (1 line)"), "{ended:?}");
    assert!(ended.stderr.contains("turn 1: 1 sub-call"), "{ended:?}");
}

#[test]
fn one_output_is_its_text_and_several_are_lines() {
    let server = Server::scripted(&["```python\nSUBMIT('two\\nlines')\n```"]);
    let ended = ok(dir(&server).run(&["run", "-s", "q -> text", "-i", "q=x"]));
    assert_eq!(ended.stdout, "two\nlines\n");
    let server = Server::scripted(&["```python\nSUBMIT('a', [1, 'x'])\n```"]);
    let ended = ok(dir(&server).run(&["run", "-s", "q -> text, items: list", "-i", "q=x"]));
    assert_eq!(ended.stdout, "text: a\nitems: [1, \"x\"]\n");
}

#[test]
fn terminal_controls_are_shown_not_obeyed() {
    let reply = "Reason\u{1b}[2J\n```python\nprint('\\x1b[31mred\\r\\x9b2J')\nSUBMIT('\\x1b]0;title\\x07x\\u202ey')\n```";
    let reply: &'static [&'static str] =
        Box::leak(Box::new([&*Box::leak(reply.to_owned().into_boxed_str())]));
    let server = Server::scripted(reply);
    let dir = dir(&server);
    let ended = ok(dir.run(&["run", "-s", "q -> text", "-i", "q=x", "--verbose"]));
    let shown = format!("{}{}", ended.stdout, ended.stderr);
    assert!(shown.chars().all(|char| char == '\n' || !char.is_control()), "{ended:?}");
    assert_eq!(ended.stdout, "\\u{1b}]0;title\\u{7}x\\u{202e}y\n");
    assert!(
        ended.stderr.contains("Reason\\u{1b}[2J") && ended.stderr.contains("red\\r\\u{9b}2J"),
        "{ended:?}"
    );
    let ended = ok(dir.run(&["run", "-s", "q -> text", "-i", "q=x", "--json"]));
    assert_eq!(ended.json()["outputs"]["text"], "\u{1b}]0;title\u{7}x\u{202e}y");
}

#[test]
fn a_limit_gives_an_estimate_and_a_warning() {
    let server = Server::scripted(&["```python\n1\n```", "{\"n\": 7}"]);
    let ended = ok(dir(&server).run(&["run", "-s", "q -> n: int", "-i", "q=x", "--max-iterations", "1"]));
    assert_eq!(ended.stdout, "7\n");
    assert!(
        ended.stderr.contains("abyme: warning: ") && ended.stderr.contains("max_iterations"),
        "{ended:?}"
    );
    let server = Server::scripted(&["```python\n1\n```", "I have no idea."]);
    let ended = dir(&server).run(&["run", "-s", "q -> n: int", "-i", "q=x", "--max-iterations", "1"]);
    ended.failed(5, &["no turn is left of 1", "--max-iterations"]);
}

#[test]
fn the_policy_and_the_sub_model_are_used() {
    let server = Server::scripted(&[
        "```python\nimport subprocess\nsubprocess.run(['true'])\n```",
        "```python\nSUBMIT(llm_query('hi'))\n```",
    ]);
    let args = [
        "run",
        "-s",
        "q -> text",
        "-i",
        "q=x",
        "--policy",
        "guard-rail",
        "--sub-model",
        "small-model",
        "--verbose",
    ];
    let ended = ok(dir(&server).run(&args));
    assert_eq!(ended.stdout, "HI\n");
    assert!(ended.stderr.contains("Blocked: "), "{ended:?}");
    let models: Vec<_> = server.requests().iter().map(|request| request["model"].clone()).collect();
    assert_eq!(models, ["test-model", "test-model", "small-model"]);
}

#[test]
fn a_wrong_key_is_one_line_without_the_key() {
    let server = Server::start(|_| {
        (
            401,
            json!({"error": {
                "message": "Incorrect API key provided: sk-canary-0123456789.",
                "code": "invalid_api_key",
            }}),
        )
    });
    let ended = dir(&server).run(&["run", "-s", "q -> text", "-i", "q=x", "--trace", "run.jsonl"]);
    ended.failed(4, &["API key", "401"]);
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}

#[test]
fn an_unreachable_server_is_named() {
    let dir = TestDir::new();
    let args = ["run", "-s", "q -> text", "-i", "q=x", "--model", "m", "--api-base", "http://127.0.0.1:9/v1"];
    let started = Instant::now();
    dir.run(&args).failed(4, &["127.0.0.1", "--api-base"]);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_session_that_keeps_dying_has_its_code() {
    let server = Server::scripted(&["```python\nimport os\nos._exit(3)\n```"]);
    dir(&server)
        .run(&["run", "-s", "q -> text", "-i", "q=x", "--interpreter", "subprocess"])
        .failed(7, &["died 3 times"]);
}

#[test]
fn a_session_that_crashes_goes_on() {
    let server = Server::scripted(&[
        "```python\nkept = 'still here'\n```",
        "```python\nkept = 'lost'\nimport os\nos._exit(3)\n```",
        "```python\nSUBMIT(kept)\n```",
    ]);
    let ended = ok(dir(&server).run(&["run", "-s", "q -> text", "-i", "q=x"]));
    assert_eq!(ended.stdout, "still here\n");
    assert!(ended.stderr.contains("turn 2: the interpreter exited with code 3"), "{ended:?}");
    let all = serde_json::to_string(&server.requests()).unwrap();
    assert!(all.contains("exited with code 3"), "the model was not told: {all}");
}

#[test]
fn signals_end_the_run_and_close_its_trace() {
    for (name, code) in
        [("INT", 130), ("TERM", 143), ("HUP", 129), ("QUIT", 131), ("USR1", 138), ("USR2", 140)]
    {
        let server = Server::start(|_| {
            std::thread::sleep(Duration::from_secs(60));
            (200, completion("late"))
        });
        let dir = dir(&server);
        let args = ["run", "-s", "q -> text", "-i", "q=x", "--trace", "run.jsonl"];
        let mut child = dir.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let trace = || std::fs::read_to_string(dir.path("run.jsonl")).unwrap_or_default();
        eventually("the run has begun", || trace().contains("run_started"));
        signal(&child, name);
        assert_eq!(exit_within(&mut child, Duration::from_secs(5)), code);
        let last: Value = serde_json::from_str(trace().lines().last().unwrap()).unwrap();
        assert_eq!(last["event"], "run_failed", "{name}: {last}");
        let mode = std::fs::metadata(dir.path("run.jsonl")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{mode:o}");
    }
}

/// A writer that waits for its reader looks at no signal; the command ends all the same.
#[test]
fn a_signal_ends_a_command_whose_output_is_not_read() {
    let server = Server::scripted(&["```python\nSUBMIT('x' * 1_000_000)\n```"]);
    let dir = dir(&server);
    let mut child = dir.command(&["run", "-s", "q -> text", "-i", "q=x"]).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    stdout.read_exact(&mut [0]).unwrap();
    signal(&child, "TERM");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 143);
}

/// `nohup` ignores the signal for the command, which goes on.
#[test]
fn a_signal_that_was_ignored_at_the_start_stays_ignored() {
    let server = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(1));
        (200, completion("```python\nSUBMIT('done')\n```"))
    });
    let dir = dir(&server);
    let command = dir.command(&["run", "-s", "q -> text", "-i", "q=x"]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "trap '' HUP; exec \"$0\" \"$@\""]).arg(command.get_program()).args(command.get_args());
    shell.current_dir(dir.temp.path()).env_clear();
    for (name, value) in command.get_envs() {
        shell.env(name, value.unwrap());
    }
    let child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the model is asked", || !server.began().is_empty());
    signal(&child, "HUP");
    let ended = ok(child.wait_with_output().unwrap().into());
    assert_eq!(ended.stdout, "done\n");
}

#[test]
fn what_an_input_is_read_as() {
    let server = Server::scripted(&["```python\nSUBMIT(repr([at, dash, page, raw, data, many]))\n```"]);
    let dir = dir(&server);
    dir.write("page.json", "{\"a\": 1}");
    dir.write("bom.txt", "\u{feff}[1, 2]");
    dir.write("raw.bin", b"caf\xe9");
    let signature = "at, dash, page: str, raw: bytes, data, many: list[int] -> text";
    let inputs =
        ["at=@@alice", "dash=@@-", "page=@page.json", "raw=@raw.bin", "data=@page.json", "many=@bom.txt"];
    let inputs = inputs.iter().flat_map(|input| ["-i", input]);
    let ended = ok(dir.run(&["run", "-s", signature].into_iter().chain(inputs).collect::<Vec<_>>()));
    assert_eq!(ended.stdout, "['@alice', '-', '{\"a\": 1}', b'caf\\xe9', {'a': 1}, [1, 2]]\n");
}

#[test]
fn an_input_may_be_a_pipe() {
    let server = Server::scripted(&["```python\nSUBMIT(f'{len(docs)}')\n```"]);
    let dir = dir(&server);
    let pipe = dir.path("pipe");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let writer = std::thread::spawn(move || std::fs::write(pipe, "x".repeat(100_000)).unwrap());
    let ended = ok(dir.run(&["run", "-s", "docs -> text", "-i", "docs=@pipe"]));
    writer.join().unwrap();
    assert_eq!(ended.stdout, "100000\n");
}

#[test]
fn the_model_is_asked_as_the_flags_say() {
    let server = Server::start(|_| (200, completion("```python\nSUBMIT('done')\n```")));
    let args = [
        "run",
        "-s",
        "q -> text",
        "-i",
        "q=x",
        "--temperature",
        "0.5",
        "--seed",
        "-7",
        "--max-reply-tokens",
        "99",
        "--extra-body",
        "{\"top_p\": 0.9}",
        "--no-system-role",
    ];
    ok(dir(&server).run(&args));
    let request = &server.requests()[0];
    assert_eq!((&request["temperature"], &request["seed"]), (&json!(0.5), &json!(-7)));
    assert_eq!((&request["max_tokens"], &request["top_p"]), (&json!(99), &json!(0.9)));
    let messages = request["messages"].as_array().unwrap();
    assert_eq!((messages.len(), &messages[0]["role"]), (1, &json!("user")));
}

#[test]
fn tries_and_their_time_can_be_set() {
    let failing = Server::start(|_| (500, json!({"error": {"message": "no capacity"}})));
    let args = ["run", "-s", "q -> text", "-i", "q=x"];
    dir(&failing).run(&[&args[..], &["--retries", "0"]].concat()).failed(4, &["no capacity"]);
    assert_eq!(failing.requests().len(), 1);
    let silent = Server::start(|_| {
        std::thread::sleep(Duration::from_secs(60));
        (200, completion("late"))
    });
    let started = Instant::now();
    let args = [&args[..], &["--retries", "0", "--model-timeout", "0.3"]].concat();
    dir(&silent).run(&args).failed(4, &["0.3 s"]);
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn replies_without_code_nudges_and_retries_are_shown() {
    let count = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start(move |_| match count.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
        0 => (200, completion("I would rather talk.")),
        1 => (503, json!({"error": {"message": "busy ".repeat(200)}})),
        2 => (200, completion("```python\n1\n```")),
        _ => (200, completion("{\"n\": 7}")),
    });
    let args = ["run", "-s", "q -> n: int", "-i", "q=x", "--max-iterations", "2"];
    let ended = ok(dir(&server).run(&[&args[..], &["--verbose"]].concat()));
    assert_eq!(ended.stdout, "7\n");
    for part in [
        "I would rather talk.",
        "turn 1: the reply holds no code; the model is asked again",
        "  > ",
        "turn 2: trying again in ",
        "{\"n\": 7}",
    ] {
        assert!(ended.stderr.contains(part), "{part} is not in {ended:?}");
    }
    assert!(ended.stderr.lines().all(|line| line.chars().count() < 300), "{ended:?}");
}

/// An MCP server of one tool.
#[cfg(feature = "mcp")]
pub(crate) const MCP_SERVER: &str = r#"
import json, sys

for line in sys.stdin:
    message = json.loads(line)
    if "id" not in message:
        continue
    if message["method"] == "initialize":
        result = {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "adder", "version": "1"},
        }
    elif message["method"] == "tools/list":
        numbers = {"type": "array", "items": {"type": "integer"}}
        schema = {"type": "object", "properties": {"numbers": numbers}, "required": ["numbers"]}
        result = {"tools": [{"name": "add-up", "description": "Adds numbers.", "inputSchema": schema}]}
    else:
        result = {"content": [], "structuredContent": sum(message["params"]["arguments"]["numbers"])}
    print(json.dumps({"jsonrpc": "2.0", "id": message["id"], "result": result}), flush=True)
"#;

#[cfg(feature = "mcp")]
#[test]
fn the_tools_of_an_mcp_server() {
    let server = Server::scripted(&["Add.\n```python\nSUBMIT(total=add_up([1, 2, 3]))\n```"]);
    let dir = dir(&server);
    dir.write("add er.py", MCP_SERVER);
    let run = |mcp: &str| dir.run(&["run", "-s", "q -> total: int", "-i", "q=x", "--json", "--mcp", mcp]);
    assert_eq!(ok(run("python3 'add er.py'")).json()["outputs"]["total"], 6);
    let messages = server.requests()[0]["messages"].clone();
    let texts = messages.as_array().unwrap().iter().map(|message| message["content"].as_str().unwrap());
    let said = texts.collect::<Vec<_>>().join("\n");
    assert!(said.contains("- `add_up(numbers: list[int])`\n  Adds numbers."), "{said}");
    run("python3 missing.py").failed(2, &["--mcp", "`python3`", "No such file"]);
    run("no-such-program --flag").failed(2, &["--mcp", "`no-such-program` does not start"]);
    run("python3 'unclosed").failed(2, &["--mcp", "neither a URL nor a command line"]);
}

/// The server does not say that its tool only reads.
#[cfg(feature = "mcp")]
#[test]
fn a_tool_is_called_when_the_person_at_the_terminal_says_yes() {
    let server = Server::scripted(&[
        "```python\ntry:\n    total = add_up([1, 2, 3])\nexcept PermissionError as denied:\n    total = \
         -1\n    print(denied)\nSUBMIT(total=total)\n```",
    ]);
    let dir = dir(&server);
    dir.write("adder.py", MCP_SERVER);
    let args =
        ["run", "-s", "q -> total: int", "-i", "q=x", "--mcp", "python3 adder.py", "--ask-before-tools"];
    let nobody = ok(dir.run(&[&args[..], &["--trace", "run.jsonl"]].concat()));
    assert_eq!(nobody.stdout, "-1\n", "{nobody:?}");
    let trace = std::fs::read_to_string(dir.path("run.jsonl")).unwrap();
    assert!(trace.contains(r#""approval":{"denied":"nobody is at the terminal to be asked"}"#), "{trace}");
    for (typed, total) in [("y", "6"), ("n", "-1"), ("", "-1")] {
        // What is typed before the question is no answer to it.
        let script = format!(
            r#"
os.write(terminal, b"y\n")
until(b"`add_up(numbers=[1, 2, 3])`, which changes something and sends something to others. Call it? [y/N]")
os.write(terminal, b"{typed}\n")
"#
        );
        let (code, screen) = on_a_terminal(&dir, &args, &[], &script);
        assert_eq!(code, 0, "{screen}");
        assert!(screen.trim_end().ends_with(total), "{typed}: {screen}");
    }
    // A run that is stopped does not wait for an answer. Nobody would see what a first Ctrl-C warns of.
    for (stop, expected) in [("os.kill(pid, signal.SIGTERM)", 143), ("os.write(terminal, b'\\x03')", 130)] {
        let script = format!("until(b'Call it? [y/N]')\n{stop}");
        let (code, screen) = on_a_terminal(&dir, &args, &[], &script);
        assert_eq!(code, expected, "{screen}");
        assert!(!screen.contains("Ctrl-C again"), "{screen}");
    }
}

/// The run's time is over before the person has answered: nobody waits for the answer any more.
#[cfg(feature = "mcp")]
#[test]
fn a_question_goes_with_the_call_that_asked_it() {
    let server = Server::start(|request| {
        let is_last = request.to_string().contains("best outputs you can");
        if is_last {
            // The run must not be over before it is looked whether the answer is still wanted.
            std::thread::sleep(Duration::from_millis(500));
        }
        let reply = if is_last { r#"{"total": -2}"# } else { "```python\nSUBMIT(total=add_up([1, 2]))\n```" };
        (200, completion(reply))
    });
    let dir = dir(&server);
    dir.write("adder.py", MCP_SERVER);
    let args = ["run", "-s", "q -> total: int", "-i", "q=x", "--mcp", "python3 adder.py"];
    let args = [&args[..], &["--ask-before-tools", "--run-timeout", "8", "--trace", "run.jsonl"]].concat();
    let script = r#"
until(b"Call it? [y/N]")
until(b"no answer is needed any more")
"#;
    let (code, screen) = on_a_terminal(&dir, &args, &[], script);
    assert_eq!(code, 0, "{screen}");
    assert!(screen.trim_end().ends_with("-2"), "{screen}");
    let trace = std::fs::read_to_string(dir.path("run.jsonl")).unwrap();
    assert!(!trace.contains(r#""approval":"given""#), "{trace}");
}

/// A run whose outputs a schema gives, with a model by name, a child, and prices from a file.
#[test]
fn a_schema_a_named_model_a_child_and_a_ledger() {
    let server = Server::start(|request| {
        let last = request["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
        let text = match (request["model"].as_str().unwrap(), last) {
            ("test-model", last) if last.contains("[stdout]") => {
                "```python\nSUBMIT(total=n, names=['x'])\n```"
            }
            ("test-model", _) => {
                "```python\nn = int(llm_query('how many?', model='counter'))\n\
                 print(n, rlm_query('look closer', context='abc'))\n```"
            }
            ("counter-1", _) => "42",
            (_, _) => "```python\nSUBMIT(context[::-1])\n```",
        };
        let mut answer = completion(text);
        answer["usage"] = json!({"prompt_tokens": 1000, "completion_tokens": 100});
        (200, answer)
    });
    let dir = dir(&server);
    dir.write("out.json", r#"{"properties": {"total": {"type": "integer"}, "names": {"type": "array"}}}"#);
    let price = r#"{"input": 1, "output": 10}"#;
    dir.write(
        "prices.json",
        format!(r#"{{"models": {{"test-model": {price}, "counter-1": {price}, "child-1": {price}}}}}"#),
    );
    let args = ["run", "-s", "q", "--schema", "out.json", "-i", "q=x", "--sub-model", "counter=counter-1"];
    let args =
        [&args[..], &["--sub-model", "child-1", "--max-cost", "1", "--prices", "prices.json"]].concat();
    let ended = ok(dir.run(&[&args[..], &["--json", "--verbose"]].concat()));
    let object: Value = ended.json();
    assert_eq!(object["outputs"], json!({"total": 42, "names": ["x"]}));
    assert_eq!(
        (&object["usage"]["calls"], &object["ledger"]["by_depth"]["1"]["calls"]),
        (&json!(4), &json!(1))
    );
    assert_eq!(object["ledger"]["by_model"]["test-model"]["calls"], 2);
    assert!((object["usage"]["cost"].as_f64().unwrap() - 0.008).abs() < 1e-9, "{object}");
    for part in [
        "child 2 starts: look closer",
        "    ── turn 1",
        "      │ SUBMIT(context[::-1])",
        "\ncounter-1 ",
        "\ntotal ",
    ] {
        assert!(ended.stderr.contains(part), "{part} is not in {ended:?}");
    }

    let none = ["--max-depth", "0", "--max-tokens", "100000"];
    let ended = ok(dir.run(&[&args[..], &none].concat()));
    assert!(!ended.stderr.contains("child"), "{ended:?}");
    dir.run(&[&args[..], &["--max-tokens", "1"]].concat())
        .failed(5, &["the 1 tokens are used", "--max-tokens"]);
}

#[test]
fn the_prefix_of_a_models_name_chooses_its_client() {
    // The server answers in the form of the API that is asked, and takes nothing else.
    let server = Server::start(|request| {
        let code = "```python\nSUBMIT(answer='native')\n```";
        if request.get("contents").is_some() {
            let candidate =
                json!({"content": {"role": "model", "parts": [{"text": code}]}, "finishReason": "STOP"});
            return (200, json!({"candidates": [candidate]}));
        }
        match request["model"].as_str() {
            Some("claude-x") => {
                let content = json!([{"type": "text", "text": code}]);
                let usage = json!({"input_tokens": 10, "output_tokens": 5});
                let reply =
                    json!({"type": "message", "content": content, "stop_reason": "end_turn", "usage": usage});
                (200, reply)
            }
            _ => (404, json!({"error": {"message": "no such model"}})),
        }
    });
    let dir = TestDir::new();
    let ask = ["run", "--signature", "question -> answer", "--input", "question=?"];
    let base = server.url();
    for (model, variables) in [
        ("anthropic/claude-x", ["ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"]),
        ("gemini/gemini-x", ["GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"]),
    ] {
        let [url, key] = variables;
        let run = |args: &[&str], model_in_environment: Option<&str>| {
            let mut command = dir.command(&[&ask, args].concat());
            command.env(url, &base).env(key, "sk-canary-0123456789");
            command.envs(model_in_environment.map(|model| ("ABYME_MODEL", model)));
            ok(command.output().unwrap().into()).stdout
        };
        assert_eq!(run(&["--model", model, "--seed", "7"], None), "native\n", "{model}");
        assert_eq!(run(&[], Some(model)), "native\n", "{model} in the environment");
    }
    let requests = server.requests();
    assert_eq!(requests[2]["generationConfig"]["seed"], 7);
    assert!(requests[0].get("seed").is_none() && requests[0]["system"][0]["text"].is_string());

    // A base URL is one of an OpenAI-compatible server, whatever the prefix.
    let ended = dir.run(&[&ask[..], &["--model", "anthropic/claude-x", "--api-base", &base]].concat());
    assert!(server.requests().last().unwrap().get("system").is_none(), "{ended:?}");
}

#[test]
fn calls_are_recorded_and_replayed_without_a_server_and_kept_for_the_next_run() {
    const REPLY: &str = "Done.\n```python\nSUBMIT(text=llm_query('sub'))\n```";
    let server = Server::scripted(&[REPLY, "from the model", REPLY]);
    let dir = dir(&server);
    let run = ["run", "-s", "q -> text", "-i", "q=x", "--interpreter", "subprocess"];
    let with = |more: &[&str]| dir.run(&[&run[..], more].concat());
    let recorded = ok(with(&["--record", "calls.jsonl", "--cache", "replies"]));
    assert_eq!(recorded.stdout, "SUB\n", "{recorded:?}");
    let again = ok(with(&["--cache", "replies", "--rpm", "600", "--tpm", "100000"]));
    assert_eq!((again.stdout.as_str(), server.requests().len()), (recorded.stdout.as_str(), 2));
    drop(server);
    let replayed = ok(with(&["--replay", "calls.jsonl"]));
    assert_eq!(replayed.stdout, recorded.stdout);
    let other = ["run", "-s", "q -> text", "-i", "q=y", "--interpreter", "subprocess"];
    let differs = dir.run(&[&other[..], &["--replay", "calls.jsonl"]].concat());
    assert!(differs.code != 0 && differs.stderr.contains("is not the recorded one"), "{differs:?}");
}

#[test]
fn a_batch_waits_its_turn_where_the_server_refuses_what_is_too_many() {
    const REPLY: &str = "```python\nanswers = llm_query_batched([f'p{i}' for i in range(150)])\n\
                         SUBMIT(sum(a.startswith('P') for a in answers))\n```";
    // 40 in any second, and not a word of when there will be more.
    let recent = Mutex::new(VecDeque::new());
    let server = Server::start(move |request| {
        let (mut recent, now) = (recent.lock().unwrap(), Instant::now());
        recent.retain(|at| now - *at < Duration::from_secs(1));
        if recent.len() >= 40 {
            return (429, json!({"error": {"message": "slow down"}}));
        }
        recent.push_back(now);
        (200, completion(&reply(&[REPLY], request)))
    });
    let dir = dir(&server);
    let ended = ok(dir.run(&["run", "-s", "q -> n: int", "-i", "q=x", "--interpreter", "subprocess"]));
    assert_eq!(ended.stdout, "150\n", "{ended:?}");
    // What was under way as the first one was refused, and a few that tried whether they are let in again.
    let refused = server.began().len() - 151;
    assert!((1..=45).contains(&refused), "{refused}");
}

#[test]
fn a_cassette_that_fails_later_does_not_cost_the_answer() {
    let server = Server::scripted(&["```python\nSUBMIT('paid for')\n```"]);
    let dir = dir(&server);
    let pipe = dir.path("tape");
    assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    // It is there for the first line, and then nobody takes more.
    let reader = std::thread::spawn(move || {
        let mut first = [0];
        std::fs::File::open(pipe).unwrap().read_exact(&mut first).unwrap();
    });
    let ended = dir.run(&["run", "-s", "q -> text", "-i", "q=x", "--record", "tape"]);
    reader.join().unwrap();
    assert_eq!((ended.code, ended.stdout.as_str()), (6, "paid for\n"), "{ended:?}");
    assert!(ended.stderr.contains("abyme: error: the cassette tape is not complete"), "{ended:?}");
}
