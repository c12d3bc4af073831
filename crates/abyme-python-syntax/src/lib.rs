//! Reads Python without running it. No other crate of Abyme knows a parser of Python.
//!
//! - [`parse_reply`] finds the code in a model's reply;
//! - [`CodePolicy`] checks a cell before it runs;
//! - [`public_functions`] lists what a source of tools offers.
//!
//! All of them go through one parse that bounds how deep a syntax tree may get, so that no text can overflow
//! the host's stack.

mod functions;
mod parse;
pub mod policy;
pub mod reply;

pub use self::{
    functions::{Function, SourceError, public_functions},
    policy::{CodePolicy, Violation},
    reply::{
        Reply, ReplyWatch, code_in_arguments, fence, is_settled, parse_reply, python_blocks,
        submitted_literals, visible_text, with_fence,
    },
};
