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

pub use self::{
    config::{Mount, WasmConfig},
    image::cache::CacheState,
    interpreter::{WasmFactory, WasmInterpreter},
    progress::Progress,
};
