#![doc = include_str!("../README.md")]

mod cache;
mod checkpoint;
mod config;
mod door;
mod files;
mod fs;
mod guest;
mod hot;
mod interpreter;
mod load;
mod mailbox;
mod marshal;
mod pages;
mod prepare;
mod progress;
mod runtime;
mod saved;
mod session;
mod text;
mod ticker;
mod vm;
mod wasi;

pub use self::{
    cache::CacheState,
    config::{Mount, WasmConfig},
    interpreter::{WasmFactory, WasmInterpreter},
    progress::Progress,
};
