//! The wire between Droste and a Python driver.
//!
//! A backend that runs Python somewhere else starts the driver there, connects its standard streams, and hands them to
//! a [`DriverSession`]: that is the whole contract of a session, kept once for all such backends. `PROTOCOL.md` beside
//! this crate is the specification, for drivers and hosts in other languages.
//!
//! All Python source of Droste lives here too ([`python`]), also for backends that need no wire.

mod codec;
mod frame;
mod message;
mod observe;
pub mod python;
mod session;

pub use self::{
    frame::{Frame, FrameError, FrameLimits, FrameReader, FrameWriter, MAGIC},
    message::{PROTOCOL_VERSION, Ready},
    session::{Control, DriverSession, SessionConfig},
};
