//! `cargo xtask fix`: the only command that writes.

use crate::command::{self, Result, cargo};

pub(crate) fn run() -> Result<()> {
    command::run(&mut cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--all-features",
        "--fix",
        "--allow-dirty",
        "--allow-staged",
    ]))?;
    command::run(&mut cargo(&["fmt", "--all"]))
}
