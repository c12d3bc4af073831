//! Colours, where a terminal shows them and nobody turned them off.

use crate::terminal::escape;

/// What a piece of text is, which decides how it looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ink {
    Heading,
    /// What a model thinks, and what is beside the point.
    Faint,
    Warning,
    Problem,
    Keyword,
    Literal,
    Number,
    Comment,
    Call,
}

impl Ink {
    /// The parameters of the control sequence that begins it: the terminal's own colours, which fit dark and
    /// light ones.
    fn codes(self) -> &'static str {
        match self {
            Ink::Heading => "1",
            Ink::Faint | Ink::Comment => "2",
            Ink::Warning | Ink::Number => "33",
            Ink::Problem => "31",
            Ink::Keyword => "35",
            Ink::Literal => "32",
            Ink::Call => "36",
        }
    }
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Paint {
    is_on: bool,
}

impl Paint {
    /// As the environment wants it: `NO_COLOR` with any value turns colours off, and so does `CLICOLOR=0`.
    pub(crate) fn of_environment() -> Self {
        let given = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { is_on: given("NO_COLOR").is_none() && given("CLICOLOR").is_none_or(|value| value != "0") }
    }

    /// The text, which shows all its control characters, in a colour.
    pub(crate) fn ink(self, ink: Ink, text: &str) -> String {
        let text = escape(text);
        match self.is_on && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", ink.codes()),
            false => text.into_owned(),
        }
    }

    /// Each line in a colour.
    pub(crate) fn lines(self, ink: Ink, text: &str) -> String {
        text.lines().map(|line| self.ink(ink, line)).collect::<Vec<_>>().join("\n")
    }

    #[cfg(test)]
    pub(crate) fn on() -> Self {
        Self { is_on: true }
    }
}
