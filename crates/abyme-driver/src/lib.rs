//! The wire between Abyme and a Python driver.
//!
//! A backend that runs Python somewhere else starts the driver there, connects its standard streams, and hands them to
//! a [`DriverSession`]: that is the whole contract of a session, kept once for all such backends. A [`Launcher`] says how
//! that is done; [`DriverInterpreter`] makes a `CodeInterpreter` of it. `PROTOCOL.md` beside
//! this crate is the specification, for drivers and hosts in other languages.
//!
//! All Python source of Abyme lives here too ([`python`]), also for backends that need no wire; [`repl`] is what these
//! need on the host's side.

pub mod cell;
mod codec;
mod frame;
mod interpreter;
mod message;
pub mod python;
pub mod repl;
mod session;
#[cfg(test)]
mod testing;

pub use self::{
    frame::{Frame, FrameError, FrameLimits, FrameReader, FrameWriter, MAGIC},
    interpreter::{DriverInterpreter, Launcher},
    message::{PROTOCOL_VERSION, Ready},
    session::{Control, DriverSession, SessionConfig},
};
