//! Shows a run as it happens: a spinner on a terminal, plain lines elsewhere, whole turns if asked for.

use std::{
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use abyme::{
    Event, EventSink, Observation, Record,
    interpreter::render_observation,
    trajectory::{CallOutcome, Purpose},
};
use indicatif::{ProgressBar, ProgressStyle};

use crate::{standard::Standard, terminal::escape};

/// Most characters of a line about what went wrong. The trace has the rest.
const MAX_NOTE_CHARS: usize = 160;

/// Where progress goes.
#[derive(Clone, Debug)]
pub(crate) enum Target {
    /// stderr, so that stdout has the answer alone.
    Stderr,
    /// stdout, where the run itself is the answer.
    Stdout(Standard),
}

/// How much of a run is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detail {
    /// A line for what happens.
    Lines,
    /// Each turn whole: reasoning, code, what it produced.
    Turns,
}

/// Shows a run as it happens.
#[derive(Debug)]
pub(crate) struct Progress {
    target: Target,
    detail: Detail,
    spinner: Option<ProgressBar>,
    counts: Mutex<Counts>,
}

/// What happened in the turn so far.
#[derive(Debug, Default)]
struct Counts {
    turn: u32,
    model: String,
    sub_calls: u32,
    failed: u32,
    tool_calls: u32,
    /// The last reply, until it is shown.
    reply: Option<String>,
    /// Whether the next message tells the model why its reply was refused.
    nudges: bool,
}

impl Progress {
    pub(crate) fn new(target: Target, detail: Detail) -> Self {
        let spinner = (matches!(target, Target::Stderr) && io::stderr().is_terminal()).then(spinner);
        Self { target, detail, spinner, counts: Mutex::default() }
    }

    /// Takes the spinner away, so that the answer stands alone.
    pub(crate) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    /// Prints lines; on a terminal they scroll by above the spinner.
    fn print(&self, text: &str) {
        let text = escape(text.trim_end());
        let write = || match &self.target {
            // A closed stderr does not end the run: the answer may still go to a file.
            Target::Stderr => drop(writeln!(io::stderr().lock(), "{text}")),
            Target::Stdout(standard) => drop(writeln!(standard.output(), "{text}")),
        };
        match &self.spinner {
            Some(spinner) => spinner.suspend(write),
            None => write(),
        }
    }

