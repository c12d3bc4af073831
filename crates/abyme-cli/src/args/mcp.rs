//! The command line of `abyme mcp`.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::Args;

use super::parse::seconds_over_zero;

#[derive(Debug, Args)]
pub(crate) struct McpServerArgs {
    /// Serve over HTTP at this address, in place of stdin and stdout, until Ctrl-C. Where clients connect,
    /// and the token that they send, goes to stdout; ABYME_MCP_TOKEN sets the token [default: 127.0.0.1, a
    /// port that is free]
    #[arg(long, value_name = "ADDRESS:PORT", num_args = 0..=1, default_missing_value = "127.0.0.1:0")]
    pub(crate) http: Option<SocketAddr>,
    /// A name that clients may call this machine by, beside localhost; repeatable
    #[arg(long, value_name = "NAME", requires = "http")]
    pub(crate) allow_host: Vec<String>,
    /// A site whose pages may send requests, such as https://example.com:443; repeatable [default: none]
    #[arg(long, value_name = "ORIGIN", requires = "http")]
    pub(crate) allow_origin: Vec<String>,
    /// A folder whose files clients may name as inputs; repeatable [default: none]
    #[arg(long, value_name = "DIR")]
    pub(crate) root: Vec<PathBuf>,
    /// What the questions are about, and how to answer them
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub(crate) instructions: Option<String>,
    /// Offer Python sessions alone: no model is needed, and none is asked
    #[arg(long)]
    pub(crate) sessions_only: bool,
    /// Write the record of each run to a file of this folder
    #[arg(long, value_name = "DIR", conflicts_with = "sessions_only")]
    pub(crate) traces: Option<PathBuf>,
    /// Questions at work at once; further ones wait
    #[arg(long, value_name = "N", default_value_t = 4)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max_runs: u32,
    /// Python sessions open at once; further ones are refused
    #[arg(long, value_name = "N", default_value_t = 8)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) max_sessions: u32,
    /// When a Python session that runs nothing is closed, such as 15m
    #[arg(long, value_name = "TIME", default_value = "15m", value_parser = seconds_over_zero)]
    pub(crate) session_idle_timeout: Duration,
}
