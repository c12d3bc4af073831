//! The form of a trajectory: what is written reads back, and what is damaged is refused with its line.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use indexmap::IndexMap;

use super::*;
use crate::{
    trajectory::event::{CallOutcome, Event},
    value::Value,
};

fn record(at: f64, event: Event) -> Record {
    Record::new("00000000000000aa", at, event)
}

fn encoded(records: &[Record]) -> String {
    let (mut encoder, mut text) = Encoder::new();
    records.iter().for_each(|record| text.push_str(&encoder.encode(record)));
    text
}

fn long(text: &str) -> String {
    text.repeat(MIN_BLOB_BYTES / text.len() + 1)
}

#[test]
fn long_texts_are_there_once_and_read_back_in_every_place() {
    let (long, other) = (long("é\"\\\n\u{1}"), long("x"));
    let keys = ["$blob", "$$blob", "$$$blob", "blob", "$blobs", "x$blob", &long];
    let dict: IndexMap<_, _> =
        keys.iter().map(|key| ((*key).to_owned(), Value::from(other.as_str()))).collect();
    let arguments = IndexMap::from([
        ("text".to_owned(), Value::from(long.as_str())),
        ("list".to_owned(), Value::List(vec![Value::from(long.as_str()), Value::Dict(dict)])),
        ("$blob".to_owned(), Value::from("not one")),
        ("bytes".to_owned(), Value::Bytes(vec![7; MIN_BLOB_BYTES].into())),
        ("number".to_owned(), Value::BigInt("9".repeat(MIN_BLOB_BYTES))),
        ("float".to_owned(), Value::Float(f64::INFINITY)),
    ]);
    let records = [
        record(
            0.5,
            Event::ToolCallStarted { turn: 1, call: 1, tool: "t".to_owned(), arguments, approval: None },
        ),
        record(0.75, Event::SessionLost { turn: 1, reason: long.clone() }),
        record(
            1.0,
            Event::ToolCallFinished {
                turn: 1,
                call: 1,
                outcome: CallOutcome::Result(Value::from(long.as_str())),
                seconds: 0.1,
            },
        ),
    ];
    let text = encoded(&records);
    let blobs = text.lines().filter(|line| line.starts_with(BLOB_LINE)).count();
    assert_eq!(blobs, 4, "two texts, the bytes and the digits");
    assert!(text.matches(&other).count() == 1);
    let read = decode(text.as_bytes()).unwrap();
    assert!(read.records.iter().map(|record| &**record).eq(&records));
    assert_eq!(read.whole_bytes, text.len());
}

#[test]
fn what_goes_on_after_a_cut_is_what_would_have_been_written() {
    let lost = |reason: String| record(1.0, Event::SessionLost { turn: 1, reason });
    let records = [lost(long("a")), lost("b".to_owned()), lost(long("c")), lost(long("a"))];
    let whole = encoded(&records);
    for cut in 0..=whole.len() {
        let cut = &whole.as_bytes()[..cut];
        let Ok(mut read) = decode(cut) else {
            assert!(!cut.contains(&b'\n'), "only what holds no line cannot be read");
            continue;
        };
        if cut.len() != read.whole_bytes && !cut.len().is_multiple_of(64) {
            continue;
        }
        let mut text = String::from_utf8(cut[..read.whole_bytes].to_vec()).unwrap();
        assert!(read.records.iter().map(|record| &**record).eq(&records[..read.records.len()]));
        for record in &records[read.records.len()..] {
            text.push_str(&read.encoder.encode(record));
        }
        assert_eq!(text, whole);
    }
}

#[test]
fn what_was_changed_is_told_with_its_line() {
    let started =
        |turn| record(1.0, Event::CellStarted { turn, reasoning: String::new(), code: "1".to_owned() });
    let text =
        encoded(&[started(1), started(2), record(2.0, Event::SessionLost { turn: 3, reason: long("x") })]);
    let problem = |text: &str| decode(text.as_bytes()).unwrap_err().message().to_owned();
    let lines: Vec<_> = text.split_inclusive('\n').collect();
    assert_eq!(lines.len(), 5);
    let without = |line: usize| [&lines[..line], &lines[line + 1..]].concat().concat();
    for line in 1..4 {
        assert!(
            problem(&without(line)).contains(&format!("its line {} does not have its checksum", line + 1))
        );
    }
    assert_eq!(decode(without(4).as_bytes()).unwrap().records.len(), 2, "as a crash would leave it");
    let swapped = [lines[0], lines[2], lines[1]].concat();
    assert!(problem(&swapped).contains("its line 2 does not have its checksum"), "{}", problem(&swapped));
    assert!(problem(&text.replacen("\"turn\":2", "\"turn\":9", 1)).contains("line 3 does not have"));
    assert!(problem(&text.replacen("\"turn\":2", "\"turn\":2 ", 1)).contains("line 3"));
    assert!(problem(&(text.clone() + "\n")).contains("line 6 does not end with a checksum"));
    assert!(problem(&text.replacen(",\"sum\"", ",\"som\"", 1)).contains("line 2 does not end with"));
}
