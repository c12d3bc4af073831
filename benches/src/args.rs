//! The command line, checked before anything runs.

use std::sync::Arc;

use clap::Parser;

use crate::{
    record::{Directories, Record},
    scenario::Scenario,
    systems::BACKENDS,
};

/// Measure how fast Abyme is on this machine, beside its peers.
///
/// Prints tables, keeps the run in target/bench, draws charts. A run of everything also refreshes
/// BENCHMARKS.md.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "cargo xtask bench")]
pub(crate) struct Args {
    /// Run everything once, with its smallest size: shows that it works, and measures nothing.
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only scenarios whose name holds this text, or is it. May be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(crate) filter: Vec<String>,
    /// Only this one of our backends: wasm, subprocess, docker, pyo3. May be repeated.
    #[arg(long, value_name = "NAME")]
    pub(crate) backend: Vec<String>,
    /// Measure other systems in the same run. They are installed from PyPI into target/.
    #[arg(long)]
    pub(crate) peers: bool,
    /// Keep this run under a name, to compare with.
    #[arg(long, value_name = "NAME")]
    pub(crate) save: Option<String>,
    /// Say what differs from a run that was saved.
    #[arg(long, value_name = "NAME")]
    pub(crate) compare: Option<String>,
    /// List the scenarios and run nothing.
    #[arg(long)]
    pub(crate) list: bool,
    /// Run the scenario that stdin names: what this program starts itself.
    #[arg(long, hide = true)]
    pub(crate) apart: bool,
}

/// What to run. All names have been checked.
pub(crate) struct Plan {
    pub(crate) scenarios: Vec<Arc<dyn Scenario>>,
    pub(crate) backends: Vec<&'static str>,
    /// A run to compare with.
    pub(crate) before: Option<Record>,
}

impl Args {
    /// Whether the run covers everything, so that BENCHMARKS.md may show it.
    pub(crate) fn is_full(&self) -> bool {
        !self.quick && self.filter.is_empty() && self.backend.is_empty()
    }

    /// # Errors
    /// An unknown name, with the known ones.
    pub(crate) fn check(
        &self,
        scenarios: Vec<Box<dyn Scenario>>,
        directories: &Directories,
    ) -> Result<Plan, String> {
        let scenarios = self.chosen(scenarios)?;
        for name in &self.backend {
            if !BACKENDS.contains(&name.as_str()) {
                return Err(format!("`{name}` is no backend; there are: {}", BACKENDS.join(", ")));
            }
        }
        let is_wanted =
            |name: &&str| self.backend.is_empty() || self.backend.iter().any(|given| given == name);
        let backends = BACKENDS.iter().copied().filter(is_wanted).collect();
        if let Some(name) = &self.save {
            check_file_name(name)?;
        }
        let before = match &self.compare {
            Some(name) => Some(saved(name, directories)?),
            None => None,
        };
        Ok(Plan { scenarios, backends, before })
    }

    fn chosen(&self, scenarios: Vec<Box<dyn Scenario>>) -> Result<Vec<Arc<dyn Scenario>>, String> {
        let names: Vec<&'static str> = scenarios.iter().map(|scenario| scenario.name()).collect();
        let mut chosen = Vec::new();
        for text in &self.filter {
            // `cell` means the scenario of that name, and not `cell-growth` as well.
            let matches =
                |name: &str| if names.contains(&text.as_str()) { name == text } else { name.contains(text) };
            let found: Vec<&str> = names.iter().copied().filter(|name| matches(name)).collect();
            if found.is_empty() {
                return Err(format!("no scenario's name holds `{text}`; there are: {}", names.join(", ")));
            }
            chosen.extend(found);
        }
        let is_chosen = |name: &str| self.filter.is_empty() || chosen.contains(&name);
        Ok(scenarios.into_iter().filter(|scenario| is_chosen(scenario.name())).map(Arc::from).collect())
    }
}

fn saved(name: &str, directories: &Directories) -> Result<Record, String> {
    let names = directories.saved_names();
    if names.iter().any(|known| known == name) {
        return directories.load(name);
    }
    let known = if names.is_empty() {
        "nothing is saved yet; `--save NAME` does that".to_owned()
    } else {
        format!("there are: {}", names.join(", "))
    };
    Err(format!("no run is saved as `{name}`; {known}"))
}

/// The name becomes a file's.
fn check_file_name(name: &str) -> Result<(), String> {
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    if !name.is_empty() && !name.starts_with('.') && name.chars().all(is_plain) {
        return Ok(());
    }
    Err(format!("a run cannot be saved as `{name}`; use letters, digits, `-`, `_` and `.`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{record, runner::tests::Plain};

    fn scenarios() -> Vec<Box<dyn Scenario>> {
        ["cell", "cell-growth", "text-in"]
            .map(|name| Box::new(Plain::named(name)) as Box<dyn Scenario>)
            .into()
    }

    fn plan(arguments: &[&str], directories: &Directories) -> Result<Plan, String> {
        let args =
            Args::try_parse_from([&["bench"], arguments].concat()).map_err(|error| error.to_string())?;
        args.check(scenarios(), directories)
    }

    fn nowhere() -> Directories {
        Directories::at(std::path::Path::new("/nowhere"))
    }

    fn names(plan: &Plan) -> Vec<&'static str> {
        plan.scenarios.iter().map(|scenario| scenario.name()).collect()
    }

    #[test]
    fn without_arguments_everything_runs() {
        let plan = plan(&[], &nowhere()).unwrap();
        assert_eq!(names(&plan), ["cell", "cell-growth", "text-in"]);
        assert_eq!(plan.backends, BACKENDS);
        assert!(plan.before.is_none() && Args::default().is_full());
    }

    #[test]
    fn a_filter_is_a_name_or_a_part_of_names() {
        let filtered = |arguments: &[&str]| names(&plan(arguments, &nowhere()).unwrap());
        assert_eq!(filtered(&["--filter", "cell"]), ["cell"]);
        assert_eq!(filtered(&["--filter", "cel"]), ["cell", "cell-growth"]);
        assert_eq!(filtered(&["--filter", "text", "--filter", "growth"]), ["cell-growth", "text-in"]);
    }

    #[test]
    fn unknown_names_are_errors_that_list_the_known() {
        let directories = nowhere();
        let problem = |arguments: &[&str]| plan(arguments, &directories).err().unwrap();
        assert_eq!(
            problem(&["--filter", "cel1"]),
            "no scenario's name holds `cel1`; there are: cell, cell-growth, text-in"
        );
        assert_eq!(
            problem(&["--backend", "wasm", "--backend", "wsam"]),
            "`wsam` is no backend; there are: wasm, subprocess, docker, pyo3"
        );
        assert!(problem(&["--compare", "main"]).contains("nothing is saved yet"));
        assert!(problem(&["--save", "../x"]).contains("letters, digits"));
    }

    #[test]
    fn an_unknown_saved_name_lists_the_saved() {
        let dir = tempfile::tempdir().unwrap();
        let directories = Directories::at(dir.path());
        directories.keep(&record::tests::record(Vec::new()), Some("before")).unwrap();
        let problem = plan(&["--compare", "main"], &directories).err().unwrap();
        assert_eq!(problem, "no run is saved as `main`; there are: before");
        assert!(plan(&["--compare", "before"], &directories).unwrap().before.is_some());
    }

    #[test]
    fn backends_can_be_chosen() {
        let chosen = plan(&["--backend", "subprocess"], &nowhere()).unwrap();
        assert_eq!(chosen.backends, ["subprocess"]);
    }
}
