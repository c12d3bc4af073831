//! How the command ends: exit codes, and failures in one line.

use std::process::ExitCode;

use abyme::{Blame, Difference, Error, ErrorKind};

use crate::terminal;

/// How the command ended. The numbers are documented in [`TABLE`] and do not change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok = 0,
    Failed = 1,
    Usage = 2,
    Unavailable = 3,
    Model = 4,
    Limit = 5,
    Output = 6,
    SessionEnded = 7,
    WrongAnswer = 8,
    Differs = 9,
    HungUp = 129,
    Interrupted = 130,
    Quit = 131,
    User1 = 138,
    User2 = 140,
    Terminated = 143,
}

/// The exit codes, as `--help` and the README show them.
pub(crate) const TABLE: &str = "\
Exit codes:
  0    done; also when a limit was reached and the outputs are estimates (see `status` in --json)
  1    something else failed; a bug, most likely
  2    the command line, an input, the signature or the configuration cannot work as given
  3    no interpreter: the backend cannot run on this machine (see `abyme doctor`)
  4    the model or its provider failed: wrong key, no connection, refused, too long
  5    a limit was reached, and the model gave no outputs that fit
  6    the answer could not be written: stdout was closed, or the disk is full
  7    the interpreter's session was lost, and with it its state
  8    demo: the answer is not what was hidden
  9    replay: the run does not do what its record says
  130  interrupted (Ctrl-C)
  143  terminated (SIGTERM); likewise 129, 131, 138, 140 for SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2";

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        ExitCode::from(exit as u8)
    }
}

/// Why the command failed: one line for a person, and the code for a program.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<String>,
    /// What a run did that its record does not say, if it failed for that.
    difference: Option<Box<Difference>>,
}

/// What is said of a run that cannot go on because its beginning is another one.
const AS_THEY_WERE: &str = "--tool, --mcp, --sub-model NAME=MODEL and the files of a question have to be \
                            given as they were; with records of an earlier Abyme --policy and --profile too";

impl Failure {
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into(), hint: None, difference: None }
    }

    /// An error in the command line.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A failure without a message: the reader of stdout went away, or the user pressed Ctrl-C.
    pub(crate) fn quiet(exit: Exit) -> Self {
        Self::new(exit, "")
    }

    /// An error from before the run: the configuration has to change, whatever the error is about.
    pub(crate) fn before_run(error: &Error) -> Self {
        let exit = match error.kind() {
            ErrorKind::Unavailable => Exit::Unavailable,
            ErrorKind::Internal => Exit::Failed,
            _ => Exit::Usage,
        };
        Self { exit, ..Self::from(error) }
    }

    /// Says what to do about it.
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Puts `prefix: ` before the message, to say what failed.
    pub(crate) fn context(mut self, prefix: &str) -> Self {
        self.message = format!("{prefix}: {}", self.message);
        self
    }

    pub(crate) fn difference(&self) -> Option<&Difference> {
        self.difference.as_deref()
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// What happened, without what to do about it.
    #[cfg(feature = "mcp-server")]
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Whether it has a message.
    pub(crate) fn says(&self) -> bool {
        !self.message.is_empty()
    }

    /// Writes the one line to stderr, after what differs from a record, if something does.
    pub(crate) fn show(&self) {
        self.show_as("error");
    }

    /// Writes it as what the user may want to know.
    pub(crate) fn show_as_warning(&self) {
        self.show_as("warning");
    }

    fn show_as(&self, what: &str) {
        if !self.says() {
            return;
        }
        self.difference.as_deref().into_iter().for_each(show_difference);
        let hint = self.hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
        terminal::say(&format!("abyme: {what}: {}{}", one_line(&self.message), one_line(&hint)));
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        use ErrorKind::*;
        let (exit, hint) = match error.kind() {
            InvalidInput if error.difference().is_some() => (Exit::Usage, Some(AS_THEY_WERE)),
            Config | NotConfigured | InvalidInput | OutputType | Unsupported | Io => (Exit::Usage, None),
            Signature => (Exit::Usage, Some("a signature looks like \"docs, query -> modules: list[str]\"")),
            Unavailable => (Exit::Unavailable, Some("`abyme doctor` shows what works on this machine")),
            SessionEnded | Protocol => (Exit::SessionEnded, None),
            Auth => (Exit::Model, Some("`abyme doctor --check-model` tries the key with one small request")),
            Connection => (
                Exit::Model,
                Some(
                    "is the server running, and its base URL right? (--api-base or ABYME_API_BASE; for \
                     `anthropic/` ANTHROPIC_BASE_URL, for `gemini/` GOOGLE_GEMINI_BASE_URL)",
                ),
            ),
            ContextTooLong => {
                (Exit::Model, Some("a model with a longer context, or --max-output-chars, may help"))
            }
            RateLimited { .. }
            | QuotaExceeded
            | ModelTimeout
            | BadRequest
            | ContentRefused
            | Server
            | MalformedReply => (Exit::Model, None),
            Cancelled => (Exit::Interrupted, None),
            Differs => (Exit::Differs, None),
            LimitReached => {
                (Exit::Limit, Some("raise --max-iterations, --run-timeout, --max-tokens or --max-cost"))
            }
            Internal => (Exit::Failed, Some("this is a bug in abyme; ABYME_LOG=debug shows more")),
            // A kind that is newer than this command is told by its blame.
            _ => match error.blame() {
                Blame::Caller => (Exit::Usage, None),
                Blame::Session => (Exit::SessionEnded, None),
                Blame::Model => (Exit::Model, None),
                Blame::Limit => (Exit::Limit, None),
                _ => (Exit::Failed, None),
            },
        };
        let difference = error.difference().cloned().map(Box::new);
        Self { exit, message: error.to_string(), hint: hint.map(str::to_owned), difference }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::from(&error)
    }
}

/// Writes what a record says and what is now, each in lines of its own.
pub(crate) fn show_difference(difference: &Difference) {
    difference.to_string().lines().for_each(terminal::say);
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" | ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_has_the_table() {
        let readme = include_str!("../README.md");
        for line in TABLE.lines().skip(1) {
            let (code, meaning) = line.trim().split_once(' ').unwrap();
            let row = format!("| {code} | {} |", meaning.trim());
            assert!(readme.contains(&row), "README.md lacks the row: {row}");
        }
    }

    #[test]
    fn a_message_is_one_line() {
        assert_eq!(one_line("a\nb\r\n\nc"), "a | b | c");
    }
}
