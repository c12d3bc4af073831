//! `abyme resume`, `abyme replay` and `abyme fork` over what `abyme run --trace` wrote.

use std::{fs, fs::File};

use serde_json::Value;

use crate::{
    server::{Server, completion},
    support::TestDir,
};

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
fn a_replay_shows_both_sides_of_a_difference() {
    let server = Server::scripted(&[
        "```python\nimport time\nprint('same')\nprint('\\x1b[2J', time.time_ns())\n```",
        "```python\nSUBMIT('done')\n```",
    ]);
    let dir = crate::run::dir(&server);
    let ended = dir.run(&["run", "-s", "docs -> text", "-i", "docs=x", "--trace", "run.jsonl"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    let what = "turn 1 differs in the observation of the cell";
    let shown = |stderr: &str| {
        let (_, rest) = stderr.split_once(&format!("{what}: recorded was\n")).unwrap();
        let (recorded, rest) = rest.split_once("\nand now it is\n").unwrap();
        let time = |text: &str| {
            let line = text.lines().find(|line| line.contains("\\u{1b}[2J ")).unwrap();
            line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()
        };
        assert!(time(recorded) < time(rest), "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "{stderr}");
    };
    let differs = dir.run(&["replay", "run.jsonl"]);
    differs.failed(9, &[what]);
    shown(&differs.stderr);

    let differs = dir.run(&["replay", "run.jsonl", "--json"]);
    assert_eq!(differs.code, 9, "{differs:?}");
    let object = differs.json();
    assert_eq!((&object["status"], &object["difference"]["turn"]), (&"differs".into(), &1.into()));
    let side = |name: &str| object["difference"][name].as_str().unwrap().to_owned();
    assert!(side("recorded").contains("\u{1b}[2J ") && side("recorded") != side("now"), "{object}");

    let asked = server.requests().len();
    let left = dir.run(&["replay", "run.jsonl", "--model", "test-model", "--json"]);
    assert_eq!(left.code, 0, "{left:?}");
    assert_eq!(server.requests().len(), asked + 1, "the reply after the difference");
    assert!(
        left.stderr.contains("the run left its record, and the model was asked from there on"),
        "{left:?}"
    );
    shown(&left.stderr);
    let object = left.json();
    assert_eq!((&object["outputs"]["text"], &object["difference"]["turn"]), (&"done".into(), &1.into()));
    let same = dir.run(&["resume", "run.jsonl", "--json"]).json();
    assert_eq!(same.get("difference"), None);
}

#[test]
fn what_a_run_was_made_with_is_kept_or_asked_for_by_name() {
    let server = Server::scripted(&[
        "```python\nprint(shout('one'))\n```",
        "```python\nimport subprocess\n```",
        "```python\nSUBMIT('end')\n```",
    ]);
    let dir = crate::run::dir(&server);
    dir.write("tools.py", "def shout(text: str) -> str:\n    return text.upper()\n");
    let args = ["run", "-s", "docs -> text", "-i", "docs=x", "--trace", "run.jsonl", "--tool", "tools.py"];
    let ended = dir.run(&[&args[..], &["--policy", "guard-rail", "--profile", "standard"]].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    cut_after(&dir, "cell_finished", 1);
    let record = fs::read_to_string(dir.path("run.jsonl")).unwrap();
    let asked = server.requests().len();
    dir.write("other.py", "def shout(text: str, much: int) -> str:\n    return text.upper()\n");
    fs::create_dir(dir.path("changed")).unwrap();
    fs::copy(dir.path("other.py"), dir.path("changed/tools.py")).unwrap();
    for (flags, said) in [
        (&[][..], "the tools of `tools.py` are missing; the beginning differs"),
        (&["--tool", "changed/tools.py"], "the tools of `tools.py` are not as they were"),
        (
            &["--tool", "tools.py", "--profile", "small-prefilled"],
            "the profile `standard`, and cannot go on with `small_prefilled`; leave --profile out",
        ),
    ] {
        let refused = dir.run(&[&["resume", "run.jsonl"], flags].concat());
        refused.failed(2, &[said]);
        let is_prompt = flags.len() < 4;
        assert_eq!(refused.stderr.contains("recorded was\n"), is_prompt, "{refused:?}");
        assert_eq!(refused.stderr.contains("; --tool, --mcp, "), is_prompt, "{refused:?}");
        assert_eq!(fs::read_to_string(dir.path("run.jsonl")).unwrap(), record);
    }
    assert_eq!(server.requests().len(), asked);
    let ended = dir.run(&["resume", "run.jsonl", "--tool", "tools.py"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "end\n"), "{ended:?}");
    let record = fs::read_to_string(dir.path("run.jsonl")).unwrap();
    assert!(record.contains("`subprocess` is denied by the code policy"), "{record}");
    let replayed = dir.run(&["replay", "run.jsonl", "--tool", "tools.py"]);
    assert_eq!(replayed.code, 0, "the policy of the record holds: {replayed:?}");

    let args = ["run", "-s", "docs -> text", "-i", "docs=x", "--trace", "free.jsonl", "--tool", "tools.py"];
    assert_eq!(dir.run(&args).code, 0);
    let args = ["resume", "free.jsonl", "--tool", "tools.py", "--policy", "guard-rail"];
    dir.run(&args).failed(2, &["checked by no policy", "leave --policy out"]);
}

/// A child ends before its parent, and its end is among the events of the record.
#[test]
fn the_turns_are_those_of_the_run_itself() {
    let server = Server::start(|request| {
        let messages = request["messages"].as_array().unwrap();
        let turn = messages.iter().filter(|message| message["role"] == "assistant").count();
        let is_child = messages[1]["content"].as_str().unwrap().contains("look closely");
        let cell = match (is_child, turn) {
            (true, _) => "SUBMIT('seen')",
            (false, 0) => "print(rlm_query('look ' + 'closely'))",
            (false, 1) => "print('more')",
            (false, _) => "SUBMIT('end')",
        };
        (200, completion(&format!("```python\n{cell}\n```")))
    });
    let dir = crate::run::dir(&server);
    let args = ["run", "-s", "docs -> text", "-i", "docs=x", "--json", "--trace", "run.jsonl"];
    let ended = dir.run(&args);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(server.requests().len(), 4);
    assert_eq!(ended.json()["turns"], 3);
    let stats: Value = dir.run(&["stats", "run.jsonl", "--json"]).json();
    assert_eq!(stats["runs"][0]["turns"], 3, "{stats}");
}

#[cfg(feature = "mcp")]
#[test]
fn a_call_that_may_have_taken_effect_is_made_again_by_a_flag() {
    let server = Server::scripted(&["```python\nSUBMIT(total=add_up([1, 2, 3]))\n```"]);
    let dir = crate::run::dir(&server);
    dir.write("adder.py", crate::run::MCP_SERVER);
    let args = ["run", "-s", "q -> total: int", "-i", "q=x", "--trace", "run.jsonl"];
    assert_eq!(dir.run(&[&args[..], &["--mcp", "python3 adder.py"]].concat()).stdout, "6\n");
    cut_after(&dir, "tool_call_started", 1);
    let resume = ["resume", "run.jsonl", "--mcp", "python3 adder.py"];
    let said = ["had begun when the run ended", "; --repeat-effects makes the call again"];
    dir.run(&resume).failed(2, &said);
    let ended = dir.run(&[&resume[..], &["--repeat-effects"]].concat());
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "6\n"), "{ended:?}");
}

/// A device has no end, so it would be read until the memory is full.
#[test]
fn what_has_no_end_is_no_record() {
    let dir = TestDir::new();
    for (args, said) in [
        (&["resume", "/dev/zero"][..], "cannot go on with `/dev/zero`: it is no regular file"),
        (&["replay", "/dev/zero"], "cannot read `/dev/zero`: it is no file and no pipe"),
        (&["fork", "/dev/zero", "--turn", "1"], "cannot read `/dev/zero`"),
        (&["view", "/dev/zero", "--output", "-"], "cannot read `/dev/zero`"),
        (&["view", "/dev/zero", "--follow"], "cannot read `/dev/zero`"),
        (&["stats", "/dev/zero"], "cannot read `/dev/zero`"),
        (&["eval", "/dev/zero"], "cannot read `/dev/zero`"),
        (&["run", "-s", "q -> a", "-i", "q=x", "--replay", "/dev/zero"], "cannot read `/dev/zero`"),
        (&["chat", "--save", "/dev/zero"], "/dev/zero cannot be read: it is no regular file"),
    ] {
        dir.run(args).failed(2, &[said]);
    }
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
    let about = "of a question about other files: `orders.csv` is missing";
    dir.run(&["resume", "run.jsonl", "other.csv"]).failed(2, &[about, "as they were"]);
    assert_eq!(server.requests().len(), asked);
    dir.write("run.jsonl", &record);
    let ended = dir.run(&["resume", "run.jsonl", "orders.csv"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, expected), "{ended:?}");
    let said = serde_json::to_string(&server.requests()[asked..]).unwrap();
    assert!(said.contains("this is not in"), "the quote that was made up came back: {said}");
    let replayed = dir.run(&["replay", "run.jsonl", "orders.csv"]);
    assert_eq!((replayed.code, replayed.stdout.as_str()), (0, expected), "{replayed:?}");
}

/// The texts of a question are in its record, and a quote is looked up in the file.
#[test]
fn a_question_does_not_go_on_with_other_texts() {
    const ANSWER: &str = "```python\nSUBMIT(answer='a', sources=[])\n```";
    let server = Server::scripted(&["```python\nprint(1)\n```", ANSWER]);
    let dir = crate::run::dir(&server);
    dir.write("a.txt", "one text");
    dir.write("b.txt", "more text");
    let ended = dir.run(&["why?", "a.txt", "b.txt", "--trace", "run.jsonl"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    cut_after(&dir, "cell_finished", 1);
    let asked = server.requests().len();
    let about = "of a question about other files";
    dir.run(&["resume", "run.jsonl", "a.txt"]).failed(2, &[about, "`b.txt` is missing"]);
    dir.write("b.txt", "less text");
    dir.run(&["resume", "run.jsonl", "a.txt", "b.txt"]).failed(2, &[about, "`b.txt` is not as it was"]);
    assert_eq!(server.requests().len(), asked);
    dir.write("b.txt", "more text");
    assert_eq!(dir.run(&["resume", "run.jsonl", "a.txt", "b.txt"]).code, 0);
}

/// A session cannot be brought back in another backend, whichever of them is the default.
#[test]
fn the_interpreter_is_that_of_the_record() {
    let server = Server::scripted(REPLIES);
    let dir = crate::run::dir(&server);
    let args = ["run", "-s", "docs -> text", "-i", "docs=x", "--trace", "run.jsonl"];
    let own = ["--interpreter", "subprocess", "--isolation", "best-effort"];
    let ended = dir.run(&[&args[..], &own].concat());
    assert_eq!(ended.code, 0, "{ended:?}");
    let other = dir.run(&["resume", "run.jsonl", "--interpreter", "wasm"]);
    other.failed(2, &["`subprocess`, and cannot go on with `wasm`", "leave --interpreter out"]);
    for flags in [&[][..], &own] {
        let ended = dir.run(&[&["resume", "run.jsonl"], flags].concat());
        assert_eq!((ended.code, ended.stdout.as_str()), (0, "A X B C\n"), "{ended:?}");
    }
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
    fs::hard_link(dir.path("run.jsonl"), dir.path("hard.jsonl")).unwrap();
    let read = || ["run.jsonl", "tools.py"].map(|name| fs::read(dir.path(name)).unwrap());
    let (before, asked) = (read(), server.requests().len());
    for (args, flag, name) in [
        (&["resume", "run.jsonl", "--record", "run.jsonl"][..], "--record", "run.jsonl"),
        (&["replay", "run.jsonl", "--record", "./run.jsonl"], "--record", "run.jsonl"),
        (&["replay", "run.jsonl", "--trace", "link.jsonl"], "--trace", "run.jsonl"),
        (&["fork", "run.jsonl", "--turn", "2", "--record", "link.jsonl"], "--record", "run.jsonl"),
        (&["fork", "run.jsonl", "--turn", "2", "--trace", "run.jsonl"], "--trace", "run.jsonl"),
        (&["fork", "run.jsonl", "--turn", "2", "--trace", "hard.jsonl"], "--trace", "run.jsonl"),
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
