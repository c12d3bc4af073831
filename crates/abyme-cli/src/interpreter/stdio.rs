//! stdin and stdout, each on a thread of its own: neither side can block the session or the other.

use std::{
    io::{self, BufRead, Read, Write},
    sync::{Mutex, PoisonError, mpsc as blocking},
    thread,
    time::Duration,
};

use abyme::Value;
use tokio::sync::{Notify, mpsc, oneshot};

use super::lines::{self, Line};
use crate::{
    exit::{Exit, Failure},
    json,
};

/// Lines read ahead of what is worked on.
const READ_AHEAD: usize = 1024;
/// How long the reader of stdout may take for the last lines.
const FINISH_TIMEOUT: Duration = Duration::from_secs(5);
/// A buffer for lines that grew larger than this is given back.
const KEPT_BUFFER: usize = 1 << 20;

/// The lines of stdin, as they come.
#[derive(Debug)]
pub(super) struct Reader {
    lines: mpsc::Receiver<Line>,
}

impl Reader {
    /// Begins to read. A line over `most` bytes is skipped, and reported as a bad one.
    pub(super) fn start(stdin: impl Read + Send + 'static, most: usize) -> Result<Self, Failure> {
        let (sender, lines) = mpsc::channel(READ_AHEAD);
        let read =
            move || read_lines(io::BufReader::new(stdin), most, |line| sender.blocking_send(line).is_ok());
        // Nothing joins this thread: a thread that waits for stdin cannot be stopped.
        thread::Builder::new().name("stdin".to_owned()).spawn(read).map_err(no_thread)?;
        Ok(Self { lines })
    }

    /// The next line; `None` at the end of stdin.
    pub(super) async fn next(&mut self) -> Option<Line> {
        self.lines.recv().await
    }

    /// The next line if there is one already: `Ok(None)` at the end of stdin, `Err` if it is still to come.
    pub(super) fn ready(&mut self) -> Result<Option<Line>, ()> {
        match self.lines.try_recv() {
            Ok(line) => Ok(Some(line)),
            Err(mpsc::error::TryRecvError::Disconnected) => Ok(None),
            Err(mpsc::error::TryRecvError::Empty) => Err(()),
        }
    }
}

/// Reads line by line, until the end or until `take` returns `false`.
fn read_lines(mut input: impl BufRead, most: usize, mut take: impl FnMut(Line) -> bool) {
    let (mut line, mut too_long, mut begun) = (Vec::new(), false, false);
    loop {
        let piece = match input.fill_buf() {
            Ok(piece) => piece,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // An error is taken as the end of stdin.
            Err(_) => &[],
        };
        let (length, complete) = match piece.iter().position(|&byte| byte == b'\n') {
            Some(end) => (end, true),
            None => (piece.len(), piece.is_empty()),
        };
        let at_end = piece.is_empty();
        if line.len() + length > most {
            too_long = true;
            line = Vec::new();
        }
        if !too_long {
            line.extend_from_slice(&piece[..length]);
        }
        begun |= length > 0;
        let consumed = length + usize::from(complete && !at_end);
        input.consume(consumed);
        if complete && (begun || !at_end) {
            let read = match too_long {
                true => Line::Bad(format!("the line is longer than {most} bytes (--max-line-mb)")),
                false => lines::parse(&line),
            };
            if !take(read) {
                return;
            }
            line.clear();
            line.shrink_to(KEPT_BUFFER);
            (too_long, begun) = (false, false);
        }
        if at_end {
            return;
        }
    }
}

/// Writes values to stdout in order, each as a line of JSON, flushed.
#[derive(Debug)]
pub(super) struct Writer {
    lines: Mutex<Option<blocking::Sender<Value>>>,
    done: Mutex<Option<oneshot::Receiver<()>>>,
    broken: std::sync::Arc<Notify>,
}

impl Writer {
    pub(super) fn start(mut stdout: impl Write + Send + 'static) -> Result<Self, Failure> {
        let (sender, lines) = blocking::channel::<Value>();
        let (finished, done) = oneshot::channel();
        let broken = std::sync::Arc::new(Notify::new());
        let tell = broken.clone();
        let write = move || {
            for value in lines {
                // Here and not where the value comes from: hundreds of megabytes take a while, in which
                // signals and calls are to be looked at.
                let mut line = json::python(&value);
                line.push('\n');
                if stdout.write_all(line.as_bytes()).and_then(|()| stdout.flush()).is_err() {
                    tell.notify_one();
                    return;
                }
            }
            let _ = finished.send(());
        };
        thread::Builder::new().name("stdout".to_owned()).spawn(write).map_err(no_thread)?;
        Ok(Self { lines: Mutex::new(Some(sender)), done: Mutex::new(Some(done)), broken })
    }

    /// Writes a line.
    pub(super) fn line(&self, value: Value) {
        if let Some(lines) = &*self.lines.lock().unwrap_or_else(PoisonError::into_inner) {
            // A writer that ended has notified `broken`.
            let _ = lines.send(value);
        }
    }

    /// Waits until stdout cannot be written to any more.
    pub(super) async fn broken(&self) {
        self.broken.notified().await;
    }

    /// Waits until everything is written. `false` means that it was not, because nobody reads it or the disk
    /// is full.
    pub(super) async fn finish(&self) -> bool {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).take();
        let done = self.done.lock().unwrap_or_else(PoisonError::into_inner).take();
        match done {
            // The thread drops its end of the channel when it gives up.
            Some(done) => matches!(tokio::time::timeout(FINISH_TIMEOUT, done).await, Ok(Ok(()))),
            None => true,
        }
    }
}

fn no_thread(error: io::Error) -> Failure {
    Failure::new(Exit::Failed, format!("cannot start a thread: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], most: usize) -> Vec<String> {
        let mut texts = Vec::new();
        // A tiny buffer makes every line cross its border.
        read_lines(io::BufReader::with_capacity(3, text), most, |line| {
            texts.push(match line {
                Line::Bad(problem) => problem,
                Line::Cell(cell) => cell.code,
                Line::Answer(_) => "answer".to_owned(),
            });
            true
        });
        texts
    }

    #[test]
    fn lines_are_split_and_capped() {
        let text = b"{\"code\": \"1\"}\n{\"code\": \"22222222222222222222\"}\r\n{\"code\": \"3\"}";
        let texts = read(text, 20);
        assert_eq!((texts.len(), texts[0].as_str(), texts[2].as_str()), (3, "1", "3"));
        assert!(texts[1].contains("longer than 20 bytes"), "{texts:?}");
        assert_eq!(read(text, 100)[1], "22222222222222222222");
    }

    #[test]
    fn an_empty_line_is_a_line_and_the_end_is_none() {
        assert_eq!(read(b"", 10).len(), 0);
        assert_eq!(read(b"\n", 10).len(), 1);
        assert_eq!(read(b"\n\n{}", 10).len(), 3);
    }
}
