//! The messages of the protocol, as the host writes and reads them. `PROTOCOL.md` is the specification.

use abyme_core::{Cell, HostCall, HostError, Scope, Submission, Value};
use bytes::Bytes;
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::{
    codec::{Blobs, Encoded, decode, decode_text},
    frame::{Frame, FrameLimits},
    repl::{Done, Rest, Shown, Stream, submission},
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
    Done(Box<DoneJson>),
    Fatal {
        message: String,
    },
}

#[derive(Deserialize)]
struct DoneJson {
    run: u64,
    stdout: RestJson,
    stderr: RestJson,
    #[serde(default)]
    value: Option<ValueJson>,
    #[serde(default)]
    error: Option<Json>,
    #[serde(default)]
    changed: Vec<abyme_core::ChangedVariable>,
    #[serde(default)]
    changed_total: usize,
    #[serde(default)]
    variables: IndexMap<String, Json>,
    #[serde(default)]
    unreadable: IndexMap<String, String>,
    #[serde(default)]
    interrupted: bool,
}

#[derive(Deserialize)]
struct RestJson {
    head: Json,
    tail: Json,
    total: usize,
}

#[derive(Deserialize)]
struct ValueJson {
    text: Json,
    #[serde(default)]
    tail: Json,
    #[serde(default)]
    total: Option<usize>,
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
            DriverJson::Done(done) => {
                DriverMessage::Done { run: done.run, done: Box::new(decode_done(*done, blobs)?) }
            }
            DriverJson::Fatal { message } => DriverMessage::Fatal(message),
        })
    }
}

fn decode_done(json: DoneJson, blobs: &mut [Bytes]) -> Result<Done, String> {
    Ok(Done {
        stdout: decode_rest(json.stdout, blobs)?,
        stderr: decode_rest(json.stderr, blobs)?,
        value: json.value.map(|value| decode_shown(value, blobs)).transpose()?,
        error: json
            .error
            .filter(|error| !error.is_null())
            .map(|error| python_error(error, blobs))
            .transpose()?,
        unreadable: json.unreadable,
        changed: json.changed,
        changed_total: json.changed_total,
        variables: decode_all(json.variables, blobs)?,
        interrupted: json.interrupted,
    })
}

fn decode_shown(json: ValueJson, blobs: &mut [Bytes]) -> Result<Shown, String> {
    let tail = if json.tail.is_null() { String::new() } else { decode_text(json.tail, blobs)? };
    Ok(Shown { head: decode_text(json.text, blobs)?, tail, total: json.total })
}

fn decode_rest(json: RestJson, blobs: &mut [Bytes]) -> Result<Rest, String> {
    let (head, tail) = (decode_text(json.head, blobs)?, decode_text(json.tail, blobs)?);
    Ok(Rest { head, tail, total: json.total })
}

/// The texts of an error may be long enough to travel as blobs.
fn python_error(error: Json, blobs: &mut [Bytes]) -> Result<abyme_core::PythonError, String> {
    let Json::Object(mut entries) = error else { return Err("an error is no object".to_owned()) };
    for name in ["type", "message", "traceback"] {
        if let Some(text) = entries.get_mut(name) {
            *text = Json::String(decode_text(text.take(), blobs)?);
        }
    }
    serde_json::from_value(Json::Object(entries)).map_err(|error| error.to_string())
}

fn decode_all(
    entries: IndexMap<String, Json>,
    blobs: &mut [Bytes],
) -> Result<IndexMap<String, Value>, String> {
    entries.into_iter().map(|(name, json)| Ok((name, decode(json, blobs)?))).collect()
}
