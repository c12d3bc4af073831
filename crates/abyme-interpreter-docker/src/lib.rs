#![doc = include_str!("../README.md")]

mod claim;
mod config;
mod container;
mod engine;
mod engines;
mod image;
mod interpreter;
mod session;

pub use self::{config::Pull, engine::EngineInfo, image::PullProgress, interpreter::Docker};
