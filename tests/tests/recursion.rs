//! Runs that start runs of their own: children, their children, and the one budget that all share.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use abyme::{
    ErrorKind, Event, LanguageModel, Limit, Limits, Message, Request, Response, Result, Rlm, RlmBuilder,
    Status, Text, Tool, Trajectory, Usage, Value, Wasm, inputs, testing::ScriptedModel,
};
use async_trait::async_trait;

/// Changes the limits of a run.
type Change = fn(Limits) -> Limits;

fn cell(code: &str) -> String {
    format!("```python\n{code}\n```")
}

/// A model whose reply depends on the task it is given and on the turn it is in: `tasks` pairs what the task
/// has in it with its cells. A request without a system message is a sub-call, and gets `"yes"`.
fn model(tasks: &[(&'static str, &[&'static str])]) -> ScriptedModel {
    let tasks: Vec<_> = tasks.iter().map(|(task, cells)| (*task, cells.to_vec())).collect();
    ScriptedModel::from_fn(move |request| Ok(reply(&tasks, request)))
}

fn reply(tasks: &[(&'static str, Vec<&'static str>)], request: &Request) -> Response {
    let [_, task, rest @ ..] = &request.messages[..] else {
        return Response::new("yes").usage(Usage::tokens(10, 1).cost(0.01));
    };
    let turn = rest.len() / 2;
    let (_, cells) =
        tasks.iter().find(|(part, _)| task.content.contains(part)).expect("a task of the script");
    let is_extract =
        request.messages.last().is_some_and(|last| last.content.contains("The run has to end now"));
    let text = match cells.get(turn) {
        Some(code) if !is_extract => cell(code),
        _ => r#"{"answer": "extracted"}"#.to_owned(),
    };
    Response::new(text).usage(Usage::tokens(100, 10).cost(0.1))
}

fn rlm(signature: &str, model: &ScriptedModel) -> RlmBuilder {
    Rlm::builder(signature).instructions("The root's task.").model(model.clone()).interpreter(Wasm::new())
}

/// The last message of a request.
fn said(model: &ScriptedModel, index: usize) -> String {
    model.requests()[index].messages.last().unwrap().content.clone()
}

/// What each run of the tree was asked, by depth: the task, and the ids of it and of its parent.
fn tree(trajectory: &Trajectory) -> Vec<(u32, String)> {
    let started = trajectory.records().filter_map(|record| match &record.event {
        Event::RunStarted { parent, .. } => {
            Some((parent.as_ref().map_or(0, |parent| parent.depth), record.run.clone()))
        }
        _ => None,
    });
    started.collect()
}

#[tokio::test]
async fn a_child_works_on_its_context_in_a_session_of_its_own() {
    let script = model(&[
        (
            "The root's task.",
            &[
                "secret = 1\n\
                 found = rlm_query('Count the lines.', context=docs, signature='total: int')\nfound",
                "SUBMIT(total=found)",
            ],
        ),
        (
            "Count the lines.",
            &[
                "print('secret' in globals(), type(context).__name__)\nlines = context.splitlines()",
                "SUBMIT(total=str(len(lines)))",
            ],
        ),
    ]);
    let docs = Text::from("a line\n".repeat(50_000));
    let answer =
        rlm("docs -> total: int", &script).build().unwrap().run(inputs! { docs: docs }).await.unwrap();
    assert_eq!((answer.get::<i64>("total").unwrap(), answer.status()), (50_000, Status::Submitted));

    let trajectory = answer.trajectory();
    let runs = tree(trajectory);
    assert_eq!(runs.iter().map(|(depth, _)| *depth).collect::<Vec<_>>(), [0, 1]);
    let [child] = &trajectory.children()[..] else { panic!("there is one child") };
    assert_eq!(child.run(), runs[1].1);
    let turns = child.turns();
    assert_eq!(turns.len(), 2);
    assert_eq!(turns[0].observation.as_ref().unwrap().stdout.to_string(), "False str\n");
    assert_eq!(child.usage().unwrap().calls, 2);
    assert_eq!((trajectory.turns().len(), answer.usage().calls), (2, 4));
    assert_eq!(trajectory.turns()[0].children, 1);
    let finished = trajectory.events().find_map(|event| match event {
        Event::ChildFinished { outcome, .. } => Some(format!("{outcome:?}")),
        _ => None,
    });
    assert_eq!(finished.unwrap(), "Result(Int(50000))");
    let saved = Trajectory::from_jsonl(&trajectory.to_jsonl()).unwrap();
    assert_eq!(
        (saved.children().len(), saved.turns().len()),
        (1, 2),
        "a record on disk has its children too"
    );
    let messages = |turn: usize| -> Vec<Message> { script.requests()[turn].messages.clone() };
    assert!(messages(1)[1].content.contains("`context` (str, 350000 characters)"), "{:?}", messages(1));
    assert!(messages(3).last().unwrap().content.contains("198 of 200 sub-calls left"), "{:?}", messages(3));
}

