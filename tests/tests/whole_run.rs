//! Whole runs in which backends differ, or that one backend is enough for. What all have in common is in
//! `backends.rs`.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme::{
    ConversationsConfig, InterpreterFactory, LanguageModel, LanguageModelExt, Profile, Request, Response,
    Rlm, RlmBuilder, Subprocess, Text, Tool, Trajectory, Value, Wasm, inputs, subprocess::IsolationMode,
    testing::ScriptedModel,
};
use tokio::sync::Notify;

fn cell(code: &str) -> String {
    format!("```python\n{code}\n```")
}

fn rlm(
    backend: impl InterpreterFactory + 'static,
    signature: &str,
    cells: &[&str],
) -> (RlmBuilder, ScriptedModel) {
    let model = ScriptedModel::replies(cells.iter().map(|code| cell(code)));
    (Rlm::builder(signature).model(model.clone()).interpreter(backend), model)
}

fn said(model: &ScriptedModel, index: usize) -> String {
    model.requests()[index].messages.last().unwrap().content.clone()
}

#[tokio::test]
async fn a_session_that_dies_is_replaced_with_its_inputs() {
    let (builder, model) = rlm(
        Subprocess::new(),
        "docs -> a",
        &[
            "kept = 1\nprint('last words', flush=True)\nimport os; os._exit(7)",
            "print('kept' in globals())",
            "SUBMIT(docs[-3:])",
        ],
    );
    let answer =
        builder.build().unwrap().run(inputs! { docs: Text::from("abc".repeat(100_000)) }).await.unwrap();
    assert_eq!(answer.get::<String>("a").unwrap(), "abc");
    let after = said(&model, 1);
    assert!(
        after.contains("last words") && after.contains("code 7") && after.contains("fresh session"),
        "{after}"
    );
    assert!(said(&model, 2).contains("False"));
}

#[tokio::test]
async fn a_session_that_crashes_is_put_back() {
    let (builder, model) = rlm(
        Wasm::new(),
        "docs -> a",
        &[
            "kept = 1\ndocs = docs[-3:]",
            "kept = 2\nprint('last words', flush=True)\nimport os; os._exit(7)",
            "print('kept is', kept)",
            "SUBMIT(docs)",
        ],
    );
    let answer =
        builder.build().unwrap().run(inputs! { docs: Text::from("abc".repeat(100_000)) }).await.unwrap();
    assert_eq!(answer.get::<String>("a").unwrap(), "abc");
    let after = said(&model, 2);
    assert!(after.contains("last words") && after.contains("code 7"), "{after}");
    assert!(!after.contains("fresh session"), "{after}");
    assert!(said(&model, 3).contains("kept is 1"));
}

#[tokio::test]
async fn a_hundred_megabytes_of_short_texts_go_in_and_out() {
    a_hundred_megabytes(Subprocess::new()).await;
}

/// They are there twice, and while they come in once more: over the 512 MiB that a session has by default.
#[tokio::test]
async fn a_hundred_megabytes_go_in_and_out_of_a_gigabyte() {
    a_hundred_megabytes(Wasm::new().memory_limit_bytes(1 << 30)).await;
}

async fn a_hundred_megabytes(backend: impl InterpreterFactory + 'static) {
    let documents = Value::list(std::iter::repeat_n("x".repeat(1000), 100_000));
    let tool = Tool::from_parts("fetch", "", Vec::new(), {
        let documents = documents.clone();
        move |_| {
            let documents = documents.clone();
            async move { Ok(documents) }
        }
    });
    let (builder, _) =
        rlm(backend, "docs -> total: int, same: bool", &["SUBMIT(sum(map(len, docs)), fetch() == docs)"]);
    let answer = builder.tool(tool).build().unwrap().run(inputs! { docs: documents }).await.unwrap();
    assert_eq!(answer.get::<usize>("total").unwrap(), 100_000_000);
    assert!(answer.get::<bool>("same").unwrap());
}

