//! Conversations over scripted models and interpreters: what a question knows of those before it, and how
//! conversations end, sleep and are woken.
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
    Capabilities, Conversation, ConversationsConfig, Error, ErrorKind, Event, Isolation, LanguageModel,
    Observation, Request, Response, Result, Rlm, Submission, Trajectory, Usage, Value, Via, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use async_trait::async_trait;
use common::{cell, interpreter, scripted};
use tokio::sync::Semaphore;

/// The names of the variables that each cell with variables was given.
fn put(interpreter: &ScriptedInterpreter) -> Vec<Vec<String>> {
    let cells = interpreter.cells().into_iter().filter(|cell| !cell.variables.is_empty());
    cells.map(|cell| cell.variables.into_iter().map(|(name, _)| name).collect()).collect()
}

fn with<R: Into<Response>>(
    signature: &str,
    interpreter: &ScriptedInterpreter,
    replies: impl IntoIterator<Item = R>,
) -> (Rlm, ScriptedModel) {
    let model = ScriptedModel::replies(replies);
    let rlm = Rlm::builder(signature).model(model.clone()).interpreter(interpreter.factory());
    (rlm.build().unwrap(), model)
}

fn first_task(model: &ScriptedModel, request: usize) -> String {
    model.requests()[request].messages[1].content.clone()
}

#[tokio::test]
async fn a_question_knows_of_those_before_it() {
    let interpreter = interpreter();
    let replies = [
        cell("print looking"),
        cell("submit answer=Ada"),
        cell("submit answer=in 1843"),
        cell("submit answer=London"),
    ];
    let (rlm, model) = with("report, question -> answer", &interpreter, replies);
    let talk = rlm.conversation();
    let first = talk.ask(inputs! { report: "a long report", question: "Who?" }).await.unwrap();
    assert_eq!(first.get::<String>("answer").unwrap(), "Ada");
    let second = talk.ask(inputs! { question: "When?" }).label("second").await.unwrap();
    assert_eq!(second.get::<String>("answer").unwrap(), "in 1843");
    assert_ne!(first.trajectory().run(), second.trajectory().run());
    // Given again, unchanged: it is not put in again.
    talk.ask(inputs! { report: "a long report", question: "Where?" }).await.unwrap();
    assert_eq!(
        put(&interpreter),
        [
            vec!["report", "question"],
            vec!["question_1", "answer_1", "question"],
            vec!["question_2", "answer_2", "question"]
        ]
    );
    insta::assert_snapshot!(first_task(&model, 3));
    // The list grows at its end, so that requests share their beginning.
    let (second, third) = (first_task(&model, 2), first_task(&model, 3));
    let shared = second.split("The question to answer now").next().unwrap();
    assert!(third.starts_with(shared), "{third}");
    let questions = talk.questions().await.unwrap();
    assert_eq!(questions.len(), 3);
    assert_eq!(questions[2].inputs.keys().collect::<Vec<_>>(), ["question"]);
    let variables = talk.variables().await.unwrap();
    let names = "report question_1 answer_1 question_2 answer_2 question answer_3";
    assert_eq!(variables.keys().cloned().collect::<Vec<_>>().join(" "), names);
}

#[tokio::test]
async fn a_question_without_an_answer_leaves_the_conversation_usable() {
    let interpreter = interpreter();
    let model = ScriptedModel::replies([cell("submit a=3")]);
    let slow = SlowAtFirst(model.clone(), AtomicBool::new(true));
    let rlm = Rlm::builder("q -> a: int").model(slow).interpreter(interpreter.factory());
    let rlm = rlm.build().unwrap();
    let talk = rlm.conversation();
    // A mistake is no question, and neither is one that never began.
    assert_eq!(talk.ask(inputs! { wrong: 1 }).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    assert_eq!(talk.ask(inputs! {}).await.unwrap_err().kind(), ErrorKind::InvalidInput);
    let run = talk.ask(inputs! { q: "one" });
    let cancel = run.cancel_handle();
    cancel.cancel();
    assert_eq!(run.await.unwrap_err().kind(), ErrorKind::Cancelled);
    // A dropped run is.
    let run = talk.ask(inputs! { q: "two" }).into_future();
    tokio::time::timeout(Duration::ZERO, run).await.ok();
    let answer = talk.ask(inputs! { q: "three" }).await.unwrap();
    assert_eq!(answer.get::<i64>("a").unwrap(), 3);
    let questions = talk.questions().await.unwrap();
    let asked = questions.iter().map(|question| (question.inputs["q"].as_text(), question.outputs.is_some()));
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked, [(Some("two"), false), (Some("three"), true)]);
    assert_eq!(first_task(&model, 0).matches("It was not answered.").count(), 1);
}

