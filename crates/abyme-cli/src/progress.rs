//! Shows a run as it happens: live on a terminal, plain lines elsewhere, whole turns if asked for.

mod live;
mod paint;
mod python;
mod reply;
mod words;

use std::{
    collections::HashMap,
    future::pending,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use abyme::{
    Event, EventSink, Observation, Record, Trajectory,
    interpreter::render_observation,
    trajectory::{Purpose, ReplyPart},
};

use self::{
    live::Live,
    paint::{Ink, Paint},
    python::Highlighter,
    reply::{LiveReply, ReplyLook},
    words::counted,
};
use crate::{
    keys::Keys,
    standard::Standard,
    terminal::{self, escape},
};

/// Most characters of a line about what went wrong. The trace has the rest.
const MAX_NOTE_CHARS: usize = 160;
/// What stands before the lines of a child, for each run above it.
const INDENT: &str = "    ";
/// How often it is looked whether an answer is still wanted.
const LOOK: Duration = Duration::from_millis(100);
/// Most characters of what a cell produced, on a terminal where turns were not asked for whole.
const MAX_OUTPUT_CHARS: usize = 1_000;

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
    /// A line for what happens; on a terminal the turns, with what cells produced cut.
    Lines,
    /// Each turn whole: reasoning, code, what it produced.
    Turns,
}

/// Shows a run as it happens.
#[derive(Debug)]
pub(crate) struct Progress {
    target: Target,
    detail: Detail,
    /// What is drawn below, on a terminal.
    live: Option<Live>,
    paint: Paint,
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

impl Progress {
    /// On a terminal it is drawn, until [`finish`](Self::finish), and takes the keys, unless what reads
    /// stdout may want them: a pager does.
    pub(crate) fn on_stderr(detail: Detail, standard: &Standard) -> Self {
        Self::with_keys(Target::Stderr, detail, !standard.is_output_pipe())
    }

    /// The same on another target, where no key is taken.
    pub(crate) fn new(target: Target, detail: Detail) -> Self {
        Self::with_keys(target, detail, false)
    }

    fn with_keys(target: Target, detail: Detail, takes_keys: bool) -> Self {
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        let is_live = matches!(target, Target::Stderr) && io::stderr().is_terminal() && !is_dumb;
        let paint = if is_live { Paint::of_environment() } else { Paint::default() };
        let live = is_live.then(|| Live::start(paint, takes_keys));
        Self { target, detail, live, paint, runs: Mutex::default() }
    }

    /// Takes note of what a run did before it goes on: its children go on as its children, and the budget
    /// that is drawn is that of the whole run.
    pub(crate) fn catch_up(&self, record: &Trajectory) {
        for one in record.records() {
            self.depth_of(one);
        }
        self.live.iter().for_each(|live| live.view().catch_up(record));
    }

    /// How many runs are above that of a record. A child that starts is known from then on.
    fn depth_of(&self, record: &Record) -> usize {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let depth = runs.get(&record.run).map_or(0, |counts| counts.depth);
        if let Event::ChildStarted { child, .. } = &record.event {
            runs.insert(child.clone(), Counts { depth: depth + 1, ..Counts::default() });
        }
        depth
    }

    /// Whether a question waits for its answer: then the person does not see what is drawn.
    pub(crate) fn is_asking(&self) -> bool {
        self.live.as_ref().is_some_and(Live::is_hidden)
    }

    /// Ends what is drawn, so that the answer stands alone.
    pub(crate) fn finish(&self) {
        self.live.iter().for_each(Live::end);
    }

    /// Whether a person watches.
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
    }

    /// Waits until a person wants the run to answer with what it knows.
    pub(crate) async fn end_wanted(&self) {
        match self.keys() {
            Some(keys) => keys.end_pressed().await,
            None => pending().await,
        }
    }

    /// Takes no more keys.
    pub(crate) fn give_keys_back(&self) {
        self.live.iter().for_each(Live::give_keys_back);
    }

