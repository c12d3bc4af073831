//! Scripted stand-ins: a model and an interpreter that do what a test tells them.

mod interpreter;
mod model;

pub use self::{
    interpreter::{ScriptedFactory, ScriptedInterpreter},
    model::ScriptedModel,
};
