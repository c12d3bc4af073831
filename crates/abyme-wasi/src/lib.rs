#![doc = include_str!("../README.md")]

mod fs;
mod preview1;

pub use self::{
    fs::{Archive, FileSystem, Mount, Quota},
    preview1::{
        CapturedOutput, Differs, GuestExit, HasWasi, Journal, Record, Wasi, WasiCheckpoint, add_to_linker,
        function_number,
    },
};
