//! The tags and the bounds of the format.

/// Texts and bytes of at least this size are not in the data: the host writes them into the guest's memory.
pub(crate) const MIN_LONG_BYTES: usize = 16 << 10;
/// How many bits an integer may have: more take too long to write in decimal. The driver refuses larger
/// integers with an error for the model.
pub(crate) const MAX_INT_BITS: usize = 400_000;
/// Big integers are sequences of digits of this many bits.
pub(crate) const DIGIT_BITS: u32 = 15;

/// The tags of the format.
pub(crate) mod tag {
    pub(crate) const NULL: u8 = b'0';
    pub(crate) const NONE: u8 = b'N';
    pub(crate) const FALSE: u8 = b'F';
    pub(crate) const TRUE: u8 = b'T';
    pub(crate) const ELLIPSIS: u8 = b'.';
    pub(crate) const INT: u8 = b'i';
    pub(crate) const LONG: u8 = b'l';
    pub(crate) const FLOAT: u8 = b'g';
    pub(crate) const BYTES: u8 = b's';
    pub(crate) const TEXT: u8 = b'u';
    pub(crate) const INTERNED: u8 = b't';
    pub(crate) const LIST: u8 = b'[';
    pub(crate) const TUPLE: u8 = b'(';
    pub(crate) const DICT: u8 = b'{';
}
