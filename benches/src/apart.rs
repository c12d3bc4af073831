//! Each scenario in a process of its own, so that what one leaves behind, such as memory that the allocator
//! keeps or mappings, does not change what the next one measures.

use std::{process::Stdio, sync::Arc};

use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, stdin},
    process::Command,
};

use crate::{
    output::{say, show},
    peers::Peer,
    record::{Point, Row, ScenarioRecord},
    runner,
    scenario::Scenario,
    scenarios,
    systems::{self, System},
};

/// What such a process does, as it reads it from its stdin. Its stdout has the result, both as JSON.
#[derive(Serialize, Deserialize)]
struct Work {
    scenario: String,
    quick: bool,
    backends: Vec<String>,
    peers: Vec<Peer>,
}

/// Runs a scenario in a process of its own. One that does not come to its end is a failure of all its
/// backends.
pub(crate) async fn run(scenario: &Arc<dyn Scenario>, systems: &[System], quick: bool) -> ScenarioRecord {
    match ask(scenario.name(), systems, quick).await {
        Ok(record) => record,
        Err(problem) => {
            say(&format!("{} failed: {problem}", scenario.name()));
            let ours = systems.iter().filter(|system| system.kind().is_ours());
            let rows = ours.map(|system| {
                let problem = Some(problem.clone());
                Row { problem, failed: true, ..Row::of(system.name(), system.kind()) }
            });
            runner::record(&**scenario, vec![Point { at: None, rows: rows.collect() }])
        }
    }
}

async fn ask(scenario: &str, systems: &[System], quick: bool) -> Result<ScenarioRecord, String> {
    let mut work = Work { scenario: scenario.to_owned(), quick, backends: Vec::new(), peers: Vec::new() };
    for system in systems {
        match system {
            System::Backend(factory) => work.backends.push(factory.name().to_owned()),
            System::Peer(peer) => work.peers.push(peer.clone()),
            System::Loop | System::Floor(_) => {}
        }
    }
    let work = serde_json::to_vec(&work).map_err(|error| error.to_string())?;
    let started = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        command.arg("--apart").stdin(Stdio::piped()).stdout(Stdio::piped());
        command.kill_on_drop(true).spawn()
    });
    let mut process = started.map_err(|error| format!("its process does not start: {error}"))?;
    if let Some(mut input) = process.stdin.take() {
        // A process that ended says so by its status.
        let _ = input.write_all(&work).await;
    }
    let done = process.wait_with_output().await.map_err(|error| error.to_string())?;
    if !done.status.success() {
        return Err(format!("its process ended: {}", done.status));
    }
    serde_json::from_slice(&done.stdout).map_err(|error| format!("its result cannot be read: {error}"))
}

/// Does the work that stdin asks for.
///
/// # Errors
/// That it asks for nothing that there is.
pub(crate) async fn work() -> Result<(), String> {
    let mut bytes = Vec::new();
    stdin().read_to_end(&mut bytes).await.map_err(|error| error.to_string())?;
    let work: Work = serde_json::from_slice(&bytes).map_err(|error| error.to_string())?;
    let mut all = scenarios::all().into_iter();
    let scenario = all.find(|scenario| scenario.name() == work.scenario);
    let scenario: Arc<dyn Scenario> = scenario.ok_or("there is no such scenario")?.into();
    let backends = work.backends.iter().map(|name| systems::factory(name).map(System::Backend));
    let mut systems = backends.collect::<Result<Vec<_>, _>>()?;
    systems.extend(work.peers.into_iter().map(System::Peer));
    systems.push(System::Loop);
    let record = runner::run(&scenario, &systems, work.quick).await;
    show(&serde_json::to_string(&record).map_err(|error| error.to_string())?);
    Ok(())
}
