#![doc = include_str!("../README.md")]

#[cfg(unix)]
mod command;
mod config;
#[cfg(not(unix))]
mod elsewhere;
#[cfg(unix)]
mod empty;
mod interpreter;
mod isolation;
#[cfg(unix)]
mod probe;
#[cfg(unix)]
mod process;
#[cfg(unix)]
mod session;
#[cfg(unix)]
mod spawner;
#[cfg(unix)]
mod work_dir;

pub use self::{interpreter::Subprocess, isolation::mode::IsolationMode};