#[tokio::test]
async fn three_levels_of_batches_come_to_their_end_with_one_place() {
    let batch = "answers = rlm_query_batched([f'Next {n}.' for n in range(3)], [n for n in range(3)])\n\
                 SUBMIT('+'.join(answers))";
    let level =
        |next: &str, end: &str| batch.replace("Next", next).replace("SUBMIT(", &format!("SUBMIT('{end}' + "));
    let level: [&'static str; 3] = [
        level("Second", "1:").leak(),
        level("Third", "2:").leak(),
        "SUBMIT(answer=f'{context}{llm_query(\"Is it?\")}')",
    ];
    let script = model(&[("The root's task.", &[level[0]]), ("Second", &[level[1]]), ("Third", &[level[2]])]);
    let limits = |limits: Limits| limits.max_depth(2).max_concurrent_calls(1).max_llm_calls(21);
    let answer = rlm("-> answer", &script).limits(limits).build().unwrap().run(inputs! {}).await.unwrap();
    let inner = "2:0yes+1yes+2yes";
    assert_eq!(answer.get::<String>("answer").unwrap(), format!("1:{inner}+{inner}+{inner}"));
    let depths: Vec<_> = tree(answer.trajectory()).into_iter().map(|(depth, _)| depth).collect();
    assert_eq!((depths.len(), depths.iter().filter(|depth| **depth == 2).count()), (13, 9));
    assert_eq!(answer.usage().calls, 1 + 3 + 9 + 9);
    let children = answer.trajectory().children();
    assert!(children.iter().all(|child| child.children().len() == 3 && child.usage().unwrap().calls == 7));
}

#[tokio::test]
async fn the_result_of_a_child_may_be_any_type() {
    let root = "\
from dataclasses import dataclass
@dataclass
class Found:
    name: str
    lines: list[int]
one = rlm_query('Numbers.', signature=list[int])
two = rlm_query('A class.', signature=Found)
three = rlm_query('A dict.', 'a text', signature={'total': int, 'when': 'date | None'})
four = rlm_query_batched(['Numbers.'], signature='list[int]')
five = rlm_query('Schema.', signature={'type': 'integer', 'minimum': 3, 'description': 'How many'})
SUBMIT(answer=repr([one, two, three, four, five]))";
    let script = model(&[
        ("The root's task.", &[root]),
        ("Numbers.", &["SUBMIT(answer=['1', 2])"]),
        ("A class.", &["SUBMIT(answer={'name': 'a'})", "SUBMIT({'name': 'a', 'lines': [1]})"]),
        ("A dict.", &["import datetime\nSUBMIT(answer={'total': 1, 'when': datetime.date(2024, 2, 29)})"]),
        ("Schema.", &["SUBMIT(2)", "SUBMIT(3)"]),
    ]);
    let answer = rlm("-> answer", &script).build().unwrap().run(inputs! {}).await.unwrap();
    assert_eq!(
        answer.get::<String>("answer").unwrap(),
        "[[1, 2], {'name': 'a', 'lines': [1]}, {'total': 1, 'when': '2024-02-29'}, [[1, 2]], 3]"
    );
    let schema =
        script.requests().into_iter().find(|request| request.messages[1].content.contains("Schema."));
    let task = schema.unwrap().messages[1].content.clone();
    assert!(task.contains("- answer: int (How many; at least 3)"), "{task}");
    // At the depth limit, the same types hold.
    let replies = ScriptedModel::from_fn(|request| {
        let text = match request.messages.len() {
            1 => "[1, 2]".to_owned(),
            _ => cell("SUBMIT(answer=repr(rlm_query('Numbers.', signature=list[int])))"),
        };
        Ok(Response::new(text).usage(Usage::tokens(1, 1)))
    });
    let limits = |limits: Limits| limits.max_depth(0);
    let flat = rlm("-> answer", &replies).limits(limits).build().unwrap().run(inputs! {}).await.unwrap();
    assert_eq!(flat.get::<String>("answer").unwrap(), "[1, 2]");
}

