//! What is drawn below the lines of a run while it goes on: the reply that is being written, the children as
//! a tree, bars for the calls of a cell, what is left of the budget, and what can be pressed.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use abyme::{Event, Limits, Record, Trajectory, Usage};
use console::{Term, measure_text_width, truncate_str};
use indexmap::IndexMap;
use indicatif::{ProgressBar, ProgressState, ProgressStyle};

use super::{
    paint::{Ink, Paint},
    words::counted,
};
use crate::{keys::Keys, terminal};

/// How often it is drawn.
const TICK: Duration = Duration::from_millis(120);
/// What turns while something is awaited.
const SPINNER: [char; 10] = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
/// Most children that have a line.
const MAX_CHILDREN: usize = 8;
/// How wide a bar is.
const BAR_CELLS: u64 = 24;

/// The drawing, and the keys that belong to it.
#[derive(Debug)]
pub(crate) struct Live {
    view: Arc<Mutex<View>>,
    bar: ProgressBar,
    keys: Option<Keys>,
}

impl Live {
    /// Begins to draw, and to take keys, if it may.
    pub(crate) fn start(paint: Paint, takes_keys: bool) -> Self {
        let keys = takes_keys.then(Keys::take).flatten();
        let view = Arc::new(Mutex::new(View::new(paint, keys.is_some())));
        let bar = ProgressBar::new_spinner();
        let drawn = view.clone();
        let draw = move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let view = lock(&drawn);
            let lines = if view.is_hidden { Vec::new() } else { view.lines(width(), Instant::now()) };
            // Writing to a text does not fail.
            let _ = out.write_str(&lines.join("\n"));
        };
        if let Ok(style) = ProgressStyle::with_template("{view}") {
            bar.set_style(style.with_key("view", draw));
        }
        bar.enable_steady_tick(TICK);
        terminal::draw(Some(bar.clone()));
        Self { view, bar, keys }
    }

    /// Ends it, and gives the terminal back.
    pub(crate) fn end(&self) {
        self.give_keys_back();
        if !self.bar.is_finished() {
            terminal::draw(None);
            self.bar.finish_and_clear();
        }
    }

    /// How many columns the terminal has now.
    pub(crate) fn width(&self) -> usize {
        width()
    }

    pub(crate) fn keys(&self) -> Option<&Keys> {
        self.keys.as_ref()
    }

    /// Lets a person be asked something, and type the answer: nothing is drawn and no key is taken meanwhile.
    pub(crate) fn hidden<T>(&self, ask: impl FnOnce() -> T) -> T {
        terminal::draw(None);
        self.bar.disable_steady_tick();
        lock(&self.view).is_hidden = true;
        self.bar.force_draw();
        let answer = match &self.keys {
            Some(keys) => keys.lend(ask),
            None => ask(),
        };
        if !self.bar.is_finished() {
            lock(&self.view).is_hidden = false;
            self.bar.enable_steady_tick(TICK);
            terminal::draw(Some(self.bar.clone()));
        }
        answer
    }

    /// Whether a person is being asked something.
    pub(crate) fn is_hidden(&self) -> bool {
        lock(&self.view).is_hidden
    }

    /// Takes no more keys.
    pub(crate) fn give_keys_back(&self) {
        self.keys.iter().for_each(Keys::give_back);
        lock(&self.view).has_keys = false;
    }

    pub(crate) fn view(&self) -> MutexGuard<'_, View> {
        lock(&self.view)
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.end();
    }
}

fn width() -> usize {
    Term::stderr().size().1.into()
}

fn lock(view: &Mutex<View>) -> MutexGuard<'_, View> {
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a run and its children.
#[derive(Debug)]
pub(crate) struct View {
    paint: Paint,
    has_keys: bool,
    /// Whether a question has its place.
    is_hidden: bool,
    started: Instant,
    /// What Ctrl-C does.
    ctrl_c: &'static str,
    /// What was said last to the person who presses keys.
    notice: Option<String>,
    /// What the run waits for.
    doing: String,
    /// The line of its reply that is not complete yet.
    partial: String,
    turn: u32,
    limits: Option<Limits>,
    usage: Usage,
    sub_calls: u32,
    calls: Meter,
    child_runs: Meter,
    /// The children at work by their ids, in the order in which they started.
    children: IndexMap<String, Child>,
}

