#![doc = include_str!("../README.md")]

mod command;
mod config;
mod interpreter;
mod isolation;
mod probe;
mod process;
mod session;
mod spawner;
mod work_dir;

pub use self::{interpreter::Subprocess, isolation::mode::IsolationMode};
