//! The suite as a test target: its exit codes and what it prints. This target is both sides: with a variable
//! set it is a backend's target, and without it starts itself and looks at the result.

mod fake;

use std::{
    process::{Command, ExitCode, Output},
    time::{Duration, Instant},
};

use abyme_conformance::{Suite, case_names};
use libtest_mimic::{Arguments, Failed, Trial};

use self::fake::{FAILS, Fake, LACKS, Manner, PASSES};

const FIXTURE: &str = "ABYME_CONFORMANCE_FIXTURE";

fn main() -> ExitCode {
    match std::env::var(FIXTURE) {
        Ok(name) => fixture(&name),
        Err(_) => libtest_mimic::run(&Arguments::from_args(), trials()).exit_code(),
    }
}

/// What a backend's author writes, in several variations.
fn fixture(name: &str) -> ExitCode {
    match name {
        "absent" => Suite::new(Fake::new(Manner::Absent)).main(),
        "blocks" => Suite::new(Fake::new(Manner::Blocks)).timeout(Duration::from_millis(300)).main(),
        "unknown xfail" => Suite::new(Fake::new(Manner::Silent)).xfail("no_such_case", "why").main(),
        "stale xfail" => Suite::new(Fake::new(Manner::Silent)).xfail(PASSES, "it was broken once").main(),
        _ => {
            abyme_conformance::interpreter_suite! {
                harness: Fake::new(Manner::Silent),
                xfail: [(FAILS, "it runs no Python")],
            }
            main()
        }
    }
}

type Check = fn() -> Result<(), Failed>;

fn trials() -> Vec<Trial> {
    let checks: [(&str, Check); 9] = [
        ("every_case_is_listed_also_where_none_can_run", || {
            let run = run("absent", &["--list"], "fake")?;
            let listed = run.text.lines().filter(|line| line.ends_with(": test")).count();
            check(run.success && listed == case_names().len(), &run)
        }),
        ("a_passing_case_is_green", || {
            let run = run("silent", &["--exact", PASSES], "")?;
            check(run.success && run.text.contains("1 passed"), &run)
        }),
        ("an_expected_failure_is_green_and_shown", || {
            let run = run("silent", &["--exact", FAILS], "")?;
            check(run.success && run.text.contains("[xfail]") && run.text.contains("1 passed"), &run)
        }),
        ("an_expected_failure_that_passes_is_red", || {
            let run = run("stale xfail", &["--exact", PASSES], "")?;
            check(!run.success && run.text.contains("it was broken once"), &run)
        }),
        ("an_expected_failure_that_names_no_case_is_red_at_once", || {
            let run = run("unknown xfail", &["--exact", PASSES], "")?;
            check(!run.success && run.text.contains("no_such_case") && !run.text.contains("running"), &run)
        }),
        ("a_missing_power_is_ignored_with_its_name", || {
            let run = run("silent", &["--exact", LACKS], "")?;
            check(
                run.success
                    && run.text.contains("[lacks concurrent calls]")
                    && run.text.contains("1 ignored"),
                &run,
            )
        }),
        ("a_backend_that_cannot_run_is_ignored_with_the_reason", || {
            let run = run("absent", &["--exact", PASSES], "another")?;
            let told = run.text.contains("there is no fake on this machine");
            check(run.success && told && run.text.contains("1 ignored"), &run)
        }),
        ("a_backend_that_must_run_and_cannot_is_red", || {
            let told = "ABYME_REQUIRE asks for this backend, which cannot run here: there is no fake";
            for arguments in [&["--exact", PASSES][..], &[]] {
                let run = run("absent", arguments, "another, fake")?;
                check(!run.success && run.text.contains(told), &run)?;
            }
            Ok(())
        }),
        ("a_blocked_case_does_not_block_the_process", || {
            let begun = Instant::now();
            let run = run("blocks", &["--exact", FAILS], "")?;
            check(
                !run.success && run.text.contains("hung") && begun.elapsed() < Duration::from_secs(20),
                &run,
            )
        }),
    ];
    checks.into_iter().map(|(name, check)| Trial::test(name, check)).collect()
}

struct Run {
    success: bool,
    text: String,
}

fn run(fixture: &str, arguments: &[&str], required: &str) -> Result<Run, Failed> {
    let program = std::env::current_exe()?;
    let Output { status, stdout, stderr } = Command::new(program)
        .args(arguments)
        .env(FIXTURE, fixture)
        .env("ABYME_REQUIRE", required)
        .env_remove("ABYME_IGNORED") // what is ignored here is no news
        .output()?;
    let text = [stdout, stderr].concat();
    Ok(Run { success: status.success(), text: String::from_utf8_lossy(&text).into_owned() })
}

fn check(holds: bool, run: &Run) -> Result<(), Failed> {
    match holds {
        true => Ok(()),
        false => Err(format!("success: {}\n{}", run.success, run.text).into()),
    }
}
