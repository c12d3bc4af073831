#![doc = include_str!("../README.md")]

mod api;
mod config;
mod image;
mod interpreter;
mod sandbox;
mod session;
mod snapshot;

pub use self::{
    config::{Api, Network},
    image::BuildProgress,
    interpreter::{AccountInfo, Modal},
};
