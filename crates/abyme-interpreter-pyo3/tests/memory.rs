//! What a submission makes the host hold beside Python's own objects, measured in a process of its own.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use abyme_conformance::memory::grown_bytes;
use abyme_core::{Cell, CodeInterpreter, NoHostFunctions, Observation};
use common::{session, value};

/// What everything else may take.
const REST: u64 = 64 << 20;

/// Binds `x`, submits it, and runs one more cell.
fn submit(make: &str) -> Observation {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut session = session().await;
        value(&mut session, &format!("x = {make}")).await;
        let observation = session.execute(Cell::new("SUBMIT(x)"), &NoHostFunctions).await.unwrap();
        assert_eq!(value(&mut session, "len(x) > 0").await, "True");
        observation
    })
}

#[test]
fn a_submission_over_the_budget_takes_nothing() {
    let grown = grown_bytes("a_submission_over_the_budget_takes_nothing", || {
        let observation = submit("[0] * 50_000_000");
        assert_eq!(observation.submission, None);
        let message = observation.error.unwrap().message;
        assert!(message.contains("more than 256 MiB of the host's memory"), "{message}");
    });
    // The list is Python's own: the cell made it in this process.
    assert!(grown < 8 * 50_000_000 + REST, "{} MB", grown >> 20);
}

#[test]
fn a_submission_within_the_budget_takes_no_more_than_that() {
    let grown = grown_bytes("a_submission_within_the_budget_takes_no_more_than_that", || {
        assert!(submit("[0] * 3_500_000").submission.is_some());
    });
    assert!(grown < (256 << 20) + REST, "{} MB", grown >> 20);
}
