//! A complete backend on public interfaces only: sessions over TCP to a driver on another machine.
//!
//! `README.md` beside this crate's `Cargo.toml` is the guide "Write your own backend", which quotes these
//! files; it also says how to run the agent, `agent.py`, and what this backend does not keep code from.
//! [`Remote`] is where to begin.

mod config;
mod control;
mod handshake;
mod interpreter;
mod lines;
mod local;
mod secret;
mod session;

pub use self::{interpreter::Remote, local::LocalAgent, secret::Secret};
