//! Shows a run as it happens: a spinner on a terminal, plain lines elsewhere, whole turns if asked for.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use abyme::{
    Event, EventSink, Observation, Record,
    interpreter::render_observation,
    trajectory::{Purpose, ReplyPart},
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
    /// The runs of the tree by their ids.
    runs: Mutex<HashMap<String, Counts>>,
}

/// One run of the tree, as it is shown.
#[derive(Clone, Copy)]
struct RunView<'a> {
    progress: &'a Progress,
    id: &'a str,
    /// How many runs are above it.
    depth: usize,
}

/// What happened in the turn of a run so far.
#[derive(Debug, Default)]
struct Counts {
    depth: usize,
    turn: u32,
    sub_calls: u32,
    failed: u32,
    children: u32,
    tool_calls: u32,
    /// The last reply, until it is shown.
    reply: Option<String>,
    /// What of the reply in progress was shown as it came.
    live: LiveReply,
    /// Whether the next message tells the model why its reply was refused.
    nudges: bool,
}

/// A reply that is shown line by line as it comes.
#[derive(Debug, Default)]
struct LiveReply {
    part: Option<ReplyPart>,
    /// The line that is not complete yet.
    line: String,
}

impl LiveReply {
    /// Takes a piece. Gives the lines that are complete.
    fn push(&mut self, part: ReplyPart, piece: &str) -> Vec<String> {
        let mut lines = Vec::new();
        if self.part.is_some_and(|before| before != part) {
            lines.extend(self.end());
        }
        self.part = Some(part);
        self.line.push_str(piece);
        while let Some(end) = self.line.find('\n') {
            let line: String = self.line.drain(..=end).collect();
            lines.push(self.shown(line.trim_end()));
        }
        lines
    }

    /// Gives the last line.
    fn end(&mut self) -> Option<String> {
        let line = std::mem::take(&mut self.line);
        (!line.trim().is_empty()).then(|| self.shown(&line))
    }

    /// Thoughts are marked.
    fn shown(&self, line: &str) -> String {
        match self.part {
            Some(ReplyPart::Reasoning) => format!("  ~ {line}"),
            _ => line.to_owned(),
        }
    }
}

impl Progress {
    pub(crate) fn new(target: Target, detail: Detail) -> Self {
        let spinner = (matches!(target, Target::Stderr) && io::stderr().is_terminal()).then(spinner);
        Self { target, detail, spinner, runs: Mutex::default() }
    }

    /// Takes the spinner away, so that the answer stands alone.
    pub(crate) fn finish(&self) {
        if let Some(spinner) = &self.spinner {
            spinner.finish_and_clear();
        }
    }

    /// Prints lines; on a terminal they scroll by above the spinner.
    fn print(&self, text: &str) {
        let text = escape(text);
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
}

impl RunView<'_> {
    /// Prints lines, indented by the depth of the run.
    fn print(&self, text: &str) {
        let text = text.trim_end();
        match self.depth {
            0 => self.progress.print(text),
            depth => {
                let indent = "    ".repeat(depth);
                let lines = text.lines().map(|line| format!("{indent}{line}").trim_end().to_owned());
                self.progress.print(&lines.collect::<Vec<_>>().join("\n"));
            }
        }
    }

    /// Prints a line about a turn. Of children that is too much, unless turns are shown whole.
    fn line(&self, text: &str) {
        if self.depth == 0 || self.detail() == Detail::Turns {
            self.print(text);
        }
    }

    /// Only of the run itself: children run at the same time.
    fn status(&self, text: &str) {
        if self.depth == 0 {
            self.progress.status(text);
        }
    }

    fn detail(&self) -> Detail {
        self.progress.detail
    }

