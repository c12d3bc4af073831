//! What the tests have in common: an attack, its control, and a look at whether the session lives on.

use std::path::PathBuf;

use abyme_core::{Cell, CodeInterpreter, InterpreterFactory, NoHostFunctions, Observation};
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};

/// A session as users get it. The variable of the environment is for tests in a process of another user.
pub(crate) fn isolated() -> Subprocess {
    match std::env::var_os("ABYME_TEST_PYTHON") {
        Some(python) => Subprocess::new().python(PathBuf::from(python)),
        None => Subprocess::new(),
    }
}

/// A session without isolation: the control.
pub(crate) fn open() -> Subprocess {
    isolated().isolation(IsolationMode::Off)
}

/// Runs a cell in a session of its own. If the cell did not end it, the session is to go on.
pub(crate) async fn run(subprocess: &Subprocess, code: &str) -> Observation {
    let mut session = subprocess.create().await.unwrap();
    let observation = session.execute(Cell::new(dedent(code)), &NoHostFunctions).await.unwrap();
    if observation.session_ended.is_none() {
        let after = session.execute(Cell::new("6 * 7"), &NoHostFunctions).await.unwrap();
        assert_eq!(after.value.unwrap().to_string(), "42", "the session does not go on after {code}");
    }
    session.shutdown().await.unwrap();
    observation
}

/// Runs an attack in the open, where `succeeded` has to be true of what it left, and isolated, where it must
/// not be.
pub(crate) async fn attack(code: &str, mut succeeded: impl FnMut(&Observation) -> bool) {
    for (subprocess, expected) in [(open(), true), (isolated(), false)] {
        let observation = run(&subprocess, code).await;
        assert_eq!(succeeded(&observation), expected, "{subprocess:?}\n{code}\n{observation:?}");
    }
}

/// What a cell printed.
pub(crate) fn printed(observation: &Observation) -> String {
    observation.stdout.to_string().trim().to_owned()
}

/// Code without the blanks that all its lines begin with.
pub(crate) fn dedent(code: &str) -> String {
    let lines = || code.lines().filter(|line| !line.trim().is_empty());
    let margin = lines().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    code.lines().map(|line| format!("{}\n", line.get(margin..).unwrap_or(""))).collect()
}

/// The processes of this machine whose environment has this text.
pub(crate) fn processes_with(text: &str) -> Vec<String> {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let all = all.filter_map(|entry| entry.file_name().into_string().ok());
    let has = |pid: &String| {
        let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        environment.split(|&byte| byte == 0).any(|variable| variable == text.as_bytes())
    };
    all.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())).filter(has).collect()
}

/// A text that is nowhere else.
pub(crate) fn secret() -> String {
    use std::hash::{BuildHasher, RandomState};
    format!("canary-{:016x}", RandomState::new().hash_one(std::process::id()))
}
