//! llama.cpp's own server with a real model. The model is far too small to plan well; what is tried is that a
//! real server's replies, counts and refusals are understood, and that a run always ends in order.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use abyme::{
    CancelHandle, Delta, Error, ErrorKind, Event, FinishReason, LanguageModel, Limits, OpenAi, Prediction,
    Profile, Record, Request, Response, Rlm, Status, Subprocess, inputs,
};
use serde_json::{Map, json};

const SERVE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/llamacpp.py");

/// A server that ends with the test.
struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Server {
    /// With one conversation of so many tokens.
    fn start(environment: &Path, tokens: u32) -> Self {
        let mut process = Command::new(environment.join("bin/python"))
            .args([SERVE, &tokens.to_string(), "1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut address = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut address).unwrap();
        assert!(address.starts_with("http"), "the server did not start: {address:?}");
        Self { process, address: address.trim().to_owned() }
    }

    fn model(&self, seed: u64) -> OpenAi {
        let extra = Map::from_iter([("seed".to_owned(), json!(seed))]);
        let model = OpenAi::new("smollm2").base_url(format!("{}/v1", self.address)).api_key("none");
        model.extra_body(extra)
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

pub(crate) fn replies_are_read_counted_and_cut(environment: &Path) {
    let server = Server::start(environment, 2_048);
    block_on(async {
        let model = server.model(1);
        let request =
            Request::prompt("Count from one to a hundred, in words.").max_tokens(24).temperature(0.0);
        let first = model.complete(&request).await.unwrap();
        assert_eq!((&first.finish_reason, first.usage.output_tokens), (&FinishReason::Length, Some(24)));
        assert!(first.usage.input_tokens.is_some_and(|tokens| (20..80).contains(&tokens)), "{first:?}");

        let again = model.complete(&request).await.unwrap();
        let (input, cached) = (again.usage.input_tokens.unwrap(), again.usage.cached_tokens.unwrap());
        assert!(cached > 0 && cached + 8 >= input, "all but the end of the prompt was there: {again:?}");

        let mut text = String::new();
        let mut stream = model.stream(&request);
        let streamed = loop {
            match futures_next(&mut stream).await.unwrap().unwrap() {
                Delta::Text(piece) => text.push_str(&piece),
                Delta::Done(response) => break response,
                _ => {}
            }
        };
        assert_eq!((&text, &streamed.text), (&first.text, &first.text), "the same request, in pieces");
        assert_eq!(
            (&streamed.finish_reason, streamed.usage.output_tokens),
            (&FinishReason::Length, Some(24))
        );

        let error = model.complete(&Request::prompt("word ".repeat(5_000))).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ContextTooLong, "{error}");

        let schema = json!({
            "type": "object",
            "properties": {"total": {"type": "integer"}},
            "required": ["total"],
            "additionalProperties": false,
        });
        let request = Request::prompt("What is 2 + 2? Answer in JSON.").schema(schema).max_tokens(60);
        let held = model.complete(&request).await.unwrap();
        let value: serde_json::Value = serde_json::from_str(&held.text).unwrap();
        assert!(value["total"].is_i64(), "{held:?}");
    });
}

pub(crate) fn a_dropped_stream_ends_its_generation(environment: &Path) {
    let server = Server::start(environment, 8_192);
    block_on(async {
        let model = server.model(1);
        let endless = Map::from_iter([("ignore_eos".to_owned(), json!(true))]);
        let endless_model = server.model(1).extra_body(endless);
        let request = Request::prompt("Write a very long story.").max_tokens(7_000);
        let mut stream = endless_model.stream(&request);
        while !matches!(futures_next(&mut stream).await.unwrap().unwrap(), Delta::Text(_)) {}
        drop(stream);
        // There is one place, which the next request waits for: 7 000 tokens take minutes.
        let started = Instant::now();
        let response = model.complete(&Request::prompt("Hi").max_tokens(4)).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(45), "{:?}: {response:?}", started.elapsed());
    });
}

/// Plans by a script, and asks the server for one token to see what it makes of the prompt.
#[derive(Clone, Debug)]
struct CountingPlanner {
    server: OpenAi,
    replies: Arc<Mutex<Vec<&'static str>>>,
}

#[async_trait::async_trait]
impl LanguageModel for CountingPlanner {
    fn name(&self) -> &str {
        "counted"
    }

    async fn complete(&self, request: &Request) -> abyme::Result<Response> {
        let usage = self.server.complete(&request.clone().max_tokens(1)).await?.usage;
        let reply = self.replies.lock().unwrap().remove(0);
        Ok(Response::new(reply).usage(usage))
    }
}

pub(crate) fn turns_and_tasks_share_their_prompts(environment: &Path) {
    let server = Server::start(environment, 8_192);
    let run = |signature: &'static str, replies: &[&'static str]| {
        let model =
            CountingPlanner { server: server.model(1), replies: Arc::new(Mutex::new(replies.to_vec())) };
        let rlm = Rlm::builder(signature).model(model).interpreter(Subprocess::new()).build().unwrap();
        let prediction = block_on(async { rlm.run(inputs! { text: "a b c" }).await }).unwrap();
        let usages = prediction.trajectory().events().filter_map(|event| match event {
            Event::ModelReplied { usage, .. } => {
                Some((usage.input_tokens.unwrap(), usage.cached_tokens.unwrap()))
            }
            _ => None,
        });
        usages.collect::<Vec<_>>()
    };
    let first = run(
        "text -> words: int",
        &[
            "I look.\n```python\nprint(text)\n```\nIt prints:\n```\na b c\n```",
            "```python\nwords = text.split()\nprint(len(words))\n```",
            "```python\nSUBMIT(words=3)\n```",
        ],
    );
    for pair in first.windows(2) {
        let [(before, _), (input, cached)] = pair else { unreachable!() };
        // All of the request before it, but for the token that it was asked for.
        assert!(cached + 4 >= *before, "{first:?}");
        assert!(input - cached < 120, "a turn costs few newly processed tokens: {first:?}");
    }
    let second = run("text -> longest: str", &["```python\nSUBMIT(longest='a')\n```"]);
    let (input, cached) = second[0];
    assert!(cached * 10 > input * 8 && input > 700, "two tasks share their rules: {second:?}");
}

/// Prints much in each turn, summarises when it is asked to, and lets the server refuse what is too long.
#[derive(Clone, Debug)]
struct Wordy {
    server: OpenAi,
    turns: Arc<Mutex<u32>>,
}

#[async_trait::async_trait]
impl LanguageModel for Wordy {
    fn name(&self) -> &str {
        "wordy"
    }

    async fn complete(&self, request: &Request) -> abyme::Result<Response> {
        let usage = self.server.complete(&request.clone().max_tokens(1)).await?.usage;
        let is_summary =
            request.messages.last().unwrap().content.starts_with("This conversation is getting long.");
        if is_summary {
            return Ok(Response::new("I print words; their number is in `total`.").usage(usage));
        }
        let turn = {
            let mut turns = self.turns.lock().unwrap();
            *turns += 1;
            *turns
        };
        let code = match turn {
            1 => "total = 0".to_owned(),
            2..=12 => format!("total += 200\nprint('turn {turn}: ' + 'word ' * 200)"),
            _ => "SUBMIT(words=total, kept=len(history))".to_owned(),
        };
        Ok(Response::new(format!("```python\n{code}\n```")).usage(usage))
    }
}

pub(crate) fn a_full_context_is_compacted(environment: &Path) {
    let server = Server::start(environment, 2_048);
    let model = Wordy { server: server.model(1), turns: Arc::default() };
    let rlm = Rlm::builder("text -> words: int, kept: int").model(model).interpreter(Subprocess::new());
    let rlm = rlm.profile(Profile::Small).build().unwrap();
    let answer = block_on(async { rlm.run(inputs! { text: "a b c" }).await }).unwrap();
    assert_eq!((answer.status(), answer.get::<u32>("words").unwrap()), (Status::Submitted, 2_200));
    assert!(answer.get::<u32>("kept").unwrap() > 3);
    let count = |is: fn(&Event) -> bool| answer.trajectory().events().filter(|event| is(event)).count();
    let refused = count(|event| matches!(event, Event::ModelCallFailed { .. }));
    assert!((1..=2).contains(&refused), "then its window is known: {refused}");
    assert!(count(|event| matches!(event, Event::TranscriptCompacted { .. })) > 1);
    assert_eq!(count(|event| matches!(event, Event::TranscriptCut { .. })), 0);
}

pub(crate) fn a_run_with_a_tiny_model_ends_in_order(environment: &Path) {
    let server = Server::start(environment, 8_192);
    for (profile, seed) in [(Profile::SmallPrefilled, 3), (Profile::Abyme, 4)] {
        let model = server.model(seed).max_tokens(120);
        let rlm =
            Rlm::builder("text -> words: int, longest: str").instructions("Count the words.").model(model);
        let limits = |limits: Limits| limits.max_iterations(3).cell_timeout(Duration::from_secs(10));
        let rlm = rlm.interpreter(Subprocess::new()).profile(profile).limits(limits).build().unwrap();
        let ended: Result<Prediction, Error> =
            block_on(async { rlm.run(inputs! { text: "to be or not to be" }).await });
        let record = match &ended {
            Ok(prediction) => {
                let status = prediction.status();
                assert!(matches!(status, Status::Submitted | Status::LimitReached(_)), "{status:?}");
                prediction.get::<i64>("words").unwrap();
                prediction.trajectory()
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::LimitReached, "{error}");
                error.trajectory().unwrap()
            }
        };
        let last = record.events().last().unwrap();
        assert!(matches!(last, Event::RunFinished { .. } | Event::RunFailed { .. }), "{last:?}");
        let (ledger, usage) = (record.ledger(), record.usage().unwrap());
        assert_eq!(ledger.total, *usage);
        assert!(usage.output_tokens.is_some_and(|tokens| tokens > 0) && usage.cached_tokens.is_some());
    }
}

