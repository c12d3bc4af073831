#![doc = include_str!("../README.md")]

mod command;
mod config;
mod interpreter;
mod probe;
mod session;
mod spawner;
mod work_dir;

pub use self::interpreter::Subprocess;
