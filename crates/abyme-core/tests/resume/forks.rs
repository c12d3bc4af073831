//! Forks: runs that go on from a turn of another one, from its record or while it is under way.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use abyme_core::{
    ErrorKind, Event, Observation, Record, Rlm, Role, Submission, Trajectory, Value, Via, inputs,
    testing::{ScriptedInterpreter, ScriptedModel},
};

use super::words::{SCRIPT, WordsFactory, cut, set, unbroken};

#[tokio::test]
async fn forks_go_on_from_a_turn_by_themselves() {
    let first = set(SCRIPT, |rlm| rlm);
    let record = unbroken(&first).await.unwrap().trajectory().clone();
    let other = &[SCRIPT[0], SCRIPT[1], SCRIPT[2], SCRIPT[3], "```python\nshow\nsubmit answer=7\n```"][..];
    let other: &'static [&'static str] = Box::leak(other.to_vec().into_boxed_slice());
    let forks = set(other, |rlm| rlm);
    let run = forks.rlm.fork_from(&record, 3);
    let id = run.id().to_owned();
    let fork = run.await.unwrap();
    assert_eq!(fork.get::<i64>("answer").unwrap(), 7);
    assert_eq!(forks.model.requests().len(), 1);
    assert!(fork.trajectory().run() == id && id != record.run());
    let origin = fork.trajectory().events().find_map(|event| match event {
        Event::RunStarted { forked_from: Some(origin), .. } => Some((origin.run.clone(), origin.turn)),
        _ => None,
    });
    assert_eq!(origin, Some((record.run().to_owned(), 3)));
    let seen = fork.trajectory().turns().last().unwrap().observation.clone().unwrap().stdout.to_string();
    assert!(seen.starts_with("kept: one,'re: first','re: first'"), "{seen}");
    let error = forks.rlm.fork_from(&record, 99).await.unwrap_err();
    assert!(error.to_string().contains("its record has"), "{error}");
    let from_the_start = forks.rlm.fork_from(&record, 0).await.unwrap();
    assert_eq!(from_the_start.get::<i64>("answer").unwrap(), 7);
}

#[tokio::test]
async fn a_run_under_way_is_forked_between_its_turns() {
    const REPLIES: &[&str] = &[
        "```python\nkeep one\nask first\n```",
        "```python\nkeep two\n```",
        "```python\nshow\nsubmit answer=1\n```",
    ];
    let set = set(REPLIES, |rlm| rlm);
    let run = set.rlm.run(inputs! { docs: "d" });
    let (handle, asked) = (run.fork_handle(), run.fork_at(1));
    let fork = async { handle.fork_at(1).await.unwrap().await };
    let (fork, whole) = tokio::join!(fork, run.into_future());
    let (whole, fork) = (whole.unwrap(), fork.unwrap());
    assert_eq!(whole.outputs(), fork.outputs());
    assert_ne!(whole.trajectory().run(), fork.trajectory().run());
    assert_eq!(set.model.requests().len(), 4 + 2, "the fork asks for the turns after the first");
    assert_eq!(asked.await.unwrap().await.unwrap().outputs(), whole.outputs(), "it was asked for before");
    // After its end the record is forked.
    assert_eq!(handle.fork_at(2).await.unwrap().await.unwrap().outputs(), whole.outputs());
    let late = handle.fork_at(3).await.unwrap().await.unwrap_err();
    assert!(late.to_string().contains("ended in turn 3"), "{late}");
    let dropped = set.rlm.run(inputs! { docs: "d" });
    let handle = dropped.fork_handle();
    drop(dropped);
    assert_eq!(handle.fork_at(1).await.unwrap_err().kind(), ErrorKind::Cancelled);
}

