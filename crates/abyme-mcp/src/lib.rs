#![doc = include_str!("../README.md")]

mod client;
mod connection;
mod content;
mod names;
mod remote;
mod server;
mod stdio;
mod tools;

pub use self::{client::McpClient, server::McpServer};
