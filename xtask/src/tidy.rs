//! `cargo xtask tidy`: the workspace's own rules, which no other tool knows. It is a test too.

mod circles;
mod durations;
mod headers;
mod layers;
mod lines;
mod modules;
mod packages;
mod statics;
mod words;
mod workspace;

use std::collections::BTreeMap;

use self::workspace::{Problem, Workspace};
use crate::command::Result;

/// The arguments of `cargo xtask tidy`.
#[derive(clap::Args, Default)]
pub(crate) struct Args {
    /// Shows the problems of this crate only, for example `abyme-core`.
    #[arg(value_name = "CRATE")]
    package: Option<String>,
}

/// The name of a check and its function.
type Check = (&'static str, fn(&Workspace) -> Vec<Problem>);

const CHECKS: &[Check] = &[
    ("layers of crates", layers::check),
    ("packages", packages::check),
    ("headers and sizes of files", headers::check),
    ("circles of files", circles::check),
    ("retired words", words::check),
    ("names of durations", durations::check),
    ("statics", statics::check),
    ("long lines", lines::check),
];

pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = Workspace::load()?;
    if let Some(package) = args.package.as_deref().filter(|package| !workspace.has_package(package)) {
        return Err(format!("the workspace has no crate `{package}`"));
    }
    match report(&workspace, args.package.as_deref()) {
        Some(report) => Err(report),
        None => Ok(()),
    }
}

/// All problems, or those of one crate, grouped by check and crate. `None` without any.
fn report(workspace: &Workspace, only: Option<&str>) -> Option<String> {
    let mut count = 0;
    let mut report = String::new();
    for (name, check) in CHECKS {
        let mut of_crates: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for problem in check(workspace) {
            if only.is_none_or(|only| only == problem.package) {
                of_crates.entry(problem.package).or_default().push(problem.text);
            }
        }
        for (package, problems) in of_crates {
            count += problems.len();
            report.push_str(&format!("\n{name}: {package} ({})\n  ", problems.len()));
            report.push_str(&problems.join("\n  "));
            report.push('\n');
        }
    }
    (count > 0).then(|| format!("tidy found {count} problems\n{report}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_workspace_is_tidy() {
        if let Some(report) = report(&Workspace::load().unwrap(), None) {
            panic!("{report}");
        }
    }
}