#[tokio::test]
async fn a_fork_begins_before_the_next_turn_where_nothing_waits() {
    let interpreter = ScriptedInterpreter::from_fn(|cell| {
        let mut seen = Observation::default();
        seen.submission = (cell.code == "second").then(answer);
        Ok(seen)
    });
    let rlm = Rlm::builder("docs -> answer: int").model(two_cells()).interpreter(interpreter.factory());
    let is_forked = Arc::new(AtomicBool::new(false));
    let (forked, was_forked) = (is_forked.clone(), Arc::new(AtomicBool::new(false)));
    let noted = was_forked.clone();
    let run = rlm.build().unwrap().run(inputs! { docs: "d" }).on_event(move |record: &Arc<Record>| {
        if matches!(record.event, Event::ModelReplied { turn: 2, .. }) {
            noted.store(is_forked.load(Ordering::SeqCst), Ordering::SeqCst);
        }
    });
    let fork = run.fork_at(1);
    let (whole, fork) = tokio::join!(run.into_future(), async {
        let fork = fork.await.unwrap();
        forked.store(true, Ordering::SeqCst);
        fork.await
    });
    assert_eq!(whole.unwrap().outputs(), fork.unwrap().outputs());
    assert!(was_forked.load(Ordering::SeqCst), "the run went on before its fork was there");
}

#[tokio::test]
async fn a_backend_that_can_copies_the_session_of_a_fork() {
    let interpreter = ScriptedInterpreter::from_fn(|cell| {
        let mut seen = Observation::default();
        seen.submission = (cell.code == "second").then(answer);
        Ok(seen)
    });
    let rlm = Rlm::builder("docs -> answer: int").model(two_cells()).interpreter(interpreter.factory());
    let run = rlm.seed(1).build().unwrap().run(inputs! { docs: "d" });
    let forks = [run.fork_at(1), run.fork_at(1)];
    let whole = run.await.unwrap();
    let mut seeds = BTreeSet::from([1]);
    for fork in forks {
        let fork = fork.await.unwrap().await.unwrap();
        assert_eq!(whole.outputs(), fork.outputs());
        seeds.extend(fork_seeds(fork.trajectory()).0);
    }
    let ran = |code: &str| interpreter.cells().iter().filter(|cell| cell.code == code).count();
    assert_eq!((ran("first"), ran("second")), (1, 3), "no fork ran the first cell again");
    assert_eq!(seeds.len(), 3);
    for seed in seeds {
        let is_seeding = |cell: &&abyme_core::Cell| cell.code.contains(&format!("seed({seed})"));
        assert_eq!(interpreter.cells().iter().filter(is_seeding).count(), 1, "each draws numbers of its own");
    }
}

/// The seed of a fork, and that of the fork which its run was.
fn fork_seeds(trajectory: &Trajectory) -> (Option<u64>, Option<u64>) {
    match trajectory.events().next() {
        Some(Event::RunStarted { forked_from: Some(origin), .. }) => {
            (origin.seed, origin.before.as_ref().and_then(|before| before.seed))
        }
        other => panic!("no fork begins with {other:?}"),
    }
}

/// The seeds that sessions had, and what cells kept, in order.
fn seeds_and_kept(factory: &WordsFactory) -> Vec<String> {
    let cells = factory.cells.lock().unwrap().join("\n");
    let lines = cells.lines().filter_map(|line| {
        let seed = line.strip_prefix("_abyme_random.seed(").and_then(|line| line.strip_suffix(')'));
        seed.map(|seed| format!("seed {seed}")).or_else(|| line.strip_prefix("keep ").map(str::to_owned))
    });
    lines.collect()
}

#[tokio::test]
async fn forks_of_forks_draw_numbers_of_their_own_and_are_replayed() {
    const REPLIES: &[&str] = &[
        "```python\nkeep one\n```",
        "```python\nkeep two\nchild child-1\n```",
        "```python\nkeep three\n```",
        "```python\nsubmit answer=1\n```",
    ];
    let seeded = || set(REPLIES, |rlm| rlm.seed(1));
    let run = unbroken(&seeded()).await.unwrap();
    let first = seeded();
    let fork = first.rlm.fork_from(run.trajectory(), 1).await.unwrap();
    let below = seeded();
    let fork_of_fork = below.rlm.fork_from(fork.trajectory(), 2).await.unwrap();
    let (one, two) = (fork_seeds(fork.trajectory()), fork_seeds(fork_of_fork.trajectory()));
    assert_eq!((one.1, two.1), (None, one.0));
    let [first_seed, second_seed] = [one, two].map(|(seed, _)| format!("seed {}", seed.unwrap()));
    let expected = ["seed 1", "one", &first_seed, "two", &second_seed, "three"].map(str::to_owned);
    assert_eq!(seeds_and_kept(&below.factory), expected, "the child was answered");
    let again = seeded();
    again.rlm.replay_from(fork_of_fork.trajectory().clone()).await.unwrap();
    let child: Vec<_> = child_seeds(fork.trajectory()).iter().map(|seed| format!("seed {seed}")).collect();
    let is_root = |line: &String| !child.contains(line);
    let replayed: Vec<_> = seeds_and_kept(&again.factory).into_iter().filter(is_root).collect();
    assert_eq!(replayed, expected);

    let other = first.rlm.fork_from(fork.trajectory(), 1).await.unwrap();
    assert_eq!(fork_seeds(other.trajectory()).1, None, "the first fork has nothing of its own before that");
    assert_ne!(child_seeds(other.trajectory()), child_seeds(fork.trajectory()), "children differ too");
}

