//! `abyme prepare`: prepares the embedded Python ahead of its first use, for container images.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use abyme::wasm::{PrepareProgress, Wasm};

use crate::{
    exit::{Exit, Failure},
    signals::unless_stopped,
    standard::Standard,
    terminal,
};

pub(crate) async fn run(standard: &Standard) -> Result<Exit, Failure> {
    let not_kept = Arc::new(Mutex::new(None));
    let problem = not_kept.clone();
    let wasm = Wasm::new().on_progress(move |progress| match progress {
        // This command reports it at the end, as its error.
        PrepareProgress::NotKept(why) => *problem.lock().unwrap_or_else(PoisonError::into_inner) = Some(why),
        progress => terminal::say(&format!("abyme: {progress}")),
    });
    let started = Instant::now();
    unless_stopped(wasm.prepare(), Duration::ZERO).await??;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(why) = not_kept.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let what = format!("Python works, but cannot be kept for the next process: {why}");
        return Err(Failure::new(Exit::Failed, what));
    }
    let state = wasm.cache_state()?;
    let path = state.path.map(|path| path.display().to_string()).unwrap_or_default();
    standard.write(&format!("ready after {seconds:.2} s: {path} ({} MB)\n", state.bytes >> 20))?;
    Ok(Exit::Ok)
}
