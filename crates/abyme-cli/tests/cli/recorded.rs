//! `abyme resume`, `abyme replay` and `abyme fork` over what `abyme run --trace` wrote.

use std::{fs, fs::File};

use crate::{server::Server, support::TestDir};

const REPLIES: &[&str] = &[
    "```python\nimport random\nluck = random.random()\nwords = llm_query_batched(['a ' + docs, 'b'])\n\
     print(words)\n```",
    "```python\nmore = llm_query('c')\nprint(more, len(docs), luck)\n```",
    "```python\nSUBMIT(' '.join(words + [more]))\n```",
];

/// A run that was recorded, in a directory whose `.env` configures the model.
fn recorded(server: &Server) -> TestDir {
    let dir = TestDir::new();
    let env = format!("ABYME_MODEL=test-model\nABYME_API_KEY=sk-canary\nABYME_API_BASE={}\n", server.url());
    dir.write(".env", env);
    let args =
        ["run", "-s", "docs -> text", "-i", "docs=x", "--instructions", "Shout.", "--trace", "run.jsonl"];
    let ended = dir.run(&args);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "A X B C\n"), "{ended:?}");
    dir
}

/// Leaves of the record what was there when the `count`th event of a kind had been written.
fn cut_after(dir: &TestDir, event: &str, count: usize) {
    let text = fs::read_to_string(dir.path("run.jsonl")).unwrap();
    let event = format!("\"event\":\"{event}\"");
    let (at, _) = text.match_indices(&event).nth(count - 1).unwrap();
    let end = at + text[at..].find('\n').unwrap() + 1;
    dir.write("run.jsonl", format!("{}{}", &text[..end], "{\"run\":\"torn"));
}