/// The seeds of the children.
fn child_seeds(trajectory: &Trajectory) -> Vec<u64> {
    let seeds = trajectory.events().filter_map(|event| match event {
        Event::RunStarted { parent: Some(_), seed, .. } => *seed,
        _ => None,
    });
    seeds.collect()
}

#[tokio::test]
async fn a_turn_whose_transcript_could_not_be_summarised_has_not_ended_by_that() {
    let run = unbroken(&set(SCRIPT, |rlm| rlm)).await.unwrap();
    let record = run.trajectory();
    let replied = record.events().position(|event| matches!(event, Event::ModelReplied { turn: 3, .. }));
    let replied = replied.unwrap();
    let refused = |at: f64| {
        serde_json::json!({
            "run": record.run(), "at": at, "event": "reply_refused", "turn": 3, "purpose": "compact",
            "problem": "no summary",
        })
    };
    let mut records: Vec<Record> = record.records().take(replied + 1).cloned().collect();
    records.insert(replied, serde_json::from_value(refused(records[replied].at)).unwrap());
    let error = set(SCRIPT, |rlm| rlm).rlm.fork_from(&records.into_iter().collect(), 3).await.unwrap_err();
    assert!(error.to_string().contains("the turn has not ended"), "{error}");
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert!(cut(record, replied).turns().len() >= 2);
}

#[tokio::test]
async fn the_copy_of_a_session_that_died_is_made_again() {
    let setups = Arc::new(AtomicU32::new(0));
    let interpreter = ScriptedInterpreter::from_fn(move |cell| {
        let mut seen = Observation::default();
        match &*cell.code {
            // The second session is the copy.
            "" if setups.fetch_add(1, Ordering::Relaxed) == 1 => seen.session_ended = Some("gone".into()),
            "second" => seen.submission = Some(answer()),
            _ => {}
        }
        Ok(seen)
    });
    let model = two_cells();
    let rlm = Rlm::builder("docs -> answer: int").model(model.clone()).interpreter(interpreter.factory());
    let run = rlm.build().unwrap().run(inputs! { docs: "d" });
    let fork = run.fork_at(1);
    let whole = run.await.unwrap();
    let fork = fork.await.unwrap().await.unwrap();
    assert_eq!(whole.outputs(), fork.outputs());
    let ran = |code: &str| interpreter.cells().iter().filter(|cell| cell.code == code).count();
    assert_eq!((ran("first"), ran("second")), (2, 2));
    assert_eq!(model.requests().len(), 3, "the first turn was not asked for again");
    let is_lost = |event: &Event| matches!(event, Event::SessionLost { .. });
    assert!(!fork.trajectory().events().any(is_lost), "the model hears nothing of it");
}

fn answer() -> Submission {
    Submission::fields(Via::Submit, [("answer".to_owned(), Value::from(1))].into_iter().collect())
}

/// Replies with the cells `first` and `second`.
fn two_cells() -> ScriptedModel {
    ScriptedModel::from_fn(move |request| {
        let said = request.messages.iter().filter(|message| message.role == Role::Assistant);
        Ok(["```python\nfirst\n```", "```python\nsecond\n```"][said.count()].into())
    })
}
