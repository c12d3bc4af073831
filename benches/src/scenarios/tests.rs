//! Every scenario is prepared and sampled once, at its first point, for the systems that are always here.

use super::all;
use crate::{scenario::Scenario, systems, systems::System};

/// Prints what it sees: `ABYME_BENCH=text-in ABYME_BENCH_AT=100 cargo test ... -- --ignored --nocapture`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a minute, and `cargo xtask bench --quick` shows the same"]
async fn every_scenario_runs() {
    let only = std::env::var("ABYME_BENCH").ok();
    let at = std::env::var("ABYME_BENCH_AT").ok().and_then(|at| at.parse().ok());
    let backends = systems::backends(&["wasm", "subprocess"]).await;
    let backends: Vec<_> = backends.into_iter().filter_map(|entrant| entrant.system).collect();
    let mut failed = Vec::new();
    for scenario in all() {
        if only.as_ref().is_some_and(|only| !scenario.name().contains(only.as_str())) {
            continue;
        }
        for system in with_floors(&backends, &*scenario) {
            let name = system.name();
            let seen = once(&*scenario, &system, at).await;
            println!("{:<24} {name:<24} {seen:?}  goal {:?}", scenario.name(), scenario.goal(&name, at));
            match seen {
                Err(why) if !matches!(system, System::Floor(_)) => failed.push((scenario.name(), name, why)),
                _ => {}
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

fn with_floors(backends: &[System], scenario: &dyn Scenario) -> Vec<System> {
    let floors = scenario.floors().into_iter().map(System::Floor);
    backends.iter().cloned().chain([System::Loop]).chain(floors).collect()
}

async fn once(scenario: &dyn Scenario, system: &System, at: Option<u64>) -> Result<Option<f64>, String> {
    let points = scenario.axis().map(|(_, points)| points);
    let at = points.and_then(|points| {
        points.iter().copied().find(|point| at == Some(*point)).or(points.first().copied())
    });
    let work = async {
        match scenario.prepare(system, at).await? {
            Some(mut trial) => trial.sample().await.map(Some),
            None => Ok(None),
        }
    };
    tokio::time::timeout(scenario.limit(), work).await.map_err(|_| "it took too long".to_owned())?
}
