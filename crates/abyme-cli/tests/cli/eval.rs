//! `abyme eval` against a server on the loopback interface.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    server::{Server, completion},
    support::{TestDir, eventually},
};

/// Finds the number in the text of a generated task, as a model does that writes the right code.
const SEARCH: &str = "```python\nimport re\nSUBMIT(re.search(r'is: (\\d+)', context).group(1))\n```";

/// A server whose model finds the number in runs; asked plainly, it finds it in short texts.
fn server(before: impl Fn(&Value) + Send + Sync + 'static) -> Server {
    Server::start(move |request| {
        before(request);
        (200, completion(&reply(request)))
    })
}

fn reply(request: &Value) -> String {
    if request["messages"][0]["role"] == "system" {
        return SEARCH.to_owned();
    }
    let text = request["messages"][0]["content"].as_str().unwrap();
    let found = text.split(" is: ").nth(1).and_then(|after| after.split('.').next());
    found
        .filter(|_| text.len() < 10_000)
        .map_or("I cannot find it.".to_owned(), |number| format!("It is {number}."))
}

fn generated(dir: &TestDir, args: &[&str]) -> String {
    let ended = dir.run(&[&["eval", "--generate"], args].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""), "{ended:?}");
    ended.stdout
}

fn dir(server: &Server) -> TestDir {
    let dir = TestDir::new();
    let env = format!("ABYME_MODEL=test-model\nABYME_API_KEY=sk-canary\nABYME_API_BASE={}\n", server.url());
    dir.write(".env", env);
    dir
}

