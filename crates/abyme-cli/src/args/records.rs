//! The command line of what reads recorded runs.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct ViewArgs {
    /// Records, as `abyme run --trace` writes them
    #[arg(value_name = "RUN.jsonl", required_unless_present = "compare")]
    pub(crate) records: Vec<PathBuf>,
    /// Write the page to this file; - for stdout [default: a temporary file, which is opened]
    #[arg(long, short, value_name = "FILE.html")]
    pub(crate) output: Option<PathBuf>,
    /// Put two runs side by side
    #[arg(long, num_args = 2, value_names = ["A.jsonl", "B.jsonl"], conflicts_with = "records")]
    pub(crate) compare: Option<Vec<PathBuf>>,
    /// Serve the page on this machine, and show what is recorded as it comes, until Ctrl-C
    #[arg(long, conflicts_with_all = ["compare", "output"])]
    pub(crate) follow: bool,
    /// The port of --follow [default: one that is free]
    #[arg(long, value_name = "N", requires = "follow", default_value_t = 0, hide_default_value = true)]
    pub(crate) port: u16,
    /// Do not open a browser, only say where the page is
    #[arg(long)]
    pub(crate) no_open: bool,
}

#[derive(Debug, Args)]
pub(crate) struct StatsArgs {
    /// Records, as `abyme run --trace` writes them
    #[arg(value_name = "RUN.jsonl", required = true)]
    pub(crate) records: Vec<PathBuf>,
    /// Put runs together that have this in common
    #[arg(long, value_name = "NAME")]
    pub(crate) by: Option<By>,
    /// Print one JSON object
    #[arg(long, conflicts_with = "csv")]
    pub(crate) json: bool,
    /// Print CSV
    #[arg(long)]
    pub(crate) csv: bool,
    /// Draw where the time went, as a picture in this file
    #[arg(long, value_name = "FILE.svg")]
    pub(crate) chart: Option<PathBuf>,
}

/// What runs have in common.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum By {
    /// The model that plans
    Model,
    /// What the caller calls the run
    Label,
}
