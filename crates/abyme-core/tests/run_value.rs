//! A run as a value: what is set for one run alone, how it is watched, and what keeps its time.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
    time::Duration,
};

use abyme_core::{
    ErrorKind, Event, EventSink, LanguageModel, Limit, Limits, Record, Request, Response, Result,
    RetryPolicy, Rlm, Status, Trajectory, TrajectoryWriter, inputs, testing::ScriptedModel,
};
use common::{cell, interpreter, scripted};
use futures_util::StreamExt;

/// An `Rlm` whose runs take two turns each.
fn two_turns() -> (Rlm, ScriptedModel) {
    let model = ScriptedModel::from_fn(|request| {
        let text = request.messages.last().unwrap().content.clone();
        Ok(match text.contains("[stdout]") {
            true if text.contains("JSON") => "{\"a\": \"extracted\"}".into(),
            true => cell("submit a=done").into(),
            false => cell("print x").into(),
        })
    });
    let rlm = Rlm::builder("q -> a").model(model.clone()).interpreter(interpreter().factory());
    (rlm.build().unwrap(), model)
}

#[tokio::test]
async fn limits_of_a_run_are_its_own() {
    let (rlm, model) = two_turns();
    let run = rlm.run(inputs! { q: "?" }).limits(|limits| limits.max_iterations(1));
    assert_eq!(run.await.unwrap().status(), Status::LimitReached(Limit::Iterations));
    assert_eq!(rlm.run(inputs! { q: "?" }).await.unwrap().status(), Status::Submitted);
    assert_eq!(*rlm.limits(), Limits::default());

    let requests = model.requests().len();
    let error = rlm.run(inputs! { q: "?" }).limits(|limits| limits.max_iterations(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert_eq!(
        model.requests().len(),
        requests,
        "limits that cannot work are refused before anything starts"
    );
}

#[tokio::test]
async fn a_trace_is_made_when_its_run_starts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let (rlm, model) = two_turns();
    std::fs::write(&path, "earlier").unwrap();
    drop(rlm.run(inputs! { q: "?" }).trace(&path));
    rlm.run(inputs! { typo: "?" }).trace(&path).await.unwrap_err();
    assert_eq!(
        std::fs::read_to_string(&path).unwrap(),
        "earlier",
        "only a run that starts replaces the file"
    );
    for _ in 0..2 {
        let prediction = rlm.run(inputs! { q: "?" }).trace(&path).await.unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        assert_eq!(written, prediction.trajectory().to_jsonl(), "the file holds this run, whole");
    }

    let requests = model.requests().len();
    let error = rlm.run(inputs! { q: "?" }).trace("/nonexistent/run.jsonl").await.unwrap_err();
    assert!(error.kind() == ErrorKind::Io && error.message().contains("/nonexistent/run.jsonl"), "{error}");
    assert_eq!(model.requests().len(), requests);
}

#[tokio::test]
async fn the_events_of_a_run_are_a_stream() {
    let (rlm, _) = two_turns();
    let (mut first, mut second) = (rlm.run(inputs! { q: "1" }), rlm.run(inputs! { q: "2" }).label("second"));
    let (mut events, streamed) = (first.events(), second.events());
    let (first, second) = (tokio::spawn(first.into_future()), tokio::spawn(second.into_future()));
    let is_recorded = |record: &Record| !matches!(record.event, Event::ModelText { .. });
    let streamed: Vec<Record> = streamed.map(|record| (*record).clone()).collect().await;
    let streamed: Vec<Record> = streamed.into_iter().filter(is_recorded).collect();
    let mut read = Vec::new();
    while let Some(record) = events.next_record().await {
        read.extend(Some((*record).clone()).filter(is_recorded));
    }
    let (first, second) = (first.await.unwrap().unwrap(), second.await.unwrap().unwrap());
    assert!(first.trajectory().records().eq(&read) && second.trajectory().records().eq(&streamed));
    let labels = [&read, &streamed].map(|records| match &records[0].event {
        Event::RunStarted { label, .. } => label.clone(),
        event => unreachable!("{event:?}"),
    });
    assert_eq!(labels, [None, Some("second".to_owned())]);
    let json = second.trajectory().to_jsonl();
    assert!(Trajectory::from_jsonl(&json).unwrap().records().eq(&streamed), "the label reads back");
}

/// Counts events.
#[derive(Debug, Default)]
struct Counter(Mutex<usize>);

impl EventSink for Counter {
    fn record(&self, _: &Arc<Record>) {
        *self.0.lock().unwrap() += 1;
    }
}

#[tokio::test]
async fn a_sink_of_a_run_sees_that_run_and_one_of_the_builder_sees_all() {
    let (every, one) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
    let (rlm, _) = scripted("q -> a", [cell("submit a=1"), cell("submit a=2")]);
    let rlm = rlm.on_event(every.clone()).build().unwrap();
    let watched =
        rlm.run(inputs! { q: "?" }).on_event(one.clone()).await.unwrap().trajectory().events().count();
    let other = rlm.run(inputs! { q: "?" }).await.unwrap().trajectory().events().count();
    assert_eq!((*one.0.lock().unwrap(), *every.0.lock().unwrap()), (watched, watched + other));
}

/// A disk that takes its time.
#[derive(Clone, Default)]
struct SlowDisk(Arc<Mutex<Vec<u8>>>);

impl Write for SlowDisk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        std::thread::sleep(Duration::from_millis(20));
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_slow_disk_holds_up_the_end_of_a_run_and_not_its_turns() {
    let disk = SlowDisk::default();
    let writer = Arc::new(TrajectoryWriter::to_writer("run.jsonl", disk.clone()));
    let (rlm, _) = two_turns();
    let prediction = rlm.run(inputs! { q: "?" }).on_event(writer.clone()).await.unwrap();
    let written = String::from_utf8(disk.0.lock().unwrap().clone()).unwrap();
    assert_eq!(written, prediction.trajectory().to_jsonl(), "the record is complete when the run is");
    assert_eq!(writer.failure(), None);
    let records: Vec<_> = prediction.trajectory().records().collect();
    assert!(records.last().unwrap().at < 0.02 * records.len() as f64, "the run waited for the disk");
}

#[tokio::test(start_paused = true)]
async fn each_try_has_the_time_that_is_left() {
    let (rlm, model) = two_turns();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    rlm.run(inputs! { q: "?" }).await.unwrap();
    rlm.run(inputs! { q: "?" }).limits(|limits| limits.model_timeout(minutes(7))).await.unwrap();
    rlm.run(inputs! { q: "?" }).limits(|limits| limits.run_timeout(minutes(2))).await.unwrap();
    let timeouts: Vec<_> = model.requests().iter().map(|request| request.timeout.unwrap()).collect();
    // A quarter of the run's time is kept for the extract call.
    assert_eq!(timeouts, [300, 300, 420, 420, 90, 90].map(Duration::from_secs));
}

/// Never answers, and counts how often it was asked.
#[derive(Clone, Debug, Default)]
struct Deaf(Arc<Mutex<u32>>);

#[async_trait::async_trait]
impl LanguageModel for Deaf {
    fn name(&self) -> &str {
        "deaf"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        *self.0.lock().unwrap() += 1;
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_model_that_ignores_its_time_is_cut_off_a_moment_later() {
    for (policy, tries) in [(RetryPolicy::none(), 1), (RetryPolicy::default().max_retries(2), 3)] {
        let model = Deaf::default();
        let rlm = Rlm::builder("q -> a").model(model.clone()).interpreter(interpreter().factory());
        let limit = Duration::from_secs(100);
        let rlm = rlm.retry(policy).limits(|limits| limits.model_timeout(limit)).build().unwrap();
        let started = tokio::time::Instant::now();
        let error = rlm.run(inputs! { q: "?" }).await.unwrap_err();
        assert_eq!((error.kind(), *model.0.lock().unwrap()), (ErrorKind::ModelTimeout, tries));
        assert_eq!(error.message(), "model `deaf` did not answer within 100.0 s");
        let over = started.elapsed() - limit * tries;
        assert!(over > Duration::ZERO && over < Duration::from_secs(4), "{over:?}");
    }
}
