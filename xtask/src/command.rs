//! Runs other programs, and says which one failed.

use std::{
    path::PathBuf,
    process::{Command, Output, Stdio},
};

/// What went wrong, for a person to read.
pub(crate) type Result<T, E = String> = std::result::Result<T, E>;

/// The workspace's root.
pub(crate) fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map(PathBuf::from).unwrap_or(manifest)
}

/// A cargo command in the workspace's root: the cargo that runs this program.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root());
    command
}

/// Runs a command to its end.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command.status().map_err(|error| format!("`{shown}` cannot be started: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` failed ({status})")) }
}

/// What a command writes to standard output. The error of a failed command has its standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let Output { status, stdout, stderr } = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("`{name}` cannot be started: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!("`{name}` failed ({status}): {}", String::from_utf8_lossy(&stderr).trim()))
}

/// Whether a program is there.
pub(crate) fn exists(program: &str, arguments: &[&str]) -> bool {
    Command::new(program).args(arguments).output().is_ok_and(|output| output.status.success())
}

/// Whether `ABYME_REQUIRE` names this, so that its absence is an error and not a line.
fn is_required(name: &str) -> bool {
    let required = std::env::var("ABYME_REQUIRE").unwrap_or_default();
    required.split(',').any(|one| one.trim() == name)
}

/// The reason why something is left out.
///
/// # Errors
/// If `ABYME_REQUIRE` names it.
pub(crate) fn unless_required(name: &str, reason: String) -> Result<String> {
    if is_required(name) { Err(format!("ABYME_REQUIRE names {name}, but {reason}")) } else { Ok(reason) }
}

/// A command as one would type it.
pub(crate) fn show(command: &Command) -> String {
    let program = PathBuf::from(command.get_program());
    let name = program.file_stem().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let arguments = command.get_args().map(|argument| argument.to_string_lossy());
    std::iter::once(name.into()).chain(arguments).collect::<Vec<_>>().join(" ")
}
