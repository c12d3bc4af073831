//! How other systems talk with their models: what they show of a cell, what a reply without code means, which
//! blocks run. Facts about them; the texts in `peers/` are our own.

use crate::interpreter::{Captured, Observation, render_observation};

/// The conventions of another system.
pub(crate) struct Conventions {
    /// The rules.
    pub(super) system: &'static str,
    /// The task, with the note that the first turn begins with.
    pub(super) task: &'static str,
    /// What every later message of the user ends with.
    pub(crate) footer: &'static str,
    observe: fn(&Observation, &str, usize) -> String,
    /// Whether an observation that is too long keeps its beginning alone.
    pub(crate) keeps_head: bool,
    pub(crate) text_alone: TextAlone,
    /// Whether all blocks of a reply run.
    pub(crate) runs_all_blocks: bool,
    /// Whether `FINAL` and `FINAL_VAR` end the run from the text of a reply, code or no code.
    pub(crate) has_final_in_text: bool,
    /// Whether a request has all turns in one message of the user.
    pub(crate) is_one_message: bool,
    /// Whether the inputs are there as `context`.
    pub(crate) has_context: bool,
    /// Whether the run's last call asks for a text, where that can be the answer.
    pub(crate) extracts_text: bool,
    /// What a sub-call has that says nothing about it.
    pub(crate) sub_call_temperature: Option<f64>,
    pub(crate) sub_call_max_tokens: Option<u32>,
}

/// What a reply without code means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextAlone {
    /// It is asked for code, and taken as the answer if it does so again, where a text can be one.
    Nudged,
    /// The run goes on.
    GoesOn,
    /// It is the answer, where a text can be one.
    Answers,
}

impl Conventions {
    /// An observation as the model reads it.
    pub(crate) fn observed(&self, observation: &Observation, code: &str, max_chars: usize) -> String {
        let is_plain = observation.interruption.is_none()
            && observation.session_ended.is_none()
            && observation.restored.is_none();
        match is_plain {
            true => (self.observe)(observation, code, max_chars),
            // No other system has words for these observations.
            false => render_observation(observation, max_chars),
        }
    }

    /// Whether a reply has to come to its end before it is known what runs.
    pub(crate) fn reads_to_the_end(&self) -> bool {
        self.runs_all_blocks || self.has_final_in_text
    }
}

pub(super) const DSPY: Conventions = Conventions {
    system: include_str!("peers/dspy_system.md"),
    task: include_str!("peers/dspy_task.md"),
    footer: "Iteration {{next}}/{{max}}",
    observe: dspy,
    keeps_head: false,
    text_alone: TextAlone::Nudged,
    runs_all_blocks: false,
    has_final_in_text: false,
    is_one_message: true,
    has_context: false,
    extracts_text: false,
    sub_call_temperature: None,
    sub_call_max_tokens: None,
};

pub(super) const RLMS: Conventions = Conventions {
    system: include_str!("peers/rlms_system.md"),
    task: include_str!("peers/rlms_task.md"),
    footer: "Turn {{next}}/{{max}}:",
    observe: |observation, _, max_chars| format!("REPL output:\n{}", repl(observation, max_chars)),
    keeps_head: true,
    text_alone: TextAlone::GoesOn,
    runs_all_blocks: true,
    has_final_in_text: false,
    is_one_message: false,
    has_context: true,
    extracts_text: true,
    sub_call_temperature: None,
    sub_call_max_tokens: None,
};

pub(super) const PAPER: Conventions = Conventions {
    system: include_str!("peers/paper_system.md"),
    task: include_str!("peers/paper_task.md"),
    footer: include_str!("peers/paper_next.md"),
    observe: |observation, code, max_chars| {
        let output = repl(observation, max_chars);
        format!("Code executed:\n{}\n\nREPL output:\n{output}", abyme_python_syntax::fence(code))
    },
    has_final_in_text: true,
    ..RLMS
};

pub(super) const OPENJARVIS: Conventions = Conventions {
    system: include_str!("peers/openjarvis_system.md"),
    task: include_str!("peers/openjarvis_task.md"),
    footer: "",
    observe: openjarvis,
    text_alone: TextAlone::Answers,
    runs_all_blocks: false,
    sub_call_temperature: Some(0.3),
    sub_call_max_tokens: Some(1_024),
    ..RLMS
};

