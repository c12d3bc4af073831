//! Cassettes: the calls of models in a file, to be recorded once and replayed in tests.
//!
//! A cassette is JSON Lines. The first line is `{"abyme_cassette":1}`, which names the version of the format.
//! Each other line is a call:
//!
//! | field | holds |
//! |---|---|
//! | `call` | the number of the call, in the order of beginnings; lines are in the order of ends |
//! | `model` | the name of the model |
//! | `request` | the [`Request`](crate::Request), without `timeout` and `cache_points` |
//! | `pieces` | of a streamed call: `{"text": ...}`, `{"reasoning": ...}`, `{"usage": ...}` in their order |
//! | `response` | the [`Response`](crate::Response); or |
//! | `error` | its `kind`, `message`, and where known `retry_after` in seconds, `permanent` and `usage`; or |
//! | `dropped` | `{}`: the caller did not wait for the end |

mod difference;
mod entry;
mod record;
mod replay;
mod scrub;

pub use self::{
    record::{Recorded, Recording},
    replay::{Replay, Replayed},
};

#[cfg(test)]
mod tests;