/// A child at work.
#[derive(Debug)]
struct Child {
    parent: String,
    call: u32,
    prompt: String,
    turn: u32,
    sub_calls: u32,
}

/// How far the calls of a cell are.
#[derive(Debug, Default)]
struct Meter {
    asked: u64,
    done: u64,
    failed: u64,
    since: Option<Instant>,
}

impl Meter {
    fn ask(&mut self, count: u32, now: Instant) {
        self.asked += u64::from(count);
        self.since.get_or_insert(now);
    }

    fn done(&mut self, is_failed: bool) {
        self.done += 1;
        self.failed += u64::from(is_failed);
    }

    /// `12 of 40 sub-calls ███████░░░░░ 4.2/s, 7 s left`.
    fn line(&self, what: &str, now: Instant) -> Option<String> {
        // What the record of a resumed run answers is not done once more.
        let (asked, done) = (self.asked.max(self.done), self.done);
        let since = self.since.filter(|_| asked > 1)?;
        let mut line = format!("{done} of {asked} {what}");
        if self.failed > 0 {
            line.push_str(&format!(" ({} failed)", self.failed));
        }
        let full = done * BAR_CELLS / asked;
        let (full, empty) = (full as usize, (BAR_CELLS - full) as usize);
        line.push_str(&format!(" {}{}", "█".repeat(full), "░".repeat(empty)));
        let seconds = now.saturating_duration_since(since).as_secs_f64();
        if done > 0 && seconds > 0.0 {
            let rate = done as f64 / seconds;
            let left = (asked - done) as f64 / rate;
            line.push_str(&format!(" {rate:.1}/s"));
            if asked > done {
                line.push_str(&format!(", {left:.0} s left"));
            }
        }
        Some(line)
    }
}

impl View {
    fn new(paint: Paint, has_keys: bool) -> Self {
        Self {
            paint,
            has_keys,
            is_hidden: false,
            started: Instant::now(),
            ctrl_c: "Ctrl-C ends it",
            notice: None,
            doing: String::new(),
            partial: String::new(),
            turn: 0,
            limits: None,
            usage: Usage::default(),
            sub_calls: 0,
            calls: Meter::default(),
            child_runs: Meter::default(),
            children: IndexMap::new(),
        }
    }

    /// What Ctrl-C does: `Ctrl-C ends it`.
    pub(crate) fn set_ctrl_c(&mut self, does: &'static str) {
        self.ctrl_c = does;
    }

    /// Says something to the person who presses keys.
    pub(crate) fn notice(&mut self, text: &str) {
        self.notice = Some(text.to_owned());
    }

    /// What the run waits for.
    pub(crate) fn set_doing(&mut self, text: &str) {
        text.clone_into(&mut self.doing);
    }

    /// The line of the reply that is not complete yet.
    pub(crate) fn set_partial(&mut self, line: &str) {
        line.clone_into(&mut self.partial);
    }

