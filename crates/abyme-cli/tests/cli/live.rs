//! A run that a person watches on a terminal.

use std::time::Duration;

use serde_json::Value;

use crate::{
    run::dir,
    server::{Server, completion, streamed},
    support::TestDir,
    terminal::on_a_terminal,
};

const RUN: [&str; 7] = ["run", "-s", "q -> answer", "-i", "q=why", "--price", "1,1"];

/// How many turns a request comes after; `None` for a sub-call.
fn turns(request: &Value) -> Option<usize> {
    let messages = request["messages"].as_array().unwrap();
    (messages[0]["role"] == "system")
        .then(|| messages.iter().filter(|message| message["role"] == "assistant").count())
}

/// A model that thinks, asks six sub-calls and prints much, and then submits.
fn thinker() -> Server {
    Server::start(|request| match turns(request) {
        None => {
            let prompt = request["messages"][0]["content"].as_str().unwrap();
            std::thread::sleep(Duration::from_millis(if prompt.ends_with('5') { 700 } else { 50 }));
            (200, completion("word"))
        }
        Some(0) => {
            let cell = "I ask.\n```python\nprint(llm_query_batched([f'p{i}' for i in range(6)]))\n\
                        print('x' * 5000)\n```";
            (200, streamed(&[("reasoning_content", "I look\nclosely"), ("content", cell)]))
        }
        Some(_) => (200, completion("```python\nSUBMIT('it is done')\n```")),
    })
}

/// What is left of a screen without the control sequences that move the cursor and clear lines.
fn colours(screen: &str) -> usize {
    let sequences = screen.split("\x1b[").skip(1);
    sequences
        .filter(|text| text.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';').starts_with('m'))
        .count()
}

#[test]
fn a_run_is_shown_while_it_goes_on() {
    let server = thinker();
    let dir = dir(&server);
    let limits = ["--max-cost", "0.5", "--max-tokens", "5000"];
    let args = [&RUN[..], &limits].concat();
    let (code, screen) = on_a_terminal(&dir, &args, &[("COLUMNS", "100")], "");
    assert_eq!(code, 0, "{screen}");
    for part in [
        "~ I look",
        "~ closely",
        "I ask.",
        "│ \u{1b}[36mprint\u{1b}[0m(\u{1b}[36mllm_query_batched\u{1b}[0m(",
        "5 of 6 sub-calls ████████████████████░░░░ ",
        "/s, ",
        "turn 1: running a cell (2 lines)",
        "turn 1 of 20; left: 195 sub-calls, ",
        "(6 sub-calls)",
        "characters)]",
        "q ends it with what is known; Ctrl-C twice stops it",
        "it is done",
    ] {
        assert!(screen.contains(part), "`{part}` is not in: {screen}");
    }
    assert!(!screen.contains(&"x".repeat(1100)), "the output is cut");
    let (_, after) = screen.rsplit_once("it is done").unwrap();
    assert_eq!(after.trim(), "", "the answer stands alone");

    let narrow = [("COLUMNS", "40"), ("NO_COLOR", "1")];
    let (code, screen) = on_a_terminal(&dir, &args, &narrow, "");
    assert_eq!((code, colours(&screen)), (0, 0), "{screen}");
    assert!(screen.contains("q ends it with what is known; Ctrl-C…"), "{screen}");
    assert!(screen.contains("  │ print(llm_query_batched("), "{screen}");
    let rules: Vec<_> = screen.split("── turn").skip(1).filter_map(|rest| rest.lines().next()).collect();
    let width = |rule: &str| rule.trim_end().chars().count() + "── turn".chars().count();
    assert!(rules.len() == 2 && rules.iter().all(|rule| width(rule) == 40), "{rules:?}");

    let (code, screen) = on_a_terminal(&dir, &args, &[("TERM", "dumb")], "");
    assert!(code == 0 && !screen.contains('\u{1b}'), "{screen}");
    assert!(screen.contains("turn 1: running a cell (2 lines)"), "{screen}");
}

/// A model that has one cell run, and then thinks for ever, unless it is asked for what it knows.
fn ponderer() -> (Server, TestDir) {
    let server = Server::start(|request| {
        if request.to_string().contains("answer with what is known") {
            return (200, completion("{\"answer\": \"so far\"}"));
        }
        match turns(request) {
            Some(0) => (200, completion("```python\nprint('found')\n```")),
            _ => {
                std::thread::sleep(Duration::from_secs(60));
                (500, Value::Null)
            }
        }
    });
    let dir = dir(&server);
    (server, dir)
}

#[test]
fn a_key_ends_a_run_with_what_is_known() {
    let (_server, dir) = ponderer();
    let script = r#"
until(b"turn 2: waiting for the model")
assert mode() != before
os.write(terminal, b"xyq")
os.write(terminal, b"\x03")
until(b"Ctrl-C again stops it")
os.write(terminal, b"q")
"#;
    let (code, screen) = on_a_terminal(&dir, &RUN, &[], script);
    assert_eq!(code, 0, "{screen}");
    assert!(screen.contains("the run was ended early; the outputs are the model's estimate"), "{screen}");
    assert!(screen.trim_end().ends_with("so far"), "{screen}");
}

/// A pager reads stdout and wants the keys itself.
#[test]
fn keys_are_left_to_what_reads_stdout() {
    let (_server, dir) = ponderer();
    let script = r#"
until(b"turn 2: waiting for the model")
assert mode() == before
os.write(terminal, b"q")
until(b"Ctrl-C stops it")
os.write(terminal, b"\x03")
"#;
    let (code, screen) = on_a_terminal(&dir, &RUN, &[("PIPED", "1")], script);
    assert_eq!(code, 130, "{screen}");
    assert!(!screen.contains("q ends it") && !screen.contains("ended early"), "{screen}");
}

#[test]
fn ctrl_c_twice_stops_a_run() {
    let (_server, dir) = ponderer();
    let script = r#"
until(b"turn 2: waiting for the model")
os.write(terminal, b"\x03")
until(b"Ctrl-C again stops it")
os.write(terminal, b"\x03")
"#;
    let (code, screen) = on_a_terminal(&dir, &[&RUN[..], &["--trace", "run.jsonl"]].concat(), &[], script);
    assert_eq!(code, 130, "{screen}");
    let trace = std::fs::read_to_string(dir.path("run.jsonl")).unwrap();
    assert!(trace.lines().last().unwrap().contains("run_failed"), "{trace}");
}
