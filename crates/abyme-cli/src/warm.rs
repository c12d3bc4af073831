//! `abyme warm`: prepares the embedded Python ahead, for images and for machines that start cold.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Instant,
};

use abyme::{PrepareProgress, Wasm};

use crate::{
    exit::{Exit, Failure},
    signals, terminal,
};

pub(crate) async fn run() -> Result<Exit, Failure> {
    let not_kept = Arc::new(Mutex::new(None));
    let told = not_kept.clone();
    let wasm = Wasm::new().on_progress(move |progress| match progress {
        // Said at the end, as the error it is to this command.
        PrepareProgress::NotKept(why) => *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(why),
        progress => terminal::say(&format!("abyme: {progress}")),
    });
    let started = Instant::now();
    signals::unless_stopped(wasm.prepare()).await??;
    let seconds = started.elapsed().as_secs_f64();
    if let Some(why) = not_kept.lock().unwrap_or_else(PoisonError::into_inner).take() {
        let what = format!("Python works, but cannot be kept for the next process: {why}");
        return Err(Failure::new(Exit::Failed, what));
    }
    let state = wasm.cache_state()?;
    let place = state.path.map(|path| path.display().to_string()).unwrap_or_default();
    terminal::write(&format!("ready after {seconds:.2} s: {place} ({} MB)\n", state.bytes >> 20))?;
    Ok(Exit::Ok)
}
