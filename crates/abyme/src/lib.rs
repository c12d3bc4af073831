#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod by_name;
pub mod guide;

// Running tasks.
pub use abyme_core::{
    Approval, ApprovalRequest, CancelHandle, CodePolicy, Compaction, Conversation, ConversationLimits,
    Conversations, ConversationsConfig, Difference, Effect, EffectDecision, EntryKind, Event, EventSink,
    EventStream, Field, FieldType, FnTool, ForkHandle, Fsync, Inputs, Ledger, LedgerEntry, Limit, Limits,
    PastQuestion, Prediction, Profile, Record, Rlm, RlmBuilder, Run, RunFuture, SavedConversation,
    Serialized, SessionSnapshots, Signature, SpanContent, Status, TaskSignature, Tool, ToolFunction,
    ToolReturn, Trajectory, TrajectoryWriter, TrajectoryWriterConfig, Turn, UnfinishedEffect, Untyped,
    Violation, inputs, tool, tools,
};
// Values and errors.
pub use abyme_core::{Blame, Error, ErrorKind, Result, Text, Value};
// Sessions.
pub use abyme_core::{
    Access, Capabilities, Captured, Cell, ChangedVariable, CodeInterpreter, CodeInterpreterExt, Determinism,
    FunctionSpec, Guarantee, HostCall, HostError, HostFunctions, InterpreterFactory, InterpreterFactoryExt,
    Interruption, Isolation, NoHostFunctions, Observation, OutputSpec, ParameterKind, ParameterSpec, Pool,
    PoolConfig, PythonError, Scope, Session, Stage, Submission, Submitted, Via,
};
// Models.
#[cfg(feature = "cache")]
pub use abyme_core::{Cached, ResponseCache, ResponseCacheConfig};
pub use abyme_core::{
    ConcurrencyLimited, Delta, Fallback, FinishReason, HedgePolicy, Hedged, InputLimited, LanguageModel,
    LanguageModelExt, LongPrice, Message, ModelFacts, NativeCall, Price, PriceTable, Priced, RateLimit,
    RateLimited, RateLimiter, RateLimiterConfig, RateLimits, Recorded, Recording, Replay, Replayed, Request,
    Response, ResponseStream, RetryPolicy, Retrying, Role, Usage,
};
#[doc(hidden)]
pub use abyme_core::{declared, derived};
pub use abyme_core::{interpreter, model, names, runtime, seconds, signature, trajectory, value};

#[cfg(feature = "anthropic")]
#[doc(no_inline)]
pub use self::anthropic::Anthropic;
pub use self::by_name::model;
#[cfg(feature = "docker")]
#[doc(no_inline)]
pub use self::docker::Docker;
#[cfg(feature = "gemini")]
#[doc(no_inline)]
pub use self::gemini::Gemini;
#[cfg(feature = "genai")]
#[doc(no_inline)]
pub use self::genai::Genai;
#[cfg(feature = "mcp")]
#[doc(no_inline)]
pub use self::mcp::McpServer;
#[cfg(feature = "modal")]
#[doc(no_inline)]
pub use self::modal::Modal;
#[cfg(feature = "openai")]
#[doc(no_inline)]
pub use self::openai::OpenAi;
#[cfg(feature = "pyo3")]
#[doc(no_inline)]
pub use self::pyo3::Pyo3;
#[cfg(feature = "subprocess")]
#[doc(no_inline)]
pub use self::subprocess::Subprocess;
#[cfg(feature = "wasm")]
#[doc(no_inline)]
pub use self::wasm::Wasm;
#[cfg(feature = "testing")]
pub use abyme_core::testing;

/// The client for Anthropic's Messages API.
#[cfg(feature = "anthropic")]
#[cfg_attr(docsrs, doc(cfg(feature = "anthropic")))]
pub mod anthropic {
    pub use abyme_model_anthropic::{Anthropic, Secret};
}

/// The backend that runs Python in a Docker container.
#[cfg(feature = "docker")]
#[cfg_attr(docsrs, doc(cfg(feature = "docker")))]
pub mod docker {
    pub use abyme_interpreter_docker::{Docker, EngineInfo, Pull, PullProgress};
}

