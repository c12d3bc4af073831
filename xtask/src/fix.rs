//! `cargo xtask fix`: the only command that writes.

use crate::{
    command::{self, Result, cargo},
    selection,
};

pub(crate) fn run() -> Result<()> {
    let mut clippy = cargo(&["clippy", "--all-targets", "--fix", "--allow-dirty", "--allow-staged"]);
    command::run(clippy.args(selection::everything(None)?))?;
    command::run(&mut cargo(&["fmt", "--all"]))
}