/// A model whose first request is never answered.
#[derive(Debug)]
struct SlowAtFirst(ScriptedModel, AtomicBool);

#[async_trait]
impl LanguageModel for SlowAtFirst {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        if self.1.swap(false, Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        self.0.complete(request).await
    }
}

#[tokio::test]
async fn a_name_that_is_taken_gets_another() {
    let interpreter = interpreter();
    let (rlm, _) = with("q, q_1 -> a", &interpreter, [cell("submit a=x"), cell("submit a=y")]);
    let talk = rlm.conversation();
    talk.ask(inputs! { q: "1", q_1: "other" }).await.unwrap();
    talk.ask(inputs! { q: "2" }).await.unwrap();
    assert_eq!(put(&interpreter)[1], ["q_1_", "a_1", "q"]);
}

#[tokio::test]
async fn a_session_that_died_is_brought_back_and_the_model_is_told() {
    let interpreter = interpreter();
    let replies = [
        cell("print 1"),
        cell("submit a=first"),
        cell("die"),
        cell("submit a=second"),
        cell("die\nsubmit a=third"),
        cell("submit a=fourth"),
    ];
    let (rlm, model) = with("q -> a", &interpreter, replies);
    let talk = rlm.conversation();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    talk.ask(inputs! { q: "2" }).await.unwrap();
    assert_eq!(put(&interpreter)[2], ["q_1", "a_1", "q"], "the new session has all of it");
    // It dies with its last cell.
    talk.ask(inputs! { q: "3" }).await.unwrap();
    talk.ask(inputs! { q: "4" }).await.unwrap();
    assert_eq!(put(&interpreter)[4], ["q_1", "a_1", "q_2", "a_2", "q_3", "a_3", "q"]);
    let told = first_task(&model, 5);
    assert!(told.contains("The session was started anew after question 3."), "{told}");
    assert!(!first_task(&model, 4).contains("started anew after question 2"));
}

#[tokio::test]
async fn a_session_that_died_at_rest_is_found_out() {
    let first = AtomicBool::new(true);
    let interpreter = ScriptedInterpreter::from_fn(move |cell| {
        let is_second = cell.variables.iter().any(|(name, _)| name == "q_1");
        if is_second && first.swap(false, Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::SessionEnded, "it was killed"));
        }
        let fields = || Submission::fields(Via::Submit, [("a".to_owned(), Value::from("x"))].into());
        let mut observation = Observation::default();
        observation.submission = (cell.code == "submit").then(fields);
        Ok(observation)
    });
    let (rlm, model) = with("q -> a", &interpreter, [cell("submit"), cell("submit"), cell("submit")]);
    let talk = rlm.conversation();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    let second = talk.ask(inputs! { q: "2" }).await.unwrap();
    let lost =
        second.trajectory().events().filter(|event| matches!(event, Event::SessionLost { .. })).count();
    assert_eq!(lost, 1);
    let asked = &model.requests()[1];
    assert!(asked.messages.last().unwrap().content.contains("[session lost]\nit was killed"));
    assert_eq!(asked.messages.len(), 2, "a server may refuse two messages of the user in a row");
    talk.ask(inputs! { q: "3" }).await.unwrap();
    assert!(first_task(&model, 2).contains("started anew after question 1"), "{}", first_task(&model, 2));
}

#[tokio::test]
async fn the_list_of_questions_is_bounded() {
    let interpreter = interpreter();
    let (rlm, model) = with("q -> a", &interpreter, vec![cell("submit a=x"); 30]);
    let talk = rlm.conversation().limits(|limits| limits.max_earlier_chars(2_000));
    for number in 0..30 {
        talk.ask(inputs! { q: format!("question {number} {}", "x".repeat(100)) }).await.unwrap();
    }
    let last = first_task(&model, 29);
    assert!(last.chars().count() < 4_000, "{last}");
    assert!(last.contains("questions of this conversation are not listed here"), "{last}");
    assert!(last.contains("Question 29 of this conversation had"), "{last}");
    let starts: std::collections::BTreeSet<_> =
        (1..30).map(|n| first_task(&model, n).split("Question ").nth(1).unwrap().to_owned()).collect();
    assert!(starts.len() < 8, "the beginning changes now and then, not with each question: {starts:?}");
    assert!(talk.variables().await.unwrap().contains_key("q_1"), "it is still there");
}

