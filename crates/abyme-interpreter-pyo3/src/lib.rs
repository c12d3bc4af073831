#![doc = include_str!("../README.md")]

mod bridge;
mod config;
mod convert;
mod interpreter;
mod python;
mod session;
mod spin;
mod worker;

pub use self::interpreter::Pyo3;
