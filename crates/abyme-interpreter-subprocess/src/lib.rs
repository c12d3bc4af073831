#![doc = include_str!("../README.md")]

mod config;
mod interpreter;
mod probe;
mod process;
mod session;
mod spawner;

pub use self::{
    config::SubprocessConfig,
    interpreter::{SubprocessFactory, SubprocessInterpreter},
};
