//! Values as CPython's own `marshal` format, version 2: what crosses between host and guest.
//!
//! `marshal` reads and writes at C speed, keeps big integers and NaN, and version 2 has no references between objects,
//! so it is a simple tree of tagged values. The guest is our own build, so the format cannot change under us.

mod decode;
mod encode;
mod format;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    decode::decode,
    encode::{Encoder, LongObject},
};
