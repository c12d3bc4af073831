#![doc = include_str!("../README.md")]

mod config;
mod engine;
mod fs;
mod guest;
mod image;
mod interpreter;
mod memory;
mod progress;
mod runtime;
mod session;
mod slots;
mod ticker;
mod vm;
mod wasi;

pub use self::{image::cache::CacheState, interpreter::Wasm, progress::PrepareProgress};