/// `ValueError: no such name`, if the cell ended so.
fn error(observation: &Observation) -> Option<String> {
    observation.error.as_ref().map(ToString::to_string)
}

/// What was written, without its last newline; `None` if nothing was.
fn written(text: &Captured) -> Option<String> {
    Some(text.to_string().trim_end_matches('\n').to_owned()).filter(|text| !text.is_empty())
}

/// Output under its length, head and tail of it where it is long.
fn dspy(observation: &Observation, _code: &str, max_chars: usize) -> String {
    let failed = error(observation).map(|error| format!("[Error] {error}"));
    let value = observation.value.as_ref().and_then(written);
    let parts = [written(&observation.stdout), written(&observation.stderr), value, failed];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    if text.is_empty() {
        return "Output:\n(nothing was printed)".to_owned();
    }
    let text = Captured::whole(text);
    format!("Output ({} chars):\n{}", text.total_chars, text.shortened(max_chars))
}

/// What was printed, the error, and the variables; the beginning of it where it is long.
fn repl(observation: &Observation, max_chars: usize) -> String {
    let errors = [written(&observation.stderr), error(observation)];
    let errors: Vec<_> = errors.into_iter().flatten().collect();
    let names: Vec<_> = observation.changed.iter().map(|changed| format!("'{}'", changed.name)).collect();
    let parts = [
        written(&observation.stdout),
        (!errors.is_empty()).then(|| errors.join("\n")),
        (!names.is_empty()).then(|| format!("REPL variables: [{}]", names.join(", "))),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    if parts.is_empty() {
        return "No output".to_owned();
    }
    let (head, left_out) = head(&parts.join("\n\n"), max_chars);
    match left_out {
        0 => head,
        _ => format!("{head}... + [{left_out} chars...]"),
    }
}

/// What was printed and the error, in one line's wording; the beginning of it where it is long.
fn openjarvis(observation: &Observation, _code: &str, max_chars: usize) -> String {
    let parts = [written(&observation.stdout), written(&observation.stderr), error(observation)];
    let text = parts.into_iter().flatten().collect::<Vec<_>>().join("\n");
    match head(&text, max_chars) {
        (head, _) if head.is_empty() => "REPL Output: (no output)".to_owned(),
        (head, 0) => format!("REPL Output: {head}"),
        (head, _) => format!("REPL Output: {head}\n... (output truncated)"),
    }
}

/// The first characters of a text, and how many are left out.
fn head(text: &str, max_chars: usize) -> (String, usize) {
    match text.char_indices().nth(max_chars) {
        Some((end, _)) => (text[..end].to_owned(), text[end..].chars().count()),
        None => (text.to_owned(), 0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interpreter::PythonError;

    #[test]
    fn each_shows_a_cell_in_its_own_way() {
        let mut observation = Observation::default();
        let shown = |observation: &Observation, chars| {
            [&DSPY, &RLMS, &PAPER, &OPENJARVIS].map(|one| one.observed(observation, "f()", chars))
        };
        assert_eq!(
            shown(&observation, 100),
            [
                "Output:\n(nothing was printed)",
                "REPL output:\nNo output",
                "Code executed:\n```python\nf()\n```\n\nREPL output:\nNo output",
                "REPL Output: (no output)",
            ]
        );
        observation.stdout = "0123456789\n".into();
        observation.value = Some("7".into());
        observation.error = Some(PythonError::new("ValueError", "no"));
        assert_eq!(
            shown(&observation, 100),
            [
                "Output (35 chars):\n0123456789\n7\n[Error] ValueError: no",
                "REPL output:\n0123456789\n\nValueError: no",
                "Code executed:\n```python\nf()\n```\n\nREPL output:\n0123456789\n\nValueError: no",
                "REPL Output: 0123456789\nValueError: no",
            ]
        );
        assert_eq!(
            shown(&observation, 6),
            [
                "Output (35 chars):\n012\n... (29 characters omitted) ...\n no",
                "REPL output:\n012345... + [20 chars...]",
                "Code executed:\n```python\nf()\n```\n\nREPL output:\n012345... + [20 chars...]",
                "REPL Output: 012345\n... (output truncated)",
            ]
        );
    }
}