    /// Takes note of an event, and of what is not part of the record. `is_root` says whether it is of the run
    /// itself.
    pub(crate) fn see(&mut self, record: &Record, is_root: bool) {
        let now = Instant::now();
        match &record.event {
            Event::RunStarted { limits, .. } | Event::RunResumed { limits, .. } if is_root => {
                self.turn = self.turn.max(1);
                self.limits = Some(limits.clone());
            }
            Event::ModelText { turn, .. } if is_root => self.turn = *turn,
            Event::ModelReplied { turn, usage, .. } => {
                self.usage += *usage;
                if is_root {
                    self.turn = *turn;
                } else {
                    self.sub_calls += 1;
                    self.child(&record.run, |child| child.turn = *turn);
                }
            }
            Event::ModelCallFailed { usage, .. } => self.usage += *usage,
            Event::CallsAsked { count, are_children, .. } if is_root => match are_children {
                true => self.child_runs.ask(*count, now),
                false => self.calls.ask(*count, now),
            },
            Event::SubCallStarted { repairs: Some(_), .. } if is_root => self.calls.ask(1, now),
            Event::SubCallFinished { usage, outcome, answered_by, .. } => {
                self.usage += *usage;
                self.sub_calls += u32::from(answered_by.is_none());
                match is_root {
                    true => self.calls.done(outcome.failure().is_some()),
                    false => self.child(&record.run, |child| child.sub_calls += 1),
                }
            }
            Event::ChildStarted { call, child, prompt, .. } => {
                let (parent, call, prompt) = (record.run.clone(), *call, one_line(prompt));
                let new = Child { parent, call, prompt, turn: 0, sub_calls: 0 };
                self.children.insert(child.clone(), new);
            }
            Event::ChildFinished { child, outcome, .. } => {
                self.children.shift_remove(child);
                if is_root {
                    self.child_runs.done(outcome.failure().is_some());
                }
            }
            Event::CellStarted { .. } if is_root => {
                (self.calls, self.child_runs) = (Meter::default(), Meter::default());
            }
            Event::CellFinished { turn, sub_calls, .. } if is_root => {
                self.turn = turn + 1;
                (self.calls, self.child_runs) = (Meter::default(), Meter::default());
                self.sub_calls = *sub_calls;
            }
            _ => {}
        }
    }

    /// Takes note of what the run did before it goes on.
    pub(crate) fn catch_up(&mut self, record: &Trajectory) {
        for one in record.records() {
            self.see(one, one.run == record.run());
        }
        // What the record answers is not done once more.
        (self.calls, self.child_runs) = (Meter::default(), Meter::default());
        // The time of a run is that of all its parts.
        let seconds = record.records().last().map_or(0.0, |last| last.at);
        let before = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        self.started = self.started.checked_sub(before).unwrap_or(self.started);
    }

    fn child(&mut self, run: &str, change: impl FnOnce(&mut Child)) {
        if let Some(child) = self.children.get_mut(run) {
            change(child);
        }
    }

    /// What is drawn, in lines of so many columns at most.
    fn lines(&self, width: usize, now: Instant) -> Vec<String> {
        let elapsed = now.saturating_duration_since(self.started);
        let mut lines = Vec::new();
        if !self.partial.trim().is_empty() {
            lines.push(end_of(&terminal::escape(&self.partial), width));
        }
        lines.extend(self.tree(None).into_iter().map(|line| self.paint.ink(Ink::Faint, &line)));
        lines.extend(self.child_runs.line("child runs", now));
        lines.extend(self.calls.line("sub-calls", now));
        let frame = (elapsed.as_millis() / TICK.as_millis()) as usize % SPINNER.len();
        lines.push(format!("{} {} {}", SPINNER[frame], clock(elapsed), terminal::escape(&self.doing)));
        lines.push(self.paint.ink(Ink::Faint, &format!("  {}", self.budget(elapsed))));
        lines.push(match (&self.notice, self.has_keys) {
            (Some(notice), _) => self.paint.ink(Ink::Warning, &format!("  {notice}")),
            (None, true) => {
                let hint = format!("  q ends it with what is known; {}", self.ctrl_c);
                self.paint.ink(Ink::Faint, &hint)
            }
            (None, false) => self.paint.ink(Ink::Faint, &format!("  {}", self.ctrl_c)),
        });
        // The last column stays free: some terminals go on in the next line there.
        lines.iter().map(|line| truncate_str(line, width.saturating_sub(1), "…").into_owned()).collect()
    }

    /// The children below a run, or below the root, each with those below it.
    fn tree(&self, parent: Option<&str>) -> Vec<String> {
        let is_below = |child: &Child| match parent {
            Some(parent) => child.parent == parent,
            None => !self.children.contains_key(&child.parent),
        };
        let below: Vec<_> = self.children.iter().filter(|(_, child)| is_below(child)).collect();
        let mut lines = Vec::new();
        for (at, (id, child)) in below.iter().enumerate() {
            let is_last = at + 1 == below.len();
            if at == MAX_CHILDREN {
                lines.push(format!("└─ and {} more", below.len() - at));
                break;
            }
            let Child { call, prompt, turn, sub_calls, .. } = child;
            let sub_calls = match sub_calls {
                0 => String::new(),
                count => format!(", {}", counted(*count, "sub-call")),
            };
            let (branch, indent) = if is_last { ("└─", "  ") } else { ("├─", "│ ") };
            lines.push(format!("{branch} child {call}: {}{sub_calls}: {prompt}", counted(*turn, "turn")));
            lines.extend(self.tree(Some(id.as_str())).into_iter().map(|line| format!("{indent} {line}")));
        }
        lines
    }

