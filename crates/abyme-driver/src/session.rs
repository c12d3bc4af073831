//! The host's side of a session with a driver, over any pair of streams.

use std::{
    any::Any,
    collections::{BTreeMap, HashMap},
    fmt,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use abyme_core::{
    Cell, DecodeBudget, Error, ErrorKind, HostError, HostFunctions, Observation, Result, Text, Value,
};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinHandle, spawn_blocking},
};

use crate::{
    cell::{
        Cancelled, CellEnd, CellEvent, HeldMemory, InterruptTimer, MAX_CALLS_IN_FLIGHT, RunningCell, drive,
    },
    driver_code::DriverCode,
    lazy_session::session_ended,
    protocol::{
        DriverMessage, FrameError, FrameLimits, FrameReader, FrameWriter, HostMessage, PROTOCOL_VERSION,
        Ready, TooLarge,
    },
    python::{self, BundleKind},
    repl::{Collector, Done, GivenTexts, KnownScope, is_large},
};

/// How long the driver's stream may take to accept the last message.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_millis(50);

/// What is kept of the life of a process that ends at a known time, for the answer of its last cell.
const DEADLINE_MARGIN: Duration = Duration::from_secs(2);

/// How many answers may wait to be written: more than a driver can wait for, each of whose calls is answered
/// once. A driver that makes calls and reads no answers would fill the host's memory.
const MAX_UNREAD_ANSWERS: usize = 2 * MAX_CALLS_IN_FLIGHT;

/// Messages with headers up to this many bytes are decoded at once, larger ones on a thread that may block.
const DECODED_AT_ONCE: usize = 1 << 20;

/// Times of a driver session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverTimeouts {
    /// How long the driver may take to get ready. Default 10 s.
    #[serde(with = "abyme_core::seconds")]
    pub start_timeout: Duration,
    /// How long a cell may go on after its time limit before it is killed. It is interrupted at its time
    /// limit and half-way through the grace. Default 1.5 s, within the 2 s of contract clause C10.
    #[serde(with = "abyme_core::seconds")]
    pub interrupt_grace: Duration,
}

impl Default for DriverTimeouts {
    fn default() -> Self {
        Self { start_timeout: Duration::from_secs(10), interrupt_grace: Duration::from_millis(1500) }
    }
}

/// Control over the process behind a session's streams.
#[async_trait]
pub trait Control: Any + Send + Sync + fmt::Debug {
    /// Whether the process still runs, as far as can be said without waiting.
    fn is_alive(&self) -> bool;

    /// Hears what the driver says of itself once it is ready, such as its process id.
    fn ready(&self, ready: &Ready) {
        let _ = ready;
    }

    /// How long the process can still run, where that is limited: a machine that is rented for a time. `None`
    /// by default. No cell is started that this would cut, and the session ends instead.
    fn time_left(&self) -> Option<Duration> {
        None
    }

    /// Raises `KeyboardInterrupt` in the cell. Returns whether that could be done. It is called when a future
    /// is dropped too, so it must not block. An interrupt that arrives later is waited for by
    /// [`settle`](Self::settle).
    fn interrupt(&self) -> bool;

    /// Waits until every interrupt has arrived. Called before the cell that follows an interrupted one, which
    /// a late interrupt would hit. By default there is nothing to wait for: a signal has been delivered when
    /// `kill(2)` returns.
    async fn settle(&self) {}

    /// Kills what still runs. It may be called twice.
    async fn kill(&self);

    /// How the process ended, as the rest of a sentence that begins with "the interpreter". Called after the
    /// connection ended by itself: it gives the process a moment to end and kills it then.
    async fn how_it_ended(&self) -> String;
}

