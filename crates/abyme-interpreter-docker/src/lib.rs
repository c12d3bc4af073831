#![doc = include_str!("../README.md")]

mod address;
mod client;
mod config;
mod container;
mod control;
mod driver;
mod image;
mod interpreter;
mod keeper;
mod owner;
mod plan;
mod problem;
mod progress;
mod session;
mod streams;
mod sweep;

pub use self::{
    client::Engine,
    config::{Bind, DockerConfig, Pull},
    interpreter::{DockerFactory, DockerInterpreter},
    progress::Progress,
};
