//! A bare `python3`: from its start to its end, and as the measure of pure-Python speed.

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Instant,
};

use async_trait::async_trait;

use super::because;
use crate::trial::Trial;

/// Reads a source that defines `measure`, then prints what it returns, once for each line of input.
const DRIVER: &str = "\
import sys
names = {'__name__': '__main__'}
exec(sys.stdin.read(int(sys.stdin.readline())), names)
for line in sys.stdin:
    print(names['measure'](), flush=True)
";

/// The executable behind a command: what is on the path may be a script that looks for it (pyenv), and that
/// would be timed too. Also what pyenv has and does not put on the path.
///
/// # Errors
/// There is no such Python, or it does not run.
pub(crate) fn executable(command: &str) -> Result<PathBuf, String> {
    let asked = ask(Path::new(command));
    asked.or_else(|why| of_pyenv(command).iter().find_map(|program| ask(program).ok()).ok_or(why))
}

fn ask(program: &Path) -> Result<PathBuf, String> {
    let output = Command::new(program)
        .args(["-I", "-c", "import sys; print(sys.executable)"])
        .output()
        .map_err(|error| format!("no `{}` here: {error}", program.display()))?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if output.status.success() && !path.is_empty() {
        return Ok(path.into());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let why = said.lines().next().unwrap_or("it says nothing");
    Err(format!("`{}` does not run here: {why}", program.display()))
}

/// Every program of that name in pyenv, the latest version first.
fn of_pyenv(command: &str) -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let Some(root) = root.or_else(|| Some(env::home_dir()?.join(".pyenv"))) else { return Vec::new() };
    let Ok(versions) = fs::read_dir(root.join("versions")) else { return Vec::new() };
    let programs = versions.flatten().map(|version| version.path().join("bin").join(command));
    let mut programs: Vec<PathBuf> = programs.filter(|program| program.exists()).collect();
    programs.sort();
    programs.reverse();
    programs
}

/// `python3 -I -c pass`, from its start to its end.
#[derive(Debug)]
pub(crate) struct Pass(PathBuf);

impl Pass {
    /// Finds the Python.
    ///
    /// # Errors
    /// Those of [`executable`].
    pub(crate) fn find() -> Result<Self, String> {
        executable("python3").map(Self)
    }
}

#[async_trait]
impl Trial for Pass {
    async fn sample(&mut self) -> Result<f64, String> {
        let started = Instant::now();
        let status = Command::new(&self.0)
            .args(["-I", "-c", "pass"])
            .stdin(Stdio::null())
            .status()
            .map_err(because("cannot start python3"))?;
        let taken = started.elapsed().as_secs_f64();
        if status.success() { Ok(taken) } else { Err(format!("python3 ended with {status}")) }
    }
}

/// A Python that holds a program and runs its `measure` again and again.
#[derive(Debug)]
pub(crate) struct Native {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Native {
    /// Starts `command` with the program.
    ///
    /// # Errors
    /// Those of [`executable`].
    pub(crate) fn start(command: &str, program: &str) -> Result<Self, String> {
        let mut child = Command::new(executable(command)?)
            .args(["-I", "-c", DRIVER])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(because("cannot start Python"))?;
        let (Some(mut input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("Python has no streams".to_owned());
        };
        write!(input, "{}\n{program}", program.len()).map_err(because("cannot write to Python"))?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    /// What `measure` returned.
    ///
    /// # Errors
    /// It failed; its traceback is on stderr.
    pub(crate) fn measure(&mut self) -> Result<String, String> {
        self.input.write_all(b"\n").map_err(because("cannot write to Python"))?;
        let mut line = String::new();
        self.output.read_line(&mut line).map_err(because("cannot read from Python"))?;
        if line.is_empty() {
            Err("Python ended without an answer".to_owned())
        } else {
            Ok(line.trim().to_owned())
        }
    }
}

impl Drop for Native {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