    /// Says in one place what is going on: what a line each would be too much for.
    fn status(&self, text: &str) {
        if let Some(spinner) = &self.spinner {
            spinner.set_message(escape(text).into_owned());
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A reply that is not shown as a cell, under a line that says what it is.
    fn show_reply(&self, title: &str) {
        let reply = self.counts().reply.take();
        if let Some(reply) = reply.filter(|_| self.detail == Detail::Turns) {
            self.print(&format!("── {title} {}\n{}", "─".repeat(60), reply.trim()));
        }
    }

    /// What is said of a reply that was not acted on, and of a try that failed.
    fn note(&self, turn: u32, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        let mut short: String = line.chars().take(MAX_NOTE_CHARS).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        self.print(&format!("turn {turn}: {short}"));
    }

    fn cell_started(&self, turn: u32, reasoning: &str, code: &str) {
        self.counts().reply = None;
        let lines = code.lines().count();
        let about = format!("turn {turn}: running a cell ({lines} {})", plural(lines, "line"));
        match self.detail {
            Detail::Lines => self.print(&about),
            Detail::Turns => {
                let mut text = format!("── turn {turn} {}\n", "─".repeat(60));
                if !reasoning.trim().is_empty() {
                    text.push_str(reasoning.trim());
                    text.push('\n');
                }
                text.extend(code.lines().map(|line| format!("  │ {line}\n")));
                self.print(&text);
            }
        }
        self.status(&about);
    }

    fn cell_finished(&self, turn: u32, observation: &Observation) {
        let counts = std::mem::take(&mut *self.counts());
        let mut facts = Vec::new();
        if counts.sub_calls > 0 {
            let failed =
                if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
            facts.push(format!(
                "{} {}{failed}",
                counts.sub_calls,
                plural(counts.sub_calls as usize, "sub-call")
            ));
        }
        if counts.tool_calls > 0 {
            facts.push(format!("{} {}", counts.tool_calls, plural(counts.tool_calls as usize, "tool call")));
        }
        self.counts().model = counts.model;
        match self.detail {
            Detail::Turns => {
                if !facts.is_empty() {
                    self.print(&format!("({})", facts.join(", ")));
                }
                // What the session kept is shown whole. A cell that only submits has nothing to show.
                let silent =
                    observation.stdout.is_empty() && observation.stderr.is_empty() && observation.is_ok();
                if observation.submission.is_none() || !silent {
                    self.print(&render_observation(observation, usize::MAX));
                }
                if let Some(submission) = &observation.submission {
                    self.print(&format!("(submitted by {})", submission.via));
                }
                self.print("");
            }
            Detail::Lines => {
                if let Some(error) = &observation.error {
                    facts.push(error.to_string().lines().next().unwrap_or_default().to_owned());
                }
                if let Some(reason) = observation.session_ended.as_ref().or(observation.restored.as_ref()) {
                    facts.push(reason.clone());
                }
                if !facts.is_empty() {
                    self.print(&format!("turn {turn}: {}", facts.join("; ")));
                }
            }
        }
        self.status(&format!("turn {}: waiting for the model", turn + 1));
    }

    fn counted(&self, count: impl FnOnce(&mut Counts)) {
        let text = {
            let mut counts = self.counts();
            count(&mut counts);
            format!("turn {}: {} sub-calls, {} tool calls", counts.turn, counts.sub_calls, counts.tool_calls)
        };
        self.status(&text);
    }
}

impl EventSink for Progress {
    fn record(&self, record: &Arc<Record>) {
        match &record.event {
            Event::RunStarted { signature, model, interpreter, .. } => {
                self.print(&format!("running `{signature}` with {model} on {interpreter}"));
                self.counts().model.clone_from(model);
                self.status("turn 1: waiting for the model");
            }
            Event::ModelReplied { turn, purpose, text, .. } => {
                {
                    let mut counts = self.counts();
                    counts.turn = *turn;
                    counts.reply = Some(text.clone());
                }
                match purpose {
                    Purpose::Repair => {
                        self.print(&format!("turn {turn}: the model repaired a cell that did not compile"))
                    }
                    Purpose::Extract => {
                        self.print("the model was asked for its best outputs from what it knows");
                        self.show_reply("its outputs");
                    }
                    _ => {}
                }
            }
            Event::ReplyRefused { turn, problem, .. } => {
                self.show_reply(&format!("turn {turn}"));
                self.note(*turn, &format!("{problem}; the model is asked again"));
                self.counts().nudges = true;
            }
            Event::MessageAppended { message, .. } => {
                let nudges = std::mem::take(&mut self.counts().nudges);
                if nudges && self.detail == Detail::Turns {
                    let lines = message.content.lines().map(|line| format!("  > {line}\n"));
                    self.print(&lines.collect::<String>());
                }
            }
            Event::ModelCallFailed { turn, call: None, error, retry_seconds: Some(seconds), .. } => {
                self.note(*turn, &format!("trying again in {seconds:.0} s: {error}"));
                self.status(&format!("turn {turn}: trying again in {seconds:.0} s"));
            }
            Event::ModelCallFailed { turn, call: Some(_), error, retry_seconds: Some(seconds), .. } => {
                self.note(*turn, &format!("a sub-call is tried again in {seconds:.0} s: {error}"));
            }
            Event::ConversationCut { turn, reason, .. } => {
                self.note(*turn, &format!("earlier messages were cut: {reason}"));
            }
            Event::RunFinished { .. } => self.show_reply("the answer"),
            Event::CellStarted { turn, reasoning, code, .. } => self.cell_started(*turn, reasoning, code),
            Event::SubCallFinished { turn, outcome, .. } => self.counted(|counts| {
                counts.turn = *turn;
                counts.sub_calls += 1;
                counts.failed += u32::from(matches!(outcome, CallOutcome::Error(_)));
            }),
            Event::ToolCallFinished { turn, .. } => self.counted(|counts| {
                counts.turn = *turn;
                counts.tool_calls += 1;
            }),
            Event::CellFinished { turn, observation, .. } => self.cell_finished(*turn, observation),
            Event::SessionLost { turn, .. } => {
                self.print(&format!("turn {turn}: the session was lost; a fresh one gets the inputs again"));
            }
            Event::SubmissionRefused { turn, problems, .. } => {
                let problem = problems.lines().next().unwrap_or_default();
                self.print(&format!("turn {turn}: the submission does not fit: {problem}"));
            }
            // How the run ended is told with the answer or the error.
            _ => {}
        }
    }
}

fn spinner() -> ProgressBar {
    let spinner = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        spinner.set_style(style);
    }
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

fn plural(count: usize, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}
