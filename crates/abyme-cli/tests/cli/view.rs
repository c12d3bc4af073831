//! `abyme view` and `abyme stats` on the record of a real run, and on files that are none.

use std::{
    io::{BufRead, BufReader},
    os::unix::fs::PermissionsExt,
    process::Stdio,
    time::Duration,
};

use serde_json::Value;

use crate::{
    server::Server,
    support::{CommandEnd, TestDir, exit_within, signal},
    terminal::on_a_terminal,
};

/// A directory with the record of a run in `run.jsonl`.
fn recorded() -> TestDir {
    let server = Server::scripted(&[
        "Look.\n```python\nprint('</script>', llm_query('is it?'))\n```",
        "Done.\n```python\nSUBMIT(count=len(docs))\n```",
    ]);
    let dir = TestDir::new();
    let ended = dir.run(&[
        "run",
        "--signature=docs -> count: int",
        "--input=docs=hay",
        "--model=test-model",
        &format!("--api-base={}", server.url()),
        "--interpreter=subprocess",
        "--trace=run.jsonl",
    ]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "3\n"), "{ended:?}");
    dir
}

fn ok(ended: CommandEnd) -> CommandEnd {
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended
}

#[test]
fn a_page_is_written_and_said_where() {
    let dir = recorded();
    let ended = ok(dir.run(&["view", "run.jsonl", "--output=page.html"]));
    assert_eq!(ended.stdout, "page.html\n");
    let page = std::fs::read_to_string(dir.path("page.html")).unwrap();
    assert!(page.contains("<title>run.jsonl</title>") && page.contains("\\u003c/script\\u003e"));
    assert_eq!(page.matches("</script>").count(), 2, "none of the run's");
    let mode = std::fs::metadata(dir.path("page.html")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "a record may hold secrets");

    assert_eq!(ok(dir.run(&["view", "run.jsonl", "--output=-"])).stdout, page);
    // Nobody sits before a pipe: a temporary file, and no browser.
    let path = ok(dir.run(&["view", "run.jsonl"])).stdout;
    assert_eq!(std::fs::read_to_string(path.trim_end()).unwrap(), page);
    std::fs::remove_file(path.trim_end()).unwrap();

    std::fs::create_dir(dir.path("other")).unwrap();
    std::fs::copy(dir.path("run.jsonl"), dir.path("other/run.jsonl")).unwrap();
    let both = ok(dir.run(&["view", "--compare", "run.jsonl", "other/run.jsonl", "-o", "-"])).stdout;
    assert!(both.contains("\"name\":\"other/run.jsonl\"") && both.contains("\"compare\":true"));
    let both = ok(dir.run(&["view", "run.jsonl", "other/run.jsonl", "-o", "-"])).stdout;
    assert!(both.contains("\"name\":\"other/run.jsonl\"") && both.contains("\"compare\":false"));
}

#[test]
fn a_run_is_served_until_the_command_is_ended() {
    let dir = TestDir::new();
    let mut command = dir.command(&["view", "--follow", "run.jsonl"]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut url = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut url).unwrap();
    assert!(url.starts_with("http://127.0.0.1:") && url.trim_end().len() > 50, "{url}");
    signal(&child, "INT");
    assert_eq!(exit_within(&mut child, Duration::from_secs(10)), 130);
}

#[test]
fn figures_come_as_a_table_json_csv_and_a_picture() {
    let dir = recorded();
    std::fs::copy(dir.path("run.jsonl"), dir.path("again.jsonl")).unwrap();
    let table = ok(dir.run(&["stats", "run.jsonl", "again.jsonl", "--chart=time.svg"])).stdout;
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0][..6], ["run", "model", "status", "turns", "sub-calls", "children"], "{table}");
    assert_eq!(lines[1][..6], ["run.jsonl", "test-model", "submitted", "2", "1", "0"], "{table}");
    assert_eq!(lines[3][..4], ["2", "runs", "2", "complete"], "{table}");
    assert_eq!((lines.len(), lines[4][0]), (5, "median"), "{table}");
    let svg = std::fs::read_to_string(dir.path("time.svg")).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("again.jsonl"));

    let json: Value = ok(dir.run(&["stats", "run.jsonl", "--json", "--by=model"])).json();
    assert_eq!((&json["runs"][0]["turns"], &json["all"]["input_tokens"]), (&2.into(), &30.into()));
    assert_eq!(json["groups"][0]["name"], "test-model");
    let csv = ok(dir.run(&["stats", "run.jsonl", "--csv"])).stdout;
    assert_eq!(csv.lines().count(), 2, "{csv}");

    // A run that was killed, and a file that is none, are told apart; the others are counted.
    let record = std::fs::read_to_string(dir.path("run.jsonl")).unwrap();
    dir.write("cut.jsonl", &record[..record.len() - 30]);
    dir.write("none.jsonl", "{\"some\": \"json\"}\n");
    let ended = dir.run(&["stats", "run.jsonl", "cut.jsonl", "none.jsonl"]);
    assert_eq!((ended.code, ended.stdout.lines().count()), (2, 5), "{ended:?}");
    assert!(ended.stdout.contains("unfinished"), "{ended:?}");
    assert!(ended.stderr.starts_with("abyme: left out: none.jsonl"), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    assert_eq!(ok(dir.run(&["view", "cut.jsonl", "-o", "p.html"])).stdout, "p.html\n");
}

