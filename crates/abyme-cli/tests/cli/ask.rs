//! `abyme "question" FILES...` against a server on the loopback interface.

use std::{fs, io::Write};

use serde_json::Value;

use crate::{
    run::dir,
    server::{Server, completion},
    support::TestDir,
};

fn gzip(text: &str) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap()
}

fn shop(dir: &TestDir) {
    fs::create_dir(dir.path("reports")).unwrap();
    dir.write("reports/q1.md", "# Q1\n\nThe plan with the highest refund rate\nis plus.\n");
    dir.write("reports/q2.txt.gz", gzip("Nothing was refunded.\n"));
    dir.write("reports/logo.png", b"\x89PNG\0\0");
    dir.write("reports/old.txt", b"Die Geb\xfchr f\xfcr M\xfcnchen betr\xe4gt f\xfcnf Euro.");
    dir.write("orders.csv", "plan,refunded\nbasic,0\nplus,1\nplus,1\n");
}

#[test]
fn what_this_abyme_does_not_read_says_how_to_get_one_that_does() {
    let server = Server::scripted(&["```python\nSUBMIT(answer=str(sorted(files)), sources=[])\n```"]);
    let dir = dir(&server);
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    archive.start_file("notes/a.txt", zip::write::SimpleFileOptions::default()).unwrap();
    archive.write_all(b"in the archive").unwrap();
    dir.write("all.zip", archive.finish().unwrap().into_inner());
    dir.write("rows.parquet", b"PAR1 and more");
    let ended = dir.run(&["what is there?", "all.zip", "rows.parquet"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "['all.zip/notes/a.txt']\n"), "{ended:?}");
    assert!(ended.stderr.contains("loaded all.zip: 1 file, 14 bytes"), "{ended:?}");
    assert!(ended.stderr.contains("abyme: warning: rows.parquet: a Parquet file"), "{ended:?}");
}

/// Directories, a table, stdin; a quote that is made up comes back; the answer has its sources.
#[test]
fn a_question_is_answered_with_sources() {
    let server = Server::scripted(&[
        "```python\nprint(sorted(files), files['stdin'], question)\n\
         print(query('SELECT plan, sum(refunded) AS n FROM orders GROUP BY plan ORDER BY n DESC'))\n```",
        "```python\nSUBMIT(answer='plus',\n\
         sources=[{'file': 'reports/q1.md', 'quote': 'the best plan is plus'}])\n```",
        "```python\nSUBMIT(answer='plus', sources=[\n\
         {'file': 'q1.md', 'quote': 'highest refund rate is plus'},\n\
         {'file': 'orders.csv', 'quote': 'plus,1'},\n\
         {'file': 'orders.csv', 'quote': \"SELECT sum(refunded) AS n FROM orders \
          WHERE plan = 'plus'\"}])\n```",
    ]);
    let dir = dir(&server);
    shop(&dir);
    let args = ["which plan?", "reports", "orders.csv", "-", "--trace", "run.jsonl"];
    let ended = dir.run_with_stdin(&args, b"from a pipe");
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(
        ended.stdout,
        "plus\n\nSources:\n\
         reports/q1.md:3 (byte 24): \"highest refund rate is plus\"\n\
         orders.csv:3 (byte 22): \"plus,1\"\n\
         orders.csv: SELECT sum(refunded) AS n FROM orders WHERE plan = 'plus' (1 row: n=2)\n"
    );
    for line in [
        "loaded reports: 3 files, 116 bytes, 1 taken for Latin-1, 1 decompressed (gzip)",
        "abyme: warning: reports/logo.png: a picture, which is not read",
        "loaded orders.csv: the table \"orders\", 3 rows of 2 columns, 36 bytes",
        "loaded stdin: text, 11 bytes",
    ] {
        assert!(ended.stderr.lines().any(|said| said == line), "`{line}` is not in {ended:?}");
    }
    let all = serde_json::to_string(&server.requests()).unwrap();
    for part in [
        "['orders.csv', 'reports/old.txt', 'reports/q1.md', 'reports/q2.txt.gz', 'stdin'] from a pipe which",
        "[{'plan': 'plus', 'n': 2}, {'plan': 'basic', 'n': 0}]",
        "[0]: this is not in",
        "orders.csv\\\": str (36 bytes)",
    ] {
        assert!(all.contains(part), "the model never read `{part}`: {all}");
    }
    assert!(dir.path("run.jsonl").exists());
}