/// Files and directories as the inputs of a run, and where in them the quotes of an answer stand.
#[cfg(feature = "files")]
#[cfg_attr(docsrs, doc(cfg(feature = "files")))]
pub mod files {
    pub use abyme_files::{
        FoundSource, Given, Line, LineKind, Loaded, Loader, MissingSource, Position, Source,
    };
}

/// The client for Google's Gemini API.
#[cfg(feature = "gemini")]
#[cfg_attr(docsrs, doc(cfg(feature = "gemini")))]
pub mod gemini {
    pub use abyme_model_gemini::{Gemini, Secret};
}

/// The client for the providers of the crate genai: Bedrock, Vertex, Cohere and others.
#[cfg(feature = "genai")]
#[cfg_attr(docsrs, doc(cfg(feature = "genai")))]
pub mod genai {
    pub use abyme_model_genai::{Genai, Secret, is_provider};
}

/// The tools of Model Context Protocol servers, over stdio and HTTP.
#[cfg(feature = "mcp")]
#[cfg_attr(docsrs, doc(cfg(feature = "mcp")))]
pub mod mcp {
    pub use abyme_mcp::{McpClient, McpServer};
}

/// The backend that runs Python in a sandbox of Modal.
#[cfg(feature = "modal")]
#[cfg_attr(docsrs, doc(cfg(feature = "modal")))]
pub mod modal {
    pub use abyme_interpreter_modal::{AccountInfo, Api, BuildProgress, Modal, Network};
}

/// The client for servers that speak OpenAI's chat completions.
#[cfg(feature = "openai")]
#[cfg_attr(docsrs, doc(cfg(feature = "openai")))]
pub mod openai {
    pub use abyme_model_openai::{Api, OpenAi, Secret, SystemRole, is_provider};
}

/// The backend that runs Python in this very process.
#[cfg(feature = "pyo3")]
#[cfg_attr(docsrs, doc(cfg(feature = "pyo3")))]
pub mod pyo3 {
    pub use abyme_interpreter_pyo3::Pyo3;
}

/// The backend that runs Python in a child process.
#[cfg(feature = "subprocess")]
#[cfg_attr(docsrs, doc(cfg(feature = "subprocess")))]
pub mod subprocess {
    pub use abyme_interpreter_subprocess::{IsolationMode, Subprocess};
}

/// The backend that runs CPython in WebAssembly.
#[cfg(feature = "wasm")]
#[cfg_attr(docsrs, doc(cfg(feature = "wasm")))]
pub mod wasm {
    pub use abyme_interpreter_wasm::{CacheState, PrepareProgress, Wasm};
}

/// The foreign crates whose types stand in signatures of this one, in the versions that fit.
pub mod reexports {
    pub use async_trait;
    pub use bytes;
    pub use futures_util;
    pub use indexmap;
    pub use schemars;
    pub use serde_json;
}

/// Everything a program usually needs: `use abyme::prelude::*;`
pub mod prelude {
    pub use abyme_core::{
        CancelHandle, CodeInterpreter, CodeInterpreterExt, CodePolicy, Conversation, Conversations,
        ConversationsConfig, Error, ErrorKind, Event, EventSink, HostError, InterpreterFactory,
        InterpreterFactoryExt, LanguageModel, LanguageModelExt, Limit, Limits, Observation, Pool, PoolConfig,
        Prediction, Record, Rlm, Run, Serialized, Session, Signature, Status, TaskSignature, Text, Tool,
        Trajectory, Value, inputs, tool, tools,
    };

    #[cfg(feature = "anthropic")]
    pub use crate::Anthropic;
    #[cfg(feature = "docker")]
    pub use crate::Docker;
    #[cfg(feature = "gemini")]
    pub use crate::Gemini;
    #[cfg(feature = "genai")]
    pub use crate::Genai;
    #[cfg(feature = "mcp")]
    pub use crate::McpServer;
    #[cfg(feature = "modal")]
    pub use crate::Modal;
    #[cfg(feature = "openai")]
    pub use crate::OpenAi;
    #[cfg(feature = "pyo3")]
    pub use crate::Pyo3;
    #[cfg(feature = "subprocess")]
    pub use crate::Subprocess;
    #[cfg(feature = "wasm")]
    pub use crate::Wasm;
}
