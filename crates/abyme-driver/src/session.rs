//! The host's side of a session with a driver, over any pair of streams.

use std::{collections::HashSet, fmt, sync::Arc, time::Duration};

use abyme_core::{Cell, Error, ErrorKind, HostCall, HostError, HostFunctions, Observation, Result, Value};
use async_trait::async_trait;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, sleep_until},
};

use crate::{
    frame::{FrameError, FrameLimits, FrameReader, FrameWriter},
    message::{DriverMessage, HostMessage, PROTOCOL_VERSION, Ready},
    repl::{Cancelled, Collector, Done, KnownScope, Patience, session_ended},
};

/// Calls of one cell that may be in flight at once; more are refused, one by one.
const MAX_CALLS_IN_FLIGHT: usize = 10_000;
/// How long the driver's stream may take to accept a last message.
const GOODBYE: Duration = Duration::from_millis(50);

/// Times of a driver session.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct SessionConfig {
    /// How long the driver may take to get ready. Default 10 s.
    #[serde(with = "abyme_core::seconds")]
    pub start_timeout: Duration,
    /// How long a cell may go on after its time limit, before it is killed: it is interrupted at once and half-way.
    /// Default 1.5 s, within the 2 s of contract clause C10.
    #[serde(with = "abyme_core::seconds")]
    pub grace: Duration,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self { start_timeout: Duration::from_secs(10), grace: Duration::from_millis(1500) }
    }
}

/// Power over the process behind a session's streams.
#[async_trait]
pub trait Control: Send + Sync + fmt::Debug {
    /// Whether the process is still there, as far as can be told at once.
    fn is_alive(&self) -> bool;

    /// Raises `KeyboardInterrupt` in the cell; whether that could be done. Called on dropped futures too, so it must
    /// not block. Where the interrupt is only on its way when this returns, see [`settle`](Self::settle).
    fn interrupt(&self) -> bool;

    /// Waits until no interrupt is on its way any more. Called before the cell that follows an interrupted one, which a
    /// late interrupt would hit. By default there is nothing to wait for: a signal has been delivered when `kill(2)`
    /// returns.
    async fn settle(&self) {}

    /// Kills what still runs. Fine to call twice.
    async fn kill(&self);

    /// How it ended, completing the sentence "the interpreter …", after the connection ended by itself. Waits a
    /// moment for the process to be gone and kills it then.
    async fn how_it_ended(&self) -> String;
}

/// The host's side of a session: everything of the contract but starting and killing a process.
///
/// Its state survives dropped futures: an `execute` that was cancelled is interrupted at once and cleaned up by the
/// next call (C13).
#[derive(Debug)]
pub struct DriverSession<R, W> {
    config: SessionConfig,
    reader: FrameReader<R>,
    writer: FrameWriter<W>,
    writable: bool,
    control: Arc<dyn Control>,
    ready: Option<Ready>,
    known_scope: KnownScope,
    last_run: u64,
    /// The cell that the driver may still be running because its future was dropped.
    cancelled: Option<u64>,
    /// Whether an interrupt may be on its way.
    unsettled: bool,
    ended: Option<String>,
}

/// How a cell came to its end.
enum Outcome {
    Done(Box<Done>, bool),
    /// The session is over, for this reason; whether a time limit killed it.
    Lost(String, bool),
}

