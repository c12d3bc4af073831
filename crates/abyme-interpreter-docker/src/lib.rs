#![doc = include_str!("../README.md")]

mod config;
mod container;
mod engine;
mod image;
mod interpreter;
mod session;

pub use self::{config::Pull, engine::EngineInfo, image::PullProgress, interpreter::Docker};