    /// Says what Ctrl-C does: `Ctrl-C ends it`.
    pub(crate) fn say_ctrl_c(&self, does: &'static str) {
        self.live.iter().for_each(|live| live.view().set_ctrl_c(does));
    }

    /// Says something to the person who presses keys.
    pub(crate) fn notice(&self, text: &str) {
        self.live.iter().for_each(|live| live.view().notice(text));
    }

    /// Asks the person at the terminal, in the middle of a run, and waits for the answer. `None` where nobody
    /// sits there, or nobody would see the question.
    pub(crate) fn ask(&self, standard: &Standard, question: &str) -> Option<String> {
        self.ask_while(standard, question, || true)
    }

    /// The same, for as long as the answer is wanted.
    pub(crate) fn ask_while(
        &self,
        standard: &Standard,
        question: &str,
        is_wanted: impl Fn() -> bool,
    ) -> Option<String> {
        if !standard.is_input_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        let ask = || {
            // What was typed before the question was seen is no answer to it.
            standard.drop_typed();
            writeln!(io::stderr().lock(), "{}", escape(question)).ok()?;
            while !standard.is_readable_within(LOOK) {
                if !is_wanted() {
                    writeln!(io::stderr().lock(), "The call is over: no answer is needed any more.").ok();
                    return None;
                }
            }
            let mut answer = String::new();
            BufReader::new(standard.input()).read_line(&mut answer).ok()?;
            Some(answer)
        };
        match &self.live {
            Some(live) => live.hidden(ask),
            None => ask(),
        }
    }

    /// Whether a person can press keys.
    pub(crate) fn takes_keys(&self) -> bool {
        self.keys().is_some()
    }

    fn keys(&self) -> Option<&Keys> {
        self.live.as_ref()?.keys()
    }

    /// Prints lines that are ready for a terminal; what is drawn stays below them.
    fn print(&self, text: &str) {
        match &self.target {
            Target::Stderr => terminal::say_as_is(text),
            // A closed stdout ends the command elsewhere.
            Target::Stdout(standard) => drop(writeln!(standard.output(), "{text}")),
        }
    }

    /// Says in one place what is going on: what a line each would be too much for.
    fn status(&self, text: &str) {
        self.live.iter().for_each(|live| live.view().set_doing(text));
    }

    /// How a reply looks.
    fn look(&self) -> ReplyLook {
        if self.is_live() { ReplyLook::Painted(self.paint) } else { ReplyLook::Plain }
    }
}

