//! The messages of the protocol, as the host writes and reads them. `PROTOCOL.md` is the specification.

use abyme_core::{Cell, HostCall, HostError, Scope, Submission, Value};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    protocol::{
        codec::{Blobs, Encoded, decode, decode_answer, decode_text},
        frame::{Frame, FrameLimits},
    },
    repl::{Done, Stream, submission},
};

/// The version both sides have to speak.
pub const PROTOCOL_VERSION: u32 = 1;

/// What the driver says of itself when it is ready.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
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
    Run { id: u64, cell: &'a Cell, scope: Option<&'a Scope> },
    Result { call: u64, result: &'a Result<Value, HostError> },
    Shutdown,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum HostJson<'a> {
    Run {
        id: u64,
        code: Encoded<'a>,
        variables: IndexMap<&'a str, Encoded<'a>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        scope: Option<&'a Scope>,
        reads: &'a [String],
        max_output_chars: usize,
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
            HostMessage::Run { id, cell, scope } => {
                code = Value::from(cell.code.as_str());
                HostJson::Run {
                    id: *id,
                    code: Encoded::new(&code, &blobs),
                    variables: cell
                        .variables
                        .iter()
                        .map(|(name, value)| (name.as_str(), Encoded::new(value, &blobs)))
                        .collect(),
                    scope: *scope,
                    reads: &cell.reads,
                    max_output_chars: cell.max_output_chars,
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
        FrameLimits::default().check(&frame)?;
        Ok(frame)
    }
}

/// A message from the driver.
#[derive(Debug)]
pub(crate) enum DriverMessage {
    Ready(Ready),
    Call { run: u64, id: u64, call: HostCall },
    Submit { run: u64, submission: Submission },
    Output { run: u64, stream: Stream, text: String },
    Done { run: u64, done: Box<Done> },
    Fatal(String),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum DriverJson {
    Ready(Ready),
    Call {
        run: u64,
        id: u64,
        name: String,
        #[serde(default)]
        args: Vec<Json>,
        #[serde(default)]
        kwargs: IndexMap<String, Json>,
    },
    Submit {
        run: u64,
        via: String,
        #[serde(default)]
        fields: Option<Json>,
        #[serde(default)]
        value: Json,
    },
    Output {
        run: u64,
        stream: Stream,
        text: Json,
    },
    Done {
        run: u64,
        #[serde(flatten)]
        answer: serde_json::Map<String, Json>,
    },
    Fatal {
        message: String,
    },
}

impl DriverMessage {
    /// Reads a message out of a frame. Nothing in it is trusted.
    pub(crate) fn from_frame(mut frame: Frame) -> Result<Self, String> {
        let json: DriverJson = serde_json::from_slice(&frame.header).map_err(|error| error.to_string())?;
        let blobs = &mut frame.blobs[..];
        Ok(match json {
            DriverJson::Ready(ready) => DriverMessage::Ready(ready),
            DriverJson::Call { run, id, name, args, kwargs } => {
                let args = args.into_iter().map(|arg| decode(arg, blobs)).collect::<Result<_, _>>()?;
                let call = HostCall::new(name).args(args).kwargs(decode_all(kwargs, blobs)?);
                DriverMessage::Call { run, id, call }
            }
            DriverJson::Submit { run, via, fields, value } => {
                let fields = fields.map(|fields| decode(fields, blobs)).transpose()?;
                let submission = submission(&via, fields, decode(value, blobs)?)?;
                DriverMessage::Submit { run, submission }
            }
            DriverJson::Output { run, stream, text } => {
                DriverMessage::Output { run, stream, text: decode_text(text, blobs)? }
            }
            DriverJson::Done { run, answer } => {
                let done = Done::from_value(decode_answer(answer, blobs)?)?;
                DriverMessage::Done { run, done: Box::new(done) }
            }
            DriverJson::Fatal { message } => DriverMessage::Fatal(message),
        })
    }
}

fn decode_all(
    entries: IndexMap<String, Json>,
    blobs: &mut [Bytes],
) -> Result<IndexMap<String, Value>, String> {
    entries.into_iter().map(|(name, json)| Ok((name, decode(json, blobs)?))).collect()
}