/// Answers the first request with a cell, and never the second, which it tells of.
#[derive(Debug)]
struct Silent {
    first: ScriptedModel,
    asked_again: Arc<Notify>,
}

#[async_trait::async_trait]
impl LanguageModel for Silent {
    fn name(&self) -> &str {
        "silent"
    }

    async fn complete(&self, request: &Request) -> abyme::Result<Response> {
        match self.first.complete(request).await {
            Ok(response) => Ok(response),
            Err(_) => {
                self.asked_again.notify_one();
                std::future::pending().await
            }
        }
    }
}

#[tokio::test]
async fn a_dropped_run_leaves_no_process_and_keeps_its_record() {
    let dir = tempfile::tempdir().unwrap();
    let trace = dir.path().join("run.jsonl");
    let asked_again = Arc::new(Notify::new());
    let first = ScriptedModel::replies([cell("import os\nprint(os.getpid())")]);
    let model = Silent { first, asked_again: asked_again.clone() };
    // Isolated code does not know its process by the host's number.
    let backend = Subprocess::new().isolation(IsolationMode::Off);
    let rlm = Rlm::builder("q -> a").model(model).interpreter(backend).build().unwrap();
    let dropped = tokio::select! {
        _ = rlm.run(inputs! { q: "?" }).trace(&trace) => false,
        asked = tokio::time::timeout(Duration::from_secs(60), asked_again.notified()) => asked.is_ok(),
    };
    assert!(dropped, "the model is not asked a second time");
    let mut seen = None;
    for _ in 0..1000 {
        // The thread that writes the record may be a moment behind the run.
        let turns = Trajectory::load(&trace).unwrap().turns();
        seen = turns.first().and_then(|turn| Some(turn.observation.as_ref()?.stdout.to_string()));
        if seen.is_some() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let cmdline = format!("/proc/{}/cmdline", seen.unwrap().trim());
    for _ in 0..1000 {
        if std::fs::read(&cmdline).map_or(true, |line| line.is_empty()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(!std::path::Path::new(&cmdline).exists(), "the session's process lives on");
}

/// Answers the requests of a run whose model can read 20 000 bytes: prints much in seven turns, then submits
/// what it finds in `history`. Its second cell starts a child that does the same.
fn with_a_small_window(taken: &Mutex<[u32; 2]>, request: &Request) -> abyme::Result<Response> {
    let said = |index: usize| request.messages[index].content.as_str();
    assert!(request.messages.iter().map(|message| message.content.len()).sum::<usize>() < 20_000);
    if said(request.messages.len() - 1).starts_with("This conversation is getting long.") {
        return Ok(Response::new("I printed lines of x; their numbers are in `numbers`."));
    }
    let is_child = said(1).contains("The child's task.");
    let turn = {
        let mut taken = taken.lock().unwrap();
        let turn = &mut taken[usize::from(is_child)];
        *turn += 1;
        *turn
    };
    let code = match turn {
        1 => "numbers = []".to_owned(),
        2 if !is_child => "of_child = rlm_query(\"The child's task.\")".to_owned(),
        2..=8 => format!("numbers.append({turn})\nprint({turn}, 'x' * 2500)"),
        _ if is_child => {
            let submit = "SUBMIT(f'{len(history)} {x} {numbers[-1]}')";
            format!("x = history[1]['output'].count('x')\n{submit}")
        }
        _ => {
            let submit = "SUBMIT(child=of_child, code=history[0]['code'], turns=turns)";
            format!("turns = [t['turn'] for t in history]\n{submit}")
        }
    };
    Ok(Response::new(cell(&code)))
}

#[tokio::test]
async fn a_run_and_its_child_go_on_from_summaries() {
    let taken = Mutex::new([0; 2]);
    let model = ScriptedModel::from_fn(move |request| with_a_small_window(&taken, request));
    let model = model.with_max_input_tokens(20_000 / 3);
    let builder = Rlm::builder("q -> child, code, turns: list[int]").model(model).interpreter(Wasm::new());
    let answer = builder.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(answer.get::<String>("code").unwrap(), "numbers = []");
    let turns = answer.get::<Vec<u32>>("turns").unwrap();
    assert!(turns.len() > 3 && turns.iter().copied().eq(1..=turns.len() as u32), "{turns:?}");
    let of_child = answer.get::<String>("child").unwrap();
    let [count, xs, last] = of_child.split(' ').collect::<Vec<_>>()[..] else { panic!("{of_child}") };
    assert!(count.parse::<u32>().unwrap() > 3, "{of_child}");
    assert_eq!((xs, last), ("2500", "8"), "an output is whole, and variables are kept");
    let compacted = |record: &Trajectory| {
        let own = record.records().filter(|one| one.run == record.run());
        own.filter(|one| matches!(one.event, abyme::Event::TranscriptCompacted { .. })).count()
    };
    let record = answer.trajectory();
    assert!(compacted(record) > 0 && compacted(&record.children()[0]) > 0);
}

/// A run in the style of another system: its replies, and how it ends.
async fn run_as(profile: Profile, replies: &[&str]) -> (String, ScriptedModel) {
    let answer = |request: &Request| match request.messages.len() {
        1 => Response::new(format!("seen {} characters", request.messages[0].content.len())),
        _ => Response::new(""),
    };
    let replies: Vec<String> = replies.iter().map(|reply| (*reply).to_owned()).collect();
    let taken = Mutex::new(replies.into_iter());
    let model = ScriptedModel::from_fn(move |request| {
        let is_sub_call = request.messages.len() == 1;
        let next = (!is_sub_call).then(|| taken.lock().unwrap().next()).flatten();
        Ok(next.map_or_else(|| answer(request), Response::new))
    });
    let rlm = Rlm::builder("document, query -> answer").profile(profile).model(model.clone());
    let rlm = rlm.interpreter(Wasm::new()).build().unwrap();
    let inputs = inputs! { document: Text::from("line\n".repeat(10_000)), query: "How many lines?" };
    let prediction = rlm.run(inputs).await.unwrap();
    (prediction.get("answer").unwrap(), model)
}

#[tokio::test]
async fn dspy_ends_with_submit() {
    let (answer, model) = run_as(
        Profile::Dspy,
        &[
            "[[ ## reasoning ## ]]\nCount.\n\n[[ ## code ## ]]\n```python\nn = document.count('\\n')\n\
             print(n)\n```\n\n[[ ## completed ## ]]",
            "[[ ## reasoning ## ]]\nDone.\n\n[[ ## code ## ]]\n```python\nSUBMIT(answer=str(n))\n```",
        ],
    )
    .await;
    assert_eq!(answer, "10000");
    let request = &model.requests()[1];
    assert_eq!(request.messages.len(), 2, "all steps are in one message");
    assert!(said(&model, 1).ends_with("\nOutput (5 chars):\n10000\n\nIteration 2/20"), "{}", said(&model, 1));
}

#[tokio::test]
async fn rlms_ends_with_the_answer_dict() {
    let (answer, model) = run_as(
        Profile::Rlms,
        &[
            "I look.\n```repl\nn = 0\nprint(sorted(context))\n```\nand count:\n```repl\nn = \
             context['document'].count('\\n')\nprint(n)\nn\n```",
            "FINAL_VAR is not how this ends.",
            "```repl\nanswer['content'] = str(n)\nanswer['ready'] = True\n```",
        ],
    )
    .await;
    assert_eq!(answer, "10000");
    let shown = said(&model, 1);
    assert!(
        shown.starts_with("REPL output:\n['document', 'query']\n10000\n\nREPL variables: ['n']"),
        "{shown}"
    );
    assert_eq!(said(&model, 2), "Turn 3/30:");
}

#[tokio::test]
async fn the_paper_ends_with_final_in_the_text() {
    let first = "```repl\nfound = llm_query(context['document'])\nprint(found)\n```";
    let (answer, model) = run_as(Profile::Paper, &[first, "I have it.\n\nFINAL_VAR(found)"]).await;
    assert_eq!(answer, "seen 50000 characters");
    let shown = said(&model, 2);
    assert!(shown.starts_with("Code executed:\n```python\nfound = llm_query("), "{shown}");
    let with_code = "```repl\nn = str(len(context['document']))\n```\nSo it is:\nFINAL_VAR(n)";
    assert_eq!(run_as(Profile::Paper, &[with_code]).await.0, "50000");
    assert_eq!(run_as(Profile::Paper, &["FINAL(ten thousand lines)"]).await.0, "ten thousand lines");
}

#[tokio::test]
async fn openjarvis_ends_in_its_ways() {
    let first = "```python\nparts = llm_batch(['a', 'bc'])\nprint(parts)\n```";
    let last = "```python\nanswer['value'] = parts[1]\nanswer['ready'] = True\n```";
    let (answer, model) = run_as(Profile::OpenJarvis, &[first, last]).await;
    assert_eq!(answer, "seen 2 characters");
    let requests = model.requests();
    let sub_call = requests.iter().find(|request| request.messages.len() == 1).unwrap();
    assert_eq!((sub_call.temperature, sub_call.max_tokens), (Some(0.3), Some(1_024)));
    assert!(said(&model, 3).starts_with("REPL Output: ['seen 1 characters', "), "{}", said(&model, 3));
    assert_eq!(run_as(Profile::OpenJarvis, &["```python\nFINAL(str(len(context)))\n```"]).await.0, "2");
    assert_eq!(run_as(Profile::OpenJarvis, &["Ten thousand."]).await.0, "Ten thousand.");
}

/// Answers any question with how many there were before in the session.
#[derive(Debug)]
struct Counts;

#[async_trait::async_trait]
impl LanguageModel for Counts {
    fn name(&self) -> &str {
        "counts"
    }

    async fn complete(&self, _request: &Request) -> abyme::Result<Response> {
        Ok(Response::new(cell("seen = globals().get('seen', 0) + 1\nSUBMIT(seen)")))
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
#[ignore = "asks a question in each of 64 000 conversations, or in as many as ABYME_ASLEEP says"]
async fn conversations_that_sleep_take_disk_and_no_memory() {
    use std::os::unix::fs::MetadataExt;

    const SET_UP: usize = 100;
    let count = std::env::var("ABYME_ASLEEP").map_or(64_000, |count| count.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let rlm = Rlm::builder("note -> seen_so_far: int").model(Counts).interpreter(Wasm::new());
    let config = ConversationsConfig::default().directory(directory.path()).max_awake(4);
    let talks = rlm.build().unwrap().conversations(config).unwrap();
    let ask = async |number: usize| {
        let note = format!("note {number} {}", "x".repeat(10_000));
        let talk = talks.open(&format!("user-{number}")).unwrap();
        let answer = talk.ask(inputs! { note: note }).await.unwrap();
        drop(talk);
        while talks.awake() > 4 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        answer.get::<i64>("seen_so_far").unwrap()
    };
    for number in 0..SET_UP {
        assert_eq!(ask(number).await, 1);
    }
    let before = resident_bytes();
    for number in SET_UP..count {
        assert_eq!(ask(number).await, 1);
    }
    let more = resident_bytes().saturating_sub(before);
    talks.sleep_all().await.unwrap();
    let ids = talks.ids().await.unwrap();
    assert_eq!((ids.len(), talks.awake()), (count, 0));
    let disk: u64 = ids.iter().map(|id| talks.path(id).unwrap().metadata().unwrap().blocks() * 512).sum();
    eprintln!("{count} asleep: {} KiB more memory, {} KiB of disk", more >> 10, disk >> 10);
    assert!(more < 32 << 20, "{more} bytes");
    // Each is still there, with its session.
    assert_eq!(ask(count / 2).await, 2);
}

/// What this process holds in memory.
#[cfg(target_os = "linux")]
fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