#[tokio::test]
async fn at_the_depth_limit_a_child_is_a_sub_call() {
    let script = model(&[(
        "The root's task.",
        &["one = rlm_query('Is it?', context='a text')\n\
           two = rlm_query_batched(['Is it?', 'And this?'], ['a', {'b': 1}])\n\
           SUBMIT(answer=one + '|' + '|'.join(two))"],
    )]);
    let limits = |limits: Limits| limits.max_depth(0);
    let answer = rlm("-> answer", &script).limits(limits).build().unwrap().run(inputs! {}).await.unwrap();
    assert_eq!(answer.get::<String>("answer").unwrap(), "yes|yes|yes");
    assert_eq!(tree(answer.trajectory()).len(), 1);
    let prompts: Vec<_> = script.requests()[1..].iter().map(|one| one.messages[0].content.clone()).collect();
    assert_eq!(prompts, ["Is it?\n\na text", "Is it?\n\na", "And this?\n\n{\"b\":1}"]);
    let system = &script.requests()[0].messages[0].content;
    assert!(!system.contains("rlm_query"), "what cannot be had is not offered: {system}");
}

/// Each limit, reached in a child: the child ends in an extract call if its own turns are the limit, and
/// fails in its parent's cell if the tree has no more.
#[tokio::test]
async fn every_limit_of_the_tree_holds_at_every_depth() {
    let forever = &["pass"; 30];
    let ask = "try:\n    SUBMIT(answer=rlm_query('Second.'))\n\
               except RuntimeError as error:\n    seen = str(error)\n    print(seen)";
    let deep = ask.replace("Second.", "Third.");
    for depth in [1, 2] {
        let cases: [(&str, Change, &str); 4] = [
            ("iterations", |limits| limits.max_iterations(3), "extracted"),
            ("sub-calls", |limits| limits.max_llm_calls(4), "no sub-call is left of 4"),
            ("tokens", |limits| limits.max_tokens(1_500), "the 1500 tokens are used"),
            ("cost", |limits| limits.max_cost(0.95), "the 0.95 dollars are used"),
        ];
        for (name, limit, expected) in cases {
            let second: &[&'static str] =
                if depth == 2 { &[String::leak(deep.clone()), "SUBMIT(answer=seen)"] } else { forever };
            let script = model(&[
                ("The root's task.", &[ask, "SUBMIT(answer=seen)"]),
                ("Second.", second),
                ("Third.", forever),
            ]);
            let builder = rlm("-> answer", &script).limits(limit).limits(|limits| limits.max_depth(depth));
            let answer = builder.build().unwrap().run(inputs! {}).await.unwrap();
            let said: Vec<_> = answer
                .trajectory()
                .events()
                .filter_map(|event| match event {
                    Event::CellFinished { observation, .. } => Some(observation.stdout.to_string()),
                    Event::RunFinished { outputs, .. } => Some(outputs["answer"].repr(200)),
                    _ => None,
                })
                .collect();
            assert!(said.iter().any(|text| text.contains(expected)), "{name} at depth {depth}: {said:?}");
            let calls = script.requests().len();
            match name {
                "sub-calls" => assert!(calls <= 4 + 3, "{calls} calls at depth {depth}"),
                "cost" => assert!(answer.usage().cost.unwrap() < 1.15, "{:?}", answer.usage()),
                _ => {}
            }
        }
    }
}

/// A model that takes its time.
#[derive(Debug)]
struct Slow {
    script: ScriptedModel,
    seconds: f64,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
}

impl Slow {
    fn new(script: ScriptedModel, seconds: f64) -> Self {
        Self { script, seconds, in_flight: AtomicUsize::new(0), most_in_flight: AtomicUsize::new(0) }
    }
}

struct OnDrop<F: Fn() -> usize>(F);

impl<F: Fn() -> usize> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[async_trait]
impl LanguageModel for Slow {
    fn name(&self) -> &str {
        "slow"
    }

    async fn complete(&self, request: &Request) -> Result<Response> {
        let now = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_in_flight.fetch_max(now, Ordering::SeqCst);
        // A call that is dropped is not in flight any more.
        let _ended = OnDrop(|| self.in_flight.fetch_sub(1, Ordering::SeqCst));
        tokio::time::sleep(Duration::from_secs_f64(self.seconds)).await;
        self.script.complete(request).await
    }
}

/// A parent with 64 waiting children, each with waiting children of its own, and few places.
#[tokio::test]
async fn waiting_children_of_waiting_children_do_not_block_each_other() {
    let script = model(&[
        ("The root's task.", &["SUBMIT(answer=''.join(rlm_query_batched(['Second.'] * 64)))"]),
        ("Second.", &["SUBMIT(answer=''.join(rlm_query_batched(['Third.'] * 2)))"]),
        ("Third.", &["SUBMIT(answer=llm_query('Is it?')[0])"]),
    ]);
    let slow = Arc::new(Slow::new(script, 0.01));
    let limits = |limits: Limits| limits.max_depth(2).max_concurrent_calls(8).max_llm_calls(1_000);
    let builder = Rlm::builder("-> answer").instructions("The root's task.").interpreter(Wasm::new());
    let rlm = builder.model(slow.clone()).limits(limits).build().unwrap();
    let answer = rlm.run(inputs! {}).await.unwrap();
    assert_eq!(answer.get::<String>("answer").unwrap(), "y".repeat(128));
    assert_eq!(tree(answer.trajectory()).len(), 1 + 64 + 128);
    assert!(slow.most_in_flight.load(Ordering::SeqCst) <= 8);
}

#[tokio::test]
async fn a_batch_that_does_not_fit_is_not_sent() {
    let code = "prompts = [f'Is it {n}?' for n in range(500)]\n\
                for ask in (llm_query_batched, rlm_query_batched):\n    try:\n        ask(prompts)\n    \
                except RuntimeError as error:\n        print(error)";
    let script = model(&[("The root's task.", &[code, "SUBMIT(answer=str(budget()))"])]);
    let limits = |limits: Limits| limits.max_llm_calls(100);
    let answer = rlm("-> answer", &script).limits(limits).build().unwrap().run(inputs! {}).await.unwrap();
    assert_eq!(script.requests().len(), 2, "only the root was asked");
    let first = said(&script, 1);
    assert_eq!(first.matches("500 more asked for, 100 of 100 left, so none was made").count(), 2, "{first}");
    let budget = answer.get::<String>("answer").unwrap();
    assert!(budget.contains("'sub_calls_left': 100") && budget.contains("'turns_left': 18"), "{budget}");

    // The same by tokens and by cost: what one prompt takes is known from the first.
    for (limit, expected) in [
        ((|limits| limits.max_tokens(3_000).max_llm_calls(1_000)) as Change, "max_tokens: this needs"),
        (|limits| limits.max_cost(3.0).max_llm_calls(1_000), "max_cost: this needs about $"),
    ] {
        let code = "llm_query('Is it?')\ntry:\n    llm_query_batched([f'Is it {n}?' for n in range(500)])\n\
                    except RuntimeError as error:\n    print(error)";
        let script = model(&[("The root's task.", &[code, "SUBMIT(answer='done')"])]);
        let answer = rlm("-> answer", &script).limits(limit).build().unwrap().run(inputs! {}).await.unwrap();
        assert_eq!((script.requests().len(), answer.status()), (3, Status::Submitted));
        let said = said(&script, 2);
        assert!(said.contains(expected) && said.contains("so no call was made"), "{said}");
    }
}

#[tokio::test]
async fn two_runs_of_one_rlm_have_budgets_of_their_own() {
    let code = "answers = rlm_query_batched(['Second.'] * 10)\nSUBMIT(answer=''.join(answers))";
    let script = model(&[("The root's task.", &[code]), ("Second.", &["SUBMIT(answer='x')"])]);
    let limits = |limits: Limits| limits.max_llm_calls(10).max_concurrent_calls(4);
    let rlm = rlm("-> answer", &script).limits(limits).build().unwrap();
    let runs: Vec<_> = (0..4).map(|_| tokio::spawn(rlm.run(inputs! {}).into_future())).collect();
    let mut ids = HashSet::new();
    for run in runs {
        let answer = run.await.unwrap().unwrap();
        assert_eq!(answer.get::<String>("answer").unwrap(), "x".repeat(10));
        let runs = tree(answer.trajectory());
        assert_eq!((runs.len(), answer.usage().calls), (11, 11));
        ids.extend(runs.into_iter().map(|(_, id)| id));
    }
    assert_eq!(ids.len(), 44, "each run of each tree has an id of its own");
}

#[tokio::test]
async fn a_cell_may_wait_for_its_children_longer_than_it_may_compute() {
    let script = model(&[
        ("The root's task.", &["import time\nanswer_ = rlm_query('Second.')\nSUBMIT(answer=answer_)"]),
        ("Second.", &["SUBMIT(answer=llm_query('Is it?'))"]),
    ]);
    let builder = Rlm::builder("-> answer").instructions("The root's task.").interpreter(Wasm::new());
    let limits = |limits: Limits| limits.cell_timeout(Duration::from_millis(300));
    let rlm = builder.model(Slow::new(script, 0.4)).limits(limits).build().unwrap();
    let answer = rlm.run(inputs! {}).await.unwrap();
    assert_eq!((answer.get::<String>("answer").unwrap(), answer.status()), ("yes".into(), Status::Submitted));
}

#[tokio::test]
async fn the_time_of_a_run_ends_its_children_and_their_calls() {
    let script = model(&[
        ("The root's task.", &["SUBMIT(answer=rlm_query('Second.'))", "pass", "pass", "pass"]),
        ("Second.", &["llm_query('Is it?')"; 30]),
    ]);
    let slow = Arc::new(Slow::new(script, 0.2));
    let builder = Rlm::builder("-> answer").instructions("The root's task.").interpreter(Wasm::new());
    let limits = |limits: Limits| limits.run_timeout(Duration::from_secs(8));
    let rlm = builder.model(slow.clone()).limits(limits).build().unwrap();
    let answer = rlm.run(inputs! {}).await.unwrap();
    assert_eq!(answer.status(), Status::Submitted, "the child's extract call comes before its parent's");
    assert_eq!(answer.get::<String>("answer").unwrap(), "extracted");
    assert_eq!(slow.in_flight.load(Ordering::SeqCst), 0);
    let child = &answer.trajectory().children()[0];
    let status = child.events().find_map(|event| match event {
        Event::RunFinished { status, .. } => Some(*status),
        _ => None,
    });
    assert_eq!(status, Some(Status::LimitReached(Limit::Time)));
}

#[tokio::test]
async fn a_child_that_fails_raises_in_the_cell_and_its_siblings_go_on() {
    let script = ScriptedModel::from_fn(|request| {
        let task = request.messages.get(1).map_or("", |task| &task.content);
        if task.contains("Broken.") {
            return Err(abyme::Error::new(ErrorKind::BadRequest, "this model has no such parameter"));
        }
        let code = if task.contains("Second.") {
            "SUBMIT(answer='fine')"
        } else {
            "try:\n    rlm_query('Broken.')\nexcept RuntimeError as error:\n    one = str(error)\n\
             two = rlm_query_batched(['Second.', 'Broken.', 'Second.'])\n\
             SUBMIT(answer=one + '|' + '|'.join(two))"
        };
        Ok(Response::new(cell(code)))
    });
    let answer = rlm("-> answer", &script).build().unwrap().run(inputs! {}).await.unwrap();
    let failure = "the child run failed: this model has no such parameter";
    assert_eq!(answer.get::<String>("answer").unwrap(), format!("{failure}|fine|[ERROR] {failure}|fine"));
}

#[tokio::test]
async fn a_cancelled_run_ends_its_children() {
    let script = model(&[
        ("The root's task.", &["rlm_query_batched(['Second.'] * 3)"]),
        ("Second.", &["import time\nwhile True:\n    time.sleep(0.01)"]),
    ]);
    let run = rlm("-> answer", &script).build().unwrap().run(inputs! {});
    let handle = run.cancel_handle();
    let mut run = run;
    let mut events = run.events();
    let run = tokio::spawn(run.into_future());
    let mut cells = 0;
    while cells < 4 {
        let record = events.next_record().await.unwrap();
        cells += usize::from(matches!(record.event, Event::CellStarted { .. }));
    }
    handle.cancel();
    let error = run.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cancelled);
    let trajectory = error.trajectory().unwrap();
    let ended = |event: &&Event| matches!(event, Event::RunFailed { .. });
    assert_eq!(trajectory.events().filter(ended).count(), 4, "each run of the tree records its end");
    let finished = |event: &&Event| matches!(event, Event::ChildFinished { .. });
    assert_eq!(trajectory.events().filter(finished).count(), 3);
}

