//! The driver of Abyme, which is the Python program that runs cells for a host, and the host's side of it.
//!
//! A backend that runs Python somewhere else starts the driver there, connects its standard streams, and
//! hands them to a [`DriverSession`], which keeps the whole contract of a session for all such backends. A
//! [`Launcher`] says how that is done; [`DriverInterpreter`] makes a `CodeInterpreter` of it. `PROTOCOL.md`
//! beside this crate is the specification of the [protocol], for drivers and hosts in other languages.
//!
//! All Python source of Abyme lives here too ([`python`]), also for backends that run it without the
//! protocol. These use [`repl`] to talk to it and [`cell`] to serve its calls and keep its time limits.

mod background;
pub mod cell;
mod driver_code;
mod exit;
mod interpreter;
mod lazy_session;
mod owner;
mod pending;
mod progress;
pub mod protocol;
pub mod python;
pub mod repl;
mod session;
#[cfg(test)]
mod testing;

pub use self::{
    background::BackgroundThread,
    driver_code::DriverCode,
    exit::{exited, killed_by},
    interpreter::{DriverInterpreter, Launcher},
    lazy_session::{LazySession, session_ended},
    owner::Owner,
    pending::{Pending, PendingGuard},
    progress::{Progress, Reporter},
    session::{Control, DriverSession, DriverTimeouts, SavedSession},
};