    /// What is used that has no limit, and what is left of the rest: `turn 2 of 20; 1200 tokens; left: 190
    /// sub-calls, $0.3800`.
    fn budget(&self, elapsed: Duration) -> String {
        let Some(limits) = &self.limits else { return String::new() };
        let (mut used, mut left) = (Vec::new(), Vec::new());
        left.push(counted(limits.max_llm_calls.saturating_sub(self.sub_calls), "sub-call"));
        let tokens = self.usage.total_tokens().unwrap_or_default();
        match limits.max_tokens {
            Some(most) => left.push(counted(most.saturating_sub(tokens), "token")),
            None => used.push(counted(tokens, "token")),
        }
        let cost = self.usage.cost;
        match limits.max_cost {
            Some(most) => left.push(format!("${:.4}", (most - cost.unwrap_or_default()).max(0.0))),
            None => used.extend(cost.map(|cost| format!("${cost:.4}"))),
        }
        left.extend(limits.run_timeout.map(|limit| clock(limit.saturating_sub(elapsed))));
        let used = if used.is_empty() { String::new() } else { format!("; {}", used.join(", ")) };
        let turn = self.turn.min(limits.max_iterations);
        format!("turn {turn} of {}{used}; left: {}", limits.max_iterations, left.join(", "))
    }
}

