//! What the benchmark prints: results on stdout, progress on stderr.

use std::io::Write;

/// Prints results. A closed stdout does not end a long run.
pub(crate) fn show(text: &str) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// Prints progress to stderr.
pub(crate) fn say(text: &str) {
    eprintln!("bench: {text}");
}
