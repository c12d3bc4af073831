//! Virtual environments with what a peer needs, made once and again when the pinned versions change.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{process::Command, time::timeout};

use super::spec::PeerSpec;

/// How long making an environment or installing into it may take.
const TIMEOUT: Duration = Duration::from_secs(900);

/// A Python that can make environments.
struct Python {
    program: PathBuf,
    minor: u32,
    /// "3.11.7".
    version: String,
}

/// The Python of the environment in `home`, with everything in it.
pub(super) async fn ready(spec: &PeerSpec, manifest: &Path, home: &Path) -> Result<PathBuf, String> {
    let python = find(spec.python).await?;
    let directory = home.join(spec.environment);
    let program = directory.join("bin/python");
    for (index, name) in spec.requirements.iter().enumerate() {
        let file = manifest.join("peers").join(name);
        let pins =
            fs::read_to_string(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        // The mark is written last: an unfinished environment has none.
        let done = format!("# Python {}\n{pins}", python.version);
        let mark = directory.join(name);
        if fs::read_to_string(&mark).is_ok_and(|text| text == done) {
            continue;
        }
        eprintln!("installing {} from PyPI into {}", spec.name, directory.display());
        if index == 0 {
            run(Command::new(&python.program).args(["-m", "venv", "--clear"]).arg(&directory)).await?;
        }
        let options =
            ["--quiet", "--disable-pip-version-check", "--no-input", "--retries", "1", "--timeout", "60"];
        run(Command::new(&program).args(["-m", "pip", "install"]).args(options).arg("-r").arg(&file)).await?;
        fs::write(&mark, done).map_err(|error| format!("cannot write {}: {error}", mark.display()))?;
    }
    Ok(program)
}

/// The first Python 3 of that minor version or later: `python3`, what else is on PATH, what pyenv has.
async fn find(oldest: u32) -> Result<Python, String> {
    let mut programs = vec![PathBuf::from("python3")];
    programs.extend((oldest..oldest + 10).rev().map(|minor| PathBuf::from(format!("python3.{minor}"))));
    programs.extend(pyenv());
    for program in programs {
        match inspect(&program).await {
            Some(python) if python.minor >= oldest => return Ok(python),
            _ => {}
        }
    }
    Err(format!("there is no Python 3.{oldest} or later, neither on PATH nor in pyenv"))
}

/// Every Python of pyenv, whichever is selected.
fn pyenv() -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let Some(root) = root.or_else(|| Some(env::home_dir()?.join(".pyenv"))) else { return Vec::new() };
    let Ok(versions) = fs::read_dir(root.join("versions")) else { return Vec::new() };
    let mut programs: Vec<PathBuf> =
        versions.flatten().map(|entry| entry.path().join("bin/python3")).collect();
    // The order of a directory is not the same everywhere.
    programs.sort();
    programs.reverse();
    programs
}

/// What a program says about itself, if it is a Python 3.
async fn inspect(program: &Path) -> Option<Python> {
    let code = "import sys; print(sys.executable, *sys.version_info[:3], sep='\\n')";
    let mut command = Command::new(program);
    command.args(["-I", "-c", code]).stdin(Stdio::null()).kill_on_drop(true);
    let output = timeout(Duration::from_secs(20), command.output()).await.ok()?.ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let [program, major, minor, micro] = text.lines().collect::<Vec<_>>().try_into().ok()?;
    let python = Python {
        program: PathBuf::from(program),
        minor: minor.parse().ok()?,
        version: format!("{major}.{minor}.{micro}"),
    };
    (output.status.success() && major == "3").then_some(python)
}

/// Runs a command to its end. An error is the line of its output that says most.
async fn run(command: &mut Command) -> Result<(), String> {
    let what = format!("{:?}", command.as_std());
    command.stdin(Stdio::null()).kill_on_drop(true);
    let output = match timeout(TIMEOUT, command.output()).await {
        Ok(output) => output.map_err(|error| format!("cannot run {what}: {error}"))?,
        Err(_) => return Err(format!("took longer than {} s: {what}", TIMEOUT.as_secs())),
    };
    if output.status.success() {
        return Ok(());
    }
    let text = [output.stdout, output.stderr].concat();
    Err(reason(&String::from_utf8_lossy(&text)).unwrap_or_else(|| format!("{} of {what}", output.status)))
}

/// Without a network, pip says last that it found no version; the reason is in its first warning.
fn reason(output: &str) -> Option<String> {
    if let Some((_, cause)) = output.split_once("after connection broken by ") {
        let cause = cause.lines().next().unwrap_or_default();
        // Before it are the class of the error and an address.
        let cause = cause.split_once(">: ").map_or(cause, |(_, cause)| cause);
        let cause = cause.split_once("')'").map_or(cause, |(cause, _)| cause);
        return Some(format!("PyPI cannot be reached: {}", cause.chars().take(300).collect::<String>()));
    }
    let mut said = output.lines().map(str::trim).filter(|line| !line.is_empty());
    let error = said.clone().rfind(|line| line.starts_with("ERROR: ")).or_else(|| said.next_back())?;
    Some(error.trim_start_matches("ERROR: ").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_is_what_pip_knows() {
        let warning = "WARNING: Retrying (Retry(total=0)) after connection broken by \
                       'NewConnectionError('<pip.Connection object at 0x7f61>: Failed to establish a new \
                       connection: [Errno -2] Name or service not known')': /simple/";
        let errors =
            "\nERROR: Could not find a version\nERROR: No matching distribution found for dspy==3.4.1\n";
        assert_eq!(
            reason(&format!("{warning}{errors}")).unwrap(),
            "PyPI cannot be reached: Failed to establish a new connection: \
             [Errno -2] Name or service not known"
        );
        assert_eq!(reason(errors).unwrap(), "No matching distribution found for dspy==3.4.1");
        assert_eq!(reason("venv: no ensurepip\n\n").unwrap(), "venv: no ensurepip");
        assert_eq!(reason("\n"), None);
    }

    #[tokio::test]
    async fn a_python_of_the_future_is_not_here() {
        let error = find(90).await.err().unwrap();
        assert_eq!(error, "there is no Python 3.90 or later, neither on PATH nor in pyenv");
    }
}