    fn counts<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let mut runs = self.progress.runs.lock().unwrap_or_else(PoisonError::into_inner);
        change(runs.entry(self.id.to_owned()).or_default())
    }

    /// A reply that is not shown as a cell, under a line that says what it is, unless it was shown already.
    fn show_reply(&self, title: &str) {
        let (reply, live) = self.counts(|counts| (counts.reply.take(), std::mem::take(&mut counts.live)));
        if let Some(reply) = reply.filter(|_| self.detail() == Detail::Turns && live.part.is_none()) {
            self.print(&format!("{}\n{}", heading(title), reply.trim()));
        }
    }

    /// A piece of a reply. Children run at the same time, so theirs are shown when they are whole.
    fn show_piece(&self, turn: u32, purpose: Purpose, part: ReplyPart, piece: &str) {
        if self.depth > 0 {
            return;
        }
        let (is_first, lines, line) = self.counts(|counts| {
            let is_first = counts.live.part.is_none();
            (is_first, counts.live.push(part, piece), counts.live.line.clone())
        });
        if is_first {
            self.print(&match purpose {
                Purpose::Extract => heading("its outputs"),
                Purpose::Compact => heading("its summary of the turns so far"),
                _ => heading(&format!("turn {turn}")),
            });
        }
        lines.iter().for_each(|line| self.print(line));
        self.status(&line);
    }

    /// The end of what was shown of a reply.
    fn end_pieces(&self) {
        let line = self.counts(|counts| counts.live.end());
        line.into_iter().for_each(|line| self.print(&line));
    }

    /// What is said of a reply that was not acted on, and of a try that failed.
    fn note(&self, turn: u32, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        let mut short: String = line.chars().take(MAX_NOTE_CHARS).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        self.line(&format!("turn {turn}: {short}"));
    }

    fn cell_started(&self, turn: u32, reasoning: &str, code: &str) {
        let (reply, live) = self.counts(|counts| (counts.reply.take(), std::mem::take(&mut counts.live)));
        // A call in the provider's own form has code that is not in the text.
        let is_shown = live.part.is_some() && reply.is_some_and(|reply| reply.contains(code.trim()));
        let lines = code.lines().count();
        let about = format!("turn {turn}: running a cell ({lines} {})", plural(lines, "line"));
        match self.detail() {
            Detail::Lines => self.line(&about),
            Detail::Turns if is_shown => {}
            Detail::Turns => {
                let mut text = format!("{}\n", heading(&format!("turn {turn}")));
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
        let counts = self.counts(|counts| {
            let next = Counts { depth: counts.depth, ..Counts::default() };
            std::mem::replace(counts, next)
        });
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
        if counts.children > 0 {
            facts.push(format!("{} {}", counts.children, plural(counts.children as usize, "child run")));
        }
        if counts.tool_calls > 0 {
            facts.push(format!("{} {}", counts.tool_calls, plural(counts.tool_calls as usize, "tool call")));
        }
        match self.detail() {
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
                    self.line(&format!("turn {turn}: {}", facts.join("; ")));
                }
            }
        }
        self.status(&format!("turn {}: waiting for the model", turn + 1));
    }

    fn counted(&self, count: impl FnOnce(&mut Counts)) {
        let text = self.counts(|counts| {
            count(counts);
            let Counts { turn, sub_calls, children, tool_calls, .. } = counts;
            format!("turn {turn}: {sub_calls} sub-calls, {children} child runs, {tool_calls} tool calls")
        });
        self.status(&text);
    }
}

impl EventSink for Progress {
    fn record(&self, record: &Arc<Record>) {
        let depth = {
            let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            let depth = runs.get(&record.run).map_or(0, |counts| counts.depth);
            if let Event::ChildStarted { child, .. } = &record.event {
                runs.insert(child.clone(), Counts { depth: depth + 1, ..Counts::default() });
            }
            depth
        };
        RunView { progress: self, id: &record.run, depth }.show(&record.event);
    }

    fn piece(&self, piece: &Arc<Record>) {
        let depth = {
            let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
            runs.get(&piece.run).map_or(0, |counts| counts.depth)
        };
        if let Event::ModelText { turn, purpose, part, text, .. } = &piece.event {
            RunView { progress: self, id: &piece.run, depth }.show_piece(*turn, *purpose, *part, text);
        }
    }

    fn wants_pieces(&self) -> bool {
        self.detail == Detail::Turns
    }
}

