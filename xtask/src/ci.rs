//! `cargo xtask ci`: everything but the tests. It never writes to the sources.

mod dependencies;
mod docs;
mod packages;
mod targets;

use crate::{
    command::{self, Result, cargo},
    selection, tidy,
};

/// How many damaged inputs each reader of others' bytes gets: some ten seconds for all of them.
const FUZZ_CASES: &str = "4096";

pub(crate) fn run() -> Result<()> {
    command::run(&mut cargo(&["fmt", "--all", "--check"]))?;
    tidy::run(&tidy::Args::default())?;
    let everything = selection::everything(None)?;
    clippy(["--all-targets"].into_iter().chain(everything.iter().map(String::as_str)))?;
    for features in selection::of_facade()? {
        // Alone, so that unification with the others hides nothing.
        clippy([
            "--package",
            selection::FACADE,
            "--no-default-features",
            "--features",
            &features,
            "--locked",
        ])?;
    }
    targets::check()?;
    let mut fuzz = cargo(&["test", "--test", "fuzz"]);
    command::run(fuzz.args(&everything).env("PROPTEST_CASES", FUZZ_CASES))?;
    docs::check(&everything)?;
    packages::check()?;
    dependencies::check()
}

fn clippy<'a>(what: impl IntoIterator<Item = &'a str>) -> Result<()> {
    command::run(cargo(&["clippy"]).args(what).args(["--", "-D", "warnings"]))
}