#[tokio::test]
async fn what_a_child_cannot_be_asked_is_an_error_of_its_own() {
    let calls = [
        ("rlm_query('')", "ValueError", "the prompt is empty"),
        ("rlm_query(3)", "TypeError", "rlm_query() needs a str as `prompt`, not int"),
        (
            "rlm_query('x', signature='answer: inte')",
            "ValueError",
            "unknown type `inte`, did you mean `int`?",
        ),
        ("rlm_query('x', signature='lst[str]')", "ValueError", "unknown type `lst`, did you mean `list`?"),
        (
            "rlm_query('x', signature={'a': 'lst'})",
            "ValueError",
            "rlm_query(): type \"lst\": at 0: unknown type",
        ),
        ("rlm_query('x', signature=3)", "ValueError", "int 3 is no type"),
        ("rlm_query('x', (lambda a: a.append(a) or a)([]))", "ValueError", "contains itself"),
        ("rlm_query('x', signature='a b -> c')", "ValueError", "rlm_query(): signature \"a b -> c\": at 2"),
        ("rlm_query('x', 'text', signature='-> b')", "ValueError", "has no input to hold the context"),
        ("rlm_query('x', 'text', signature='a, b -> c')", "ValueError", "must be a dict of the inputs"),
        ("rlm_query('x', {'a': 1}, signature='a, b -> c')", "ValueError", "missing input: `b`"),
        ("rlm_query('x', 'n', signature='n: int -> c')", "ValueError", "input `n`: expected int"),
        ("rlm_query('x', 'n', signature='SUBMIT -> c')", "ValueError", "SUBMIT"),
        ("rlm_query('x', model='gpt')", "ValueError", "no model is called \"gpt\""),
        ("rlm_query('x', max_iterations=0)", "ValueError", "needs at least 1 as `max_iterations`, not 0"),
        ("rlm_query('x', max_iterations='3')", "TypeError", "needs an int as `max_iterations`, not str"),
        ("rlm_query_batched('abc')", "TypeError", "needs a list of str as `prompts`, not str"),
        ("rlm_query_batched(['a', 2])", "TypeError", "prompts[1] is of type int"),
        ("rlm_query_batched(['a', 'b'], ['c'])", "ValueError", "there are 2 prompts and 1 contexts"),
        ("rlm_query_batched(['a'], 'c')", "TypeError", "needs a list as `contexts`, not str"),
    ];
    let mut code = String::from("seen = []\n");
    for (call, ..) in calls {
        code += &format!(
            "try:\n    {call}\n    seen.append('nothing')\nexcept Exception as error:\n    \
             seen.append(f'{{type(error).__name__}}: {{error}}')\n"
        );
    }
    code += "SUBMIT(seen=seen)";
    let script = ScriptedModel::replies([cell(&code)]);
    let answer = rlm("-> seen: list[str]", &script).build().unwrap().run(inputs! {}).await.unwrap();
    let seen: Vec<String> = answer.get("seen").unwrap();
    for ((call, kind, message), seen) in calls.iter().zip(seen) {
        assert!(seen.starts_with(kind) && seen.contains(message), "{call}: {seen}");
    }
    assert_eq!(script.requests().len(), 1, "no child was started");
}

