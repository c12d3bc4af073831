//! The command as a user meets it: its arguments, its output, its exit codes.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod ask;
mod backends;
mod bad_input;
mod chat;
mod demo;
mod doctor;
mod eval;
mod interpreter;
mod live;
#[cfg(feature = "mcp-server")]
mod mcp;
mod prepare;
mod recorded;
mod run;
mod secrets;
mod serve;
mod server;
mod support;
mod terminal;
mod view;