/// The host's side of a session: all of the contract except starting and killing a process.
///
/// Its state survives dropped futures. A cell whose `execute` is dropped is interrupted at once and cleaned
/// up by the next call (C13).
#[derive(Debug)]
pub struct DriverSession<R, W> {
    timeouts: DriverTimeouts,
    max_message_bytes: u64,
    reader: FrameReader<R>,
    /// The message that another thread decodes. Nothing is read meanwhile.
    decoding: Option<JoinHandle<Result<DriverMessage, String>>>,
    writer: FrameWriter<W>,
    writable: bool,
    control: Arc<dyn Control>,
    /// Where the code is kept that the driver hands back.
    code: Option<DriverCode>,
    ready: Option<Ready>,
    known_scope: KnownScope,
    given: GivenTexts,
    last_run: u64,
    /// The cell that the driver may be running, also one whose future was dropped.
    in_flight: Option<u64>,
    /// Whether an interrupt may not have arrived yet.
    unsettled: bool,
    ended: Option<String>,
}

/// What the host has to know to go on with a driver that was saved.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SavedSession {
    ready: Ready,
    /// The long texts that the driver hands back by number.
    given: BTreeMap<u64, Text>,
}

/// How a cell ended for the caller.
enum RunEnd {
    Done {
        done: Box<Done>,
        interrupted: bool,
    },
    /// The cell ended, and what the driver said about it was too large.
    Unanswered(String),
    /// The session is over.
    Lost {
        reason: String,
        /// Whether it was killed at the cell's time limit.
        killed: bool,
    },
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> DriverSession<R, W> {
    /// A session over the driver's stdout (`input`) and stdin (`output`).
    pub fn new(input: R, output: W, control: Arc<dyn Control>, timeouts: DriverTimeouts) -> Self {
        let max_message_bytes = DecodeBudget::DEFAULT_MAX_BYTES;
        Self {
            timeouts,
            max_message_bytes,
            reader: FrameReader::new(input, FrameLimits::to_host(max_message_bytes)),
            decoding: None,
            writer: FrameWriter::new(output),
            writable: true,
            control,
            code: None,
            ready: None,
            known_scope: KnownScope::default(),
            given: GivenTexts::default(),
            last_run: 0,
            in_flight: None,
            unsettled: false,
            ended: None,
        }
    }

    /// A session with a driver that was saved while it ran no cell, and goes on. `saved` is what
    /// [`saved`](Self::saved) gave then.
    pub fn resumed(
        input: R,
        output: W,
        control: Arc<dyn Control>,
        timeouts: DriverTimeouts,
        saved: SavedSession,
    ) -> Self {
        control.ready(&saved.ready);
        let given = GivenTexts::of(saved.given);
        Self { ready: Some(saved.ready), given, ..Self::new(input, output, control, timeouts) }
    }

    /// What this side of the session knows of a driver that is saved. `None` before it is ready.
    pub fn saved(&self) -> Option<SavedSession> {
        Some(SavedSession { ready: self.ready.clone()?, given: self.given.texts().clone() })
    }

    /// Parts from the driver, which must wait for a cell: it sees the end of its stream.
    ///
    /// # Errors
    /// Those of the stream.
    pub async fn part(&mut self) -> std::io::Result<()> {
        self.writable = false;
        self.writer.shutdown().await
    }

    /// Goes on with the same driver over other streams.
    pub fn reconnect(&mut self, input: R, output: W, control: Arc<dyn Control>) {
        if let Some(ready) = &self.ready {
            control.ready(ready);
        }
        self.reader = FrameReader::new(input, FrameLimits::to_host(self.max_message_bytes));
        self.decoding = None;
        self.writer = FrameWriter::new(output);
        self.writable = true;
        self.control = control;
    }

    /// The process behind the session.
    pub fn control(&self) -> &Arc<dyn Control> {
        &self.control
    }

    /// Sets how much of the host's memory a message of the driver may take, in bytes. Default 256 MiB. A
    /// larger call fails in Python; a larger submission, or answer to a cell, is an error of the cell. As
    /// much may the calls hold that are in flight, and the answers that the driver has not read.
    pub fn max_message_bytes(mut self, bytes: u64) -> Self {
        self.max_message_bytes = bytes;
        self.reader.set_limits(FrameLimits::to_host(bytes));
        self
    }

    /// Keeps the code that the driver hands back in its first message. Without this it is dropped.
    pub fn keeps_code(mut self, code: &DriverCode) -> Self {
        self.code = Some(code.clone());
        self
    }

    /// What the driver said about itself, once it is ready.
    pub fn ready(&self) -> Option<&Ready> {
        self.ready.as_ref()
    }

    /// Why the session is over, if it is.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Waits for the driver to be ready, or checks that a ready one still runs. Cleans up after a cancelled
    /// cell.
    ///
    /// # Errors
    /// [`ErrorKind::Unavailable`] if the driver does not come up, [`ErrorKind::SessionEnded`] if the session
    /// is over.
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
    pub async fn execute(&mut self, mut cell: Cell, host: &dyn HostFunctions) -> Result<Observation> {
        self.start().await?;
        self.fit_into_time_left(&mut cell).await?;
        let (run, cell) = self.send_run(cell).await?;
        let mut collector = Collector::new(cell.max_output_chars);
        let timer = InterruptTimer::new(&cell, self.timeouts.interrupt_grace);
        Ok(match self.finish_run(run, host, &mut collector, timer).await? {
            RunEnd::Done { done, interrupted } => {
                self.known_scope.learn(&cell.scope, &done, interrupted);
                self.given.learn(&done);
                collector.finish(*done, interrupted)
            }
            RunEnd::Unanswered(problem) => {
                self.known_scope.forget();
                collector.finish_unanswered(problem)
            }
            RunEnd::Lost { reason, killed } => collector.lost(reason, killed),
        })
    }

    /// Ends the session. It may be called twice.
    pub async fn shutdown(&mut self) {
        if self.ended.is_none() {
            self.ended = Some("it was shut down".to_owned());
            self.send_shutdown().await;
        }
        self.control.kill().await;
    }

    /// Lets a driver that still reads end by itself. The kill that follows does not wait for it.
    async fn send_shutdown(&mut self) {
        if let Ok(frame) = HostMessage::Shutdown.to_frame()
            && self.writable
        {
            self.writer.push(frame);
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.writer.flush()).await;
        }
    }

