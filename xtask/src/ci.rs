//! `cargo xtask ci`: everything but the tests. It never writes.

use crate::{
    command::{self, Result, cargo},
    tidy,
};

pub(crate) fn run() -> Result<()> {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    clippy(&["--workspace", "--all-targets", "--all-features"])?;
    // The facade with few features, so that unification with the others hides nothing.
    clippy(&["--package", "droste", "--no-default-features"])?;
    clippy(&["--package", "droste", "--no-default-features", "--features", "openai"])?;
    let mut docs = cargo(&["doc", "--workspace", "--no-deps", "--all-features", "--locked"]);
    command::run(docs.env("RUSTDOCFLAGS", "-D warnings"))?;
    tidy::run()
}

fn clippy(what: &[&str]) -> Result<()> {
    command::run(cargo(&["clippy", "--locked"]).args(what).args(["--", "-D", "warnings"]))
}
