//! The command line of the server.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::parse::duration;

/// What a server is, beside the runs that it makes.
#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// Where to listen; port 0 is one that is free
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8700")]
    pub(crate) listen: SocketAddr,
    /// What clients call the model
    #[arg(long, value_name = "NAME", default_value = "abyme")]
    pub(crate) name: String,
    /// Keys with limits of their own: {"keys": {"alice": {"token": "...", "max_concurrent": 2}}} [default:
    /// one key, whose token is in ABYME_SERVE_TOKEN]
    #[arg(long, value_name = "FILE.json")]
    pub(crate) keys: Option<PathBuf>,
    /// Ask for no token: every program of this machine may use the server, and its model's money
    #[arg(long, conflicts_with = "keys")]
    pub(crate) no_token: bool,
    #[command(flatten)]
    pub(crate) key_limits: KeyLimitArgs,
    /// A file to remember in what the keys used today, over a new start
    #[arg(long, value_name = "FILE.json", conflicts_with = "no_token")]
    pub(crate) usage: Option<PathBuf>,
    /// Runs at work at once; further requests wait
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub(crate) max_runs: usize,
    /// Requests that wait; further ones are refused with status 429
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) max_queued: usize,
    /// Most size of a request, in MB of 1024 KB
    #[arg(long, value_name = "N", default_value_t = 64)]
    #[arg(value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub(crate) max_body_mb: u64,
    /// Time that runs at work have to end after a first signal
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub(crate) shutdown_grace: Duration,
    /// What all replies have to be like, beside what the messages ask for
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) instructions: Option<String>,
    /// Do not stream what the model writes on its way to the answer
    #[arg(long)]
    pub(crate) no_reasoning: bool,
    /// Record each run in a file of this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) traces: Option<PathBuf>,
}

/// The limits of each key that has no others in its file.
#[derive(Debug, Args)]
pub(crate) struct KeyLimitArgs {
    /// Requests of a key at once, those that wait included [default: no limit]
    #[arg(long, value_name = "N", conflicts_with = "no_token")]
    pub(crate) key_requests: Option<usize>,
    /// Requests of a key in any minute [default: no limit]
    #[arg(long, value_name = "N", conflicts_with = "no_token")]
    pub(crate) key_rpm: Option<u32>,
    /// Tokens of a key in a day of UTC [default: no limit]
    #[arg(long, value_name = "N", conflicts_with = "no_token")]
    pub(crate) key_tokens: Option<u64>,
    /// US dollars of a key in a day of UTC [default: no limit]
    #[arg(long, value_name = "USD", conflicts_with = "no_token", allow_negative_numbers = true)]
    pub(crate) key_cost: Option<f64>,
}