    fn check_alive(&self) -> Result<()> {
        match &self.ended {
            Some(reason) => Err(session_ended(reason)),
            None => Ok(()),
        }
    }

    async fn handshake(&mut self) -> Result<()> {
        let limit = self.timeouts.start_timeout;
        let max_bytes = match self.code {
            Some(_) => self.max_message_bytes.max(DriverCode::MAX_MESSAGE_BYTES),
            None => self.max_message_bytes,
        };
        self.reader.set_limits(FrameLimits::to_host(max_bytes));
        let first = tokio::time::timeout(limit, self.first_message(max_bytes)).await;
        self.reader.set_limits(FrameLimits::to_host(self.max_message_bytes));
        let problem = match first {
            Ok(Ok(Ok(DriverMessage::Ready(ready, compiled)))) if ready.protocol == PROTOCOL_VERSION => {
                if let (Some(code), Some(compiled)) = (self.code.take(), compiled) {
                    code.keep(&compiled);
                }
                self.control.ready(&ready);
                self.ready = Some(ready);
                return Ok(());
            }
            Ok(Ok(Ok(DriverMessage::Ready(ready, _)))) => {
                format!("it speaks protocol {}, not {PROTOCOL_VERSION}", ready.protocol)
            }
            Ok(Ok(Ok(DriverMessage::Fatal(message)))) => message,
            Ok(Ok(Ok(_))) => "its first message is not `ready`".to_owned(),
            Ok(Ok(Err(problem))) => problem,
            Ok(Err(FrameError::Ended { .. })) => self.control.how_it_ended().await,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it was not ready after {:.1} s", limit.as_secs_f64()),
        };
        self.control.kill().await;
        self.ended = Some(format!("it did not start: {problem}"));
        Err(Error::new(ErrorKind::Unavailable, format!("the Python driver did not start: {problem}")))
    }

