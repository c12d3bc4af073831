//! The documentation, as a developer builds it and as docs.rs does.

use cargo_metadata::Package;

use crate::{
    command::{self, Result, cargo, root},
    selection,
};

pub(crate) fn check(everything: &[String]) -> Result<()> {
    let mut docs = cargo(&["doc", "--no-deps"]);
    command::run(docs.args(everything).env("RUSTDOCFLAGS", "-D warnings"))?;
    let metadata = selection::metadata()?;
    let without_python = selection::no_libpython()?.is_some();
    for package in selection::published(&metadata) {
        let arguments = arguments(package);
        if !(without_python && selection::links_python(package, &arguments)) {
            let mut docs = cargo(&["doc", "--no-deps", "--locked", "--package", package.name.as_str()]);
            // docs.rs has a nightly compiler. What its documentation uses of that is in this one too. Only
            // rustdoc is told: dependencies would be built anew.
            docs.args(&arguments).env("RUSTDOC", root().join("xtask/src/ci/rustdoc.sh"));
            command::run(docs.env("RUSTDOCFLAGS", "--cfg docsrs -D warnings"))?;
        }
    }
    Ok(())
}

/// The features that a package wants on docs.rs, as arguments.
fn arguments(package: &Package) -> Vec<String> {
    let wishes = &package.metadata["docs"]["rs"];
    let mut arguments = Vec::new();
    for (wish, argument) in
        [("all-features", "--all-features"), ("no-default-features", "--no-default-features")]
    {
        if wishes[wish].as_bool() == Some(true) {
            arguments.push(argument.to_owned());
        }
    }
    let features = wishes["features"].as_array().into_iter().flatten().filter_map(|feature| feature.as_str());
    let features: Vec<_> = features.collect();
    if !features.is_empty() {
        arguments.extend(["--features".to_owned(), features.join(",")]);
    }
    arguments
}