impl RunView<'_> {
    fn show(&self, event: &Event) {
        match event {
            Event::RunStarted { signature, model, interpreter, .. } => {
                self.line(&format!("running `{signature}` with {model} on {interpreter}"));
                self.status("turn 1: waiting for the model");
            }
            Event::ModelReplied { turn, purpose, text, .. } => {
                self.end_pieces();
                self.counts(|counts| {
                    counts.turn = *turn;
                    counts.reply = Some(text.clone());
                });
                match purpose {
                    Purpose::Repair => {
                        self.line(&format!("turn {turn}: the model repaired a cell that did not compile"))
                    }
                    Purpose::Extract => {
                        self.line("the model was asked for its best outputs from what it knows");
                        self.show_reply("its outputs");
                    }
                    Purpose::Compact => {
                        self.line(&format!("turn {turn}: the model summarised the turns so far"));
                        self.show_reply("its summary of the turns so far");
                    }
                    _ => {}
                }
            }
            Event::ReplyRefused { turn, problem, .. } => {
                self.show_reply(&format!("turn {turn}"));
                self.note(*turn, &format!("{problem}; the model is asked again"));
                self.counts(|counts| counts.nudges = true);
            }
            Event::MessageAppended { message, .. } => {
                let nudges = self.counts(|counts| std::mem::take(&mut counts.nudges));
                if nudges && self.detail() == Detail::Turns {
                    let lines = message.content.lines().map(|line| format!("  > {line}\n"));
                    self.print(&lines.collect::<String>());
                }
            }
            Event::ModelCallFailed { turn, call: None, error, retry_seconds: Some(seconds), .. } => {
                self.end_pieces();
                self.counts(|counts| counts.live = LiveReply::default());
                self.note(*turn, &format!("trying again in {seconds:.0} s: {error}"));
                self.status(&format!("turn {turn}: trying again in {seconds:.0} s"));
            }
            Event::ModelCallFailed { turn, call: Some(_), error, retry_seconds: Some(seconds), .. } => {
                self.note(*turn, &format!("a sub-call is tried again in {seconds:.0} s: {error}"));
            }
            Event::TranscriptCut { turn, reason, .. } => {
                self.note(*turn, &format!("earlier messages were cut: {reason}"));
            }
            Event::RunFinished { .. } => self.show_reply("the answer"),
            Event::CellStarted { turn, reasoning, code, .. } => self.cell_started(*turn, reasoning, code),
            Event::SubCallFinished { turn, outcome, .. } => self.counted(|counts| {
                counts.turn = *turn;
                counts.sub_calls += 1;
                counts.failed += u32::from(outcome.failure().is_some());
            }),
            Event::ChildStarted { turn, call, prompt, .. } => {
                self.note(*turn, &format!("child {call} starts: {prompt}"));
            }
            Event::ChildFinished { turn, call, outcome, usage, seconds, .. } => {
                let ended = match outcome.failure() {
                    None => "is done".to_owned(),
                    Some(error) => format!("failed: {error}"),
                };
                self.note(*turn, &format!("child {call}, {usage}, {seconds:.1} s: {ended}"));
                self.counted(|counts| {
                    counts.turn = *turn;
                    counts.children += 1;
                });
            }
            Event::ToolCallFinished { turn, .. } => self.counted(|counts| {
                counts.turn = *turn;
                counts.tool_calls += 1;
            }),
            Event::CellFinished { turn, observation, .. } => self.cell_finished(*turn, observation),
            Event::SessionLost { turn, .. } => {
                self.line(&format!("turn {turn}: the session was lost; a fresh one gets the inputs again"));
            }
            Event::SubmissionRefused { turn, problems, .. } => {
                let problem = problems.lines().next().unwrap_or_default();
                self.line(&format!("turn {turn}: the submission does not fit: {problem}"));
            }
            // How the run ended is told with the answer or the error.
            _ => {}
        }
    }
}

fn heading(title: &str) -> String {
    format!("── {title} {}", "─".repeat(60))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_shown_in_lines_as_they_come() {
        let mut live = LiveReply::default();
        assert!(live.push(ReplyPart::Reasoning, "Look ").is_empty());
        assert_eq!(live.push(ReplyPart::Reasoning, "first.\nThen"), ["  ~ Look first."]);
        assert_eq!(live.push(ReplyPart::Text, "I print\r\nit."), ["  ~ Then", "I print"]);
        assert_eq!((live.end(), live.end()), (Some("it.".to_owned()), None));
    }
}