/// What the first reply to a task was worth.
fn first_cell_runs(server: &Server, profile: Profile, task: &Task, seed: u64) -> bool {
    let rlm = Rlm::builder(task.signature).instructions(task.instructions);
    let rlm = rlm.model(server.model(seed).max_tokens(120)).interpreter(Subprocess::new());
    let rlm = rlm.profile(profile).limits(|limits| limits.cell_timeout(Duration::from_secs(10)));
    let run = rlm.build().unwrap().run((task.inputs)());
    let (runs, handle): (Arc<AtomicBool>, CancelHandle) = (Arc::default(), run.cancel_handle());
    let seen = runs.clone();
    let run = run.on_event(move |record: &Arc<Record>| match &record.event {
        Event::CellFinished { observation, .. } => {
            let is_fine = observation.error.is_none() && observation.interruption.is_none();
            seen.store(is_fine, Ordering::SeqCst);
            handle.cancel();
        }
        Event::ReplyRefused { .. } => handle.cancel(),
        _ => {}
    });
    // It is cancelled after its first reply, unless that submitted.
    let _ended = block_on(run.into_future());
    runs.load(Ordering::SeqCst)
}

struct Task {
    instructions: &'static str,
    signature: &'static str,
    inputs: fn() -> abyme::Inputs,
}

