#![doc = include_str!("../README.md")]

pub use abyme_core::*;

#[cfg(feature = "docker")]
pub use abyme_interpreter_docker::{Docker, EngineInfo, Pull, PullProgress};
#[cfg(feature = "pyo3")]
pub use abyme_interpreter_pyo3::Pyo3;
#[cfg(feature = "subprocess")]
pub use abyme_interpreter_subprocess::Subprocess;
#[cfg(feature = "wasm")]
pub use abyme_interpreter_wasm::{CacheState, PrepareProgress, Wasm};
#[cfg(feature = "openai")]
pub use abyme_model_openai::OpenAi;

/// Everything a program usually needs: `use abyme::prelude::*;`
pub mod prelude {
    pub use abyme_core::{
        CodeInterpreter, CodeInterpreterExt, CodePolicy, Error, Event, HostError, InterpreterFactory,
        InterpreterFactoryExt, LanguageModel, Limits, Observation, Pool, PoolConfig, Prediction, Rlm,
        Session, Signature, Status, TaskSignature, Text, Tool, Trajectory, Value, inputs,
    };

    #[cfg(feature = "docker")]
    pub use crate::Docker;
    #[cfg(feature = "openai")]
    pub use crate::OpenAi;
    #[cfg(feature = "pyo3")]
    pub use crate::Pyo3;
    #[cfg(feature = "subprocess")]
    pub use crate::Subprocess;
    #[cfg(feature = "wasm")]
    pub use crate::Wasm;
}