#[tokio::test]
async fn a_task_that_is_too_long_to_be_said_is_a_variable() {
    let script = model(&[
        ("The root's task.", &["SUBMIT(answer=rlm_query('Sum. ' + '1 ' * 20_000, {'a': 1}))"]),
        (
            "The task is written in the variable `prompt`.",
            &["SUBMIT(answer=f'{prompt.count(\"1\")} {context}')"],
        ),
    ]);
    let answer = rlm("-> answer", &script).build().unwrap().run(inputs! {}).await.unwrap();
    assert_eq!(answer.get::<String>("answer").unwrap(), "20000 {'a': 1}");
}

#[tokio::test]
async fn several_outputs_are_a_dict_and_the_prompt_may_be_the_only_input() {
    let script = model(&[
        (
            "The root's task.",
            &["SUBMIT(answer=str(rlm_query('Second.', signature='word -> up: str, size: int')))"],
        ),
        ("Second.", &["SUBMIT(up=word.upper(), size=len(word))"]),
    ]);
    let answer = rlm("-> answer", &script).build().unwrap().run(inputs! {}).await.unwrap();
    assert_eq!(answer.get::<String>("answer").unwrap(), "{'up': 'SECOND.', 'size': 7}");
}

#[tokio::test]
async fn an_input_may_be_called_budget() {
    let script = model(&[
        ("The root's task.", &["SUBMIT(answer=str(budget) + rlm_query('Second.'))"]),
        ("Second.", &["SUBMIT(answer=str(sorted(budget())))"]),
    ]);
    let rlm = rlm("budget: int -> answer", &script).build().unwrap();
    let answer = rlm.run(inputs! { budget: Value::from(5) }).await.unwrap().get::<String>("answer").unwrap();
    assert!(answer.starts_with("5['depth', 'dollars_left'"), "{answer}");
}

#[tokio::test]
async fn the_tree_shares_how_often_a_tool_may_be_called() {
    let ask = "try:\n    rung = ring()\nexcept RuntimeError as error:\n    rung = str(error)\n";
    let root: &'static str = format!("{ask}SUBMIT(answer=rung + '|' + rlm_query('Second.'))").leak();
    let second: &'static str = format!("{ask}SUBMIT(answer=rung)").leak();
    let script = model(&[("The root's task.", &[root]), ("Second.", &[second])]);
    let ring = Tool::new("ring", "Rings.", || "rung").max_calls(1);
    let answer = rlm("-> answer", &script).tool(ring).build().unwrap().run(inputs! {}).await.unwrap();
    let answer = answer.get::<String>("answer").unwrap();
    assert!(answer.starts_with("rung|") && answer.contains("ring"), "{answer}");
    assert_ne!(answer, "rung|rung");
}
