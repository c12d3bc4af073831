//! `cargo xtask bench`: how fast Abyme is on this machine, beside its peers.

mod args;
mod chart;
mod compare;
mod floors;
mod machine;
mod peers;
mod record;
mod report;
mod runner;
mod scenario;
mod scenarios;
mod stats;
mod subjects;
mod table;
mod units;

use std::{
    io::Write,
    process::ExitCode,
    time::{Instant, SystemTime},
};

use clap::Parser;

use crate::{
    args::{Args, Plan},
    machine::Machine,
    record::{Places, Record},
    scenario::Subject,
    units::digits,
};

/// Something failed while it was measured; the rest was measured.
const FAILED: u8 = 1;
/// The command line is wrong, and nothing was run. As clap has it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (args, places) = (Args::parse(), Places::of_workspace());
    if args.list {
        for scenario in scenarios::all() {
            show(&format!("{:<20} {}", scenario.name(), scenario.workload()));
        }
        return ExitCode::SUCCESS;
    }
    let plan = match args.check(scenarios::all(), &places) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(USAGE);
        }
    };
    match work(args, plan, places) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

/// Answers whether everything that took part came to its end.
fn work(args: Args, plan: Plan, places: Places) -> Result<bool, String> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = built.map_err(|error| format!("cannot start tokio: {error}"))?;
    // In a task, as in a server: a program's main thread would be woken up by another for every answer.
    let measured = runtime.block_on(runtime.spawn(async move {
        let record = measure(&args, &plan, &places).await;
        finish(&args, &plan, &places, &record)
    }));
    // Whoever hangs has been left behind, and is not waited for now.
    runtime.shutdown_background();
    measured.map_err(|error| format!("the benchmark itself failed: {error}"))?
}

async fn measure(args: &Args, plan: &Plan, places: &Places) -> Record {
    let (time, started) = (SystemTime::now(), Instant::now());
    let machine = Machine::here(places.root());
    if machine.is_busy() && !args.quick {
        say("other programs use the processors: the numbers will be worse than they are, ratios less so");
    }
    let mut entrants = subjects::backends(&plan.backends).await;
    if args.peers {
        entrants.extend(subjects::peers().await);
    }
    let mut subjects: Vec<Subject> = Vec::new();
    let mut records = Vec::new();
    for entrant in entrants {
        subjects.extend(entrant.subject);
        records.push(entrant.record);
    }
    subjects.push(Subject::Loop);
    let mut record = Record {
        time: humantime::format_rfc3339_seconds(time).to_string(),
        seconds: 0.0,
        arguments: std::env::args().skip(1).collect(),
        quick: args.quick,
        machine,
        subjects: records,
        scenarios: Vec::new(),
    };
    show(&format!("{}\n{}", report::machine(&record).text(), table::subjects(&record).text()));
    for scenario in &plan.scenarios {
        let result = runner::run(scenario, &subjects, args.quick).await;
        let table = table::results(&result, args.quick).text();
        show(&format!(
            "{} ({})
  {}
{table}",
            result.title, result.name, result.workload
        ));
        record.scenarios.push(result);
        record.seconds = started.elapsed().as_secs_f64();
        // A crash of the process, which the pyo3 backend cannot rule out, does not lose what was measured. Whether that
        // can be written at all is said at the end.
        let _ = places.keep(&record, None);
    }
    record
}

fn finish(args: &Args, plan: &Plan, places: &Places, record: &Record) -> Result<bool, String> {
    if let (Some(before), Some(name)) = (&plan.before, &args.compare) {
        show(&compare::compare(before, record, name));
    }
    for file in places.keep(record, args.save.as_deref())? {
        say(&format!("kept as {}", file.display()));
    }
    chart::draw(places, record, args.is_full())?;
    say(&format!("charts are in {}", places.charts().display()));
    if args.is_full() {
        report::refresh(places, record)?;
        say("BENCHMARKS.md is refreshed");
    }
    if args.quick {
        say("this was a quick run: it shows that everything works, and its numbers mean nothing");
    }
    let failures = record.failures();
    if !failures.is_empty() {
        say(&format!("{} failed: {}", failures.len(), failures.join(", ")));
    }
    if record.is_empty() {
        say("nothing was measured");
    }
    say(&format!("took {} s", digits(record.seconds)));
    Ok(failures.is_empty() && !record.is_empty())
}

/// Prints results. Whoever has stopped reading them does not end a long run.
fn show(what: &str) {
    let _ = writeln!(std::io::stdout(), "{what}");
}

/// Tells what goes on; stdout has the results.
pub(crate) fn say(what: &str) {
    eprintln!("bench: {what}");
}
