//! A model and an interpreter that follow a script, for tests without a key or a Python.

mod interpreter;
mod model;

pub use self::{
    interpreter::{ScriptedFactory, ScriptedInterpreter},
    model::ScriptedModel,
};
