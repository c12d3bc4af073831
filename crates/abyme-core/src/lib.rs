//! Recursive Language Models: the traits, the types and the loop.
//!
//! A Recursive Language Model keeps a task's inputs, however long, as variables in a persistent Python
//! session. A language model writes Python to look at them, calls models on the pieces it picks, and submits
//! typed outputs.
//!
//! This crate has no HTTP client, no Python, no WASM and no Docker in it. Users depend on the facade crate
//! `abyme`; authors of a backend or a model depend on this crate.
//!
//! | to | start at |
//! |---|---|
//! | run a task | [`Rlm::builder`] |
//! | write a backend | [`CodeInterpreter`], then the crate `abyme-conformance` |
//! | connect a model | [`LanguageModel`] |
//! | read what a run did | [`Trajectory`] |

mod compaction;
mod error;
mod inputs;
pub mod interpreter;
mod limits;
pub mod model;
pub mod names;
mod prompt;
mod rlm;
pub mod runtime;
pub mod seconds;
pub mod signature;
mod status;
mod telemetry;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod tool;
pub mod trajectory;
pub mod value;
mod whole_file;

pub use abyme_python_syntax::{CodePolicy, Violation};

#[doc(hidden)]
pub use self::signature::derived;
#[doc(hidden)]
pub use self::tool::declared;
#[doc(hidden)]
pub use self::whole_file::replace_whole;
pub use abyme_derive::{Signature, signature, tool, tools};

#[cfg(feature = "cache")]
pub use self::model::{Cached, ResponseCache, ResponseCacheConfig};
pub use self::{
    compaction::Compaction,
    error::{Blame, Error, ErrorKind, Result},
    inputs::Inputs,
    interpreter::{
        Access, Capabilities, Captured, Cell, ChangedVariable, CodeInterpreter, CodeInterpreterExt,
        Determinism, FunctionSpec, Guarantee, HostCall, HostError, HostFunctions, InterpreterFactory,
        InterpreterFactoryExt, Interruption, Isolation, NoHostFunctions, Observation, OutputSpec,
        ParameterKind, ParameterSpec, Pool, PoolConfig, PythonError, Scope, Session, Stage, Submission,
        Submitted, Via,
    },
    limits::Limits,
    model::{
        ConcurrencyLimited, Delta, Fallback, FinishReason, HedgePolicy, Hedged, InputLimited, LanguageModel,
        LanguageModelExt, LongPrice, Message, ModelFacts, NativeCall, Price, PriceTable, Priced, RateLimit,
        RateLimited, RateLimiter, RateLimiterConfig, RateLimits, Recorded, Recording, Replay, Replayed,
        Request, Response, ResponseStream, RetryPolicy, Retrying, Role, Usage,
    },
    prompt::Profile,
    rlm::{
        ApprovalRequest, CancelHandle, Conversation, ConversationLimits, Conversations, ConversationsConfig,
        EffectDecision, EventStream, ForkHandle, PastQuestion, Prediction, Rlm, RlmBuilder, Run, RunFuture,
        SavedConversation, SessionSnapshots, UnfinishedEffect, built_in_functions,
    },
    signature::{Field, FieldType, Signature, TaskSignature, Untyped},
    status::{Limit, Status},
    telemetry::SpanContent,
    tool::{Effect, FnTool, Serialized, Tool, ToolFunction, ToolReturn},
    trajectory::{
        Approval, Difference, EntryKind, Event, EventSink, Fsync, Ledger, LedgerEntry, Record, Trajectory,
        TrajectoryWriter, TrajectoryWriterConfig, Turn,
    },
    value::{
        DecodeBudget, DecodeProblem, OverBudget, Text, Value, WithoutLoneSurrogates, without_lone_surrogates,
    },
};
