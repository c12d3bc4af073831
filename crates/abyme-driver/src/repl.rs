//! The host's side of `repl.py`: what a cell takes, what it reports while it runs, and how it ends.
//!
//! A backend that runs `repl.py` without the protocol gives `Repl` the scope ([`scope_value`]), feeds what it
//! is called with into a [`Collector`] ([`submission`]), and finishes that with the answer of `Repl.run`
//! ([`Done::from_value`]). Nothing that comes from Python is trusted. `PROTOCOL.md` says what each field
//! means; a [`DriverSession`](crate::DriverSession) uses the same parts.

mod cell_size;
mod collector;
mod done;
pub(crate) mod entries;
mod given;
mod scope;

pub use self::{
    cell_size::is_large,
    collector::{Collector, Stream, submission},
    done::{Done, StreamRemainder, ValueRepr},
    given::GivenTexts,
    scope::{KnownScope, scope_value},
};
