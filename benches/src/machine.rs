//! The machine and the versions that the numbers were measured with.

use std::{fs, path::Path, process::Command};

use serde::{Deserialize, Serialize};

/// The machine and the versions that the numbers were measured with. What cannot be found out is empty.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) cores: usize,
    /// Bytes of memory.
    pub(crate) memory: u64,
    pub(crate) system: String,
    /// Processes that wanted to run when it began, over the minute before: on a quiet machine far below the
    /// cores.
    pub(crate) load: Option<f64>,
    pub(crate) rustc: String,
    /// Abyme's commit, with `+` if its code was changed since.
    pub(crate) commit: String,
    /// The `python3` on PATH.
    pub(crate) python: String,
}

impl Machine {
    pub(crate) fn here(root: &Path) -> Self {
        Self {
            processor: processor(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: memory(),
            system: first_line("uname", &["-srm"], root),
            load: load(),
            rustc: first_line("rustc", &["--version"], root),
            commit: commit(root),
            python: first_line("python3", &["--version"], root),
        }
    }

    /// Whether something else seems to use the processors.
    pub(crate) fn is_busy(&self) -> bool {
        self.load.is_some_and(|load| load > 0.5 * self.cores as f64)
    }
}

fn processor() -> String {
    match fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => value_of(&text, "model name"),
        Err(_) => first_line("sysctl", &["-n", "machdep.cpu.brand_string"], Path::new(".")),
    }
}

fn memory() -> u64 {
    match fs::read_to_string("/proc/meminfo") {
        Ok(text) => value_of(&text, "MemTotal").trim_end_matches(" kB").parse().unwrap_or(0) * 1024,
        Err(_) => first_line("sysctl", &["-n", "hw.memsize"], Path::new(".")).parse().unwrap_or(0),
    }
}

fn load() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split_whitespace().next()?.parse().ok()
}

fn commit(root: &Path) -> String {
    let hash = first_line("git", &["rev-parse", "--short=10", "HEAD"], root);
    let status =
        ["--no-optional-locks", "status", "--porcelain", "--", "benches/src", "crates", "Cargo.lock"];
    let changed = !hash.is_empty() && !first_line("git", &status, root).is_empty();
    format!("{hash}{}", if changed { "+" } else { "" })
}

/// The first value of `name : value` lines.
fn value_of(text: &str, name: &str) -> String {
    let found = text.lines().filter_map(|line| line.split_once(':')).find(|(key, _)| key.trim() == name);
    found.map(|(_, value)| value.trim().to_owned()).unwrap_or_default()
}

/// What a program says first; nothing if it is not there or fails.
fn first_line(program: &str, arguments: &[&str], dir: &Path) -> String {
    let output = Command::new(program).args(arguments).current_dir(dir).output();
    let output = output.ok().filter(|output| output.status.success());
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_is_read() {
        let text = "processor\t: 0\nmodel name\t: A: fast one\nmodel name\t: B\n";
        assert_eq!(value_of(text, "model name"), "A: fast one");
        assert_eq!(value_of(text, "absent"), "");
    }

    #[test]
    fn a_program_that_is_not_there_says_nothing() {
        assert_eq!(first_line("no-such-program-here", &[], Path::new(".")), "");
    }

    #[test]
    fn a_busy_machine_is_noticed() {
        let machine = |load| Machine { cores: 2, load, ..Machine::default() };
        assert!(machine(Some(1.5)).is_busy() && !machine(Some(0.4)).is_busy() && !machine(None).is_busy());
    }
}