#[test]
fn what_is_no_record_is_said() {
    let dir = TestDir::new();
    dir.write("empty.jsonl", "");
    dir.write("none.jsonl", "{\"some\": \"json\"}\n");
    dir.write("binary.jsonl", [0xff, 0, 0xfe, b'\n']);
    let huge = std::fs::File::create(dir.path("huge.jsonl")).unwrap();
    huge.set_len(3 << 30).unwrap();
    for command in ["view", "stats"] {
        for (file, parts) in [
            ("empty.jsonl", &["empty.jsonl", "no run was recorded"][..]),
            ("none.jsonl", &["none.jsonl"]),
            ("binary.jsonl", &["binary.jsonl"]),
            ("missing.jsonl", &["missing.jsonl", "No such file"]),
            (".", &["is a directory"]),
            ("huge.jsonl", &["3072 MiB", "at most 2048 MiB"]),
        ] {
            dir.run(&[command, file]).failed(2, parts);
        }
    }
    dir.run(&["view"]).failed(2, &["RUN.jsonl"]);
    dir.run(&["view", "--compare", "empty.jsonl"]).failed(2, &["--compare"]);
    dir.run(&["view", "--follow", "none.jsonl"]).failed(2, &["none.jsonl"]);
    dir.run(&["view", "--follow", "a.jsonl", "b.jsonl"]).failed(2, &["--follow shows one run"]);
    dir.run(&["stats", "empty.jsonl", "--json", "--csv"]).failed(2, &["--csv"]);
}

#[test]
fn no_record_is_written_over() {
    let dir = recorded();
    std::fs::copy(dir.path("run.jsonl"), dir.path("again.jsonl")).unwrap();
    let read = || ["run.jsonl", "again.jsonl"].map(|name| std::fs::read(dir.path(name)).unwrap());
    let before = read();
    for (args, flag, name) in [
        (&["view", "run.jsonl", "-o", "run.jsonl"][..], "--output", "run.jsonl"),
        (&["view", "--compare", "run.jsonl", "again.jsonl", "-o", "again.jsonl"], "--output", "again.jsonl"),
        (&["stats", "run.jsonl", "again.jsonl", "--chart", "./again.jsonl"], "--chart", "again.jsonl"),
    ] {
        let said = format!("{flag} would overwrite `{name}`, which this command reads; name another file");
        dir.run(args).failed(2, &[&said]);
        assert_eq!(read(), before, "{args:?}");
    }
}

/// The names of files, and what is in them, are foreign: an archive of records may come from anywhere.
#[test]
fn nothing_in_a_record_or_its_name_steers_a_terminal() {
    let dir = recorded();
    let evil = "evil\u{1b}]0;title\u{7}\u{9b}2J\u{202e}\u{e0041}.jsonl";
    std::fs::copy(dir.path("run.jsonl"), dir.path(evil)).unwrap();
    dir.write("broken\u{1b}[2J.jsonl", "no record\u{1b}[2J\n");
    let page = "--output=page\u{1b}[2J.html";
    for (args, shown) in [
        (&["stats", evil][..], "evil"),
        (&["stats", "--csv", evil], "evil\\u{1b}"),
        (&["stats", "--json", evil], "evil"),
        (&["view", evil, page], "page\\u{1b}[2J.html"),
        (&["view", evil, "--output=-"], "evil"),
        (&["view", "broken\u{1b}[2J.jsonl", page], "broken\\u{1b}[2J.jsonl"),
        (&["stats", "missing\u{1b}[2J.jsonl"], "missing\\u{1b}[2J.jsonl"),
        (&["replay", "missing\u{1b}[2J.jsonl"], "missing\\u{1b}[2J.jsonl"),
        (&["view", evil, "--output=/nonexistent\u{1b}[2J/page.html"], "/nonexistent\\u{1b}[2J"),
    ] {
        let (_, screen) = on_a_terminal(&dir, args, &[], "");
        let steers = |char: &char| {
            char.is_control() && !"\r\n\t".contains(*char) || "\u{202e}\u{e0041}".contains(*char)
        };
        assert_eq!(screen.chars().find(steers), None, "{args:?}: {screen:?}");
        assert!(screen.contains(shown), "{args:?}: {screen:?}");
    }
    // A program gets what is there.
    assert!(ok(dir.run(&["stats", "--csv", evil])).stdout.contains(evil));
}
