//! Does the conformance suite bite? An interpreter with one deliberate fault must fail exactly the cases that
//! name it.
//!
//! Faults are planted in three places: in the Python driver's source, between the suite and a good
//! interpreter, and in how sessions are copied. The first two are run against every theme that is not about
//! time, floods or crashes: those take long, and no fault here is theirs. The last are run against the themes
//! of forks, snapshots and life cycle.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "planted_faults/copies.rs"]
mod copies;
#[path = "planted_faults/driver.rs"]
mod driver;
#[path = "planted_faults/wrapper.rs"]
mod wrapper;

use abyme_conformance::{CaseResult, Harness, Suite, case_names};

/// Themes that no fault of this file is about, and that take long.
const LONG: [&str; 9] = [
    "c04_exceptions",
    "c08_concurrency",
    "c10_time_limits",
    "c11_floods",
    "c12_channel",
    "c12_monkeypatches",
    "c13_cancellation",
    "c14_",
    "c15_",
];

/// Cases that no fault of this file is about, and that take long.
const LONG_CASES: [&str; 4] = [
    "c01_lifecycle::many_cells_keep_working",
    "c01_lifecycle::shutdown_does_not_wait_for_exit_handlers",
    "c06_values::fifty_megabytes_survive",
    "c08_host_functions::large_values_pass",
];

/// Runs the suite over a faulty interpreter, and asserts that exactly these cases fail.
fn fails(harness: impl Harness, expected: &[&str]) {
    let is_long = |name: &&str| LONG.iter().any(|theme| name.starts_with(theme)) || LONG_CASES.contains(name);
    fail_of(case_names().into_iter().filter(|name| !is_long(name)).collect(), harness, expected);
}

/// The same for a fault that can show in these themes only, on a backend that has more cases.
fn fails_in(themes: &[&str], harness: impl Harness, expected: &[&str]) {
    let is_of =
        |name: &&str| themes.iter().any(|theme| name.starts_with(theme)) && !LONG_CASES.contains(name);
    fail_of(case_names().into_iter().filter(is_of).collect(), harness, expected);
}

fn fail_of(names: Vec<&'static str>, harness: impl Harness, expected: &[&str]) {
    let suite = Suite::new(harness);
    let half = names.len() / 2;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let failed_of = async |names: &[&'static str]| {
        let mut failed = Vec::new();
        for &name in names {
            if let CaseResult::Failed(_) = suite.run_case(name).await {
                failed.push(name);
            }
        }
        failed
    };
    let (mut failed, others) =
        runtime.block_on(async { tokio::join!(failed_of(&names[..half]), failed_of(&names[half..])) });
    failed.extend(others);
    assert_eq!(failed, expected, "the cases that failed, and those that should have");
}
