//! The server as its clients meet it, down to the bytes: answers, keys and limits, bad clients, its end.

#![allow(clippy::panic, clippy::unwrap_used, reason = "a test fails by panicking")]

mod answers;
mod clients;
mod ending;
mod limits;
mod support;
