#![doc = include_str!("../README.md")]

mod config;
mod convert;
mod host;
mod interpreter;
mod python;
mod request;
mod session;
mod spin;
mod worker;

pub use self::{
    config::Pyo3Config,
    interpreter::{Pyo3Factory, Pyo3Interpreter},
};
