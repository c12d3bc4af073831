//! A complete backend on public interfaces only: sessions over TCP to a driver on another machine.
//!
//! `README.md` beside this crate's `Cargo.toml` is the guide "Write your own backend", which quotes these
//! files; it also says how to run the agent, `agent.py`, and what this backend does not keep code from.
//! [`RemoteFactory`] is where to begin.

mod config;
mod control;
mod interpreter;
mod lines;
mod local;
mod meeting;
mod secret;

pub use self::{config::RemoteConfig, interpreter::RemoteFactory, local::LocalAgent, secret::Secret};
