//! Measures how much memory a test takes of its process.

use std::{fs, process::Command};

const CASE: &str = "ABYME_MEMORY_CASE";

/// Runs `case` in a process of its own, which is this program again with the test called `test` alone, and
/// returns by how many bytes its memory grew at most. `test` is the full name of the test that calls this.
///
/// Returns 0 where the system does not tell (Linux does), and in that process itself.
///
/// # Panics
/// If the case does, or the process cannot be started.
#[allow(clippy::panic, clippy::unwrap_used, reason = "it is for tests")]
pub fn grown_bytes(test: &str, case: impl FnOnce()) -> u64 {
    if std::env::var(CASE).is_ok_and(|name| name == test) {
        let before = status("VmRSS:");
        case();
        if let (Some(before), Some(peak)) = (before, status("VmHWM:")) {
            println!("{CASE} grew {}", peak.saturating_sub(before));
        }
        return 0;
    }
    let program = std::env::current_exe().unwrap();
    let output =
        Command::new(program).args([test, "--exact", "--nocapture"]).env(CASE, test).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{test}\n{text}\n{errors}");
    let grown = text.lines().find_map(|line| line.split_once(CASE)?.1.strip_prefix(" grew ")?.parse().ok());
    match grown {
        Some(grown) => grown,
        None if cfg!(target_os = "linux") => panic!("{test} did not say how much it grew\n{text}"),
        None => 0,
    }
}

/// A number of `/proc/self/status`, in bytes.
fn status(name: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes << 10)
}