#[test]
fn a_run_that_was_cut_goes_on_and_pays_for_nothing_twice() {
    let server = Server::scripted(REPLIES);
    let dir = recorded(&server);
    let before = server.requests().len();
    assert_eq!(before, 6);
    cut_after(&dir, "cell_finished", 1);
    let ended = dir.run(&["resume", "run.jsonl", "--json"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let object = ended.json();
    assert_eq!(object["outputs"]["text"], "A X B C");
    assert_eq!((&object["turns"], &object["usage"]["calls"]), (&3.into(), &6.into()));
    assert_eq!(server.requests().len(), before + 3, "two turns and one sub-call were left");

    let ended = dir.run(&["resume", "run.jsonl"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "A X B C\n"), "it gives its answer again: {ended:?}");
    assert_eq!(server.requests().len(), before + 3);
}

#[test]
fn a_replay_needs_no_model_and_tells_what_differs() {
    let server = Server::scripted(REPLIES);
    let dir = recorded(&server);
    let asked = server.requests().len();
    dir.write(".env", "");
    let ended = dir.run(&["replay", "run.jsonl"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "A X B C\n"), "{ended:?}");
    assert_eq!(server.requests().len(), asked);
    dir.write("tools.py", "def shout(text: str) -> str:\n    \"\"\"Shouts.\"\"\"\n    return text.upper()\n");
    let differs = dir.run(&["replay", "run.jsonl", "--tool", "tools.py"]);
    differs.failed(9, &["differs"]);
    cut_after(&dir, "cell_finished", 2);
    let ended = dir.run(&["replay", "run.jsonl"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    assert!(ended.stderr.contains("abyme: warning: ") && ended.stderr.contains("record ends"), "{ended:?}");
}

#[test]
fn a_fork_has_a_record_of_its_own() {
    let server = Server::scripted(REPLIES);
    let dir = recorded(&server);
    let record = fs::read(dir.path("run.jsonl")).unwrap();
    let asked = server.requests().len();
    let ended = dir.run(&["fork", "run.jsonl", "--turn", "2", "--trace", "fork.jsonl"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "A X B C\n"), "{ended:?}");
    assert_eq!(server.requests().len(), asked + 1);
    assert_eq!(fs::read(dir.path("run.jsonl")).unwrap(), record);
    let fork = fs::read_to_string(dir.path("fork.jsonl")).unwrap();
    assert!(fork.contains("forked_from") && fork.contains("run_finished"), "{fork}");
    dir.run(&["fork", "run.jsonl", "--turn", "1", "--trace", "run.jsonl"]).failed(2, &["would overwrite"]);
    dir.run(&["fork", "run.jsonl", "--turn", "9"]).failed(2, &["9"]);
}

/// A question about files goes on with its tables and its checks, once the files are named again.
#[test]
fn a_question_goes_on_with_its_files() {
    const QUESTION: &[&str] = &[
        "```python\nprint(query('SELECT sum(refunded) AS n FROM orders'))\n```",
        "```python\nSUBMIT(answer='plus', sources=[{'file': 'orders.csv', 'quote': 'made up'}])\n```",
        "```python\nn = query('SELECT sum(refunded) AS n FROM orders')\n\
         SUBMIT(answer=str(n), sources=[{'file': 'orders.csv', 'quote': 'plus,1'}])\n```",
    ];
    let server = Server::scripted(QUESTION);
    let dir = crate::run::dir(&server);
    dir.write("orders.csv", "plan,refunded\nbasic,0\nplus,1\nplus,1\n");
    let whole = dir.run(&["which plan?", "orders.csv", "--trace", "run.jsonl"]);
    let expected = "[{'n': 2}]\n\nSources:\norders.csv:3 (byte 22): \"plus,1\"\n";
    assert_eq!((whole.code, whole.stdout.as_str()), (0, expected), "{whole:?}");
    cut_after(&dir, "cell_finished", 1);
    let record = fs::read_to_string(dir.path("run.jsonl")).unwrap();
    let asked = server.requests().len();
    dir.run(&["resume", "run.jsonl"]).failed(2, &["tables", "after the record", "run.jsonl shop.db"]);
    dir.write("other.csv", "plan\nplus\n");
    dir.run(&["resume", "run.jsonl", "other.csv"]).failed(2, &["not of this task"]);
    assert_eq!(server.requests().len(), asked);
    dir.write("run.jsonl", &record);
    let ended = dir.run(&["resume", "run.jsonl", "orders.csv"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, expected), "{ended:?}");
    let said = serde_json::to_string(&server.requests()[asked..]).unwrap();
    assert!(said.contains("this is not in"), "the quote that was made up came back: {said}");
    let replayed = dir.run(&["replay", "run.jsonl", "orders.csv"]);
    assert_eq!((replayed.code, replayed.stdout.as_str()), (0, expected), "{replayed:?}");
}

#[test]
fn records_that_cannot_be_gone_on_with_stay_as_they_are() {
    let server = Server::scripted(REPLIES);
    let dir = recorded(&server);
    dir.run(&["resume", "none.jsonl"]).failed(2, &["none.jsonl"]);
    dir.run(&["resume", "run.jsonl", "--interpreter", "subprocess"]).failed(2, &["`wasm`", "subprocess"]);
    let text = fs::read_to_string(dir.path("run.jsonl")).unwrap();
    let unchanged = || assert_eq!(fs::read_to_string(dir.path("run.jsonl")).unwrap(), text);
    let file = File::open(dir.path("run.jsonl")).unwrap();
    file.lock().unwrap();
    dir.run(&["resume", "run.jsonl"]).failed(2, &["run.jsonl", "in use"]);
    drop(file);
    unchanged();
    for (name, changed, said) in [
        ("edited.jsonl", text.replacen("\"turn\":1", "\"turn\":2", 1), "is damaged"),
        ("newer.jsonl", text.replacen(":1}", ":2}", 1), "version 2"),
        ("none.jsonl", text.split_once('\n').unwrap().1.to_owned(), "first line"),
    ] {
        dir.write(name, &changed);
        for command in ["resume", "replay"] {
            dir.run(&[command, name]).failed(2, &[name, said]);
        }
        assert_eq!(fs::read_to_string(dir.path(name)).unwrap(), changed);
    }
    unchanged();
}

#[test]
fn no_file_that_is_read_is_written() {
    let server = Server::scripted(REPLIES);
    let dir = recorded(&server);
    dir.write("tools.py", "def shout(text: str) -> str:\n    return text.upper()\n");
    std::os::unix::fs::symlink("run.jsonl", dir.path("link.jsonl")).unwrap();
    let read = || ["run.jsonl", "tools.py"].map(|name| fs::read(dir.path(name)).unwrap());
    let (before, asked) = (read(), server.requests().len());
    for (args, flag, name) in [
        (&["resume", "run.jsonl", "--record", "run.jsonl"][..], "--record", "run.jsonl"),
        (&["replay", "run.jsonl", "--record", "./run.jsonl"], "--record", "run.jsonl"),
        (&["replay", "run.jsonl", "--trace", "link.jsonl"], "--trace", "run.jsonl"),
        (&["fork", "run.jsonl", "--turn", "2", "--record", "link.jsonl"], "--record", "run.jsonl"),
        (&["fork", "run.jsonl", "--turn", "2", "--trace", "run.jsonl"], "--trace", "run.jsonl"),
        (
            &["fork", "run.jsonl", "--turn", "2", "--tool", "tools.py", "--trace", "tools.py"],
            "--trace",
            "tools.py",
        ),
        (&["resume", "run.jsonl", "--tool", "tools.py", "--record", "tools.py"], "--record", "tools.py"),
    ] {
        let said = format!("{flag} would overwrite `{name}`, which this command reads; name another file");
        dir.run(args).failed(2, &[&said]);
        assert_eq!(read(), before, "{args:?}");
    }
    assert_eq!(server.requests().len(), asked);
}
