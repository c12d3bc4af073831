//! The runner's own logic, seen through the library: outcomes, limits, expected failures.
#![allow(clippy::panic, clippy::unwrap_used, reason = "a test says by panicking what is wrong")]

mod fake;

use std::time::{Duration, Instant};

use abyme_conformance::{CaseResult, Suite, Verdict, case_names, run_all, run_case};

use self::fake::{FAILS, Fake, LACKS, Manner, PASSES};

fn message(outcome: CaseResult) -> String {
    match outcome {
        CaseResult::Failed(message) => message,
        other => panic!("expected a failure, got {other:?}"),
    }
}

#[tokio::test]
async fn a_case_passes_or_fails_by_what_the_interpreter_does() {
    assert_eq!(run_case(Fake::new(Manner::Silent), PASSES).await, CaseResult::Passed);
    assert!(run_case(Fake::new(Manner::Silent), FAILS).await.is_failed());
}

#[tokio::test]
async fn a_failure_shows_the_cell_the_observation_and_the_place() {
    let message = message(run_case(Fake::new(Manner::Silent), FAILS).await);
    for part in ["expected the value 42", "1 | 6 * 7", "took:", "lifecycle.rs:"] {
        assert!(message.contains(part), "{part:?} is not in {message}");
    }
}

#[tokio::test]
async fn a_case_may_be_called_by_its_short_name() {
    assert_eq!(run_case(Fake::new(Manner::Silent), "shutdown_twice_is_fine").await, CaseResult::Passed);
    assert!(message(run_case(Fake::new(Manner::Silent), "no_such").await).contains("no case"));
}

#[tokio::test]
async fn a_missing_power_is_a_skip_with_its_reason() {
    assert_eq!(
        run_case(Fake::new(Manner::Silent), LACKS).await,
        CaseResult::Skipped("fake lacks concurrent calls".to_owned())
    );
}

#[tokio::test]
async fn a_panic_of_the_backend_is_a_failure() {
    assert!(message(run_case(Fake::new(Manner::Panics), FAILS).await).contains("the fake panics"));
}

#[tokio::test]
async fn a_hung_case_is_a_failure_and_holds_nobody_up() {
    for manner in [Manner::Hangs, Manner::Blocks] {
        let suite = Suite::new(Fake::new(manner)).timeout(Duration::from_millis(200));
        let begun = Instant::now();
        let message = message(suite.run_case(FAILS).await);
        assert!(message.contains("hung: not done after 200ms"), "{message}");
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn every_case_runs_once_and_a_silent_interpreter_fails_in_every_clause() {
    let outcomes = run_all(Fake::new(Manner::Silent)).await;
    let names: Vec<&str> = outcomes.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, case_names());
    for clause in 1..=16 {
        let prefix = format!("c{clause:02}_");
        let failed =
            outcomes.iter().filter(|(name, outcome)| name.starts_with(&prefix) && outcome.is_failed());
        assert!(failed.count() > 0, "C{clause} found nothing wrong with an interpreter that does nothing");
    }
}

#[test]
fn expected_failures_are_strict_in_both_directions() {
    let suite = Suite::new(Fake::new(Manner::Silent)).xfail(FAILS, "it runs no Python");
    let failed = || CaseResult::Failed("no".to_owned());
    assert_eq!(suite.judge(FAILS, failed()), Verdict::Fine);
    let passed = suite.judge(FAILS, CaseResult::Passed);
    assert!(matches!(passed, Verdict::Bad(text) if text.contains("it runs no Python")));
    assert_eq!(suite.judge(PASSES, CaseResult::Passed), Verdict::Fine);
    assert_eq!(suite.judge(PASSES, failed()), Verdict::Bad("no".to_owned()));
    let skipped = CaseResult::Skipped("not here".to_owned());
    assert_eq!(suite.judge(FAILS, skipped), Verdict::Ignored("not here".to_owned()));
}

#[test]
fn the_list_of_expected_failures_is_checked() {
    let suite = || Suite::new(Fake::new(Manner::Silent));
    assert_eq!(suite().xfail(FAILS, "why").xfail("shutdown_twice_is_fine", "why").check(), Ok(()));
    assert!(
        suite()
            .xfail("c01_lifecycle::gone", "why")
            .check()
            .is_err_and(|text| text.contains("c01_lifecycle::gone"))
    );
    assert!(suite().xfail(FAILS, "why").xfail("start_is_optional", "again").check().is_err());
    assert!(suite().xfail(FAILS, " ").check().is_err());
}
