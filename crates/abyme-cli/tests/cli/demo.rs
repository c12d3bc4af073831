//! `abyme demo`.

use crate::support::TestDir;

#[test]
fn finds_what_was_hidden() {
    let dir = TestDir::new();
    for (seed, interpreter) in [("1", "wasm"), ("42", "wasm"), ("42", "subprocess")] {
        let mut args = vec!["demo", "--json", "--size", "200KB", "--seed", seed];
        if interpreter != "wasm" {
            args.extend(["--interpreter", interpreter]);
        }
        let ended = dir.run(&args);
        assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
        let object = ended.json();
        let keys: Vec<_> = object.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, ["answer", "expected", "status", "turns", "interpreter", "seconds"]);
        assert!(object["answer"].as_u64().is_some_and(|answer| (1_000_000..10_000_000).contains(&answer)));
        assert_eq!(object["answer"], object["expected"]);
        assert_eq!((&object["status"], &object["interpreter"]), (&"submitted".into(), &interpreter.into()));
        assert!(object["turns"].as_u64().unwrap() >= 3 && object["seconds"].as_f64().unwrap() > 0.0);
    }
}

#[test]
fn shows_the_run_turn_by_turn() {
    let dir = TestDir::new();
    let ended = dir.run(&["demo", "--size", "1KB", "--trace", "demo.jsonl"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    for part in [
        "── turn 3",
        "\nreply = llm_query(",
        "checked: ",
        "ValueError",
        "(6 sub-calls)",
        "bugs = [101, 104, 106]",
    ] {
        assert!(ended.stdout.contains(part), "{part} is not in:\n{}", ended.stdout);
    }
    let record = std::fs::read_to_string(dir.path("demo.jsonl")).unwrap();
    assert!(record.contains("llm_query_batched") && record.contains("\"run_finished\""), "{record}");
}

#[test]
fn sizes_and_names_are_checked() {
    let dir = TestDir::new();
    dir.run(&["demo", "--size", "10"]).failed(2, &["the smallest text is 1KB"]);
    dir.run(&["demo", "--size", "3GB"]).failed(2, &["the largest text is 2GB"]);
    dir.run(&["demo", "--size", "many"]).failed(2, &["expected a size, such as"]);
    dir.run(&["demo", "--interpreter", "perl"]).failed(2, &["`perl` is no interpreter", "wasm, subprocess"]);
    let missing = ["demo", "--json", "--interpreter", "subprocess", "--python", "/no/python"];
    dir.run(&missing).failed(3, &["/no/python", "doctor"]);
}

#[test]
fn a_closed_stdout_is_no_panic() {
    let dir = TestDir::new();
    let mut child = dir.command(&["demo", "--size", "1KB"]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), String::from_utf8(output.stderr).unwrap()), (Some(6), String::new()));
}
