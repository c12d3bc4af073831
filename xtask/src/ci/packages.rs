//! Every published crate can be packaged, within the registry's limits, with what a package must hold.

use std::collections::BTreeSet;

use cargo_metadata::Package;

use crate::{
    command::{self, Result, cargo, root},
    selection,
};

/// The largest package that crates.io takes, in bytes.
const MAX_PACKAGE_BYTES: u64 = 10 << 20;

/// Files that every package holds.
const FILES: [&str; 4] = ["Cargo.toml", "LICENSE-APACHE", "LICENSE-MIT", "README.md"];

pub(crate) fn check() -> Result<()> {
    let metadata = selection::metadata()?;
    let published: Vec<&Package> = selection::published(&metadata).collect();
    let directory = root().join("target/packages");
    let _ = std::fs::remove_dir_all(&directory);
    let mut package = cargo(&["package", "--no-verify", "--allow-dirty", "--quiet", "--target-dir"]);
    package.arg(&directory);
    for one in &published {
        package.args(["--package", one.name.as_str()]);
    }
    command::run(&mut package)?;

    let mut problems = Vec::new();
    for one in &published {
        let name = one.name.as_str();
        let file = directory.join(format!("package/{name}-{}.crate", one.version));
        let size = std::fs::metadata(&file).map_err(|error| format!("{}: {error}", file.display()))?.len();
        if size > MAX_PACKAGE_BYTES {
            problems
                .push(format!("{name} is a package of {size} bytes; crates.io takes {MAX_PACKAGE_BYTES}"));
        }
        let listed = command::output(&mut cargo(&["package", "--list", "--allow-dirty", "--package", name]))?;
        let listed: BTreeSet<&str> = listed.lines().collect();
        let missing = FILES.into_iter().filter(|file| !listed.contains(file));
        problems.extend(missing.map(|file| format!("the package of {name} has no {file}")));
    }
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}
