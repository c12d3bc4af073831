//! Replies that come in pieces: where they are stopped, what the record says of it, and what those who watch
//! see.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme_core::{
    Delta, ErrorKind, Event, FinishReason, LanguageModel, LanguageModelExt, Message, Price, Recording,
    Replay, Request, Response, ResponseCache, ResponseStream, Result, RetryPolicy, Rlm, RlmBuilder, Status,
    Usage, inputs, model,
    testing::ScriptedModel,
    trajectory::{ReplyPart, StoppedReplies, Trajectory},
};
use common::{cell, interpreter, scripted};
use futures_util::{StreamExt, stream};

/// A model that answers in these pieces, one list a call. A list without a `Done` never ends.
#[derive(Clone, Debug, Default)]
struct Streaming {
    replies: Arc<Mutex<VecDeque<Vec<Delta>>>>,
    requests: Arc<Mutex<Vec<Request>>>,
    price: Option<Price>,
    reports_cost: bool,
    /// How many streams were dropped before their end.
    dropped: Arc<Mutex<usize>>,
}

struct Count(Arc<Mutex<usize>>, bool);

impl Drop for Count {
    fn drop(&mut self) {
        *self.0.lock().unwrap() += usize::from(!self.1);
    }
}

#[async_trait::async_trait]
impl LanguageModel for Streaming {
    fn name(&self) -> &str {
        "streaming"
    }

    fn price(&self) -> Option<Price> {
        self.price
    }

    fn reports_cost(&self) -> bool {
        self.reports_cost
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        model::collect(self.stream(request)).await
    }

    fn stream<'a>(&'a self, request: &'a Request) -> ResponseStream<'a> {
        self.requests.lock().unwrap().push(request.clone());
        let pieces = self.replies.lock().unwrap().pop_front().expect("a reply is left");
        let end = Count(self.dropped.clone(), false);
        let rest: std::collections::VecDeque<_> = pieces.into();
        let pieces = stream::unfold((rest, end), |(mut rest, mut end)| async move {
            // As over a network: nothing is there before it is asked for.
            tokio::time::sleep(Duration::from_millis(1)).await;
            let Some(piece) = rest.pop_front() else { std::future::pending().await };
            end.1 |= matches!(piece, Delta::Done(_));
            Some((Ok(piece), (rest, end)))
        });
        pieces.boxed()
    }
}

/// Its text in pieces, and how it goes on.
fn pieces(text: &str, then: impl IntoIterator<Item = Delta>) -> Vec<Delta> {
    let chars: Vec<char> = text.chars().collect();
    let text = chars.chunks(5).map(|piece| Delta::Text(piece.iter().collect()));
    text.chain(then).collect()
}

fn whole(text: &str) -> Vec<Delta> {
    pieces(text, [Delta::Done(Response::new(text).usage(Usage::tokens(1_000, 20)))])
}

fn goes_on(code: &str) -> Vec<Delta> {
    pieces(&format!("{}\nIt prints:\n```\n", cell(code)), [])
}

fn runs(replies: impl IntoIterator<Item = Vec<Delta>>) -> (RlmBuilder, Streaming) {
    let model =
        Streaming { replies: Arc::new(Mutex::new(replies.into_iter().collect())), ..Streaming::default() };
    (builder(&model), model)
}

fn builder(model: &Streaming) -> RlmBuilder {
    Rlm::builder("q -> a").model(model.clone()).interpreter(interpreter().factory())
}

fn dropped(model: &Streaming) -> usize {
    *model.dropped.lock().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_generation_ends_with_its_cell_once_the_model_is_known() {
    let (rlm, model) = runs([whole(&cell("print 1")), goes_on("print 2"), goes_on("submit a=x")]);
    let rlm = rlm.build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.status(), Status::Submitted);
    assert_eq!(dropped(&model), 2, "both streams were dropped, which ends their generations");

    let kept = model.requests.lock().unwrap()[2].messages[4].clone();
    assert_eq!(kept, Message::assistant(cell("print 2")), "what came after the cell is not kept");
    let record = prediction.trajectory().to_jsonl();
    let read = Trajectory::from_jsonl(&record).unwrap();
    let stopped = read.events().filter_map(|event| match event {
        Event::ModelReplied { stopped: Some(stopped), text, usage, finish_reason, .. } => {
            assert_eq!(
                (stopped.received_chars, finish_reason),
                (text.chars().count() as u64, &FinishReason::Stop)
            );
            assert!(stopped.is_estimated);
            // By what the first reply said of its request: 1 000 tokens.
            assert!(usage.input_tokens.is_some_and(|tokens| tokens > 1_000), "{usage:?}");
            assert!(usage.output_tokens.is_some_and(|tokens| (5..60).contains(&tokens)), "{usage:?}");
            Some(stopped.received_chars)
        }
        _ => None,
    });
    let chars: Vec<_> = stopped.collect();
    assert_eq!(chars.len(), 2);
    let ledger = read.ledger();
    let StoppedReplies { replies, received_chars, estimated, .. } = ledger.stopped;
    assert_eq!((replies, received_chars, estimated), (2, chars.iter().sum(), 2));
    assert_eq!(ledger.total, *prediction.usage());
    assert!(
        ledger
            .to_string()
            .ends_with("2 replies were stopped at the end of the cell; what 2 used is estimated")
    );

    // Another run of the same `Rlm` knows the model.
    model.replies.lock().unwrap().push_back(goes_on("submit a=y"));
    assert_eq!(rlm.run(inputs! { q: "?" }).await.unwrap().get::<String>("a").unwrap(), "y");
}

