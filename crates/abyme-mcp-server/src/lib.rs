#![doc = include_str!("../README.md")]

mod ask;
mod call;
mod clients;
mod config;
mod connection;
mod files;
mod handler;
mod http;
mod progress;
mod records;
mod server;
mod sessions;
mod shared;
mod tasks;
mod tools;

pub use self::{
    config::{HttpConfig, RlmServerConfig},
    http::HttpServer,
    server::{RlmServer, RlmServerBuilder},
};
