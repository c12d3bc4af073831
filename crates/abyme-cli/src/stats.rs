//! `abyme stats`: figures over recorded runs.

use std::fs;

use abyme_view::{GroupBy, RunFigures, Stats, load};

use crate::{
    args::{By, StatsArgs},
    exit::{Exit, Failure},
    files,
    standard::Standard,
    terminal,
    view::not_written,
};

pub(crate) fn run(args: &StatsArgs, standard: &Standard) -> Result<Exit, Failure> {
    files::check_written([("--chart", args.chart.as_deref())], args.records.iter().map(AsRef::as_ref))?;
    args.records.iter().try_for_each(|path| files::check_read(path.as_ref()))?;
    let (mut runs, mut failed) = (Vec::new(), None);
    for path in &args.records {
        match load(path) {
            Ok(trajectory) => runs.push(RunFigures::of(path.to_string_lossy(), &trajectory)),
            // One of many may be broken; the others are counted.
            Err(error) if args.records.len() > 1 => {
                terminal::say(&format!("abyme: left out: {}", error.message()));
                failed = Some(Failure::quiet(Exit::Usage));
            }
            Err(error) => return Err(Failure::before_run(&error)),
        }
    }
    if let Some(failure) = failed.take_if(|_| runs.is_empty()) {
        return Err(failure);
    }
    let by = args.by.map(|by| match by {
        By::Model => GroupBy::Model,
        By::Label => GroupBy::Label,
    });
    let stats = Stats::new(runs).group_by(by);
    if let Some(path) = &args.chart {
        fs::write(path, stats.chart()).map_err(|error| not_written(path, &error))?;
    }
    if args.json {
        standard.write_or_show(&format!("{}\n", stats.to_json()))?;
    } else if args.csv {
        standard.write_or_show(&stats.to_csv())?;
    } else {
        standard.write(&terminal::escape(&format!("{stats}\n")))?;
    }
    failed.map_or(Ok(Exit::Ok), Err)
}
