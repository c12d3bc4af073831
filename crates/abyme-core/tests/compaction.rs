//! Earlier turns are summarised before they fill the model's window, or once the model refused them as too
//! long; whatever goes wrong with that, the run goes on.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use abyme_core::{
    Cell, Compaction, Error, ErrorKind, Event, LanguageModel, LanguageModelExt, Limit, Limits, Message,
    Prediction, Request, Response, Rlm, RlmBuilder, Role, Status, Usage, Value, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};
use common::{cell, interpreter, transcript};
use futures_util::FutureExt;

const SUMMARY: &str = "Turns so far: the word is `plum`; next, submit it.";
/// Bytes of a token of the model below.
const BYTES: usize = 4;

fn bytes(request: &Request) -> usize {
    request.messages.iter().map(|message| message.content.len()).sum()
}

fn is_summary(request: &Request) -> bool {
    request.messages.last().unwrap().content.starts_with("This conversation is getting long.")
}

/// Refuses what is longer than its window, summarises when asked, and else prints `chars` characters in each
/// turn until turn `turns`, in which it submits.
fn windowed(
    window: usize,
    chars: usize,
    turns: usize,
    summary: impl Fn() -> Result<Response, Error> + Send + Sync + 'static,
) -> ScriptedModel {
    let taken = std::sync::atomic::AtomicUsize::new(0);
    ScriptedModel::from_fn(move |request| {
        if bytes(request) > window {
            return Err(Error::new(ErrorKind::ContextTooLong, "the window is full"));
        }
        let usage = Usage::tokens((bytes(request) / BYTES) as u64, 10).cost(0.01);
        if is_summary(request) {
            return summary().map(|response| response.usage(usage));
        }
        let turn = taken.fetch_add(1, std::sync::atomic::Ordering::SeqCst) + 1;
        let text = match turn < turns {
            true => cell(&format!("print turn {turn} {}", "x".repeat(chars))),
            false => cell("submit word=plum"),
        };
        Ok(Response::new(text).usage(usage))
    })
}

fn summarised() -> Result<Response, Error> {
    Ok(Response::new(SUMMARY))
}

/// What a scripted model answers, which waits for nothing.
fn answered(model: &ScriptedModel, request: &Request) -> Result<Response, Error> {
    model.complete(request).now_or_never().unwrap()
}

struct Ran {
    ended: abyme_core::Result<Prediction>,
    requests: Vec<Request>,
    cells: Vec<Cell>,
}

impl Ran {
    fn prediction(&self) -> &Prediction {
        self.ended.as_ref().unwrap()
    }

    fn compacted(&self) -> Vec<(u32, String, Vec<Message>)> {
        let events = self.prediction().trajectory().events();
        let compacted = events.filter_map(|event| match event {
            Event::TranscriptCompacted { through, variable, messages, .. } => {
                Some((*through, variable.clone(), messages.clone()))
            }
            _ => None,
        });
        compacted.collect()
    }

    fn cuts(&self) -> usize {
        let events = self.prediction().trajectory().events();
        events.filter(|event| matches!(event, Event::TranscriptCut { .. })).count()
    }

    /// What the cells were given as variables.
    fn histories(&self) -> Vec<(String, Vec<Value>)> {
        let variables = self.cells.iter().flat_map(|cell| cell.variables.clone());
        let lists = variables.filter_map(|(name, value)| match value {
            Value::List(turns) => Some((name, turns.to_vec())),
            _ => None,
        });
        lists.collect()
    }
}

async fn run(
    signature: &str,
    model: &ScriptedModel,
    window: Option<u64>,
    change: impl FnOnce(RlmBuilder) -> RlmBuilder,
) -> Ran {
    run_on(interpreter(), signature, model, window, change).await
}

async fn run_on(
    interpreter: ScriptedInterpreter,
    signature: &str,
    model: &ScriptedModel,
    window: Option<u64>,
    change: impl FnOnce(RlmBuilder) -> RlmBuilder,
) -> Ran {
    let builder = Rlm::builder(signature).interpreter(interpreter.factory());
    let builder = match window {
        Some(tokens) => builder.model(model.clone().with_max_input_tokens(tokens)),
        None => builder.model(model.clone()),
    };
    let rlm = change(builder.limits(|limits| limits.max_iterations(30))).build().unwrap();
    let inputs = signature.split("->").next().unwrap().trim();
    let ended = rlm.run(inputs.split(", ").fold(inputs! {}, |all, name| all.with(name, "?"))).await;
    Ran { ended, requests: model.requests(), cells: interpreter.cells() }
}

