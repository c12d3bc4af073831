//! The Docker engine: where it is, the connection to it, the thread that uses the connection, and its errors.

mod address;
mod client;
mod failure;

pub use self::client::EngineInfo;
pub(crate) use self::{
    client::Client,
    failure::{chain, is_missing},
};
