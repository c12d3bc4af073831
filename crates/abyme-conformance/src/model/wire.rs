//! The formats that stand-in servers speak.

pub(crate) mod anthropic;
pub(crate) mod format;
pub(crate) mod gemini;
pub(crate) mod openai;
pub(crate) mod responses;