#[tokio::test]
async fn a_known_window_is_never_filled() {
    let window = 20_000;
    let model = windowed(window, 1_500, 14, summarised);
    let ran = run("q -> word", &model, Some((window / BYTES) as u64), |builder| builder).await;
    assert_eq!(ran.prediction().status(), Status::Submitted);
    assert!(ran.requests.iter().all(|request| bytes(request) <= window), "nothing was refused");
    assert!(ran.requests.iter().any(|request| bytes(request) > window / 2), "and it was used");
    assert_eq!(ran.cuts(), 0);

    let compacted = ran.compacted();
    assert!((1..=4).contains(&compacted.len()), "{}", compacted.len());
    let mut summaries = 0;
    for pair in ran.requests.windows(2) {
        let [before, after] = pair else { unreachable!() };
        let roles: Vec<_> = after.messages.iter().map(|message| message.role).collect();
        assert!(roles.windows(2).all(|pair| pair[0] != pair[1]), "{roles:?}");
        match (is_summary(before), is_summary(after)) {
            (false, false) => assert!(after.messages.starts_with(&before.messages), "it only grows"),
            (false, true) => {
                let (ask, prefix) = after.messages.split_last().unwrap();
                assert_eq!(ask.role, Role::User);
                let whole = [before.messages.clone(), vec![Message::assistant("")]].concat();
                assert!(whole.starts_with(&prefix[..prefix.len().min(before.messages.len())]));
                assert!(prefix.len() + 2 >= before.messages.len(), "all but the last turn");
                summaries += 1;
            }
            (true, false) => {
                assert_eq!(after.messages[..2], before.messages[..2], "the rules and the task");
                assert_eq!(after.messages[2], Message::assistant(SUMMARY));
                assert!(after.messages[3].content.starts_with("(The summary above stands for turns 1 to "));
                assert!(after.messages[3].content.contains("xxx"), "and what a cell printed");
                assert_eq!(after.messages.len(), 6, "and one more turn");
                assert_eq!(compacted[summaries - 1].2, after.messages, "the record has all of it");
            }
            (true, true) => panic!("two summaries in a row"),
        }
    }
    assert_eq!(summaries, compacted.len());

    let histories = ran.histories();
    assert_eq!(histories.len(), compacted.len(), "once for each summary");
    for ((name, turns), (through, variable, _)) in histories.iter().zip(&compacted) {
        assert_eq!((name.as_str(), variable.as_str()), ("history", "history"));
        assert_eq!(turns.len(), *through as usize);
        let Value::Dict(second) = &turns[1] else { panic!("{turns:?}") };
        assert_eq!(second["turn"], Value::from(2));
        assert_eq!(second["reasoning"], Value::from("I try this."));
        assert_eq!(second["code"], Value::from(format!("print turn 2 {}", "x".repeat(1_500))));
        let Value::Text(output) = &second["output"] else { panic!("{second:?}") };
        assert!(output.as_str().contains(&format!("turn 2 {}", "x".repeat(1_500))));
        assert!(output.as_str().contains("(turn 2 of 30;"), "as the model read it");
    }

    let (record, usage) = (ran.prediction().trajectory(), ran.prediction().usage());
    assert_eq!(record.ledger().total, *usage);
    assert_eq!(usage.calls as usize, ran.requests.len(), "summaries are paid calls");
    assert_eq!(record.turns().len(), 14, "and no turns");
}

#[tokio::test]
async fn a_refusal_teaches_the_window() {
    let model = windowed(20_000, 1_500, 20, summarised);
    let ran = run("q -> word", &model, None, |builder| builder).await;
    assert_eq!(ran.prediction().status(), Status::Submitted);
    let refused = ran.requests.iter().filter(|request| bytes(request) > 20_000).count();
    assert_eq!((refused, ran.cuts()), (1, 0), "from then on it is known");
    assert!(ran.compacted().len() > 1);
    let at = ran.requests.iter().position(|request| bytes(request) > 20_000).unwrap();
    let newest = ran.requests[at].messages.last().unwrap();
    let retry = &ran.requests[at + 2].messages.last().unwrap();
    assert!(is_summary(&ran.requests[at + 1]) && newest == *retry, "the newest observation is kept");
}

type Summary = fn() -> Result<Response, Error>;

