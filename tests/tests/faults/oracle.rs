//! What a process has of its system, seen from outside of what is tested: descriptors, children, mappings,
//! memory, files. The one place that says what "nothing is left" means.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

/// How long what was let go may take to be gone. Nothing is measured by it: it only ends a test that fails.
const WAIT_TIMEOUT: Duration = Duration::from_secs(20);
/// The test that a process runs by itself.
const ALONE: &str = "ABYME_TEST_ALONE";

/// The variable that the environments of sessions have, with the directory of their test.
pub(crate) const MARK: &str = "ABYME_TEST_SESSION_OF";

/// Runs a test in a process of its own, so that what is counted there is its own.
pub(crate) fn alone(test: &str, body: impl FnOnce()) {
    alone_with(test, |_| Ok(()), body);
}

/// The same, with what `change` changes of the command that starts the process. Its error is the reason why
/// the test is skipped.
pub(crate) fn alone_with(
    test: &str,
    change: impl FnOnce(&mut Command) -> Result<(), String>,
    body: impl FnOnce(),
) {
    if std::env::var(ALONE).is_ok_and(|name| name == test) {
        return body();
    }
    let mut command = again(test);
    if let Err(reason) = change(&mut command) {
        return eprintln!("skipped: {reason}");
    }
    let ended = command.output().unwrap();
    let (said, error) = (String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success() && said.contains("1 passed"), "{said}{error}");
    // What a person who counts more than usual wants to see.
    print!("{said}{error}");
}

/// This program, to run this test in a process of its own.
pub(crate) fn again(test: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(ALONE, test).stdin(Stdio::null());
    command
}

/// How often something is done: a number of the environment, or less, so that tests stay short.
pub(crate) fn times(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().unwrap())
}

/// Waits until something holds.
pub(crate) fn eventually(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < WAIT_TIMEOUT, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// What this process has at one moment.
#[derive(Debug)]
struct Have {
    /// What descriptors are open on, and how many on each.
    descriptors: BTreeMap<String, usize>,
    /// Children, dead ones too, and all others that are of the directory's sessions.
    processes: Vec<String>,
    mappings: usize,
    resident_bytes: u64,
    files: Vec<PathBuf>,
}

/// Compares what this process has with what it had.
pub(crate) struct Oracle {
    dir: PathBuf,
    before: Have,
}

impl Oracle {
    /// Begins. Nothing may be left of the sessions of `dir`: no process, and no file where they have their
    /// directories there.
    pub(crate) fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), before: have(dir) }
    }

    /// Waits until nothing is left of what came after the beginning. Allocators and engines keep some
    /// mappings and bytes for later, so these may grow by as much as is said.
    pub(crate) fn nothing_is_left(&self, more_mappings: usize, more_bytes: u64) {
        let start = Instant::now();
        loop {
            let now = have(&self.dir);
            let Some(left) = self.left(&now, more_mappings, more_bytes) else { return };
            assert!(start.elapsed() < WAIT_TIMEOUT, "{left}\nbefore: {:#?}\nnow: {now:#?}", self.before);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn left(&self, now: &Have, more_mappings: usize, more_bytes: u64) -> Option<String> {
        let before = &self.before;
        let count = |have: &Have| have.descriptors.values().sum::<usize>();
        if count(now) > count(before) {
            return Some(format!("{} more descriptors are open", count(now) - count(before)));
        }
        if let Some(process) = now.processes.iter().find(|process| !before.processes.contains(process)) {
            return Some(format!("a process is left: {process}"));
        }
        if now.files != before.files {
            return Some("files are left".to_owned());
        }
        if now.mappings > before.mappings + more_mappings {
            return Some(format!("{} more mappings", now.mappings - before.mappings));
        }
        (now.resident_bytes > before.resident_bytes + more_bytes)
            .then(|| format!("{} MB more are resident", (now.resident_bytes - before.resident_bytes) >> 20))
    }

    /// How many more bytes are resident than at the beginning.
    pub(crate) fn grown_bytes(&self) -> u64 {
        have(&self.dir).resident_bytes.saturating_sub(self.before.resident_bytes)
    }
}

fn have(dir: &Path) -> Have {
    let mut descriptors = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").unwrap().flatten() {
        if let Ok(target) = fs::read_link(entry.path()) {
            *descriptors.entry(target.display().to_string()).or_default() += 1;
        }
    }
    let pages = fs::read_to_string("/proc/self/statm").unwrap();
    let resident: u64 = pages.split(' ').nth(1).unwrap().parse().unwrap();
    Have {
        descriptors,
        processes: processes(dir),
        mappings: fs::read_to_string("/proc/self/maps").unwrap().lines().count(),
        resident_bytes: resident * 4096,
        files: files_of_sessions(dir),
    }
}

/// What sessions without namespaces have below `dir`: all but the directory that a factory has there as long
/// as its program lives, and the lock in it.
pub(crate) fn files_of_sessions(dir: &Path) -> Vec<PathBuf> {
    let inside = |dir: PathBuf| fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let of_factories = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = of_factories
        .flat_map(inside)
        .filter(|path| path.file_name().is_some_and(|name| name != "lock"))
        .collect();
    files.sort();
    files
}

/// The processes of the sessions of `dir`, whichever process their parent is by now. A dead one has no
/// environment any more.
pub(crate) fn processes_of_sessions(dir: &Path) -> Vec<u32> {
    let mark = format!("{MARK}={}", dir.display());
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let environment = fs::read(entry.path().join("environ")).ok()?;
        environment.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes()).then_some(pid)
    });
    all.collect()
}

/// The processes that this one started and that are not waited for yet, and those of the sessions of `dir`.
fn processes(dir: &Path) -> Vec<String> {
    let own = std::process::id().to_string();
    let of_sessions = processes_of_sessions(dir);
    let all = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse::<u32>().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        // The program's name may hold anything, also parentheses.
        let (head, rest) = stat.rsplit_once(") ")?;
        let mut fields = rest.split(' ');
        let (state, parent) = (fields.next()?, fields.next()?);
        (parent == own || of_sessions.contains(&pid)).then(|| format!("{pid} {state} {head}"))
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    all
}

/// The processes of Python below this one.
pub(crate) fn pythons() -> Vec<i32> {
    let parents: Vec<(i32, i32, String)> = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
            let (head, rest) = stat.rsplit_once(") ")?;
            let parent = rest.split(' ').nth(1)?.parse().ok()?;
            Some((pid, parent, head.split_once('(')?.1.to_owned()))
        })
        .collect();
    let mut below = vec![i32::try_from(std::process::id()).unwrap()];
    let mut next = 0;
    while let Some(&above) = below.get(next) {
        below.extend(parents.iter().filter(|(_, parent, _)| *parent == above).map(|(pid, ..)| *pid));
        next += 1;
    }
    let is_python =
        |pid: &i32| parents.iter().any(|(other, _, name)| other == pid && name.starts_with("python"));
    below.into_iter().skip(1).filter(is_python).collect()
}
