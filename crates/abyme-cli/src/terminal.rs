//! Writing to stderr: nothing panics when it is closed, nothing that a model or a cell wrote can steer the
//! terminal, and what is drawn at its end stays whole.

mod mode;

use std::{
    borrow::Cow,
    io::{self, Write},
    sync::{Mutex, PoisonError},
};

use indicatif::ProgressBar;
use tracing_subscriber::EnvFilter;

pub(crate) use self::mode::TerminalMode;

/// What is drawn at the end of stderr. Lines of the log and of any part of the command are written above it.
static DRAWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// Shows warnings, or what `ABYME_LOG` asks for, on stderr.
pub(crate) fn start_log() {
    let configured = EnvFilter::try_from_env("ABYME_LOG");
    let log =
        tracing_subscriber::fmt().with_writer(LogLines::default).with_ansi(false).log_internal_errors(false);
    // This fails only where a logger is set already, and this is the only place that sets one.
    let _ = match configured {
        Ok(filter) => log.with_env_filter(filter).try_init(),
        Err(_) => log.with_env_filter("warn").without_time().with_target(false).try_init(),
    };
}

/// stderr for lines of the log, which come whole. They may hold what a provider or a server wrote.
#[derive(Debug, Default)]
struct LogLines;

impl Write for LogLines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let shown = String::from_utf8_lossy(line);
        above_drawn(|| io::stderr().write_all(escape(&shown).as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Draws at the end of stderr, or no longer.
pub(crate) fn draw(bar: Option<ProgressBar>) {
    *DRAWN.lock().unwrap_or_else(PoisonError::into_inner) = bar;
}

/// Has whole lines written to stderr, above what is drawn there. `write` must not do so by itself.
pub(crate) fn above_drawn<T>(write: impl FnOnce() -> T) -> T {
    let drawn = DRAWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match drawn {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

/// Writes a line to stderr. Control characters are escaped.
pub(crate) fn say(line: &str) {
    say_as_is(&escape(line));
}

/// Writes a line to stderr whose control characters are meant.
pub(crate) fn say_as_is(line: &str) {
    // A closed stderr does not end the command: the answer may still go to a file.
    let _ = above_drawn(|| writeln!(io::stderr().lock(), "{line}"));
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

/// Whether a character does something to a terminal instead of being shown, or is there without being seen.
pub(crate) fn steers(char: char) -> bool {
    let turns_text = matches!(
        char,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{206f}'
    );
    // Joiners are part of scripts and emoji, and stay. Tags can spell a whole hidden text.
    let is_unseen = matches!(
        char,
        '\u{200b}' | '\u{2060}'..='\u{2065}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
    );
    char.is_control() || turns_text || is_unseen || matches!(char, '\u{2028}' | '\u{2029}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_sequences_become_visible() {
        assert_eq!(escape("\u{1b}[2Ja\u{9b}31m\u{7}"), "\\u{1b}[2Ja\\u{9b}31m\\u{7}");
        assert_eq!(escape("safe\rEVIL\r\n\u{202e}txt"), "safe\\rEVIL\r\n\\u{202e}txt");
        assert_eq!(escape("a\u{e0041}b\u{200b}\u{2066}c"), "a\\u{e0041}b\\u{200b}\\u{2066}c");
    }

    #[test]
    fn text_stays_text() {
        assert!(matches!(escape("naïve\t日本 👩‍🚀\r\nend"), Cow::Borrowed(_)));
    }
}
