//! Clients of a server, over streams and HTTP: what they ask, what they do wrong, and how they go away.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod http;
mod sessions;
mod stream;
mod support;
mod tasks;
