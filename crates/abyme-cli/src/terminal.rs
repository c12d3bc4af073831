//! Writing to stderr: nothing panics when it is closed, and nothing that a model or a cell wrote can steer
//! the terminal.

use std::{
    borrow::Cow,
    io::{self, IsTerminal, Write},
};

use tracing_subscriber::EnvFilter;

/// Shows warnings, or what `ABYME_LOG` asks for, on stderr.
pub(crate) fn start_log() {
    let configured = EnvFilter::try_from_env("ABYME_LOG");
    let log = tracing_subscriber::fmt().with_writer(log_line).with_ansi(false).log_internal_errors(false);
    // This fails only where a logger is set already, and this is the only place that sets one.
    let _ = match configured {
        Ok(filter) => log.with_env_filter(filter).try_init(),
        Err(_) => log.with_env_filter("warn").without_time().with_target(false).try_init(),
    };
}

/// stderr for a line of the log. The spinner's line is cleared first; the spinner is drawn again at its next
/// tick.
fn log_line() -> io::Stderr {
    let mut stderr = io::stderr();
    if stderr.is_terminal() {
        let _ = stderr.write_all(b"\r\x1b[2K");
    }
    stderr
}

/// Writes a line to stderr. Control characters are escaped.
pub(crate) fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(line));
}

/// The text with everything visible that would steer a terminal or hide text: control characters other than
/// line ends and tabs, and the marks that change the direction of writing.
pub(crate) fn escape(text: &str) -> Cow<'_, str> {
    let mut escaped = String::new();
    let mut done = 0;
    for (at, char) in text.char_indices() {
        let fine = match char {
            '\n' | '\t' => true,
            '\r' => text[at + 1..].starts_with('\n'),
            _ => !steers(char),
        };
        if !fine {
            escaped.push_str(&text[done..at]);
            escaped.extend(char.escape_default());
            done = at + char.len_utf8();
        }
    }
    if done == 0 {
        return Cow::Borrowed(text);
    }
    escaped.push_str(&text[done..]);
    Cow::Owned(escaped)
}

/// Whether a character does something to a terminal instead of being shown.
pub(crate) fn steers(char: char) -> bool {
    let turns_text =
        matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    char.is_control() || turns_text || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_become_visible() {
        assert_eq!(escape("\u{1b}[2Ja\u{9b}31m\u{7}"), "\\u{1b}[2Ja\\u{9b}31m\\u{7}");
        assert_eq!(escape("safe\rEVIL\r\n\u{202e}txt"), "safe\\rEVIL\r\n\\u{202e}txt");
    }

    #[test]
    fn text_stays_text() {
        assert!(matches!(escape("naïve\t日本 👩‍🚀\r\nend"), Cow::Borrowed(_)));
    }
}