const LOG: &str = "10:01 start\n10:02 error: disk\n10:03 ok\n10:04 error: net\n10:05 stop";

const TASKS: [Task; 4] = [
    Task {
        instructions: "How many lines hold the word error?",
        signature: "log -> count: int",
        inputs: || inputs! { log: LOG },
    },
    Task {
        instructions: "Add up the numbers.",
        signature: "numbers: list[int] -> total: int",
        inputs: || inputs! { numbers: vec![3, 14, 15, 92] },
    },
    Task {
        instructions: "Find the e-mail address.",
        signature: "text -> address: str",
        inputs: || inputs! { text: "Write to ada@example.org before noon." },
    },
    Task {
        instructions: "Put the words in the opposite order.",
        signature: "sentence -> reversed: str",
        inputs: || inputs! { sentence: "one two three four" },
    },
];

/// Prints the share of first replies whose cell runs, and of extract calls that give outputs. Run it with
/// `cargo test -p abyme-cli --test peers -- --ignored --nocapture first_replies`.
pub(crate) fn first_replies_of_a_small_model(environment: &Path) {
    let server = Server::start(environment, 8_192);
    let mut best = 0;
    println!("first replies whose cell runs, of 5 seeds");
    for profile in [Profile::Standard, Profile::Small, Profile::SmallPrefilled] {
        let counts = TASKS
            .each_ref()
            .map(|task| (1..=5).filter(|&seed| first_cell_runs(&server, profile, task, seed)).count());
        let total: usize = counts.iter().sum();
        println!("{:16} {counts:?} {total} of 20", format!("{profile:?}"));
        best = best.max(total);
    }
    println!("extract calls that give outputs, of 5 seeds: asked for a schema, asked in words alone");
    for task in &TASKS {
        let counts =
            [true, false].map(|asks| (1..=5).filter(|&seed| extracts(&server, task, seed, asks)).count());
        println!("{:36} {counts:?}", task.signature);
    }
    assert!(best >= 12, "{best} of 20");
}

/// Whether the extract call after a turn gives outputs.
fn extracts(server: &Server, task: &Task, seed: u64, asks_for_schema: bool) -> bool {
    let model = Extracting { server: server.model(seed).max_tokens(200), asks_for_schema };
    let rlm = Rlm::builder(task.signature).instructions(task.instructions).model(model);
    let rlm = rlm.interpreter(Subprocess::new()).limits(|limits| limits.max_iterations(1));
    block_on(rlm.build().unwrap().run((task.inputs)()).into_future()).is_ok()
}

/// Looks at its inputs, and leaves the outputs to the server.
#[derive(Debug)]
struct Extracting {
    server: OpenAi,
    asks_for_schema: bool,
}

#[async_trait::async_trait]
impl LanguageModel for Extracting {
    fn name(&self) -> &str {
        "extracting"
    }

    async fn complete(&self, request: &Request) -> abyme::Result<Response> {
        if request.schema.is_none() {
            return Ok(Response::new("```python\nSHOW_VARS()\n```"));
        }
        let schema = request.schema.clone().filter(|_| self.asks_for_schema);
        self.server.complete(&request.clone().schema(schema)).await
    }
}

/// The next piece.
async fn futures_next(stream: &mut abyme::ResponseStream<'_>) -> Option<abyme::Result<Delta>> {
    std::future::poll_fn(|context| stream.as_mut().poll_next(context)).await
}