#[tokio::test]
async fn a_run_survives_every_summary_that_fails() {
    let filtered = || Err(Error::new(ErrorKind::ContentRefused, "no"));
    let failing: [(&str, Summary); 6] = [
        ("an error", || Err(Error::new(ErrorKind::BadRequest, "no"))),
        ("a filter", filtered),
        ("nothing", || Ok(Response::new("<think>hm"))),
        ("a next cell", || Ok(Response::new(cell("submit word=wrong")))),
        ("too long", || Ok(Response::new("y".repeat(30_000)))),
        ("a window that is even smaller", || Err(Error::new(ErrorKind::ContextTooLong, "no"))),
    ];
    for (what, summary) in failing {
        for known in [None, Some(5_000)] {
            let model = windowed(20_000, 1_500, 16, summary);
            let ran = run("q -> word", &model, known, |builder| builder).await;
            assert_eq!(ran.prediction().get::<String>("word").unwrap(), "plum", "{what}");
            assert!(ran.cuts() > 0 && ran.compacted().is_empty(), "{what}: it is cut then");
            let asked = ran.requests.iter().filter(|request| is_summary(request)).count();
            assert!(asked < 6, "{what}: asked {asked} times");
        }
    }
}

#[tokio::test]
async fn without_compaction_the_oldest_messages_are_cut() {
    let model = windowed(20_000, 1_500, 16, summarised);
    let ran = run("q -> word", &model, Some(5_000), |builder| builder.compaction(Compaction::off())).await;
    assert!(ran.cuts() > 0 && !ran.requests.iter().any(is_summary));
    assert_eq!(ran.prediction().status(), Status::Submitted);
    let error = Rlm::builder("q -> a").model(model).interpreter(interpreter().factory());
    let error = error.compaction(Compaction::default().share(2.0)).build().unwrap_err();
    assert!(error.kind() == ErrorKind::Config && error.message().contains("2"), "{error}");
}

#[tokio::test]
async fn one_output_that_fills_the_window_is_cut() {
    let model = windowed(16_000, 9_000, 4, summarised);
    let ran = run("q -> word", &model, None, |builder| builder).await;
    assert_eq!(ran.prediction().status(), Status::Submitted);
    // Each of its three turns may be refused as it is, and once more with a part of it.
    assert!(ran.requests.iter().filter(|request| bytes(request) > 16_000).count() <= 9);
}

/// Where turns are short, a summary's request is as long as the one that was refused, and no message is long
/// enough to be cut.
#[tokio::test]
async fn many_short_turns_never_end_a_run() {
    const TURNS: usize = 28;
    let refused = || Err(Error::new(ErrorKind::BadRequest, "no"));
    for (window, summary) in (4_000..12_000).step_by(500).flat_map(|window| {
        let summaries: [Summary; 3] = [summarised, refused, || Ok(Response::new("y".repeat(30_000)))];
        summaries.map(|summary| (window, summary))
    }) {
        for chars in [10, 40, 160] {
            let model = windowed(window, chars, TURNS, summary);
            // What the task says is always sent.
            let first =
                run("q -> word", &windowed(99_999, chars, 1, summarised), None, |builder| builder).await;
            if bytes(&first.requests[0]) + 1_500 > window {
                continue;
            }
            let ran = run("q -> word", &model, None, |builder| builder).await;
            assert_eq!(ran.prediction().status(), Status::Submitted, "{window} {chars}");
            assert_eq!(ran.cells.iter().filter(|cell| cell.code.starts_with("print")).count(), TURNS - 1);
            for (_, turns) in ran.histories() {
                assert!(turns.len() > 1, "what is left out is whole in the variable");
            }
        }
    }
}

#[tokio::test]
async fn the_variable_has_a_name_that_nothing_else_has() {
    let model = windowed(20_000, 1_500, 14, summarised);
    let ran = run("history -> word", &model, Some(5_000), |builder| builder).await;
    assert!(ran.histories().iter().all(|(name, _)| name == "history_2"), "the input is `history`");
    assert!(ran.compacted()[0].2[3].content.contains("the variable `history_2`"));

    let inner = windowed(20_000, 1_500, 14, summarised);
    let model = ScriptedModel::from_fn(move |request| {
        let mut response = answered(&inner, request)?;
        response.text = response.text.replace("I try this.", "I keep it in `history`.");
        Ok(response)
    });
    let ran = run("q -> word", &model, Some(5_000), |builder| builder).await;
    assert!(ran.histories().iter().all(|(name, _)| name == "history_2"), "a cell may have one");
}

