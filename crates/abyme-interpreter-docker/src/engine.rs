//! A Docker engine: where it is, the connection to it, the thread that uses the connection, and its errors.

mod address;
mod client;
mod failure;

pub use self::client::EngineInfo;
pub(crate) use self::{
    address::Address,
    client::Client,
    failure::{chain, is_missing},
};

/// The addresses of the engines that the configuration or the environment names. There is at least one.
///
/// # Errors
/// [`ErrorKind::Config`](abyme_core::ErrorKind::Config) if an address cannot be used.
pub(crate) fn find_addresses(given: &[String]) -> abyme_core::Result<Vec<Address>> {
    let found = address::find(given, address::variable)?;
    found.iter().try_for_each(Address::check)?;
    Ok(found)
}
