//! Carries a run out to its end, whatever it began with: signals, what is said of it, and its answer.

use std::{path::PathBuf, sync::Arc, time::Instant};

use abyme::{Prediction, Run, SessionSnapshots, Status, Trajectory, TrajectoryWriter};

use crate::{
    approval,
    exit::{Exit, Failure, show_difference},
    output,
    progress::{Detail, Progress},
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
    /// The terminal that asks before tools with effects are called.
    pub(crate) asks: Option<&'a Standard>,
    pub(crate) interpreter: &'a str,
    /// The file that the run is written to.
    pub(crate) trace: Option<(PathBuf, Arc<TrajectoryWriter>)>,
    pub(crate) wrapped: Wrapped,
}

impl Running<'_> {
    /// Shows the run until its end, which a key or a signal may bring about, and prints the answer.
    pub(crate) async fn finish(self, run: Run, standard: &Standard) -> Result<Exit, Failure> {
        let progress = Arc::new(self.progress(standard));
        self.finish_shown(run, progress, standard).await
    }

    /// What shows the run.
    pub(crate) fn progress(&self, standard: &Standard) -> Progress {
        Progress::on_stderr(if self.verbose { Detail::Turns } else { Detail::Lines }, standard)
    }

    /// [`finish`](Self::finish), with what shows the run.
    pub(crate) async fn finish_shown(
        self,
        run: Run,
        progress: Arc<Progress>,
        standard: &Standard,
    ) -> Result<Exit, Failure> {
        let (json, interpreter) = (self.json, self.interpreter);
        let trace = self.trace.as_ref().map(|(path, _)| path.clone());
        let print = |prediction: &Prediction, seconds: f64| match json {
            true => standard.write(&output::object(prediction, seconds, interpreter, trace.as_deref())),
            false => standard.write(&output::plain(prediction.outputs())),
        };
        self.finish_with(run, progress, print).await
    }

    /// The same, but that `print` gets the answer and the seconds that it took.
    pub(crate) async fn finish_with(
        self,
        mut run: Run,
        progress: Arc<Progress>,
        print: impl FnOnce(&Prediction, f64) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        run = run.on_event(progress.clone());
        if let Some(standard) = self.asks {
            run = approval::asking(run, &progress, standard);
        }
        if let Some((path, writer)) = &self.trace {
            run = run.on_event(writer.clone()).snapshots(SessionSnapshots::beside(path));
        }
        let mut stop = if progress.takes_keys() { Stop::listen_with_warning()? } else { Stop::listen()? };
        let started = Instant::now();
        let ended = until_stopped(run, &progress, &mut stop).await;
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
        let prediction = ended.map_err(|stopped| Failure::quiet(stopped.exit))??;
        self.wrapped.finish_replay()?;
        let status = prediction.status();
        if !status.is_complete() {
            let why = match status {
                Status::LimitReached(limit) => format!("ended by its limit `{limit}`"),
                Status::EndedEarly => "was ended early".to_owned(),
                _ => "could not go on".to_owned(),
            };
            terminal::say(&format!("abyme: warning: the run {why}; the outputs are the model's estimate"));
        }
        if let Some(difference) = prediction.difference() {
            terminal::say("abyme: warning: the run left its record, and the model was asked from there on:");
            show_difference(difference);
        }
        print(&prediction, seconds)?;
        self.wrapped.finish_recording()?;
        Ok(Exit::Ok)
    }
}

/// A run that a signal ended.
pub(crate) struct Stopped {
    /// How the command exits because of it.
    pub(crate) exit: Exit,
    /// Whether a second signal did not let it end in order.
    pub(crate) is_twice: bool,
}

/// Waits for the end of a run. A key has it answer with what it knows; a signal cancels it, so that it ends
/// its session and closes its record, and a second signal does not wait for that.
pub(crate) async fn until_stopped(
    run: Run,
    progress: &Progress,
    stop: &mut Stop,
) -> Result<abyme::Result<Prediction>, Stopped> {
    progress.say_ctrl_c(if stop.warns() { "Ctrl-C twice stops it" } else { "Ctrl-C stops it" });
    let handle = run.cancel_handle();
    let mut running = run.into_future();
    let exit = loop {
        tokio::select! {
            ended = &mut running => return Ok(ended),
            () = progress.end_wanted() => {
                progress.notice("it answers with what it knows");
                handle.finish_now();
            }
            // At a question nobody would see the warning.
            exit = stop.received() => match !progress.is_asking() && stop.is_warning(exit) {
                true => progress.notice("Ctrl-C again stops it; q has it answer with what it knows"),
                false => break exit,
            },
        }
    };
    // The command may end before all is closed.
    progress.give_keys_back();
    handle.cancel();
    let is_twice = tokio::select! {
        _ = tokio::time::timeout(ORDERLY_TIMEOUT, &mut running) => false,
        _ = stop.received() => true,
    };
    Err(Stopped { exit, is_twice })
}

/// What the run used, for people.
pub(crate) fn show_ledger(trajectory: &Trajectory) {
    let ledger = trajectory.ledger().to_string();
    ledger.lines().for_each(terminal::say);
}