    /// The driver's first message, after the sources that it may ask for before.
    async fn first_message(&mut self, max_bytes: u64) -> Result<Result<DriverMessage, String>, FrameError> {
        let mut asked = false;
        loop {
            // Also what a start left that was given up. A driver that ended meanwhile is found by reading.
            if !self.writer.is_flushed() {
                let _ = self.writer.flush().await;
            }
            let message = DriverMessage::from_frame(self.reader.next_frame().await?, max_bytes);
            if asked || !matches!(message, Ok(DriverMessage::AsksForSources)) {
                return Ok(message);
            }
            asked = true;
            tracing::debug!("the driver is of another Python than its code, and is sent the sources");
            self.writer.push_bytes(python::sources_bundle(BundleKind::Sources).into());
        }
    }

    /// Keeps a cell within the time that is left to the process: one that may take longer is not started.
    async fn fit_into_time_left(&mut self, cell: &mut Cell) -> Result<()> {
        let Some(left) = self.control.time_left() else { return Ok(()) };
        let usable = left.saturating_sub(self.timeouts.interrupt_grace + DEADLINE_MARGIN);
        if usable.is_zero() || cell.timeout.is_some_and(|limit| limit > usable) {
            let needed =
                cell.timeout.map(|limit| format!(" and the cell may take {:.0} s", limit.as_secs_f64()));
            let reason = format!(
                "its machine is there for {:.0} s more{}: give it a longer life, or cells a shorter time \
                 limit",
                left.as_secs_f64(),
                needed.unwrap_or_default(),
            );
            self.control.kill().await;
            self.ended = Some(reason);
            return self.check_alive();
        }
        cell.total_timeout = Some(cell.total_timeout.map_or(usable, |limit| limit.min(usable)));
        Ok(())
    }

    /// Queues a cell for the driver. The scope goes along only if it changed.
    async fn send_run(&mut self, cell: Cell) -> Result<(u64, Cell)> {
        let scope = self.known_scope.changed(&cell.scope).cloned();
        let run = self.last_run + 1;
        let max_message_bytes = self.max_message_bytes;
        let given = self.given.number(&cell);
        let is_large = is_large(&cell);
        let encode = move || {
            let (scope, given) = (scope.as_deref(), &given);
            let message = HostMessage::Run { id: run, cell: &cell, scope, given, max_message_bytes };
            (message.to_frame(), cell)
        };
        let (frame, cell) = match is_large {
            false => encode(),
            true => spawn_blocking(encode).await.map_err(|error| {
                Error::new(ErrorKind::Internal, "encoding a cell was cut off").with_source(error)
            })?,
        };
        let frame = frame.map_err(|error| {
            Error::new(ErrorKind::InvalidInput, format!("the cell cannot be sent: {error}"))
        })?;
        self.last_run = run;
        self.writer.push(frame);
        self.in_flight = Some(run);
        Ok((run, cell))
    }

