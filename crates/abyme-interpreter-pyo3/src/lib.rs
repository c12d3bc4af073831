#![doc = include_str!("../README.md")]

mod config;
mod convert;
mod host;
mod interpreter;
mod python;
mod session;
mod spin;
mod worker;

pub use self::interpreter::Pyo3;
