//! Every scenario is prepared and sampled once, at its first point, for the subjects that are always here.

use super::all;
use crate::{
    scenario::{Scenario, Subject},
    subjects,
};

/// Prints what it sees: `ABYME_BENCH=text-in ABYME_BENCH_AT=100 cargo test ... -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and `cargo xtask bench --quick` shows the same"]
async fn every_scenario_runs() {
    let only = std::env::var("ABYME_BENCH").ok();
    let at = std::env::var("ABYME_BENCH_AT").ok().and_then(|at| at.parse().ok());
    let backends = subjects::backends(&["wasm", "subprocess"]).await;
    let backends: Vec<_> = backends.into_iter().filter_map(|entrant| entrant.subject).collect();
    let mut failed = Vec::new();
    for scenario in all() {
        if only.as_ref().is_some_and(|only| !scenario.name().contains(only.as_str())) {
            continue;
        }
        for subject in with_floors(&backends, &*scenario) {
            let name = subject.name();
            let seen = once(&*scenario, &subject, at).await;
            println!("{:<24} {name:<24} {seen:?}  goal {:?}", scenario.name(), scenario.goal(&name, at));
            match seen {
                Err(why) if !matches!(subject, Subject::Floor(_)) => {
                    failed.push((scenario.name(), name, why))
                }
                _ => {}
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

fn with_floors(backends: &[Subject], scenario: &dyn Scenario) -> Vec<Subject> {
    let floors = scenario.floors().into_iter().map(Subject::Floor);
    backends.iter().cloned().chain([Subject::Loop]).chain(floors).collect()
}

async fn once(scenario: &dyn Scenario, subject: &Subject, at: Option<u64>) -> Result<Option<f64>, String> {
    let points = scenario.axis().map(|(_, points)| points);
    let at = points.and_then(|points| {
        points.iter().copied().find(|point| at == Some(*point)).or(points.first().copied())
    });
    let work = async {
        match scenario.prepare(subject, at).await? {
            Some(mut trial) => trial.sample().await.map(Some),
            None => Ok(None),
        }
    };
    tokio::time::timeout(scenario.limit(), work).await.map_err(|_| "it took too long".to_owned())?
}
