#![doc = include_str!("../README.md")]

mod fs;
mod wasi;

pub use self::{
    fs::{Archive, FileSystem, Mount, Quota},
    wasi::{GuestExit, HasWasi, Wasi, WasiCheckpoint, add_to_linker},
};
