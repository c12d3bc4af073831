//! Calls of tools that write are never made twice without asking, wherever the process was killed.

use std::{
    fs, io,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use abyme_core::{
    Effect, EffectDecision, ErrorKind, Event, EventSink, ParameterSpec, Record, Response, Rlm, RlmBuilder,
    Tool, Trajectory, TrajectoryWriter, Value, inputs, testing::ScriptedModel,
};

use super::words::{Set, WordsFactory, cut, model, scripted, set, set_of, tool};

/// A set whose tool writes.
fn writing(model: ScriptedModel) -> Set {
    let calls = Arc::default();
    let written = tool(&calls).effect(Effect::Write);
    let set = set_of(model, |rlm| rlm);
    let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(set.model.clone());
    let rlm = rlm.interpreter(set.factory.clone()).tool(written);
    let rlm = rlm.limits(|limits| limits.max_depth(2)).build().unwrap();
    Set { rlm, tools: calls, ..set }
}

/// The record of an unbroken run, up to the first event that is this.
async fn until(set: &Set, is_last: impl Fn(&Event) -> bool) -> Trajectory {
    let whole = set.rlm.run(inputs! { docs: "some text" }).await.unwrap();
    let last = whole.trajectory().events().position(is_last).unwrap();
    cut(whole.trajectory(), last + 1)
}

fn calls(set: &Set) -> Vec<String> {
    set.tools.lock().unwrap().clone()
}

fn is_tool_call(event: &Event) -> bool {
    matches!(event, Event::ToolCallStarted { .. })
}

fn is_ask(event: &Event) -> bool {
    matches!(event, Event::SubCallStarted { prompt, .. } if prompt == "last")
}

/// What was asked of the decider, which says yes.
type Questions = Arc<Mutex<Vec<String>>>;

fn yes(
    asked: &Questions,
) -> impl Fn(&abyme_core::UnfinishedEffect) -> EffectDecision + Send + Sync + 'static {
    let asked = asked.clone();
    move |effect| {
        asked.lock().unwrap().push(effect.to_string());
        EffectDecision::Repeat
    }
}

#[tokio::test]
async fn a_no_to_the_call_of_a_child_leaves_the_record_as_it_is() {
    const CHILD: &[&str] = &["```python\ntool x\n```", "```python\nsubmit answer=grown\n```"];
    const DEEP: &[&str] = &["```python\nchild child-2\ntool x\n```", "```python\nsubmit answer=grown\n```"];
    const ROOT: &[&str] =
        &["```python\nask first\nchildren child-1|child-2\n```", "```python\nsubmit answer=1\n```"];
    for child in [CHILD, DEEP] {
        let model = || scripted(ROOT, child);
        let first = writing(model());
        let begun = until(&first, is_tool_call).await;
        let of = begun.records().last().unwrap().run.clone();
        assert_ne!(of, begun.run(), "a child calls it");
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.jsonl");
        begun.save(&path).unwrap();
        let before = fs::read(&path).unwrap();
        let again = writing(model());
        for _ in 0..2 {
            let error = again.rlm.resume(&path).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
            assert!(error.to_string().starts_with("`look(text='x')` had begun when the run"), "{error}");
            assert_eq!(fs::read(&path).unwrap(), before, "the record is as it was");
        }
        assert!(calls(&again).is_empty() && again.model.requests().is_empty());
        assert_eq!(again.factory.sessions.load(Ordering::Relaxed), 0);
        let asked = Questions::default();
        let resumed = again.rlm.resume(&path).on_unfinished_effect(yes(&asked)).await.unwrap();
        assert_eq!(resumed.get::<i64>("answer").unwrap(), 1);
        assert_eq!(asked.lock().unwrap().len(), 1, "once, and not in the child again");
        assert_eq!(calls(&again).len(), calls(&first).len());
    }
}