    /// Drives a cell to its end, and ends the session with it if the driver failed.
    async fn finish_run(
        &mut self,
        run: u64,
        host: &dyn HostFunctions,
        collector: &mut Collector,
        timer: InterruptTimer,
    ) -> Result<RunEnd> {
        let held = HeldMemory::new(self.max_message_bytes);
        let given = self.given.clone();
        let mut cell = DriverCell { session: self, run, collector, open: HashMap::new(), held };
        let (reason, killed) = match drive(&mut cell, host, &given, timer).await {
            CellEnd::Ended { end: DriverEnd::Done(done), interrupted } => {
                self.in_flight = None;
                return Ok(RunEnd::Done { done, interrupted });
            }
            CellEnd::Ended { end: DriverEnd::Unanswered(problem), .. } => {
                self.in_flight = None;
                return Ok(RunEnd::Unanswered(problem));
            }
            CellEnd::Ended { end: DriverEnd::Disconnected, .. } => {
                (format!("the interpreter {}", self.control.how_it_ended().await), false)
            }
            CellEnd::Ended { end: DriverEnd::Fatal(message), .. } => {
                self.control.kill().await;
                (format!("the interpreter failed: {message}"), false)
            }
            CellEnd::Ended { end: DriverEnd::Invalid(problem), .. } => {
                self.control.kill().await;
                self.in_flight = None;
                let reason = format!(
                    "the interpreter sent an invalid message and was ended: {}",
                    problem.escape_debug()
                );
                self.ended = Some(reason.clone());
                return Err(Error::new(ErrorKind::Protocol, reason));
            }
            CellEnd::TimedOut => {
                self.control.kill().await;
                let reason =
                    "the cell ran over its time limit, did not stop when it was interrupted, and was killed";
                (reason.to_owned(), true)
            }
        };
        self.in_flight = None;
        self.ended = Some(reason.clone());
        Ok(RunEnd::Lost { reason, killed })
    }

    /// Waits for a cell to stop whose future was dropped. It has been interrupted already.
    async fn finish_cancelled(&mut self) -> Result<()> {
        let Some(run) = self.in_flight else { return Ok(()) };
        self.unsettled = true;
        let timer = InterruptTimer::expired(self.timeouts.interrupt_grace);
        let end = self.finish_run(run, &Cancelled, &mut Collector::new(0), timer).await?;
        self.known_scope.forget();
        match end {
            RunEnd::Done { .. } | RunEnd::Unanswered(_) => Ok(()),
            RunEnd::Lost { .. } => {
                self.ended = Some("a cancelled cell did not stop, so the interpreter was killed".to_owned());
                self.check_alive()
            }
        }
    }

    /// Writes as much as the stream takes now.
    fn poll_flush(&mut self, context: &mut Context<'_>) {
        if self.writable
            && !self.writer.is_flushed()
            && let Poll::Ready(written) = pin!(self.writer.flush()).poll(context)
        {
            // A broken stream means that the driver has ended; reading says how.
            self.writable = written.is_ok();
        }
    }

    /// Reads and decodes the next message. It keeps its state in the session: a dropped future loses nothing.
    fn poll_message(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Result<DriverMessage, String>, FrameError>> {
        loop {
            if let Some(decoding) = &mut self.decoding {
                let decoded = ready!(Pin::new(decoding).poll(context));
                self.decoding = None;
                return Poll::Ready(Ok(
                    decoded.unwrap_or_else(|error| Err(format!("a message could not be decoded: {error}")))
                ));
            }
            let frame = match ready!(pin!(self.reader.next_frame()).poll(context)) {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Err(error)),
            };
            let max_bytes = self.max_message_bytes;
            if frame.header.len() <= DECODED_AT_ONCE {
                return Poll::Ready(Ok(DriverMessage::from_frame(frame, max_bytes)));
            }
            self.decoding = Some(spawn_blocking(move || DriverMessage::from_frame(frame, max_bytes)));
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
}

/// A running cell of a driver.
struct DriverCell<'a, R, W> {
    session: &'a mut DriverSession<R, W>,
    run: u64,
    collector: &'a mut Collector,
    /// The calls in flight, and what they hold of the host's memory.
    open: HashMap<u64, u64>,
    held: HeldMemory,
}

/// How a cell ended for its session.
enum DriverEnd {
    Done(Box<Done>),
    /// The cell ended, and what the driver said about it was too large.
    Unanswered(String),
    Fatal(String),
    Disconnected,
    /// The driver sent something that is not a message, or a message that is not allowed in a cell.
    Invalid(String),
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> DriverCell<'_, R, W> {
    fn receive(&mut self, message: DriverMessage) -> CellEvent<DriverEnd> {
        match message {
            DriverMessage::Call { run, id, call, size } => {
                if run == self.run && !self.open.contains_key(&id) && self.held.try_hold(size) {
                    self.open.insert(id, size);
                    return CellEvent::Call { id, call };
                }
                self.session.answer(id, &Err(HostError::runtime_error("the call was refused")));
            }
            DriverMessage::TooLarge(message) => return self.receive_too_large(message),
            DriverMessage::Done { run, done } if run == self.run => {
                self.abandon_calls();
                return CellEvent::Ended(DriverEnd::Done(done));
            }
            DriverMessage::Submit { run, submission } if run == self.run => self.collector.submit(submission),
            DriverMessage::Output { run, stream, text } if run == self.run => {
                self.collector.output(stream, &text);
            }
            // Late messages of an earlier cell, which was interrupted.
            DriverMessage::Submit { .. } | DriverMessage::Output { .. } | DriverMessage::Done { .. } => {}
            DriverMessage::Fatal(message) => return CellEvent::Ended(DriverEnd::Fatal(message)),
            DriverMessage::Ready(..) | DriverMessage::AsksForSources => {
                return CellEvent::Ended(DriverEnd::Invalid("a first message in a cell".to_owned()));
            }
        }
        CellEvent::Progress
    }

