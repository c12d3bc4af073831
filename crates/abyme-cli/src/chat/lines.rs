//! The lines that a person or a program asks: edited on a terminal, plain from a pipe.

use std::{
    io::{BufRead, BufReader, Write},
    sync::mpsc,
    thread,
};

use rustyline::{Behavior, Config, DefaultEditor, error::ReadlineError};
use tokio::sync::oneshot;

use crate::{exit::Failure, standard::Standard, terminal::TerminalMode};

/// What stands before a question on a terminal.
const PROMPT: &str = "> ";
/// Ends the marks around pasted text, which the editor asks a terminal for.
const PASTE_MARKS_OFF: &[u8] = b"\x1b[?2004l";
/// The longest line of a pipe.
const MAX_LINE_BYTES: u64 = 64 << 20;

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    Line(String),
    /// Ctrl-C on a terminal.
    Interrupt,
    End,
}

/// Reads lines on a thread of its own, when asked for them.
pub(super) struct Lines {
    wanted: mpsc::Sender<oneshot::Sender<Result<Input, Failure>>>,
    is_terminal: bool,
    /// The terminal, as it was before lines were edited.
    before: Option<TerminalMode>,
}

impl Lines {
    /// Edited lines where stdin is a terminal, plain ones elsewhere.
    pub(super) fn open(standard: &Standard) -> Result<Self, Failure> {
        let is_terminal = standard.is_input_terminal();
        let before = is_terminal.then(TerminalMode::now).flatten();
        let (wanted, requests) = mpsc::channel::<oneshot::Sender<Result<Input, Failure>>>();
        let standard = standard.clone();
        // The thread may wait for a line for ever, so nothing joins it.
        let thread = thread::Builder::new().name("abyme-lines".into()).spawn(move || {
            let mut read: Box<dyn FnMut() -> Result<Input, Failure>> = match is_terminal {
                true => {
                    // stdout may be a file: it has the answers alone.
                    let config =
                        Config::builder().behavior(Behavior::PreferTerm).auto_add_history(true).build();
                    match DefaultEditor::with_config(config) {
                        Ok(mut editor) => Box::new(move || edited(&mut editor)),
                        Err(_) => plain_lines(&standard),
                    }
                }
                false => plain_lines(&standard),
            };
            for request in requests {
                // Fails if the command no longer waits for the line.
                let _ = request.send(read());
            }
        });
        thread.map_err(|error| Failure::usage(format!("cannot read questions: {error}")))?;
        Ok(Self { wanted, is_terminal, before })
    }

    /// Whether a person types them.
    pub(super) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// The next line.
    pub(super) async fn next(&self) -> Result<Input, Failure> {
        let (sender, line) = oneshot::channel();
        // Without the thread there are no more lines.
        let _ = self.wanted.send(sender);
        line.await.unwrap_or(Ok(Input::End))
    }

    /// Gives the terminal back its mode. The editor does it when it has a line, which does not come any more
    /// if a signal ends the command.
    pub(super) fn restore_terminal(&self) {
        if let Some(before) = self.before.as_ref().filter(|before| before.restore()) {
            // Nothing is left to do for a terminal that does not take it.
            let _ = before.terminal().write_all(PASTE_MARKS_OFF);
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.restore_terminal();
    }
}

fn edited(editor: &mut DefaultEditor) -> Result<Input, Failure> {
    match editor.readline(PROMPT) {
        Ok(line) => Ok(Input::Line(line)),
        Err(ReadlineError::Interrupted) => Ok(Input::Interrupt),
        Err(ReadlineError::Eof) => Ok(Input::End),
        Err(error) => Err(Failure::usage(format!("cannot read from the terminal: {error}"))),
    }
}

fn plain_lines(standard: &Standard) -> Box<dyn FnMut() -> Result<Input, Failure>> {
    let mut input = BufReader::new(standard.input());
    Box::new(move || {
        let mut line = Vec::new();
        let read = std::io::Read::take(&mut input, MAX_LINE_BYTES + 1).read_until(b'\n', &mut line);
        match read.map_err(|error| Failure::usage(format!("cannot read stdin: {error}")))? {
            0 => Ok(Input::End),
            _ if line.len() as u64 > MAX_LINE_BYTES => {
                Err(Failure::usage(format!("a question is longer than {MAX_LINE_BYTES} bytes")))
            }
            _ => match String::from_utf8(line) {
                Ok(line) => Ok(Input::Line(line)),
                Err(_) => Err(Failure::usage("a question is not UTF-8")),
            },
        }
    })
}