/// `1:05`.
fn clock(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds / 3600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

/// A text in one line; nobody sees more of it.
fn one_line(text: &str) -> String {
    const MOST: usize = 200;
    let line = text.split_whitespace().flat_map(|word| [word, " "]).flat_map(str::chars);
    line.take(MOST).collect::<String>().trim_end().to_owned()
}

/// The end of a line, where it is longer than `width` columns.
fn end_of(line: &str, width: usize) -> String {
    let room = width.saturating_sub(2);
    if measure_text_width(line) <= room {
        return line.to_owned();
    }
    let mut kept = String::new();
    let mut columns = 0;
    for char in line.chars().rev() {
        columns += measure_text_width(char.encode_utf8(&mut [0; 4]));
        if columns > room {
            break;
        }
        kept.insert(0, char);
    }
    format!("…{kept}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(run: &str, event: serde_json::Value) -> Record {
        let mut record = serde_json::json!({"run": run, "at": 0.0});
        record.as_object_mut().unwrap().extend(event.as_object().unwrap().clone());
        serde_json::from_value(record).unwrap()
    }

    fn asked(count: u32, are_children: bool) -> serde_json::Value {
        serde_json::json!({"event": "calls_asked", "turn": 1, "count": count, "are_children": are_children})
    }

    fn done(cost: f64) -> serde_json::Value {
        let usage = serde_json::json!({"calls": 1, "input_tokens": 90, "output_tokens": 10, "cost": cost});
        serde_json::json!({
            "event": "sub_call_finished", "turn": 1, "call": 1, "result": "r", "usage": usage, "seconds": 1.0,
        })
    }

    fn child(call: u32, child: &str, prompt: &str) -> serde_json::Value {
        serde_json::json!({
            "event": "child_started", "turn": 1, "call": call, "function": "rlm_query", "child": child,
            "prompt": prompt,
        })
    }

    #[test]
    fn the_budget_of_a_run_that_goes_on_is_that_of_the_whole_run() {
        let went_on = |limits: &Limits| {
            let mut went_on =
                serde_json::json!({"event": "run_resumed", "abyme": "0.1.0", "unix_ms": 0, "records": 0});
            went_on["limits"] = serde_json::to_value(limits).unwrap();
            went_on
        };
        let limits = Limits::default().max_cost(0.5).max_tokens(1_000_u64);
        let mut last = record("root", done(0.04));
        last.at = 65.0;
        let records = [record("root", went_on(&limits)), record("root", done(0.03)), last];
        let before: Trajectory = records.into_iter().collect();
        let mut view = View::new(Paint::default(), true);
        view.catch_up(&before);
        let lines = view.lines(80, Instant::now());
        assert_eq!(&lines[0]['⠋'.len_utf8()..], " 1:05 ");
        assert_eq!(lines[1], "  turn 1 of 20; left: 198 sub-calls, 800 tokens, $0.4300");
        // What the record answers is no progress.
        assert!(lines.iter().all(|line| !line.contains('█')), "{lines:#?}");
    }

    #[test]
    fn calls_have_bars_and_children_are_a_tree() {
        let mut view = View::new(Paint::default(), true);
        let limits =
            Limits::default().max_cost(0.5).max_tokens(1_000_u64).run_timeout(Duration::from_secs(100));
        view.limits = Some(limits);
        view.set_doing("turn 1: running a cell\u{7}");
        view.set_partial(&format!("{} end", "long ".repeat(40)));
        view.see(&record("root", asked(40, false)), true);
        (0..10).for_each(|_| view.see(&record("root", done(0.01)), true));
        view.see(&record("root", asked(2, true)), true);
        view.see(&record("root", child(41, "a", "one\ntwo")), true);
        view.see(&record("root", child(42, "b", &"very long ".repeat(100))), true);
        view.see(&record("a", child(1, "c", "below")), false);
        view.see(&record("c", done(0.02)), false);
        let now = view.calls.since.unwrap() + Duration::from_secs(5);
        view.started = now - Duration::from_secs(65);
        view.child_runs.since = Some(now);
        let lines = view.lines(80, now);
        assert!(lines.iter().all(|line| measure_text_width(line) < 80), "{lines:#?}");
        assert!(lines[0].starts_with('…') && lines[0].ends_with("long long  end"), "{lines:#?}");
        assert_eq!(
            lines[1..3],
            ["├─ child 41: 0 turns: one two", "│  └─ child 1: 0 turns, 1 sub-call: below"],
            "{lines:#?}"
        );
        assert!(lines[3].starts_with("└─ child 42: 0 turns: very long") && lines[3].ends_with('…'));
        assert_eq!(lines[4], "0 of 2 child runs ░░░░░░░░░░░░░░░░░░░░░░░░");
        assert_eq!(lines[5], "10 of 40 sub-calls ██████░░░░░░░░░░░░░░░░░░ 2.0/s, 15 s left");
        assert_eq!(&lines[6]['⠋'.len_utf8()..], " 1:05 turn 1: running a cell\\u{7}");
        assert_eq!(lines[7], "  turn 0 of 20; left: 189 sub-calls, 0 tokens, $0.3800, 0:35");
        assert_eq!(lines[8..], ["  q ends it with what is known; Ctrl-C ends it"]);
        let ended = serde_json::json!({
            "event": "child_finished", "turn": 1, "call": 41, "child": "a", "result": 1, "usage": {},
            "seconds": 1.0,
        });
        view.see(&record("root", ended), true);
        assert!(view.lines(80, now).iter().any(|line| line.starts_with("1 of 2 child runs")));
        let most = MAX_CHILDREN as u32 + 3;
        (0..most)
            .for_each(|call| view.see(&record("root", child(100 + call, &format!("x{call}"), "p")), true));
        assert!(view.lines(80, now).contains(&"└─ and 5 more".to_owned()), "{:#?}", view.lines(80, now));
    }

    #[test]
    fn a_narrow_terminal_is_no_problem() {
        let mut view = View::new(Paint::on(), false);
        view.set_partial("日本語 の 文");
        view.notice("pressed");
        for width in [0, 1, 2, 5] {
            let lines = view.lines(width, Instant::now());
            assert!(lines.iter().all(|line| measure_text_width(line) <= width.max(1)), "{width}: {lines:?}");
        }
    }
}