#[tokio::test]
async fn a_session_that_dies_gets_the_turns_again() {
    let died = std::sync::atomic::AtomicBool::new(false);
    let interpreter = ScriptedInterpreter::from_fn(move |cell| {
        let mut observation = abyme_core::Observation::default();
        observation.stdout = cell.code.clone().into();
        if cell.code.contains("turn 11") && !died.swap(true, std::sync::atomic::Ordering::SeqCst) {
            observation.session_ended = Some("the interpreter exited with code 3".into());
        }
        if cell.code.starts_with("submit") {
            let fields = [("word".to_owned(), Value::from("plum"))].into_iter().collect();
            observation.submission = Some(abyme_core::Submission::fields(abyme_core::Via::Submit, fields));
        }
        Ok(observation)
    });
    let model = windowed(20_000, 1_500, 14, summarised);
    let ran = run_on(interpreter, "q -> word", &model, Some(5_000), |builder| builder).await;
    assert_eq!(ran.prediction().status(), Status::Submitted);
    assert!(ran.histories().len() > ran.compacted().len(), "{}", ran.histories().len());
}

#[tokio::test]
async fn a_used_up_budget_pays_for_no_summary() {
    let inner = windowed(20_000, 1_500, 30, summarised);
    let model = ScriptedModel::from_fn(move |request| {
        let is_extract = request.messages.last().unwrap().content.contains("The run has to end now");
        match (is_extract, bytes(request) > 10_000) {
            (true, true) => Err(Error::new(ErrorKind::ContextTooLong, "the window is full")),
            (true, false) => Ok(Response::new("{\"word\": \"plum\"}").usage(Usage::tokens(1, 1).cost(0.01))),
            (false, _) => answered(&inner, request),
        }
    });
    let limits = |limits: Limits| limits.max_cost(0.035);
    let ran = run("q -> word", &model, None, |builder| builder.limits(limits)).await;
    assert_eq!(ran.prediction().status(), Status::LimitReached(Limit::Cost));
    assert!(ran.cuts() > 0 && !ran.requests.iter().any(is_summary));
}

#[tokio::test]
async fn the_summary_request_is_pinned() {
    let model = windowed(20_000, 1_500, 14, summarised);
    let ran = run("q -> word", &model, Some(5_000), |builder| builder).await;
    let at = ran.requests.iter().position(is_summary).unwrap();
    let [ask, next] = [&ran.requests[at], &ran.requests[at + 1]].map(|request| {
        let mut request = request.clone();
        request.messages.drain(..if is_summary(&request) { request.messages.len() - 2 } else { 2 });
        // How many turns fit depends on the length of the rules.
        let text = transcript(&request).replace(&"x".repeat(1_500), "xxx");
        text.replace(|char: char| char.is_ascii_digit(), "#")
    });
    insta::assert_snapshot!(format!("{ask}~~~ then ~~~\n{next}"));
}

#[tokio::test]
async fn a_replay_summarises_where_its_record_does_whatever_its_model_can_read() {
    let model = || windowed(usize::MAX, 2_000, 12, summarised).with_max_input_tokens(4_000);
    let build = |rlm: RlmBuilder| rlm.interpreter(interpreter().factory()).build().unwrap();
    let begin = || Rlm::builder("docs -> word").limits(|limits| limits.max_iterations(20));
    let early = Compaction::default().share(0.5).keep_turns(2);
    let first = build(begin().model(model()).compaction(early)).run(inputs! { docs: "d" }).await.unwrap();
    let count = |prediction: &Prediction| {
        let events = prediction.trajectory().events();
        events.filter(|event| matches!(event, Event::TranscriptCompacted { .. })).count()
    };
    assert!(count(&first) > 0);
    // No window is known of this one, and it would not be asked for a summary.
    let other = || build(begin().model(ScriptedModel::replies::<Response>([])).compaction(Compaction::off()));
    let replay = other().replay_from(first.trajectory().clone()).await.unwrap();
    assert_eq!((replay.outputs(), count(&replay)), (first.outputs(), count(&first)));
    let again = other().replay_from(replay.trajectory().clone()).await.unwrap();
    assert_eq!(count(&again), count(&first));
    // A run that goes on with it asks for nothing again that the record has.
    let records = first.trajectory().records();
    let begun = records.take_while(|record| !matches!(record.event, Event::RunFinished { .. })).cloned();
    let resumed = other().resume_from(begun.collect()).await.unwrap();
    assert_eq!((resumed.outputs(), count(&resumed)), (first.outputs(), count(&first)));
    assert_eq!(resumed.usage(), first.usage());
}
