#![doc = include_str!("../README.md")]

#[cfg(feature = "archives")]
mod archives;
mod content;
mod documents;
mod html;
mod kind;
mod loaded;
mod loader;
mod read;
mod report;
mod sources;
#[cfg(feature = "sqlite")]
mod tables;
mod text;
mod walk;

pub use self::{
    loaded::Loaded,
    loader::{Given, Loader},
    report::{Line, LineKind},
    sources::{FoundSource, MissingSource, Position, Source},
};
