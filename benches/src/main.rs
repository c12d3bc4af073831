//! `cargo xtask bench`: how fast Abyme is on this machine, beside its peers.

mod apart;
mod args;
mod chart;
mod compare;
mod cpu;
mod floors;
mod goal;
mod machine;
mod output;
mod peers;
mod record;
mod report;
mod runner;
mod scenario;
mod scenarios;
mod stats;
mod systems;
mod table;
mod trial;
mod units;

use std::{
    process::ExitCode,
    time::{Instant, SystemTime},
};

use clap::Parser;

use crate::{
    args::{Args, Plan},
    machine::Machine,
    output::{say, show},
    record::{Directories, Record},
    systems::System,
    units::digits,
};

/// Exit code: something failed while it was measured; the rest was measured.
const FAILED: u8 = 1;
/// Exit code: the command line is wrong, and nothing was run. clap uses the same.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let (args, directories) = (Args::parse(), Directories::of_workspace());
    if args.list {
        for scenario in scenarios::all() {
            show(&format!("{:<20} {}", scenario.name(), scenario.workload()));
        }
        return ExitCode::SUCCESS;
    }
    if args.apart {
        return ended(in_runtime(apart::work()).map(|()| true));
    }
    let plan = match args.check(scenarios::all(), &directories) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!("error: {problem}");
            return ExitCode::from(USAGE);
        }
    };
    ended(in_runtime(async move {
        let record = measure(&args, &plan, &directories).await;
        finish(&args, &plan, &directories, &record)
    }))
}

/// The exit code for whether everything that took part came to its end.
fn ended(work: Result<bool, String>) -> ExitCode {
    match work {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(problem) => {
            eprintln!("error: {problem}");
            ExitCode::from(FAILED)
        }
    }
}

/// Runs it in a task, as in a server: a program's main thread would be woken up by another for every answer.
fn in_runtime<T: Send + 'static>(
    work: impl Future<Output = Result<T, String>> + Send + 'static,
) -> Result<T, String> {
    let built = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = built.map_err(|error| format!("cannot start tokio: {error}"))?;
    let done = runtime.block_on(runtime.spawn(work));
    // Tasks that hang are left behind; nothing waits for them.
    runtime.shutdown_background();
    done.map_err(|error| format!("the benchmark itself failed: {error}"))?
}

async fn measure(args: &Args, plan: &Plan, directories: &Directories) -> Record {
    let (time, started) = (SystemTime::now(), Instant::now());
    let machine = Machine::here(directories.root());
    if machine.is_busy() && !args.quick {
        say("other programs use the processors: the numbers will be worse than they are, ratios less so");
    }
    let mut entrants = systems::backends(&plan.backends).await;
    if args.peers {
        entrants.extend(systems::peers().await);
    }
    let mut systems: Vec<System> = Vec::new();
    let mut records = Vec::new();
    for entrant in entrants {
        systems.extend(entrant.system);
        records.push(entrant.record);
    }
    systems.push(System::Loop);
    let mut record = Record {
        time: humantime::format_rfc3339_seconds(time).to_string(),
        seconds: 0.0,
        arguments: std::env::args().skip(1).collect(),
        quick: args.quick,
        machine,
        systems: records,
        scenarios: Vec::new(),
    };
    show(&format!("{}\n{}", report::machine(&record).text(), table::systems(&record).text()));
    for scenario in &plan.scenarios {
        let result = apart::run(scenario, &systems, args.quick).await;
        let table = table::results(&result, args.quick).text();
        show(&format!(
            "{} ({})
  {}
{table}",
            result.title, result.name, result.workload
        ));
        record.scenarios.push(result);
        record.seconds = started.elapsed().as_secs_f64();
        // What ends this program does not lose what was measured. Whether that can be written at all is said
        // at the end.
        let _ = directories.keep(&record, None);
    }
    record
}

/// Says whether everything that took part came to its end.
fn finish(args: &Args, plan: &Plan, directories: &Directories, record: &Record) -> Result<bool, String> {
    if let (Some(before), Some(name)) = (&plan.before, &args.compare) {
        show(&compare::compare(before, record, name));
    }
    for file in directories.keep(record, args.save.as_deref())? {
        say(&format!("kept as {}", file.display()));
    }
    chart::draw(directories, record, args.is_full())?;
    say(&format!("charts are in {}", directories.charts().display()));
    if args.is_full() {
        report::refresh(directories, record)?;
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
