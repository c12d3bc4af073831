//! Values as CPython's own `marshal` format, version 2: what crosses between host and guest.
//!
//! `marshal` reads and writes at C speed, keeps big integers and NaN, and version 2 has no references between objects,
//! so it is a simple tree of tagged values. The guest is our own build, so the format cannot change under us.

mod decode;
mod encode;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    decode::decode,
    encode::{Encoder, Long},
};

/// How deep values may be nested, as in the protocol of `abyme-driver`.
const MAX_DEPTH: usize = 100;
/// Texts and bytes of at least this size do not travel in the data: the host writes them into the guest's memory.
const LONG: usize = 16 << 10;
/// Most containers and items of a message. The guest refuses larger values with an error for the model.
const MAX_PARTS: usize = 4_100_000;
/// Most bits of an integer: more take too long to write in decimal. The driver refuses them with an error for the model.
const MAX_INT_BITS: usize = 400_000;
/// Big integers are a row of digits of this many bits.
const DIGIT_BITS: u32 = 15;

/// The tags of the format.
mod tag {
    pub(super) const NULL: u8 = b'0';
    pub(super) const NONE: u8 = b'N';
    pub(super) const FALSE: u8 = b'F';
    pub(super) const TRUE: u8 = b'T';
    pub(super) const ELLIPSIS: u8 = b'.';
    pub(super) const INT: u8 = b'i';
    pub(super) const LONG: u8 = b'l';
    pub(super) const FLOAT: u8 = b'g';
    pub(super) const BYTES: u8 = b's';
    pub(super) const TEXT: u8 = b'u';
    pub(super) const INTERNED: u8 = b't';
    pub(super) const LIST: u8 = b'[';
    pub(super) const TUPLE: u8 = b'(';
    pub(super) const DICT: u8 = b'{';
}
