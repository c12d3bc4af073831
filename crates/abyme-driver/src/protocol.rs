//! The protocol between a host and its driver, as `PROTOCOL.md` specifies it: values in messages in frames.

mod codec;
mod frame;
mod message;

pub(crate) use self::message::{DriverMessage, HostMessage, TooLarge};
pub use self::{
    frame::{Frame, FrameError, FrameLimits, FrameReader, FrameWriter, MAGIC},
    message::{PROTOCOL_VERSION, Ready},
};
