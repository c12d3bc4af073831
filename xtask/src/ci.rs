//! `cargo xtask ci`: everything but the tests. It never writes.

use crate::{
    command::{self, Result, cargo},
    selection, tidy,
};

pub(crate) fn run() -> Result<()> {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    let everything = selection::everything(None)?;
    clippy(["--all-targets"].into_iter().chain(everything.iter().map(String::as_str)))?;
    // The facade with few features, so that unification with the others hides nothing.
    clippy(["--package", "abyme", "--no-default-features", "--locked"])?;
    clippy(["--package", "abyme", "--no-default-features", "--features", "openai", "--locked"])?;
    let mut docs = cargo(&["doc", "--no-deps"]);
    command::run(docs.args(&everything).env("RUSTDOCFLAGS", "-D warnings"))?;
    tidy::run(&tidy::Args::default())
}

fn clippy<'a>(what: impl IntoIterator<Item = &'a str>) -> Result<()> {
    command::run(cargo(&["clippy"]).args(what).args(["--", "-D", "warnings"]))
}