#[tokio::test]
async fn a_call_that_ended_is_not_made_with_other_arguments_without_asking() {
    const ROOT: &[&str] = &[
        "```python\ntool_at book\ntool_at pen\nask last\ntool_at later\n```",
        "```python\nsubmit answer=1\n```",
    ];
    let set = writing(model(ROOT));
    let begun = until(&set, is_ask).await;
    assert_eq!(calls(&set), ["book at 0", "pen at 1", "later at 2"]);
    let error = set.rlm.resume_from(begun.clone()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error:?}");
    let expected = "`look(text='book at 0')` was made before, and the cell, which runs again, makes \
                    `look(text='book at 3')` in its place";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(calls(&set).len(), 3, "no call was made");
    let record = error.trajectory().unwrap().clone();
    let Some(Event::RunFailed { error, .. }) = record.events().last() else { panic!("no end") };
    assert!(error.starts_with(expected));
    assert!(!record.events().skip(begun.events().count()).any(is_tool_call));

    // What was refused can be resumed. A yes is for the one call that was asked about.
    let asked = Questions::default();
    let resumed = set.rlm.resume_from(record).on_unfinished_effect(yes(&asked)).await.unwrap();
    assert_eq!(resumed.get::<i64>("answer").unwrap(), 1);
    assert_eq!(calls(&set)[3..], ["book at 4", "pen at 5", "later at 6"]);
    let asked = asked.lock().unwrap().clone();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert!(asked[1].contains("'pen at 1'") && asked[1].contains("'pen at 5'"), "{asked:?}");
}

#[tokio::test]
async fn a_call_that_the_cell_makes_again_is_answered_and_others_beside_it_are_made() {
    const ROOT: &[&str] = &[
        "```python\ntool x\nchild child-1\nask last\ntool_at later\nchild_at child-2\n```",
        "```python\nsubmit answer=1\n```",
    ];
    const CHILD: &[&str] = &["```python\ntool z\nsubmit answer=grown\n```"];
    let set = writing(scripted(ROOT, CHILD));
    let begun = until(&set, is_ask).await;
    assert_eq!(calls(&set), ["x", "z", "later at 0", "z"]);
    set.rlm.resume_from(begun).await.unwrap();
    assert_eq!(calls(&set)[4..], ["later at 2", "z"]);
}

#[tokio::test]
async fn a_child_that_called_is_not_started_for_another_task_without_asking() {
    const ROOT: &[&str] = &["```python\nchild_at child-1\nask last\n```", "```python\nsubmit answer=1\n```"];
    const CHILD: &[&str] = &["```python\ntool x\nsubmit answer=grown\n```"];
    let set = writing(scripted(ROOT, CHILD));
    let begun = until(&set, is_ask).await;
    let error = set.rlm.resume_from(begun.clone()).await.unwrap_err();
    let expected =
        "`look(text='x')` was made before by a child, and the cell, which runs again, starts another";
    assert!(error.to_string().starts_with(expected), "{error}");
    assert_eq!(calls(&set), ["x"]);
    let asked = Questions::default();
    set.rlm.resume_from(begun).on_unfinished_effect(yes(&asked)).await.unwrap();
    assert_eq!((calls(&set).len(), asked.lock().unwrap().len()), (2, 1));
}

/// A record that arrives only when that is waited for.
#[derive(Default)]
struct Late {
    begun: Mutex<Vec<Arc<Record>>>,
    arrived: Mutex<Vec<Arc<Record>>>,
    fails: AtomicBool,
}

impl Late {
    fn has(&self, is_it: impl Fn(&Event) -> bool) -> bool {
        self.arrived.lock().unwrap().iter().any(|record| is_it(&record.event))
    }
}

#[async_trait::async_trait]
impl EventSink for Late {
    fn record(&self, record: &Arc<Record>) {
        self.begun.lock().unwrap().push(record.clone());
    }

    async fn flush(&self) {
        tokio::task::yield_now().await;
        if !self.fails.load(Ordering::Relaxed) {
            self.arrived.lock().unwrap().append(&mut self.begun.lock().unwrap());
        }
    }

    fn failure(&self) -> Option<String> {
        self.fails.load(Ordering::Relaxed).then(|| "no space is left".to_owned())
    }
}

const ORDER: &[&str] = &["```python\nask long\ntool x\n```", "```python\nsubmit answer=1\n```"];

/// Text that the thread of a file takes a while to write.
const LONG_BYTES: usize = 4_000_000;

/// A run that has `look` see what there is when its model and its tool, which has this effect, are called.
fn seeing(effect: Effect, look: impl Fn(&str) + Clone + Send + Sync + 'static) -> RlmBuilder {
    let (inner, of_model) = (model(ORDER), look.clone());
    let root = ScriptedModel::from_fn(move |request| {
        of_model("model");
        let answered = abyme_core::LanguageModel::complete(&inner, request);
        let answered = futures_util::FutureExt::now_or_never(answered).unwrap()?;
        match request.messages[0].content.as_str() {
            "long" => Ok(Response::new("x".repeat(LONG_BYTES))),
            _ => Ok(answered),
        }
    });
    let parameters = vec![ParameterSpec::new("text").annotation("str")];
    let order = Tool::from_parts("look", "Orders.", parameters, move |_| {
        look("tool");
        async { Ok(Value::None) }
    });
    let rlm = Rlm::builder("docs -> answer: int").instructions("ROOT").model(root);
    rlm.interpreter(WordsFactory::new()).tool(order.effect(effect))
}

