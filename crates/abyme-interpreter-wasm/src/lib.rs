#![doc = include_str!("../README.md")]

mod config;
mod engine;
mod guest;
mod image;
mod interpreter;
mod memory;
mod progress;
mod recovery;
mod runtime;
mod session;
mod slots;
mod ticker;
mod vm;

pub use self::{image::cache::CacheState, interpreter::Wasm, progress::PrepareProgress};