#[tokio::test]
async fn a_conversation_has_limits_of_its_own() {
    let usage = Usage::tokens(600, 0).cost(0.5);
    let (rlm, _) = scripted("q -> a", vec![Response::new(cell("submit a=x")).usage(usage); 3]);
    let talk = rlm.build().unwrap().conversation().limits(|limits| limits.max_tokens(1_000));
    talk.ask(inputs! { q: "1" }).await.unwrap();
    let second = talk.ask(inputs! { q: "2" }).limits(|limits| limits.max_iterations(3)).await.unwrap();
    let limits = second.trajectory().events().find_map(|event| match event {
        Event::RunStarted { limits, .. } => Some(limits.clone()),
        _ => None,
    });
    assert_eq!(limits.unwrap().max_tokens, Some(400));
    assert_eq!(talk.usage().await.unwrap().total_tokens(), Some(1_200));
    let error = talk.ask(inputs! { q: "3" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    assert!(error.message().contains("max_tokens is 1000") && error.message().contains("1200"), "{error}");
    assert_eq!(talk.questions().await.unwrap().len(), 2);
}

#[tokio::test]
async fn questions_take_turns_and_waiting_ones_can_be_cancelled() {
    let (rlm, model) = scripted("q -> a", vec![cell("submit a=x"); 4]);
    let talk = Arc::new(rlm.build().unwrap().conversation());
    let both =
        tokio::join!(talk.ask(inputs! { q: "1" }).into_future(), talk.ask(inputs! { q: "2" }).into_future());
    both.0.unwrap();
    both.1.unwrap();
    assert!(first_task(&model, 1).contains("Question 1 of this conversation"));
    let held = talk.ask(inputs! { q: "3" });
    let waiting = talk.ask(inputs! { q: "4" });
    let cancel = waiting.cancel_handle();
    let (third, fourth) = tokio::join!(held.into_future(), async {
        cancel.cancel();
        waiting.await
    });
    third.unwrap();
    assert_eq!(fourth.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_saved_conversation_goes_on_elsewhere() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("talk");
    let interpreter = interpreter();
    let (rlm, _) = with("q -> a", &interpreter, [cell("submit a=x")]);
    let talk = rlm.conversation();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    let saved = talk.save(&path).await.unwrap();
    assert!(saved.is_whole && saved.bytes > 100);
    // With its session: only what is new is put in.
    let (rlm, model) = with("q -> a", &interpreter, [cell("submit a=y")]);
    let loaded = rlm.load_conversation(&path).await.unwrap();
    assert_eq!(loaded.questions().await.unwrap(), talk.questions().await.unwrap());
    assert_eq!(Conversation::saved_signature(&path).await.unwrap().to_string(), "q -> a");
    loaded.ask(inputs! { q: "2" }).await.unwrap();
    assert_eq!(put(&interpreter)[1], ["q_1", "a_1", "q"]);
    assert!(!first_task(&model, 0).contains("started anew"));
    // In a backend without snapshots: everything is put in, and the model is told.
    let plain = common::interpreter().with_capabilities(Capabilities::new(Isolation::None));
    let (rlm, model) = with("q -> a", &plain, [cell("submit a=z"), cell("submit a=z")]);
    let loaded = rlm.load_conversation(&path).await.unwrap();
    loaded.ask(inputs! { q: "2" }).await.unwrap();
    assert_eq!(put(&plain)[0], ["q_1", "a_1", "q"]);
    assert!(first_task(&model, 0).contains("started anew after question 1"), "{}", first_task(&model, 0));
    let again = loaded.save(&path).await.unwrap();
    assert!(!again.is_whole);
    // Another task's.
    let (other, _) = with("q -> b", &plain, [cell("")]);
    let error = other.load_conversation(&path).await.unwrap_err();
    assert!(error.message().contains("`q -> a`"), "{error}");
}

#[tokio::test]
async fn a_sleeping_conversation_is_woken_by_its_next_question() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("talk");
    let interpreter = interpreter();
    let (rlm, _) = with("q -> a", &interpreter, vec![cell("submit a=x"); 2]);
    let talk = rlm.conversation();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    assert!(talk.sleep(&path).await.unwrap().is_some());
    assert!(talk.is_asleep() && talk.sleep(&path).await.unwrap().is_none());
    assert_eq!(talk.questions().await.unwrap().len(), 1);
    talk.ask(inputs! { q: "2" }).await.unwrap();
    assert!(!talk.is_asleep());
    assert_eq!(talk.variables().await.unwrap().len(), 4);
    // One whose file is gone says so, and works again once it is back.
    talk.sleep(&path).await.unwrap();
    let away = directory.path().join("away");
    std::fs::rename(&path, &away).unwrap();
    let error = talk.ask(inputs! { q: "3" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Io);
    std::fs::rename(&away, &path).unwrap();
    talk.wake().await.unwrap();
}

#[tokio::test]
async fn a_directory_puts_the_least_recently_used_to_sleep() {
    let directory = tempfile::tempdir().unwrap();
    let (rlm, _) = scripted("q -> a", vec![cell("submit a=x"); 8]);
    let rlm = rlm.build().unwrap();
    let config = || ConversationsConfig::default().directory(directory.path().join("talks"));
    let talks = rlm.conversations(config().max_awake(2)).unwrap();
    let error = rlm.conversations(config()).unwrap_err();
    assert!(error.message().contains("in use by another program"), "{error}");
    for id in ["a", "b", "a", "c"] {
        talks.open(id).unwrap().ask(inputs! { q: id }).await.unwrap();
    }
    let b = talks.open("b").unwrap();
    eventually(|| talks.awake() == 2 && b.is_asleep()).await;
    // Used again, it wakes, and another one sleeps.
    b.ask(inputs! { q: "again" }).await.unwrap();
    eventually(|| talks.awake() == 2 && talks.open("a").unwrap().is_asleep()).await;
    talks.sleep_all().await.unwrap();
    assert_eq!((talks.awake(), talks.ids().await.unwrap()), (0, ["a", "b", "c"].map(String::from).to_vec()));
    drop((talks, b));
    // Another program goes on.
    let talks = eventually_ok(|| rlm.conversations(config().idle_timeout(Duration::from_millis(1)))).await;
    let a = talks.open("a").unwrap();
    a.ask(inputs! { q: "later" }).await.unwrap();
    assert_eq!(a.questions().await.unwrap().len(), 3);
    eventually(|| a.is_asleep()).await;
    assert!(talks.remove("a").await.unwrap() && !talks.remove("never").await.unwrap());
    assert!(a.questions().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_conversation_is_removed_after_its_question_and_begins_anew() {
    let directory = tempfile::tempdir().unwrap();
    let gate = Arc::new(Semaphore::new(1));
    let model = Gated(ScriptedModel::replies(vec![cell("submit a=x"); 3]), gate.clone());
    let rlm = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory()).build().unwrap();
    let talks = rlm.conversations(ConversationsConfig::default().directory(directory.path())).unwrap();
    let talk = talks.open("a").unwrap();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    // The second question is asked, it is to be removed, and another part of the program opens it.
    let (second, removed, ()) =
        tokio::join!(talk.ask(inputs! { q: "2" }).into_future(), talks.remove("a"), async {
            tokio::task::yield_now().await;
            assert_eq!(talks.open("a").unwrap().questions().await.unwrap().len(), 1);
            gate.add_permits(2);
        });
    second.unwrap();
    assert!(removed.unwrap());
    // It is one conversation still, whichever handle is used.
    talks.open("a").unwrap().ask(inputs! { q: "3" }).await.unwrap();
    assert_eq!(talk.questions().await.unwrap().len(), 1);
    talks.sleep_all().await.unwrap();
    assert!(talk.is_asleep() && talks.path("a").unwrap().exists());
    assert!(talks.remove("a").await.unwrap() && !talks.remove("a").await.unwrap());
    // Nothing was asked since then, nor in another one: there is nothing to write down.
    let never = talks.open("never").unwrap();
    talks.sleep_all().await.unwrap();
    assert!(!talks.path("a").unwrap().exists() && !talks.path("never").unwrap().exists());
    drop((talk, never));
    talks.sleep_all().await.unwrap();
    assert!(talks.ids().await.unwrap().is_empty());
}

/// A model that needs a permit for each request.
#[derive(Debug)]
struct Gated(ScriptedModel, Arc<Semaphore>);

#[async_trait]
impl LanguageModel for Gated {
    fn name(&self) -> &str {
        self.0.name()
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        self.1.acquire().await.unwrap().forget();
        self.0.complete(request).await
    }
}

#[tokio::test]
async fn a_conversation_that_was_woken_for_nothing_sleeps_again() {
    let directory = tempfile::tempdir().unwrap();
    let replies = vec![Response::new(cell("submit a=x")).usage(Usage::tokens(600, 0))];
    let (rlm, _) = scripted("q -> a", replies);
    let config = ConversationsConfig::default().directory(directory.path());
    let config = config.limits(|limits| limits.max_tokens(500)).idle_timeout(Duration::from_millis(1));
    let talks = rlm.build().unwrap().conversations(config).unwrap();
    let talk = talks.open("a").unwrap();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    eventually(|| talk.is_asleep()).await;
    let error = talk.ask(inputs! { q: "2" }).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LimitReached);
    eventually(|| talk.is_asleep()).await;
}

#[tokio::test]
async fn what_a_killed_program_did_not_finish_is_removed() {
    let directory = tempfile::tempdir().unwrap();
    let (rlm, _) = scripted("q -> a", [cell("submit a=x")]);
    let rlm = rlm.build().unwrap();
    let config = || ConversationsConfig::default().directory(directory.path());
    let talks = rlm.conversations(config()).unwrap();
    talks.open("a").unwrap().ask(inputs! { q: "1" }).await.unwrap();
    talks.sleep_all().await.unwrap();
    let file = talks.path("a").unwrap();
    drop(talks);
    let unfinished = file.with_file_name(".abyme-x1y2z3");
    std::fs::write(&unfinished, "half").unwrap();
    let talks = eventually_ok(|| rlm.conversations(config())).await;
    assert!(!unfinished.exists() && file.exists());
    assert_eq!(talks.ids().await.unwrap(), ["a"]);
}

#[tokio::test]
async fn a_question_goes_on_from_its_record_in_the_conversation_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("after-1");
    let replies = ["submit a=x", "print one", "print two", "submit a=y", "submit a=z"].map(cell);
    let (rlm, model) = with("q -> a", &interpreter(), replies.clone());
    let talk = rlm.conversation();
    talk.ask(inputs! { q: "1" }).await.unwrap();
    talk.save(&path).await.unwrap();
    let unbroken = talk.ask(inputs! { q: "2" }).await.unwrap();
    let questions = talk.questions().await.unwrap();
    talk.ask(inputs! { q: "3" }).await.unwrap();
    let record = unbroken.trajectory();
    for records in 1..=record.records().count() {
        let so_far: Trajectory = record.records().take(records).cloned().collect();
        let replied = so_far.events().filter(|event| matches!(event, Event::ModelReplied { .. })).count();
        let interpreter = interpreter();
        let (rlm, again) = with("q -> a", &interpreter, replies[1 + replied..].to_vec());
        let talk = rlm.load_conversation(&path).await.unwrap();
        let second = talk.resume_from(so_far).await.unwrap();
        assert_eq!(second.get::<String>("a").unwrap(), "y", "{records}");
        assert_eq!(talk.questions().await.unwrap(), questions, "{records}");
        let ran: Vec<_> = interpreter.cells().into_iter().map(|cell| cell.code).collect();
        let ran: Vec<_> = ran.iter().filter(|code| code.starts_with("print")).collect();
        assert_eq!(ran, ["print one", "print two"], "{records}");
        // The next question is asked as if nothing had happened.
        talk.ask(inputs! { q: "3" }).await.unwrap();
        assert_eq!(again.requests().last().unwrap().messages, model.requests()[4].messages, "{records}");
    }
    // In its file.
    let file = directory.path().join("second.jsonl");
    let so_far: Trajectory = record.records().take(record.records().count() - 2).cloned().collect();
    so_far.save(&file).unwrap();
    let (rlm, _) = with("q -> a", &interpreter(), vec![cell("submit a=y"); 2]);
    let talk = rlm.load_conversation(&path).await.unwrap();
    assert_eq!(talk.resume(&file).await.unwrap().get::<String>("a").unwrap(), "y");
    assert_eq!(Trajectory::load(&file).unwrap().run(), record.run());
    // Elsewhere it would be another question.
    for talk in [talk, rlm.conversation()] {
        let before = talk.questions().await.unwrap();
        let error = talk.resume_from(record.clone()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert!(error.message().contains("the conversation is not as it was"), "{error}");
        assert_eq!(talk.questions().await.unwrap(), before);
    }
    for alone in [rlm.resume_from(record.clone()), rlm.replay_from(record.clone())] {
        let error = alone.await.unwrap_err();
        assert!(error.message().contains("go on with it by `Conversation::resume`"), "{error}");
    }
}

/// Waits until a condition holds.
async fn eventually(condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.expect("it never came true");
}

async fn eventually_ok<T>(make: impl Fn() -> Result<T>) -> T {
    let mut made = make();
    for _ in 0..1_000 {
        if made.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
        made = make();
    }
    made.unwrap()
}
