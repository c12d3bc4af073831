//! The messages of the protocol, as the host writes and reads them. `PROTOCOL.md` is the specification.

use abyme_core::{Cell, DecodeBudget, DecodeProblem, HostCall, HostError, Scope, Submission, Value};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use crate::{
    protocol::{
        codec::{Blobs, Encoded, Envelope, decode},
        frame::{Frame, FrameLimits},
    },
    repl::{Done, Stream, entries::Entries, submission},
};

/// The version both sides have to speak.
pub const PROTOCOL_VERSION: u32 = 1;

/// What the driver says of itself when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Ready {
    /// The protocol's version.
    pub protocol: u32,
    /// Python's version, such as `3.11.7`.
    pub python: String,
    /// The interpreter's path, as it sees it.
    pub executable: String,
    /// Its process id, as it sees it.
    pub pid: u32,
}

/// A message to the driver.
pub(crate) enum HostMessage<'a> {
    Run {
        id: u64,
        cell: &'a Cell,
        scope: Option<&'a Scope>,
        given: &'a [(String, u64)],
        max_message_bytes: u64,
    },
    Result {
        call: u64,
        result: &'a Result<Value, HostError>,
    },
    Shutdown,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum HostJson<'a> {
    Run {
        id: u64,
        code: Encoded<'a>,
        variables: IndexMap<&'a str, Encoded<'a>>,
        #[serde(skip_serializing_if = "IndexMap::is_empty")]
        given: IndexMap<&'a str, u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<&'a Scope>,
        reads: &'a [String],
        max_output_chars: usize,
        max_message_bytes: u64,
    },
    Result {
        call: u64,
        #[serde(flatten)]
        outcome: OutcomeJson<'a>,
    },
    Shutdown,
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeJson<'a> {
    Value(Encoded<'a>),
    Error {
        #[serde(rename = "type")]
        type_name: &'a str,
        message: &'a str,
    },
}

impl HostMessage<'_> {
    /// The message as a frame.
    pub(crate) fn to_frame(&self) -> Result<Frame, String> {
        let blobs = Blobs::default();
        let code;
        let json = match self {
            HostMessage::Run { id, cell, scope, given, max_message_bytes } => {
                code = Value::from(cell.code.as_str());
                HostJson::Run {
                    id: *id,
                    code: Encoded::new(&code, &blobs),
                    variables: cell
                        .variables
                        .iter()
                        .map(|(name, value)| (name.as_str(), Encoded::new(value, &blobs)))
                        .collect(),
                    given: given.iter().map(|(name, number)| (name.as_str(), *number)).collect(),
                    scope: *scope,
                    reads: &cell.reads,
                    max_output_chars: cell.max_output_chars,
                    max_message_bytes: *max_message_bytes,
                }
            }
            HostMessage::Result { call, result } => HostJson::Result {
                call: *call,
                outcome: match result {
                    Ok(value) => OutcomeJson::Value(Encoded::new(value, &blobs)),
                    Err(error) => OutcomeJson::Error { type_name: &error.type_name, message: &error.message },
                },
            },
            HostMessage::Shutdown => HostJson::Shutdown,
        };
        let header = serde_json::to_vec(&json).map_err(|error| error.to_string())?;
        let frame = Frame { header, blobs: blobs.into_inner() };
        FrameLimits::TO_DRIVER.check(&frame)?;
        Ok(frame)
    }
}

/// A message from the driver.
#[derive(Debug)]
pub(crate) enum DriverMessage {
    /// With the code of the driver, if it was asked for.
    Ready(Ready, Option<Bytes>),
    /// The code that it got is no code for its Python.
    AsksForSources,
    Call {
        run: u64,
        id: u64,
        call: HostCall,
        size: u64,
    },
    Submit {
        run: u64,
        submission: Submission,
    },
    Output {
        run: u64,
        stream: Stream,
        text: String,
    },
    Done {
        run: u64,
        done: Box<Done>,
    },
    Fatal(String),
    TooLarge(TooLarge),
}

/// A message that was over the limits and was not kept.
#[derive(Debug)]
pub(crate) struct TooLarge {
    /// What it was, as far as its beginning says.
    pub(crate) envelope: Envelope,
    /// What was too large about it.
    pub(crate) problem: String,
}

impl TooLarge {
    /// A message of which only the beginning was kept.
    pub(crate) fn new(head: &[u8], problem: String) -> Self {
        Self { envelope: Envelope::of(head), problem }
    }
}

impl DriverMessage {
    /// Reads a message out of a frame. Nothing in it is trusted, and frame and message together take at most
    /// `max_bytes` of memory.
    pub(crate) fn from_frame(mut frame: Frame, max_bytes: u64) -> Result<Self, String> {
        let mut budget = DecodeBudget::new(max_bytes);
        let charged = budget.charge(usize::try_from(frame.size()).unwrap_or(usize::MAX));
        let message = charged
            .map_err(DecodeProblem::TooLarge)
            .and_then(|()| decode(&frame.header, &mut frame.blobs, &mut budget));
        let message = match message {
            Ok(message) => message,
            Err(DecodeProblem::TooLarge(problem)) => {
                return Ok(Self::TooLarge(TooLarge::new(&frame.header, problem.to_string())));
            }
            Err(DecodeProblem::Invalid(problem)) => return Err(problem),
        };
        drop(frame);
        let mut message = Entries::of("a message", message)?;
        Ok(match message.text("type")?.as_str() {
            "ready" => {
                let ready = Ready {
                    protocol: u32::try_from(message.number("protocol")?).unwrap_or(u32::MAX),
                    python: message.optional_text("python")?.unwrap_or_default(),
                    executable: message.optional_text("executable")?.unwrap_or_default(),
                    pid: message.optional_size("pid")?.and_then(|pid| u32::try_from(pid).ok()).unwrap_or(0),
                };
                Self::Ready(ready, message.optional_bytes("code")?)
            }
            "sources" => Self::AsksForSources,
            "call" => {
                let kwargs = message.optional_inner("kwargs")?.map(Entries::into_entries);
                let call = HostCall::new(message.text("name")?)
                    .args(message.optional_list("args")?.unwrap_or_default())
                    .kwargs(kwargs.unwrap_or_default());
                let (run, id) = (message.number("run")?, message.number("id")?);
                Self::Call { run, id, call, size: budget.used() }
            }
            "submit" => {
                let (via, fields) = (message.text("via")?, message.take("fields"));
                let submission = submission(&via, fields, message.take("value").unwrap_or_default())?;
                Self::Submit { run: message.number("run")?, submission }
            }
            "output" => {
                let stream = match message.text("stream")?.as_str() {
                    "stdout" => Stream::Stdout,
                    "stderr" => Stream::Stderr,
                    other => return Err(format!("`{}` is not a stream", other.escape_debug())),
                };
                Self::Output { run: message.number("run")?, stream, text: message.text("text")? }
            }
            "done" => {
                let run = message.number("run")?;
                let done = Done::from_value(Value::Dict(message.into_entries()))?;
                Self::Done { run, done: Box::new(done) }
            }
            "fatal" => Self::Fatal(message.text("message")?),
            other => return Err(format!("`{}` is not a type of message", other.escape_debug())),
        })
    }
}
