#![doc = include_str!("../README.md")]

mod connection;
mod listener;
mod token;

pub use self::{
    connection::{HttpConnection, Timeouts, http_connection},
    listener::{AcceptedConnection, Listener},
    token::{Token, TokenError, bearer, random_token},
};