fn results(dir: &TestDir) -> Vec<Value> {
    let text = fs::read_to_string(dir.path("tasks.eval/results.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[test]
fn tasks_are_generated_from_a_seed() {
    let dir = TestDir::new();
    let text = generated(&dir, &["s-niah", "--tokens", "1k,4k", "--count", "3", "--seed", "7"]);
    assert_eq!(text, generated(&dir, &["s-niah", "--tokens", "1k,4k", "--count", "3", "--seed", "7"]));
    assert_ne!(text, generated(&dir, &["s-niah", "--tokens", "1k,4k", "--count", "3", "--seed", "8"]));
    let tasks: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(tasks.len(), 6);
    assert_eq!((&tasks[5]["id"], &tasks[5]["group"]), (&json!("s-niah-4k-3"), &json!("s-niah 4k")));
    assert_eq!(tasks[5]["inputs"]["context"].as_str().unwrap().len(), 4 * 4_096);
    for kind in ["oolong", "oolong-pairs"] {
        assert_eq!(generated(&dir, &[kind, "--count", "2"]).lines().count(), 2);
    }
}

#[test]
fn settings_are_compared_and_a_report_is_written() {
    let server = server(|_| {});
    let dir = dir(&server);
    dir.write("tasks.jsonl", generated(&dir, &["s-niah", "--tokens", "1k,4k", "--count", "2"]));
    let args = [
        "eval",
        "tasks.jsonl",
        "--plain",
        "--setting",
        "one=--max-iterations 1",
        "--setting",
        "standard=--profile standard",
        "--price",
        "1,2",
        "--max-total-cost",
        "1",
        "--json",
    ];
    let ended = dir.run(&args);
    assert_eq!(ended.code, 0, "{ended:?}");
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    let settings = report["settings"].as_array().unwrap();
    let names: Vec<_> = settings.iter().map(|row| row["setting"].as_str().unwrap()).collect();
    assert_eq!(names, ["test-model plain", "test-model one", "test-model standard"]);
    assert_eq!((&settings[0]["score"], &settings[1]["score"]), (&json!(0.5), &json!(1.0)), "{ended:?}");
    assert!((settings[1]["mean_cost"].as_f64().unwrap() - 20e-6).abs() < 1e-9, "{ended:?}");
    assert_eq!(report["comparisons"][0]["difference"], 0.5);
    assert_eq!(results(&dir).len(), 12);
    assert!(ended.stderr.contains("[12/12] "), "{ended:?}");
    let markdown = fs::read_to_string(dir.path("tasks.eval/report.md")).unwrap();
    assert!(
        markdown.contains("| s-niah 4k | test-model one | 2 | 1.000 | 0.342 to 1.000 | 2/2 |"),
        "{markdown}"
    );
    for line in results(&dir) {
        assert!(dir.path(&format!("tasks.eval/{}", line["record"].as_str().unwrap())).exists(), "{line}");
    }
    let everything = fs::read_to_string(dir.path("tasks.eval/results.jsonl")).unwrap();
    assert!(!everything.contains("sk-canary"));

    let asked = server.requests().len();
    let ended = dir.run(&args[..11]);
    assert_eq!((ended.code, server.requests().len()), (0, asked), "all is done: {ended:?}");
    assert_eq!(ended.stdout, markdown);
    let mut other = args[..11].to_vec();
    other[4] = "one=--max-iterations 2";
    dir.run(&other).failed(2, &["test-model one", "other options"]);
    for flags in ["--session-seed 5", "--deterministic", "--fallback other", "--python python3"] {
        let mut other = args[..11].to_vec();
        let setting = format!("one=--max-iterations 1 {flags}");
        other[4] = &setting;
        dir.run(&other).failed(2, &["test-model one", "other options"]);
    }
    other[4] = "one=--repetitions 2";
    dir.run(&other).failed(2, &["--setting", "--repetitions is for all settings"]);
}

#[test]
fn kept_replies_are_those_of_one_setting() {
    let server = server(|_| {});
    let dir = dir(&server);
    dir.write("tasks.jsonl", generated(&dir, &["s-niah", "--tokens", "1k", "--count", "1"]));
    let cold = ["eval", "tasks.jsonl", "--cache", "kept", "--setting", "cold=--temperature 0"];
    assert_eq!(dir.run(&[&cold[..], &["--setting", "bold=--temperature 1"]].concat()).code, 0);
    let temperatures = |server: &Server| -> Vec<_> {
        server.requests().iter().map(|request| request["temperature"].clone()).collect()
    };
    assert_eq!(temperatures(&server).len(), 2, "{:?}", temperatures(&server));
    assert_ne!(temperatures(&server)[0], temperatures(&server)[1]);
    assert_eq!(dir.run(&[&cold[..], &["--output", "again"]].concat()).code, 0);
    assert_eq!(server.requests().len(), 2, "the reply was kept");
}

#[test]
fn what_was_killed_goes_on() {
    let holds = Arc::new(AtomicBool::new(true));
    let (held, seen) = (holds.clone(), Arc::new(AtomicBool::new(false)));
    let noted = seen.clone();
    let server = server(move |request| {
        // The third task of five is not answered before the command is killed.
        let text = request["messages"].to_string();
        if held.load(Ordering::SeqCst) && text.contains("Which «3»?") {
            noted.store(true, Ordering::SeqCst);
            while held.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
        }
    });
    let dir = dir(&server);
    let task = |number: u32| {
        let context = format!("The number is: {number}.");
        json!({"id": number.to_string(), "question": format!("Which «{number}»?"),
               "inputs": {"context": context},
               "expected": number.to_string()})
    };
    dir.write("tasks.jsonl", (1..=5).map(|number| format!("{}\n", task(number))).collect::<String>());
    let args = ["eval", "tasks.jsonl", "--concurrency", "1"];
    let mut child = dir.command(&args).spawn().unwrap();
    eventually("the third task is asked", || seen.load(Ordering::SeqCst));
    child.kill().unwrap();
    child.wait().unwrap();
    holds.store(false, Ordering::SeqCst);
    assert_eq!(results(&dir).len(), 2);
    // As if the kill had come while a line was written.
    let mut text = fs::read_to_string(dir.path("tasks.eval/results.jsonl")).unwrap();
    text.push_str("{\"task\":\"3\",\"task_ha");
    dir.write("tasks.eval/results.jsonl", text);

    eventually("the server has answered", || server.requests().len() == server.began().len());
    let before = server.requests().len();
    let ended = dir.run(&args);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert_eq!(server.requests().len() - before, 3, "the first two are not asked again");
    let counted: Vec<_> = results(&dir).into_iter().filter(|line| line["outcome"] == "answered").collect();
    let mut ids: Vec<_> = counted.iter().map(|line| line["task"].as_str().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["1", "2", "3", "4", "5"]);
    assert!(counted.iter().all(|line| line["score"] == 1.0), "{counted:?}");
}

#[test]
fn what_cannot_work_is_said_before_anything_is_asked() {
    let server = server(|_| {});
    let dir = dir(&server);
    dir.write("tasks.jsonl", "{\"question\": \"?\", \"expected\": 1}\n");
    dir.run(&["eval"]).failed(2, &["TASKS.jsonl"]);
    dir.run(&["eval", "none.jsonl"]).failed(2, &["none.jsonl"]);
    dir.run(&["eval", "tasks.jsonl", "--setting", "x=--max-deep 1"]).failed(2, &["--setting", "--max-deep"]);
    dir.run(&["eval", "tasks.jsonl", "--generate", "oolong"]).failed(2, &["--generate"]);
    dir.run(&["eval", "--generate", "s-niah", "--tokens", "8x"]).failed(2, &["8x"]);
    dir.write("judged.jsonl", "{\"question\": \"?\", \"expected\": \"a\", \"scorer\": \"judge\"}\n");
    dir.run(&["eval", "judged.jsonl"]).failed(2, &["judge"]);
    dir.write("bad.jsonl", "{\"question\": \"?\", \"expected\": 1}\nno\n");
    dir.run(&["eval", "bad.jsonl"]).failed(2, &["bad.jsonl, line 2"]);
    assert!(server.began().is_empty());

    // A limit that no price lets it keep ends with what is known.
    let ended = dir.run(&["eval", "tasks.jsonl", "--plain", "--no-rlm", "--max-total-cost", "1"]);
    assert_eq!(ended.code, 2, "{ended:?}");
    assert!(
        ended.stderr.contains("what a call cost") && ended.stdout.starts_with("# Evaluation"),
        "{ended:?}"
    );
}
