//! Runs the command on a terminal, which Python makes: it types, and looks at what comes of it.

use std::{io::Read, process::Stdio, thread, time::Duration};

use crate::support::{TestDir, exit_within};

/// Begins the command. It is in the foreground of the session that Python leads.
const BEGIN: &str = r#"
import fcntl, os, pty, select, signal, struct, sys, termios

def mode():
    return termios.tcgetattr(line)

def read():
    global shown, screen
    piece = os.read(terminal, 65536)
    shown, screen = shown + piece, screen + piece

def until(text):
    global shown
    while text not in shown:
        assert select.select([terminal], [], [], 20)[0], (text, screen)
        read()
    shown = shown.split(text, 1)[1]

shown = screen = b""
# Ctrl-C is for the whole group.
signal.signal(signal.SIGINT, lambda *_: None)
os.setsid()
terminal, line = pty.openpty()
fcntl.ioctl(line, termios.TIOCSCTTY, 0)
fcntl.ioctl(line, termios.TIOCSWINSZ, struct.pack("HHHH", 24, int(os.environ.get("COLUMNS", 80)), 0, 0))
before = mode()
pid = os.fork()
if pid == 0:
    for descriptor in range(3):
        os.dup2(line, descriptor)
    if "PIPED" in os.environ:
        # As with `| less`: stdout is a pipe that somebody reads.
        os.dup2(os.pipe()[1], 1)
    os.execv(sys.argv[1], sys.argv[1:])
"#;

/// Waits for the end of the command, and shows what it showed.
const END: &str = r#"
ended = (0, 0)
while not ended[0]:
    while select.select([terminal], [], [], 0.02)[0]:
        read()
    ended = os.waitpid(pid, os.WNOHANG)
while select.select([terminal], [], [], 0)[0]:
    read()
assert mode() == before, (mode(), before)
sys.stdout.buffer.write(screen)
sys.stdout.flush()
sys.exit(os.waitstatus_to_exitcode(ended[1]))
"#;

/// Runs the command while a script watches: `until(b"...")` waits for what is shown,
/// `os.write(terminal, b"...")` types, `os.kill(pid, ...)` sends signals. Gives its exit code and all that
/// was shown. At the end the terminal is as it was. With the variable `PIPED` stdout is a pipe.
pub(crate) fn on_a_terminal(
    dir: &TestDir,
    args: &[&str],
    variables: &[(&str, &str)],
    script: &str,
) -> (i32, String) {
    let mut python = std::process::Command::new("python3");
    let environment = dir.command(&[]);
    python.args(["-c", &format!("{BEGIN}{script}\n{END}"), env!("CARGO_BIN_EXE_abyme")]).args(args);
    python.current_dir(dir.temp.path());
    python.env_clear().envs(environment.get_envs().filter_map(|(name, value)| Some((name, value?))));
    python.env("TERM", "xterm").envs(variables.iter().copied());
    python.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = python.spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let screen = thread::spawn(move || {
        let mut screen = Vec::new();
        stdout.read_to_end(&mut screen).unwrap();
        String::from_utf8_lossy(&screen).into_owned()
    });
    let code = exit_within(&mut child, Duration::from_secs(60));
    let mut problem = String::new();
    child.stderr.take().unwrap().read_to_string(&mut problem).unwrap();
    assert!(problem.is_empty(), "{problem}");
    (code, screen.join().unwrap())
}