/// A host call in flight.
type Serving<'a> = BoxFuture<'a, (u64, Result<Value, HostError>)>;

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> DriverSession<R, W> {
    /// A session over the driver's stdout (`input`) and stdin (`output`).
    pub fn new(input: R, output: W, control: Arc<dyn Control>, config: SessionConfig) -> Self {
        Self {
            config,
            reader: FrameReader::new(input, FrameLimits::default()),
            writer: FrameWriter::new(output),
            writable: true,
            control,
            ready: None,
            known_scope: KnownScope::default(),
            last_run: 0,
            cancelled: None,
            unsettled: false,
            ended: None,
        }
    }

    /// What the driver said of itself, once it is ready.
    pub fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }

    /// Why the session is over, if it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Waits for the driver to be ready, or checks that a ready one is still there. Cleans up after a cancelled cell.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the driver does not come up, [`ErrorKind::SessionEnded`] if the session is over.
    pub async fn start(&mut self) -> Result<()> {
        self.check_alive()?;
        if self.ready.is_none() {
            self.handshake().await?;
        } else if !self.control.is_alive() {
            self.ended = Some(format!("the interpreter {}", self.control.how_it_ended().await));
            self.check_alive()?;
        }
        self.finish_cancelled().await?;
        if std::mem::take(&mut self.unsettled) {
            self.control.settle().await;
        }
        Ok(())
    }

    /// Runs one cell. See [`CodeInterpreter::execute`](abyme_core::CodeInterpreter::execute).
    ///
    /// # Errors
    /// Those of [`start`](Self::start), and [`ErrorKind::Protocol`] if the driver sends garbage.
    pub async fn execute(&mut self, cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        let run = self.send_run(&cell)?;
        let mut collector = Collector::new(cell.max_output_chars);
        let mut guard = InterruptOnDrop { control: self.control.clone(), armed: true };
        let limit = cell.timeout.and_then(|limit| Instant::now().checked_add(limit));
        let outcome = self.pump(run, host, &mut collector, limit).await;
        guard.armed = false;
        self.cancelled = None;
        Ok(match outcome? {
            Outcome::Done(done, interrupted) => {
                self.known_scope.learn(&cell.scope, &done, interrupted);
                collector.finish(*done, interrupted)
            }
            Outcome::Lost(reason, killed) => collector.lost(reason, killed),
        })
    }

    /// Ends the session. Fine to call twice.
    pub async fn shutdown(&mut self) {
        if self.ended.is_none() {
            self.ended = Some("it was shut down".to_owned());
            self.say_goodbye().await;
        }
        self.control.kill().await;
    }

    /// Lets a driver that listens end by itself; the kill that follows does not wait for it.
    async fn say_goodbye(&mut self) {
        if let Ok(frame) = HostMessage::Shutdown.to_frame()
            && self.writable
        {
            self.writer.push(frame);
            let _ = tokio::time::timeout(GOODBYE, self.writer.flush()).await;
        }
    }

    fn check_alive(&self) -> Result<()> {
        match &self.ended {
            Some(reason) => Err(session_ended(reason)),
            None => Ok(()),
        }
    }

    async fn handshake(&mut self) -> Result<()> {
        let limit = self.config.start_timeout;
        let problem = match tokio::time::timeout(limit, self.reader.next()).await {
            Ok(Ok(frame)) => match DriverMessage::from_frame(frame) {
                Ok(DriverMessage::Ready(ready)) if ready.protocol == PROTOCOL_VERSION => {
                    self.ready = Some(ready);
                    return Ok(());
                }
                Ok(DriverMessage::Ready(ready)) => {
                    format!("it speaks protocol {}, not {PROTOCOL_VERSION}", ready.protocol)
                }
                Ok(DriverMessage::Fatal(message)) => message,
                Ok(_) => "its first message is not `ready`".to_owned(),
                Err(problem) => problem,
            },
            Ok(Err(FrameError::Ended { .. })) => self.control.how_it_ended().await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not ready after {:.1} s", limit.as_secs_f64()),
        };
        self.control.kill().await;
        self.ended = Some(format!("it did not start: {problem}"));
        Err(Error::new(ErrorKind::Unavailable, format!("the Python driver did not start: {problem}")))
    }

    /// Sends a cell. The names that the session offers go along only when they changed.
    fn send_run(&mut self, cell: &Cell) -> Result<u64> {
        let scope = self.known_scope.changed(&cell.scope).map(Arc::as_ref);
        let run = self.last_run + 1;
        let frame = HostMessage::Run { id: run, cell, scope }.to_frame().map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("the cell cannot be sent: {error}"))
        })?;
        self.last_run = run;
        self.writer.push(frame);
        self.cancelled = Some(run);
        Ok(run)
    }

    /// Moves messages both ways until the cell ends, it is killed, or the session dies.
    async fn pump(
        &mut self,
        run: u64,
        host: &dyn HostFunctions,
        collector: &mut Collector,
        limit: Option<Instant>,
    ) -> Result<Outcome> {
        let mut calls: FuturesUnordered<Serving<'_>> = FuturesUnordered::new();
        let mut open: HashSet<u64> = HashSet::new();
        let mut patience = Patience::new(limit, self.config.grace);
        let mut alarm = Box::pin(sleep_until(patience.next()));
        loop {
            tokio::select! {
                frame = self.reader.next() => {
                    let frame = match frame {
                        Ok(frame) => frame,
                        Err(FrameError::Garbage(what)) => return Err(self.garbage(&what).await),
                        Err(_) => {
                            let reason = format!("the interpreter {}", self.control.how_it_ended().await);
                            return Ok(self.lose(reason, false));
                        }
                    };
                    match DriverMessage::from_frame(frame) {
                        Ok(DriverMessage::Done { run: of, done }) if of == run => {
                            self.abandon(&open);
                            return Ok(Outcome::Done(done, patience.interrupted()));
                        }
                        Ok(DriverMessage::Call { run: of, id, call }) => {
                            if of != run || open.len() >= MAX_CALLS_IN_FLIGHT || !open.insert(id) {
                                self.answer(id, &Err(HostError::runtime_error("the call was refused")));
                            } else {
                                calls.push(Box::pin(serve(host, id, call)));
                            }
                        }
                        Ok(DriverMessage::Submit { run: of, submission }) if of == run => collector.submit(submission),
                        Ok(DriverMessage::Output { run: of, stream, text }) if of == run => {
                            collector.output(stream, &text);
                        }
                        // Late words of an earlier cell, which was interrupted.
                        Ok(DriverMessage::Submit { .. } | DriverMessage::Output { .. } | DriverMessage::Done { .. }) => {}
                        Ok(DriverMessage::Fatal(message)) => {
                            self.control.kill().await;
                            return Ok(self.lose(format!("the interpreter failed: {message}"), false));
                        }
                        Ok(DriverMessage::Ready(_)) => return Err(self.garbage("a second `ready`").await),
                        Err(problem) => return Err(self.garbage(&problem).await),
                    }
                }
                written = self.writer.flush(), if self.writable && !self.writer.is_empty() => {
                    // A broken stream means that the driver is gone; reading says how.
                    self.writable = written.is_ok();
                }
                Some((id, result)) = calls.next(), if !calls.is_empty() => {
                    open.remove(&id);
                    self.answer(id, &result);
                }
                () = &mut alarm => {
                    if patience.up() && self.control.interrupt() {
                        self.unsettled = true;
                        alarm.as_mut().reset(patience.next());
                        continue;
                    }
                    self.control.kill().await;
                    let limit = "the cell ran over its time limit, did not stop when it was interrupted, \
                                 and was killed";
                    return Ok(self.lose(limit.to_owned(), true));
                }
            }
        }
    }

    /// Waits for a cell to stop whose future was dropped; it has been interrupted already.
    async fn finish_cancelled(&mut self) -> Result<()> {
        let Some(run) = self.cancelled else { return Ok(()) };
        self.unsettled = true;
        let mut nothing = Collector::new(0);
        let outcome = self.pump(run, &Cancelled, &mut nothing, Some(Instant::now())).await?;
        self.cancelled = None;
        self.known_scope.forget();
        match outcome {
            Outcome::Done(..) => Ok(()),
            Outcome::Lost(..) => {
                self.ended = Some("a cancelled cell did not stop, so the interpreter was killed".to_owned());
                self.check_alive()
            }
        }
    }

    fn answer(&mut self, call: u64, result: &Result<Value, HostError>) {
        let frame = HostMessage::Result { call, result }.to_frame().or_else(|error| {
            let error = Err(HostError::runtime_error(format!("the result cannot be sent: {error}")));
            HostMessage::Result { call, result: &error }.to_frame()
        });
        match frame {
            Ok(frame) => self.writer.push(frame),
            Err(error) => tracing::error!(%error, call, "a host call's result was lost"),
        }
    }

    /// Answers the calls of threads that outlived their cell, so that they do not wait for ever.
    fn abandon(&mut self, open: &HashSet<u64>) {
        for &id in open {
            self.answer(id, &Err(HostError::runtime_error("the cell ended before the call returned")));
        }
    }

    fn lose(&mut self, reason: String, killed: bool) -> Outcome {
        self.ended = Some(reason.clone());
        Outcome::Lost(reason, killed)
    }

    async fn garbage(&mut self, what: &str) -> Error {
        self.control.kill().await;
        let reason =
            format!("the interpreter sent an invalid message and was ended: {}", what.escape_debug());
        self.ended = Some(reason.clone());
        Error::new(ErrorKind::Protocol, reason)
    }
}

async fn serve(host: &dyn HostFunctions, id: u64, call: HostCall) -> (u64, Result<Value, HostError>) {
    (id, host.call(call).await)
}

/// Interrupts a cell whose future is dropped, so that it does not go on until the next call.
struct InterruptOnDrop {
    control: Arc<dyn Control>,
    armed: bool,
}

impl Drop for InterruptOnDrop {
    fn drop(&mut self) {
        if self.armed {
            self.control.interrupt();
        }
    }
}