    /// A message that was not kept. The session goes on where it is known what the message was.
    fn receive_too_large(&mut self, message: TooLarge) -> CellEvent<DriverEnd> {
        let TooLarge { envelope, problem } = message;
        let current = envelope.run == Some(self.run);
        match (envelope.kind.as_str(), envelope.id) {
            ("call", Some(id)) => {
                let problem = format!("the arguments of the call are too large to pass on: {problem}");
                self.session.answer(id, &Err(HostError::value_error(problem)));
            }
            ("submit", _) if current => self.collector.refuse_submission(problem),
            ("done", _) if current => {
                self.abandon_calls();
                return CellEvent::Ended(DriverEnd::Unanswered(problem));
            }
            ("submit" | "done" | "output", _) if envelope.run.is_some() => {}
            _ => return CellEvent::Ended(DriverEnd::Invalid(format!("a message is too large: {problem}"))),
        }
        CellEvent::Progress
    }

    /// Threads that outlived their cell must not wait for ever.
    fn abandon_calls(&mut self) {
        let ended = Err(HostError::runtime_error("the cell ended before the call returned"));
        for &id in self.open.keys() {
            self.session.answer(id, &ended);
        }
    }
}

impl<R: AsyncRead + Unpin + Send, W: AsyncWrite + Unpin + Send> RunningCell for DriverCell<'_, R, W> {
    type End = DriverEnd;

    fn poll_event(&mut self, context: &mut Context<'_>) -> Poll<CellEvent<DriverEnd>> {
        self.session.poll_flush(context);
        let (unread, _) = self.session.writer.queued();
        if unread > MAX_UNREAD_ANSWERS {
            let problem = format!("calls without end, and {unread} answers were not read");
            return Poll::Ready(CellEvent::Ended(DriverEnd::Invalid(problem)));
        }
        Poll::Ready(match ready!(self.session.poll_message(context)) {
            Ok(Ok(message)) => self.receive(message),
            Err(FrameError::TooLarge { head, problem }) => {
                self.receive_too_large(TooLarge::new(&head, problem))
            }
            Ok(Err(problem)) | Err(FrameError::Invalid(problem)) => {
                CellEvent::Ended(DriverEnd::Invalid(problem))
            }
            Err(FrameError::Io(_) | FrameError::Ended { .. }) => CellEvent::Ended(DriverEnd::Disconnected),
        })
    }

    fn answer(&mut self, call: u64, result: Result<Value, HostError>) {
        self.held.release(self.open.remove(&call).unwrap_or_default());
        self.session.answer(call, &result);
    }

    fn takes_answers(&self) -> bool {
        let (_, unread) = self.session.writer.queued();
        unread <= self.session.max_message_bytes
    }

    fn interrupt(&mut self) -> bool {
        let interrupted = self.session.control.interrupt();
        self.session.unsettled |= interrupted;
        interrupted
    }
}