#[test]
fn the_answer_is_written_in_the_form_of_its_file() {
    let csv = Server::scripted(&["```python\nSUBMIT(answer='two plans', sources=[],\n\
         rows=[{'plan': 'plus', 'n': 2}, {'plan': 'basic', 'n': 0}])\n```"]);
    let dir_csv = dir(&csv);
    shop(&dir_csv);
    let ended = dir_csv.run(&["ask", "how often?", "orders.csv", "--output", "table.csv"]);
    assert_eq!((ended.code, ended.stdout.lines().next()), (0, Some("answer: two plans")), "{ended:?}");
    assert_eq!(fs::read_to_string(dir_csv.path("table.csv")).unwrap(), "plan,n\nplus,2\nbasic,0\n");

    let server = Server::scripted(&[
        "```python\nSUBMIT(plans=['plus'], sources=[{'file': 'orders.csv', 'quote': 'plus,1'}])\n```",
    ]);
    let dir = dir(&server);
    shop(&dir);
    dir.write("schema.json", r#"{"properties": {"plans": {"type": "array", "items": {"type": "string"}}}}"#);
    let args = ["which?", "orders.csv", "--schema", "schema.json", "--json", "-o", "out.json"];
    let ended = dir.run(&args);
    assert_eq!(ended.code, 0, "{ended:?}");
    let object = ended.json();
    assert_eq!(object["outputs"]["plans"], serde_json::json!(["plus"]));
    let sources = serde_json::json!([{"file": "orders.csv", "quote": "plus,1", "line": 3, "byte": 22}]);
    assert_eq!(object["sources"], sources);
    let written: Value = serde_json::from_slice(&fs::read(dir.path("out.json")).unwrap()).unwrap();
    assert_eq!(written, serde_json::json!({"plans": ["plus"], "sources": sources}));
}

/// An answer that was paid for is not lost over its sources.
#[test]
fn a_quote_that_stays_wrong_is_a_warning() {
    let server = Server::scripted(&[
        "```python\nSUBMIT(answer='plus', sources=[{'file': 'orders.csv', 'quote': 'plus,9'}])\n```",
    ]);
    let dir = dir(&server);
    shop(&dir);
    let ended = dir.run(&["which?", "orders.csv"]);
    assert_eq!((ended.code, ended.stdout.as_str()), (0, "plus\n"), "{ended:?}");
    assert!(ended.stderr.contains("abyme: warning: a source was not found: \"plus,9\""), "{ended:?}");
    assert_eq!(server.requests().len(), 2);
}

/// URLs are fetched with a flag alone, and one that cannot be is a warning.
#[test]
fn urls_with_a_flag() {
    let server = Server::start(|request| match request {
        Value::Null => (200, serde_json::json!({"page": "about plans"})),
        _ => (200, completion("```python\nSUBMIT(answer=str(files), sources=[])\n```")),
    });
    let dir = dir(&server);
    dir.write("a.txt", "text");
    let nowhere = "http://127.0.0.1:9/page.html";
    let page = format!("{}/models", server.url());
    let ended = dir.run(&["what is there?", "a.txt", nowhere, &page, "--urls"]);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stderr.contains(&format!("warning: {nowhere}: the server cannot be reached")), "{ended:?}");
    assert_eq!(ended.stdout, format!("{{'a.txt': 'text', '{page}': '{{\"page\":\"about plans\"}}'}}\n"));
}

#[test]
fn what_can_be_wrong_before_the_run() {
    let dir = TestDir::new();
    dir.write(".env", "ABYME_MODEL=m\nABYME_API_BASE=http://127.0.0.1:9/v1\nABYME_API_KEY=sk-canary-1234\n");
    dir.write("a.txt", "text");
    dir.write("empty.txt", "");
    let fails = |args: &[&str], parts: &[&str]| dir.run(args).failed(2, parts);
    fails(&["what is it?"], &["which files is `what is it?` about?"]);
    fails(&["a.txt"], &["the question is missing"]);
    fails(&["what is it?", "b.txt"], &["`what is it?`, `b.txt`", "in quotes"]);
    fails(&["what?", "https://example.org/"], &["the others are no files", "--urls"]);
    fails(&["", "a.txt"], &["the question is empty"]);
    fails(&["why?", "a.txt", "--output", "a.docx"], &["--output", ".csv, .json or .md"]);
    fails(&["why?", "a.txt", "--output", "none/a.md"], &["there is no directory `none`"]);
    fails(&["why?", "a.txt", "--trace", "a.txt"], &["--trace would overwrite `a.txt`"]);
    fails(
        &["why?", "a.txt", "--trace", "b.json", "--output", "./b.json"],
        &["--trace and --output", "both write"],
    );
    fails(
        &["why?", "a.txt", "--trace", "b", "--record", "b"],
        &["--record and --trace would both write `b`"],
    );
    fails(&["why?", "a.txt", "--nonsense"], &["--nonsense", "abyme ask --help"]);
    fails(&["rnu"], &["`rnu` is no command", "did you mean `run`?"]);
    let ended = dir.run(&["why?", "empty.txt"]);
    ended.failed(2, &["none of the files could be loaded"]);
    assert!(ended.stderr.contains("abyme: warning: empty.txt: empty"), "{ended:?}");
    assert_eq!(fs::read_to_string(dir.path("a.txt")).unwrap(), "text");
}
