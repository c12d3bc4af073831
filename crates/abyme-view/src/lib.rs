#![doc = include_str!("../README.md")]

mod chart;
mod data;
mod figures;
#[cfg(feature = "follow")]
mod follow;
mod load;
mod page;
mod stats;

#[cfg(feature = "follow")]
pub use self::follow::Follow;
pub use self::{
    figures::RunFigures,
    load::load,
    page::{Page, RenderedPage},
    stats::{Group, GroupBy, Median, Stats},
};
