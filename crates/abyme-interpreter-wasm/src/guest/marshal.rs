//! Values in CPython's own `marshal` format, version 2, in which they pass between host and guest.
//!
//! `marshal` reads and writes at C speed, keeps big integers and NaN, and version 2 has no references between
//! objects, so it is a simple tree of tagged values. The guest is a build of this project, so the format
//! cannot change unnoticed.

mod decode;
mod encode;
mod format;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    decode::decode,
    encode::{Encoder, LongObject},
};
