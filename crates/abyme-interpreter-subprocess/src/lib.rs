#![doc = include_str!("../README.md")]

mod command;
mod config;
mod interpreter;
mod probe;
mod session;
mod spawner;

pub use self::interpreter::Subprocess;