impl RunView<'_> {
    /// Prints lines, indented by the depth of the run. Their control characters are shown.
    fn print(&self, text: &str) {
        self.print_as_is(&escape(text));
    }

    /// Prints lines that are ready for a terminal, indented by the depth of the run.
    fn print_as_is(&self, text: &str) {
        let text = text.trim_end();
        match self.depth {
            0 => self.progress.print(text),
            depth => {
                let indent = INDENT.repeat(depth);
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

    /// A person who watches sees the turns of the run itself.
    fn detail(&self) -> Detail {
        if self.progress.is_live() && self.depth == 0 { Detail::Turns } else { self.progress.detail }
    }

    /// Whether what happens in children is drawn, and not printed too.
    fn draws_children(&self) -> bool {
        self.progress.is_live() && self.progress.detail == Detail::Lines
    }

    fn heading(&self, title: &str) -> String {
        let width = self.progress.live.as_ref().map_or(usize::MAX, Live::width);
        let width = width.saturating_sub(INDENT.len() * self.depth);
        self.progress.paint.ink(Ink::Heading, &heading(title, width))
    }

    fn counts<T>(&self, change: impl FnOnce(&mut Counts) -> T) -> T {
        let mut runs = self.progress.runs.lock().unwrap_or_else(PoisonError::into_inner);
        change(runs.entry(self.id.to_owned()).or_default())
    }

    /// A reply that is not shown as a cell, under a line that says what it is, unless it was shown already.
    fn show_reply(&self, title: &str) {
        let (reply, live) = self.counts(|counts| (counts.reply.take(), std::mem::take(&mut counts.live)));
        if let Some(reply) = reply.filter(|_| self.detail() == Detail::Turns && !live.has_begun()) {
            self.print_as_is(&format!("{}\n{}", self.heading(title), escape(reply.trim())));
        }
    }

    /// A piece of a reply. Children run at the same time, so theirs are shown when they are whole.
    fn show_piece(&self, turn: u32, purpose: Purpose, part: ReplyPart, piece: &str) {
        if self.depth > 0 {
            return;
        }
        let look = self.progress.look();
        let (is_first, lines, line) = self.counts(|counts| {
            let is_first = !counts.live.has_begun();
            (is_first, counts.live.push(part, piece, look), counts.live.end_of_line().to_owned())
        });
        if let Some(live) = &self.progress.live {
            let doing = if part == ReplyPart::Reasoning { "thinks" } else { "writes" };
            let mut view = live.view();
            view.set_doing(&format!("turn {turn}: the model {doing}"));
            view.set_partial(&line);
        }
        if is_first {
            self.print_as_is(&match purpose {
                Purpose::Extract => self.heading("its outputs"),
                Purpose::Compact => self.heading("its summary of the turns so far"),
                _ => self.heading(&format!("turn {turn}")),
            });
        }
        lines.iter().for_each(|line| self.print_as_is(line));
    }

    /// The end of what was shown of a reply.
    fn end_pieces(&self) {
        let look = self.progress.look();
        let line = self.counts(|counts| counts.live.end(look));
        if let Some(live) = self.progress.live.as_ref().filter(|_| self.depth == 0) {
            live.view().set_partial("");
        }
        line.into_iter().for_each(|line| self.print_as_is(&line));
    }

    /// What is said of a reply that was not acted on, and of a try that failed.
    fn note(&self, turn: u32, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        let mut short: String = line.chars().take(MAX_NOTE_CHARS).collect();
        if short.len() < line.len() {
            short.push('…');
        }
        let note = format!("turn {turn}: {short}");
        if self.depth == 0 || self.detail() == Detail::Turns {
            self.print_as_is(&self.progress.paint.ink(Ink::Warning, &note));
        }
    }

    fn cell_started(&self, turn: u32, reasoning: &str, code: &str) {
        let (reply, live) = self.counts(|counts| (counts.reply.take(), std::mem::take(&mut counts.live)));
        // A call in the provider's own form has code that is not in the text.
        let is_shown = live.has_begun() && reply.is_some_and(|reply| reply.contains(code.trim()));
        let about = format!("turn {turn}: running a cell ({})", counted(code.lines().count() as u64, "line"));
        match self.detail() {
            Detail::Lines => self.line(&about),
            Detail::Turns if is_shown => {}
            Detail::Turns => {
                let mut text = format!("{}\n", self.heading(&format!("turn {turn}")));
                if !reasoning.trim().is_empty() {
                    text.push_str(&escape(reasoning.trim()));
                    text.push('\n');
                }
                let mut painted = Highlighter::new(self.progress.paint);
                text.extend(code.lines().map(|line| format!("  │ {}\n", painted.line(line))));
                self.print_as_is(&text);
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
            facts.push(format!("{}{failed}", counted(counts.sub_calls, "sub-call")));
        }
        if counts.children > 0 {
            facts.push(counted(counts.children, "child run"));
        }
        if counts.tool_calls > 0 {
            facts.push(counted(counts.tool_calls, "tool call"));
        }
        match self.detail() {
            Detail::Turns => {
                if !facts.is_empty() {
                    self.print(&format!("({})", facts.join(", ")));
                }
                // A cell that only submits has nothing to show.
                let silent =
                    observation.stdout.is_empty() && observation.stderr.is_empty() && observation.is_ok();
                if observation.submission.is_none() || !silent {
                    let is_cut = self.progress.detail == Detail::Lines;
                    let most = if is_cut { MAX_OUTPUT_CHARS } else { usize::MAX };
                    self.print_as_is(&self.painted(&render_observation(observation, most)));
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

    /// What a cell produced: labels stay in the background, an exception does not.
    fn painted(&self, observed: &str) -> String {
        let mut is_error = false;
        let lines = observed.lines().map(|line| {
            let is_label = LABELS.iter().any(|label| line.starts_with(label));
            is_error = if is_label { line.starts_with(LABELS[0]) } else { is_error };
            match (is_label, is_error) {
                (true, _) => self.progress.paint.ink(Ink::Faint, line),
                (false, true) => self.progress.paint.ink(Ink::Problem, line),
                (false, false) => escape(line).into_owned(),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }
}

impl EventSink for Progress {
    fn record(&self, record: &Arc<Record>) {
        let depth = self.depth_of(record);
        self.live.iter().for_each(|live| live.view().see(record, depth == 0));
        RunView { progress: self, id: &record.run, depth }.show(&record.event);
    }

    fn piece(&self, piece: &Arc<Record>) {
        let depth = self.depth_of(piece);
        self.live.iter().for_each(|live| live.view().see(piece, depth == 0));
        if let Event::ModelText { turn, purpose, part, text, .. } = &piece.event {
            RunView { progress: self, id: &piece.run, depth }.show_piece(*turn, *purpose, *part, text);
        }
    }

    fn wants_pieces(&self) -> bool {
        self.is_live() || self.detail == Detail::Turns
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
                self.counts(|counts| counts.reply = Some(text.clone()));
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
                    self.print_as_is(&self.progress.paint.lines(Ink::Faint, &lines.collect::<String>()));
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
            Event::SubCallFinished { outcome, .. } => self.counts(|counts| {
                counts.sub_calls += 1;
                counts.failed += u32::from(outcome.failure().is_some());
            }),
            Event::ChildStarted { .. } if self.draws_children() => {}
            Event::ChildStarted { turn, call, prompt, .. } => {
                self.note(*turn, &format!("child {call} starts: {prompt}"));
            }
            Event::ChildFinished { turn, call, outcome, usage, seconds, .. } => {
                let ended = match outcome.failure() {
                    None => "is done".to_owned(),
                    Some(error) => format!("failed: {error}"),
                };
                self.note(*turn, &format!("child {call}, {usage}, {seconds:.1} s: {ended}"));
                self.counts(|counts| counts.children += 1);
            }
            Event::ToolCallFinished { .. } => self.counts(|counts| counts.tool_calls += 1),
            Event::CellFinished { turn, observation, .. } => self.cell_finished(*turn, observation),
            Event::SessionLost { turn, .. } => {
                self.line(&format!("turn {turn}: the session was lost; a fresh one gets the inputs again"));
            }
            Event::SubmissionRefused { turn, problems, .. } => {
                let problem = problems.lines().next().unwrap_or_default();
                self.line(&format!("turn {turn}: the submission does not fit: {problem}"));
            }
            Event::RunResumed { notes, .. } => {
                notes.iter().for_each(|note| self.line(&format!("note: {note}")))
            }
            Event::SessionRebuilt { turn, differences, .. } if !differences.is_empty() => {
                let cells = counted(differences.len() as u64, "cell");
                self.line(&format!(
                    "turn {turn}: {cells} did not do again what had been done; variables may differ"
                ));
            }
            // How the run ended is told with the answer or the error.
            _ => {}
        }
    }
}

/// How the parts of an observation are labelled; the first is an exception.
const LABELS: [&str; 9] = [
    "[error",
    "[value",
    "[stdout",
    "[stderr",
    "[changed]",
    "[submitted by",
    "[session restored]",
    "[session ended]",
    "[time limit]",
];

/// A title with a rule behind it, on one line of a terminal of this width.
fn heading(title: &str, width: usize) -> String {
    const RULE: usize = 60;
    let title = format!("── {title} ");
    let left = width.saturating_sub(title.chars().count());
    format!("{title}{}", "─".repeat(left.min(RULE)))
}
