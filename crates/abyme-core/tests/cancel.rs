//! Dropping a run stops everything, and cancelling it ends it in good order.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use abyme_core::{
    Blame, Capabilities, Cell, CodeInterpreter, ErrorKind, Event, HostFunctions, InterpreterFactory,
    LanguageModel, Observation, Request, Response, Result, Rlm, Role, Status, Trajectory, inputs,
    testing::ScriptedFactory, trajectory::Purpose,
};
use common::{cell, interpreter, scripted};

/// Never answers, and notes when its call is dropped.
#[derive(Debug, Default)]
struct Stuck {
    dropped: Arc<AtomicBool>,
}

struct OnDrop(Arc<AtomicBool>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[async_trait::async_trait]
impl LanguageModel for Stuck {
    fn name(&self) -> &str {
        "stuck"
    }

    async fn complete(&self, _: &Request) -> Result<Response> {
        let _note = OnDrop(self.dropped.clone());
        std::future::pending().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_run_drops_its_model_call() {
    let dropped = Arc::new(AtomicBool::new(false));
    let model = Stuck { dropped: dropped.clone() };
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    let ended = tokio::time::timeout(Duration::from_secs(1), rlm.run(inputs! { q: "?" })).await;
    assert!(ended.is_err());
    assert!(dropped.load(Ordering::SeqCst));
}

/// Starts sessions, and notes when one is shut down.
#[derive(Debug)]
struct Noting {
    inner: ScriptedFactory,
    shut_down: Arc<AtomicBool>,
    /// How long that takes.
    shutdown: Duration,
}

#[derive(Debug)]
struct NotingSession {
    inner: Box<dyn CodeInterpreter>,
    shut_down: Arc<AtomicBool>,
    shutdown: Duration,
}

impl Noting {
    fn new(shut_down: &Arc<AtomicBool>) -> Self {
        let (inner, shut_down) = (interpreter().factory(), shut_down.clone());
        Self { inner, shut_down, shutdown: Duration::ZERO }
    }
}

#[async_trait::async_trait]
impl InterpreterFactory for Noting {
    fn name(&self) -> &str {
        "noting"
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        let inner = self.inner.create().await?;
        let (shut_down, shutdown) = (self.shut_down.clone(), self.shutdown);
        Ok(Box::new(NotingSession { inner, shut_down, shutdown }))
    }
}

#[async_trait::async_trait]
impl CodeInterpreter for NotingSession {
    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn start(&mut self) -> Result<()> {
        self.inner.start().await
    }

    async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        if cell.code == "hang" {
            return std::future::pending().await;
        }
        self.inner.execute(cell, host).await
    }

    async fn shutdown(&mut self) -> Result<()> {
        self.shut_down.store(true, Ordering::SeqCst);
        tokio::time::sleep(self.shutdown).await;
        self.inner.shutdown().await
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_run_shuts_its_session_down_and_keeps_its_record() {
    let (dropped, shut_down) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let backend = Noting::new(&shut_down);
    let model = Stuck { dropped: dropped.clone() };
    let rlm = Rlm::builder("q -> a").model(model).interpreter(backend).build().unwrap();
    let run = rlm.run(inputs! { q: "?" });
    let handle = run.cancel_handle();
    let (ended, ()) = tokio::join!(run.into_future(), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        handle.clone().cancel();
    });
    let error = ended.unwrap_err();
    assert_eq!((error.kind(), error.blame()), (ErrorKind::Cancelled, Blame::Caller));
    assert_eq!(error.to_string(), "the run was cancelled");
    assert!(dropped.load(Ordering::SeqCst), "the model call is dropped");
    assert!(shut_down.load(Ordering::SeqCst), "the session is shut down");
    let events: Vec<_> = error.trajectory().unwrap().events().collect();
    let expected = matches!(
        events[..],
        [Event::RunStarted { .. }, Event::ModelCallFailed { .. }, Event::RunFailed { .. }]
    );
    assert!(expected, "{events:?}");
    assert_eq!(error.trajectory().unwrap().usage().unwrap().calls, 1, "a cancelled call counts");
    assert!(handle.is_cancelled() && !rlm.run(inputs! { q: "?" }).cancel_handle().is_cancelled());
}

#[tokio::test]
async fn a_run_can_be_cancelled_before_it_starts_and_not_after_it_ended() {
    let (rlm, model) = scripted("q -> a", [cell("submit a=done")]);
    let rlm = rlm.build().unwrap();
    let run = rlm.run(inputs! { q: "?" });
    run.cancel_handle().cancel();
    let error = run.await.unwrap_err();
    assert_eq!((error.kind(), model.requests().len()), (ErrorKind::Cancelled, 0));

    let run = rlm.run(inputs! { q: "?" });
    let handle = run.cancel_handle();
    let prediction = run.await.unwrap();
    handle.cancel();
    assert_eq!(prediction.get::<String>("a").unwrap(), "done");
}

/// Writes one cell and thinks about the next one for ever; gives outputs at once when it is asked for them.
#[derive(Debug)]
struct Slow {
    cell: &'static str,
    outputs: &'static str,
}

#[async_trait::async_trait]
impl LanguageModel for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        if request.messages.iter().any(|message| message.content.contains("answer with what is known")) {
            return Ok(self.outputs.into());
        }
        match request.messages.iter().all(|message| message.role != Role::Assistant) {
            true => Ok(cell(self.cell).into()),
            false => std::future::pending().await,
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_has_to_finish_now_answers_with_what_it_knows() {
    let answers = "{\"a\": 41}";
    for (code, outputs) in [("print 41", answers), ("hang", answers), ("print 41", "nothing")] {
        let shut_down = Arc::new(AtomicBool::new(false));
        let backend = Noting::new(&shut_down);
        let model = Slow { cell: code, outputs };
        let rlm = Rlm::builder("q -> a: int").model(model).interpreter(backend).build().unwrap();
        let run = rlm.run(inputs! { q: "?" });
        let handle = run.cancel_handle();
        let (ended, ()) = tokio::join!(run.into_future(), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            handle.finish_now();
            handle.finish_now();
        });
        assert!(shut_down.load(Ordering::SeqCst) && !handle.is_cancelled());
        if outputs == "nothing" {
            let error = ended.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Cancelled);
            assert!(error.message().contains("answer with what is known"), "{error}");
            continue;
        }
        let prediction = ended.unwrap();
        assert_eq!(prediction.get::<i64>("a").unwrap(), 41);
        assert!(prediction.status() == Status::EndedEarly && !prediction.status().is_complete());
        let last = prediction.trajectory().events().last();
        assert!(matches!(last, Some(Event::RunFinished { status: Status::EndedEarly, .. })), "{last:?}");
        let asked = prediction.trajectory().events().filter_map(|event| match event {
            Event::ModelReplied { purpose, .. } => Some(*purpose),
            _ => None,
        });
        assert!(asked.eq([Purpose::Act, Purpose::Extract]));

        let jsonl = prediction.trajectory().to_jsonl();
        let written = || Trajectory::from_jsonl(&jsonl).unwrap();
        let replayed = rlm.replay_from(written()).await.unwrap();
        assert_eq!((replayed.status(), replayed.outputs()), (Status::EndedEarly, prediction.outputs()));
        let resumed = rlm.resume_from(written()).await.unwrap();
        assert_eq!((resumed.status(), resumed.usage()), (Status::EndedEarly, prediction.usage()));
        assert!(resumed.trajectory().records().eq(prediction.trajectory().records()));
    }
    let model = Slow { cell: "print 41", outputs: answers };
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    let run = rlm.run(inputs! { q: "?" });
    run.cancel_handle().finish_now();
    assert_eq!(run.await.unwrap().usage().calls, 1, "it asks for the outputs and for nothing else");
}

/// Takes long for every session but the first.
#[derive(Debug)]
struct SlowAgain {
    inner: ScriptedFactory,
    is_again: AtomicBool,
}

#[async_trait::async_trait]
impl InterpreterFactory for SlowAgain {
    fn name(&self) -> &str {
        "slow-again"
    }

    fn capabilities(&self) -> &Capabilities {
        self.inner.capabilities()
    }

    async fn create(&self) -> Result<Box<dyn CodeInterpreter>> {
        if self.is_again.swap(true, Ordering::SeqCst) {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        self.inner.create().await
    }
}

/// The record of such a run says so by what it asks for, and takes no turn when it goes on.
#[tokio::test(start_paused = true)]
async fn a_run_that_finished_between_turns_takes_no_more_of_them() {
    let rlm = |replies: &[String]| {
        let (rlm, model) = scripted("q -> a: int", replies.to_vec());
        let factory = SlowAgain { inner: interpreter().factory(), is_again: AtomicBool::new(false) };
        (rlm.interpreter(factory).build().unwrap(), model)
    };
    let (outputs, more) = ("{\"a\": 41}".to_owned(), cell("submit a=1"));
    // Before the first turn, and after one whose session died.
    for (replies, wait) in [(vec![outputs.clone()], 0), (vec![cell("die"), outputs.clone()], 5)] {
        let (first, _) = rlm(&replies);
        let run = first.run(inputs! { q: "?" });
        let handle = run.cancel_handle();
        if wait == 0 {
            handle.finish_now();
        }
        let (ended, ()) = tokio::join!(run.into_future(), async {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            handle.finish_now();
        });
        let expected = ended.unwrap();
        assert_eq!((expected.status(), expected.usage().calls), (Status::EndedEarly, replies.len() as u64));
        let record = expected.trajectory();
        let asks = record.events().position(|event| match event {
            Event::MessageAppended { message, .. } => message.content.contains("answer with what is known"),
            _ => false,
        });
        let asks = asks.expect("the record has the request") + 1;
        for records in asks..=record.records().count() {
            let lines: String = record.to_jsonl().split_inclusive('\n').take(records + 1).collect();
            let begun = Trajectory::from_jsonl(&lines).unwrap();
            assert_eq!(begun.records().count(), records);
            let is_answered = begun
                .events()
                .any(|event| matches!(event, Event::ModelReplied { purpose: Purpose::Extract, .. }));
            let (again, model) = rlm(&[if is_answered { more.clone() } else { outputs.clone() }]);
            let resumed = again.resume_from(begun).await.unwrap();
            assert_eq!((resumed.status(), resumed.outputs()), (Status::EndedEarly, expected.outputs()));
            assert_eq!(model.requests().len(), usize::from(!is_answered), "{records}");
        }
        let (again, model) = rlm(std::slice::from_ref(&more));
        let replayed = again.replay_from(record.clone()).await.unwrap();
        assert_eq!((replayed.status(), model.requests().len()), (Status::EndedEarly, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_until_something_else_is_done() {
    let stuck = || {
        let backend = Noting { shutdown: Duration::from_secs(60), ..Noting::new(&Arc::default()) };
        Rlm::builder("q -> a").model(Stuck::default()).interpreter(backend).build().unwrap()
    };
    let stop = || tokio::time::sleep(Duration::from_secs(5));
    let error = stuck().run(inputs! { q: "?" }).until(stop(), None).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let last = error.trajectory().unwrap().events().last();
    assert!(matches!(last, Some(Event::RunFailed { .. })), "it ended in order: {last:?}");
    let error = stuck().run(inputs! { q: "?" }).until(stop(), Duration::from_secs(10)).await.unwrap_err();
    assert_eq!((error.kind(), error.trajectory().is_none()), (ErrorKind::Cancelled, true));

    let (rlm, _) = scripted("q -> a", [cell("submit a=done")]);
    let run = rlm.build().unwrap().run(inputs! { q: "?" }).until(std::future::pending(), None);
    assert_eq!(run.await.unwrap().get::<String>("a").unwrap(), "done");
}
