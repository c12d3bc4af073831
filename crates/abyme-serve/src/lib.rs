#![doc = include_str!("../README.md")]

mod body;
mod config;
mod job;
mod key;
mod keyring;
mod metrics;
mod queue;
mod rate;
mod refusal;
mod reply;
mod request;
mod routes;
mod server;
mod shared;
mod spending;
mod stream;
mod task;
mod thoughts;

pub use self::{
    config::ServeConfig,
    key::{Key, KeyLimits},
    server::{BoundServer, Server},
    task::signature,
};