#[tokio::test(start_paused = true)]
async fn a_run_of_stopped_replies_is_replayed_and_comes_from_a_cache() {
    let (folder, request) = (tempfile::tempdir().unwrap(), || inputs! { q: "?" });
    let recorded = || runs([whole(&cell("print 1")), goes_on("print 2"), goes_on("submit a=x")]).1;
    let run = async |model: Box<dyn LanguageModel>| {
        let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
        assert_eq!(rlm.run(request()).await.unwrap().get::<String>("a").unwrap(), "x");
    };
    let path = folder.path().join("run.jsonl");
    let recording = Recording::create(&path).unwrap();
    run(Box::new(recorded().with_recording(&recording))).await;
    recording.finish().unwrap();
    let replay = Replay::open(&path).unwrap();
    run(Box::new(replay.model("streaming"))).await;
    replay.finish().unwrap();

    let (model, cache) = (recorded(), ResponseCache::in_memory());
    for _ in 0..2 {
        run(Box::new(model.clone().with_cache(&cache))).await;
    }
    assert_eq!((model.requests.lock().unwrap().len(), dropped(&model)), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_generation_that_is_not_to_be_stopped_comes_to_its_end() {
    let both = |code: &str| format!("{}\nAnd:\n{}", cell(code), cell("print no"));
    let (rlm, model) = runs([whole(&both("print 1")), whole(&both("submit a=x"))]);
    rlm.stop_early(false).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(dropped(&model), 0);

    // Only the provider knows what a call costs, and says it at the end.
    let (_, mut model) = runs([whole(&both("print 1")), whole(&both("submit a=x"))]);
    model.reports_cost = true;
    builder(&model).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(dropped(&model), 0);

    // What comes before the tag is a thought, so no block of it may run.
    let thinks = |code: &str| format!("Perhaps:\n{}\nNo.\n</think>\n{}", cell("submit a=draft"), cell(code));
    let (rlm, model) = runs([whole(&thinks("print 1")), whole(&thinks("submit a=x"))]);
    let prediction = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    assert_eq!((prediction.get::<String>("a").unwrap(), dropped(&model)), ("x".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn thoughts_that_come_apart_settle_what_the_text_is() {
    let mut first = vec![Delta::Reasoning("Hm. ".to_owned()), Delta::Usage(Usage::tokens(50, 4))];
    first.extend(goes_on("submit a=x"));
    let (_, mut model) = runs([first]);
    model.price = Some(Price::per_million(1e6, 1e6));
    let rlm = builder(&model).limits(|limits| limits.max_cost(1e9)).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    let ledger = prediction.trajectory().ledger();
    assert_eq!((ledger.stopped.replies, ledger.stopped.estimated), (1, 1));
    let usage = prediction.usage();
    assert_eq!(usage.input_tokens, Some(50), "as the provider said");
    assert!(usage.output_tokens.is_some_and(|tokens| tokens > 4), "it said 4 before the text came");
    assert_eq!(usage.cost, Some(50.0 + usage.output_tokens.unwrap() as f64));
}

#[tokio::test(start_paused = true)]
async fn a_usage_that_counts_all_is_no_estimate() {
    let mut second = pieces(&format!("{}\n", cell("submit a=x")), []);
    second.push(Delta::Usage(Usage::tokens(60, 12)));
    let (_, model) = runs([whole(&cell("print 1")), second]);
    let prediction = builder(&model).build().unwrap().run(inputs! { q: "?" }).await.unwrap();
    let ledger = prediction.trajectory().ledger();
    // The usage came a moment after the cell's end, which nobody waited for.
    assert_eq!((ledger.stopped.replies, ledger.stopped.estimated), (1, 1));

    let text = format!("{}\nI wait", cell("submit a=x"));
    let (before, after) = text.split_at(text.len() - 8);
    let ready = ScriptedModel::replies([cell("print 1"), format!("{before}{after}")]);
    let rlm = Rlm::builder("q -> a").model(ready).interpreter(interpreter().factory()).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert_eq!(prediction.trajectory().ledger().stopped.replies, 0, "an answer that is there is taken whole");
}

#[tokio::test(start_paused = true)]
async fn a_stream_has_the_time_of_a_call() {
    let idle = || vec![Delta::Usage(Usage::tokens(30, 1)), Delta::Text("I".to_owned())];
    let (rlm, model) = runs([idle(), whole(&cell("submit a=x"))]);
    let limit = Duration::from_secs(20);
    let started = tokio::time::Instant::now();
    let rlm = rlm.limits(|limits| limits.model_timeout(limit)).build().unwrap();
    let prediction = rlm.run(inputs! { q: "?" }).await.unwrap();
    assert!(started.elapsed() > limit && started.elapsed() < limit + Duration::from_secs(3));
    assert_eq!(prediction.usage().input_tokens, Some(1_030), "what it said before it fell silent counts");
    assert_eq!(dropped(&model), 1);

    let cut = [Delta::Text("I".to_owned()), Delta::Done(Response::new("I"))];
    let (_, model) = runs([cut[..1].to_vec()]);
    let rlm = builder(&model).retry(RetryPolicy::none()).limits(|limits| limits.model_timeout(limit));
    let error = rlm.build().unwrap().run(inputs! { q: "?" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ModelTimeout);
}

#[tokio::test(start_paused = true)]
async fn who_watches_sees_replies_as_they_come_and_the_record_does_not_hold_them_twice() {
    let mut reply = vec![Delta::Reasoning("I think".to_owned())];
    reply.extend(whole(&cell("submit a=x")));
    let (rlm, _) = runs([reply]);
    let path = std::env::temp_dir().join(format!("abyme-stream-{}.jsonl", std::process::id()));
    let mut run = rlm.build().unwrap().run(inputs! { q: "?" }).trace(&path);
    let events = run.events();
    let prediction = tokio::spawn(run.into_future()).await.unwrap().unwrap();
    let events: Vec<_> = events.collect().await;
    let said = |wanted: ReplyPart| -> String {
        let texts = events.iter().filter_map(|record| match &record.event {
            Event::ModelText { part, text, turn: 1, .. } if *part == wanted => Some(text.as_str()),
            _ => None,
        });
        texts.collect()
    };
    assert_eq!(
        (said(ReplyPart::Text), said(ReplyPart::Reasoning)),
        (cell("submit a=x"), "I think".to_owned())
    );
    let is_live = |event: &Event| matches!(event, Event::ModelText { .. });
    let recorded = events.iter().filter(|record| !is_live(&record.event)).map(|record| (**record).clone());
    assert!(prediction.trajectory().records().cloned().eq(recorded));
    let trace = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert_eq!(trace, prediction.trajectory().to_jsonl());
}

/// A request as it would be written, but for what closes it.
fn written(request: &Request) -> String {
    let text = serde_json::to_string(&request.messages).unwrap();
    text.trim_end_matches("\"}]").to_owned()
}

#[tokio::test]
async fn every_request_is_a_prefix_of_the_next_and_says_what_stays() {
    let replies = [
        cell("print looking"),
        "no code here".to_owned(),
        cell("syntax"),
        format!("{}\n\nIt prints:\n```\n3\n```", cell("raise wrong")),
        cell("die"),
        cell("submit a=many"),
        "{\"a\": 3}".to_owned(),
    ];
    let (rlm, model) = scripted("docs -> a: int", replies);
    let rlm = rlm.limits(|limits| limits.max_iterations(5)).build().unwrap();
    rlm.run(inputs! { docs: "text" }).await.unwrap();
    let requests = model.requests();
    assert_eq!(requests.len(), 7);
    for pair in requests.windows(2) {
        let [one, next] = [&pair[0], &pair[1]].map(written);
        assert!(next.starts_with(&one), "{one}\n\nis no beginning of\n\n{next}");
    }
    for request in &requests {
        assert_eq!(request.cache_points, [0, request.messages.len() - 1]);
    }
    let schemas: Vec<_> = requests.iter().map(|request| request.schema.is_some()).collect();
    assert_eq!(schemas, [false, false, false, false, false, false, true], "the extract call has one");
}