#[tokio::test]
async fn the_record_has_the_start_of_what_cannot_be_undone_before_it_is_done() {
    for effect in [Effect::Write, Effect::Read] {
        let (late, seen) = (Arc::new(Late::default()), Questions::default());
        let (of_record, log) = (late.clone(), seen.clone());
        let rlm = seeing(effect, move |what| {
            let has_run = of_record.has(|event| matches!(event, Event::RunStarted { .. }));
            let has_call = of_record.has(is_tool_call);
            log.lock().unwrap().push(format!("{what}: {has_run}, {has_call}"));
        });
        let run = rlm.build().unwrap().run(inputs! { docs: "d" }).on_event(late);
        run.await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let is_waited_for = effect == Effect::Write;
        let expected = ["model: true, false", "model: true, false", &format!("tool: true, {is_waited_for}")];
        assert_eq!(seen[..3], expected, "{effect:?}");
    }
}

/// What a process leaves that is killed in a tool.
#[tokio::test]
async fn the_file_has_a_call_that_writes_before_it_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    let killed = dir.path().join("killed.jsonl");
    let (of_file, copy) = (path.clone(), killed.clone());
    let rlm = seeing(Effect::Write, move |what| match what {
        "tool" => drop(fs::copy(&of_file, &copy).unwrap()),
        _ => assert!(has_beginning(&of_file), "the beginning is there before the model is asked"),
    });
    let rlm = rlm.build().unwrap();
    rlm.run(inputs! { docs: "x".repeat(LONG_BYTES) }).trace(&path).await.unwrap();
    let record = Trajectory::load(&killed).unwrap();
    assert!(matches!(record.events().last(), Some(Event::ToolCallStarted { .. })));
    let error = rlm.resume(&killed).await.unwrap_err();
    assert!(error.to_string().starts_with("`look(text='x')` had begun"), "{error}");
}

fn has_beginning(path: &Path) -> bool {
    fs::read_to_string(path).is_ok_and(|text| text.contains("\"run_started\""))
}

#[tokio::test]
async fn a_call_that_writes_is_not_made_while_the_record_cannot_be_written() {
    for effect in [Effect::Write, Effect::Network] {
        let (late, made) = (Arc::new(Late::default()), Questions::default());
        late.fails.store(true, Ordering::Relaxed);
        let log = made.clone();
        let rlm = seeing(effect, move |what| log.lock().unwrap().extend((what == "tool").then(String::new)));
        let run = rlm.build().unwrap().run(inputs! { docs: "d" }).on_event(late).await.unwrap();
        let is_made = effect == Effect::Network;
        assert_eq!(made.lock().unwrap().len(), usize::from(is_made), "{effect:?}");
        let seen = run.trajectory().turns()[0].observation.clone().unwrap().stdout.to_string();
        let refused = "OSError: `look` was not called, because it changes something, and the record of this \
                       run, which has to say so first, cannot be written: no space is left";
        assert_eq!(seen.contains(refused), !is_made, "{seen:?}");
    }
}

/// A disk without room.
struct Full;

impl io::Write for Full {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::StorageFull.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_full_disk_is_a_failure_of_its_writer() {
    let writer = Arc::new(TrajectoryWriter::to_writer("run.jsonl", Full));
    let set = writing(model(ORDER));
    let run = set.rlm.run(inputs! { docs: "d" }).on_event(writer.clone()).await.unwrap();
    assert_eq!(run.get::<i64>("answer").unwrap(), 1, "it costs the call, not the run");
    assert!(calls(&set).is_empty());
    assert_eq!(EventSink::failure(&writer), writer.failure());
}

#[tokio::test]
async fn a_run_that_is_cancelled_while_its_record_answers_leaves_it_as_it_is() {
    let first = set(super::SCRIPT, |rlm| rlm);
    let begun = cut(super::unbroken(&first).await.unwrap().trajectory(), 60);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.jsonl");
    begun.save(&path).unwrap();
    let before = fs::read(&path).unwrap();
    let again = set(super::SCRIPT, |rlm| rlm);
    let run = again.rlm.resume(&path);
    run.cancel_handle().cancel();
    assert_eq!(run.await.unwrap_err().kind(), ErrorKind::Cancelled);
    assert_eq!(fs::read(&path).unwrap(), before);
}
