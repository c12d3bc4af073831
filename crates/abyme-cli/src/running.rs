//! Carries a run out to its end, whatever it began with: signals, what is said of it, and its answer.

use std::{path::PathBuf, sync::Arc, time::Instant};

use abyme::{Run, Status, Trajectory, TrajectoryWriter};

use crate::{
    exit::{Exit, Failure},
    output,
    progress::{Detail, Progress, Target},
    rlm::Wrapped,
    signals::{ORDERLY_TIMEOUT, Stop},
    standard::Standard,
    terminal,
};

/// What goes with a run on the command line.
pub(crate) struct Running<'a> {
    /// Whether one JSON object is printed in place of the outputs.
    pub(crate) json: bool,
    pub(crate) verbose: bool,
    pub(crate) interpreter: &'a str,
    /// The file that the run is written to.
    pub(crate) trace: Option<(PathBuf, Arc<TrajectoryWriter>)>,
    pub(crate) wrapped: Wrapped,
}

impl Running<'_> {
    /// Waits for the end of the run, or for a signal, and prints the answer.
    pub(crate) async fn finish(self, mut run: Run, standard: &Standard) -> Result<Exit, Failure> {
        let detail = if self.verbose { Detail::Turns } else { Detail::Lines };
        let progress = Arc::new(Progress::new(Target::Stderr, detail));
        run = run.on_event(progress.clone());
        if let Some((_, writer)) = &self.trace {
            run = run.on_event(writer.clone());
        }
        let mut stop = Stop::listen()?;
        let handle = run.cancel_handle();
        let started = Instant::now();
        let mut running = run.into_future();
        let ended = tokio::select! {
            ended = &mut running => Ok(ended),
            exit = stop.received() => {
                // A cancelled run ends its session and closes its record. A second signal does not wait for
                // that.
                handle.cancel();
                tokio::select! {
                    _ = tokio::time::timeout(ORDERLY_TIMEOUT, &mut running) => {}
                    _ = stop.received() => {}
                }
                Err(Failure::quiet(exit))
            }
        };
        drop(running);
        let seconds = started.elapsed().as_secs_f64();
        progress.finish();
        if let Some((path, writer)) = &self.trace {
            match writer.failure() {
                Some(problem) => {
                    terminal::say(&format!("abyme: warning: {} is not complete: {problem}", path.display()))
                }
                None => terminal::say(&format!("the run is recorded in {}", path.display())),
            }
        }
        if self.verbose {
            let trajectory = ended.as_ref().ok().and_then(|ended| match ended {
                Ok(prediction) => Some(prediction.trajectory()),
                Err(error) => error.trajectory(),
            });
            trajectory.into_iter().for_each(show_ledger);
        }
        let prediction = ended??;
        self.wrapped.finish()?;
        let status = prediction.status();
        if !status.is_complete() {
            let why = match status {
                Status::LimitReached(limit) => format!("ended by its limit `{limit}`"),
                _ => "could not go on".to_owned(),
            };
            terminal::say(&format!("abyme: warning: the run {why}; the outputs are the model's estimate"));
        }
        if self.json {
            let trace = self.trace.as_ref().map(|(path, _)| path.as_path());
            standard.write(&output::object(&prediction, seconds, self.interpreter, trace))?;
        } else {
            standard.write(&output::plain(prediction.outputs()))?;
        }
        Ok(Exit::Ok)
    }
}

/// What the run used, for people.
pub(crate) fn show_ledger(trajectory: &Trajectory) {
    let ledger = trajectory.ledger().to_string();
    ledger.lines().for_each(terminal::say);
}
