//! Conversations on real backends: what stays in a session from question to question, what sleep keeps of
//! it, and what a model is told where it is lost.

use abyme::{Conversation, ConversationsConfig, Event, Trajectory, inputs};

use crate::{
    Backend,
    runs::{rlm, said},
};

const FIRST: &str = "import collections\nrows = report.split()\n\
                     def count(word): return collections.Counter(rows)[word]\nSUBMIT(count('ada'))";

pub(crate) async fn a_conversation_goes_on_in_its_session(backend: Backend) {
    let (builder, model) = rlm(
        backend,
        "report, question -> answer: int",
        &[
            FIRST,
            "print(question_1, answer_1, question)\nSUBMIT(count(question) + answer_1)",
            "1 / 0",
            "SUBMIT(len(report))",
        ],
    );
    let talk = builder.build().unwrap().conversation();
    let report = "ada bob ada ".repeat(50_000);
    let first = talk.ask(inputs! { report: report, question: "How often ada?" }).await.unwrap();
    assert_eq!(first.get::<i64>("answer").unwrap(), 100_000);
    let second = talk.ask(inputs! { question: "bob" }).await.unwrap();
    assert_eq!(second.get::<i64>("answer").unwrap(), 150_000);
    let task = said(&model, 1);
    for part in ["`question_1` (str, 14 characters)", "`answer_1` (int)", "`rows` (list[150000])"] {
        assert!(task.contains(part), "`{part}` is not in: {task}");
    }
    let third = talk.ask(inputs! { question: "again", report: "short" }).await.unwrap();
    assert_eq!(third.get::<i64>("answer").unwrap(), 5);
    assert!(said(&model, 2).contains("`report_1` (str, 600000 characters)"), "{}", said(&model, 2));
    talk.shutdown().await.unwrap();
}

pub(crate) async fn a_conversation_is_brought_back(backend: Backend) {
    let directory = tempfile::tempdir().unwrap();
    let has_snapshots = backend.capabilities().snapshot;
    // In this process the exit would be that of this program.
    let crash = if backend.capabilities().crash_isolated { "import os\nos._exit(3)" } else { "pass" };
    let cells = [
        FIRST,
        "try: found = count('bob')\nexcept NameError: found = report.split().count('bob')\n\
         SUBMIT(found + answer_1)",
        crash,
        "SUBMIT(answer_1 + answer_2 + len(question_1))",
    ];
    let (builder, model) = rlm(backend.clone(), "report, question -> answer: int", &cells);
    let rlm = builder.build().unwrap();
    let talks = rlm.conversations(ConversationsConfig::default().directory(directory.path())).unwrap();
    let talk: Conversation = talks.open("Ada / 1").unwrap();
    talk.ask(inputs! { report: "ada bob ada", question: "ada" }).await.unwrap();
    talks.sleep_all().await.unwrap();
    assert!(talk.is_asleep());
    let second = talk.ask(inputs! { question: "bob" }).await.unwrap();
    assert_eq!(second.get::<i64>("answer").unwrap(), 3);
    let is_told = said(&model, 1).contains("The session was started anew after question 1");
    assert_eq!(is_told, !has_snapshots, "{}", said(&model, 1));
    // Its session is lost in the middle of a question, and has the inputs and results again.
    let third = talk.ask(inputs! { question: "sum" }).await.unwrap();
    assert_eq!(third.get::<i64>("answer").unwrap(), 2 + 3 + 3);
    talks.sleep_all().await.unwrap();
    let ids = talks.ids().await.unwrap();
    assert_eq!((ids, talks.awake()), (vec!["Ada / 1".to_owned()], 0));
}

pub(crate) async fn a_question_goes_on_from_its_record(backend: Backend) {
    if !backend.capabilities().snapshot {
        // What the first question made is lost with the process.
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("after-1.conversation");
    let signature = "report, question -> answer: int";
    let cells = [
        FIRST,
        "rows.append(question)\nprint(len(rows))",
        "SUBMIT(count(question))",
        "SUBMIT(10 * len(rows) + answer_2)",
    ];
    let (builder, _) = rlm(backend.clone(), signature, &cells[..3]);
    let talk = builder.build().unwrap().conversation();
    talk.ask(inputs! { report: "ada bob ada", question: "ada" }).await.unwrap();
    talk.save(&path).await.unwrap();
    let second = talk.ask(inputs! { question: "eve" }).await.unwrap();
    let record = second.trajectory();
    let ends_cell = |event: &Event| matches!(event, Event::CellFinished { .. });
    let first_cell = record.events().position(ends_cell).unwrap() + 1;
    // The process ends after the first cell, or after the answer.
    for (records, next) in [(first_cell, 2), (record.records().count(), 3)] {
        let so_far: Trajectory = record.records().take(records).cloned().collect();
        let (builder, _) = rlm(backend.clone(), signature, &cells[next..]);
        let talk = builder.build().unwrap().load_conversation(&path).await.unwrap();
        let second = talk.resume_from(so_far).await.unwrap();
        assert_eq!(second.get::<i64>("answer").unwrap(), 1);
        let third = talk.ask(inputs! { question: "all" }).await.unwrap();
        assert_eq!(third.get::<i64>("answer").unwrap(), 41, "each cell ran once");
    }
}
