//! The same attacks on every backend that declares that they come to nothing.
//!
//! Each is a payload of Python and an oracle on the host's side: a secret that turns up, a file that changed,
//! a listener that was reached, a process that died. What the payload says of itself is not believed. Beside
//! each backend the payload runs in a plain `python3`, where the oracle has to see the harm: else the payload
//! does nothing, and an attack that does nothing proves nothing. After each attack the session still works,
//! or a fresh one does.
//!
//! Addresses are the loopback's and unix sockets, which the test itself opened.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    net::{TcpListener, UdpSocket},
    os::{
        fd::AsRawFd,
        linux::net::SocketAddrExt,
        unix::{
            fs::MetadataExt,
            net::{SocketAddr, UnixListener},
            process::CommandExt,
        },
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use abyme::{Access, CodeInterpreterExt, InterpreterFactory, Session};
use abyme_conformance::BackendTests;
use tempfile::TempDir;

use crate::Backend;

/// What is not there: it comes as an argument of the payloads.
const SECRET: &str = "canary of the host, 7f3a91";
/// A variable of the environment that this program was started with.
const VARIABLE: &str = "ABYME_TEST_ATTACKED_SECRET";

/// What is attacked, with everything that tells whether an attack succeeded.
struct Target {
    dir: TempDir,
    tcp: TcpListener,
    udp: UdpSocket,
    by_path: UnixListener,
    by_name: UnixListener,
    /// A descriptor that every child of this process inherits, unless its starter closes it.
    _inherited: fs::File,
}

impl Target {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("abyme-attacked-").tempdir().unwrap();
        fs::write(dir.path().join("secret.txt"), SECRET).unwrap();
        fs::write(dir.path().join("kept.txt"), "as it was").unwrap();
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let by_path = UnixListener::bind(dir.path().join("socket")).unwrap();
        let name = Self::name(&dir);
        let by_name = UnixListener::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        tcp.set_nonblocking(true).unwrap();
        udp.set_nonblocking(true).unwrap();
        by_path.set_nonblocking(true).unwrap();
        by_name.set_nonblocking(true).unwrap();
        let inherited = fs::File::open(dir.path().join("secret.txt")).unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        Self { dir, tcp, udp, by_path, by_name, _inherited: inherited }
    }

    /// The name of the socket that has no path. No other target has it.
    fn name(dir: &TempDir) -> String {
        format!("{}-{}", dir.path().file_name().unwrap().display(), std::process::id())
    }

    /// What the payloads know of the target, as Python.
    fn known(&self) -> String {
        let name = Self::name(&self.dir);
        format!(
            "import os, socket, sys, time\nDIR = {:?}\nHOST = {}\nTCP = {}\nUDP = {}\nNAME = {name:?}\nFD = \
             {}\n",
            self.dir.path().display().to_string(),
            std::process::id(),
            self.tcp.local_addr().unwrap().port(),
            self.udp.local_addr().unwrap().port(),
            self._inherited.as_raw_fd(),
        )
    }

    /// All that an attack could change of the files: their content, and what is known about them.
    fn files(&self) -> BTreeMap<PathBuf, (u32, u32, i64, Vec<u8>)> {
        let entries = fs::read_dir(self.dir.path()).unwrap().flatten();
        let entries = entries.map(|entry| {
            let seen = fs::symlink_metadata(entry.path()).unwrap();
            let content =
                if seen.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            (entry.path(), (seen.mode(), seen.uid(), seen.mtime(), content))
        });
        entries.collect()
    }

    /// Whether something came to one of the listeners.
    fn is_reached(&self) -> bool {
        let mut piece = [0; 64];
        self.tcp.accept().is_ok()
            || self.udp.recv(&mut piece).is_ok()
            || self.by_path.accept().is_ok()
            || self.by_name.accept().is_ok()
    }
}

/// A process that is to live on. It ends with this value.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").stdin(Stdio::null()).spawn().unwrap())
    }

    /// What the payloads know of it, as Python.
    fn known(&self) -> String {
        format!("import os\nVICTIM = {}\n", self.0.id())
    }

    fn is_alive(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// The payload in a plain child, which inherits what children inherit: what it printed.
fn unprotected(code: &str) -> String {
    let mut child = Command::new("python3")
        .args(["-I", "-c", code])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut said, mut error) = (String::new(), String::new());
    child.stdout.take().unwrap().read_to_string(&mut said).unwrap();
    child.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    child.wait().unwrap();
    said + &error
}

/// Adds the attacks that come to nothing on this backend, as it declares.
pub(crate) fn add_to(tests: BackendTests, backend: &Backend) -> BackendTests {
    let declared = backend.capabilities();
    let [files, environment, network, processes] =
        [declared.host_files, declared.environment, declared.network, declared.processes]
            .map(|access| access != Access::Open);
    let mut tests = tests;
    macro_rules! add {
        ($($promised:expr => $name:ident),* $(,)?) => {$(
            if $promised {
                let (name, backend) = (format!("{}::{}", backend.name(), stringify!($name)), backend.clone());
                tests = tests.test(name, move || $name(backend));
            }
        )*};
    }
    add! {
        files => hostile_code_reads_no_file,
        files => hostile_code_changes_no_file,
        environment => hostile_code_sees_no_variable,
        network => hostile_code_reaches_no_listener,
        processes => hostile_code_harms_no_process,
        files && processes => hostile_code_leaves_nothing,
    }
    tests
}

async fn session(backend: &Backend) -> Session {
    backend.create().await.unwrap().into_session().cell_timeout(Duration::from_secs(20))
}

/// The payload in a session, which works afterwards, or a fresh one does: what can be seen of it.
async fn attacked(backend: &Backend, code: &str) -> String {
    let mut attacker = session(backend).await;
    let seen = match attacker.run_code(code).await {
        Ok(seen) => format!("{seen:?}"),
        Err(error) => format!("{error:?}"),
    };
    if attacker.ended().is_some() {
        attacker = session(backend).await;
    }
    let after = attacker.run_code("6 * 7").await.unwrap();
    assert_eq!(after.value.unwrap().to_string(), "42", "after {code}");
    seen
}

/// Ways to read a file of the host. Each prints what it got.
const READS: [&str; 9] = [
    "print(open(DIR + '/secret.txt').read())",
    "print(os.read(os.open(DIR + '/secret.txt', os.O_RDONLY), 100))",
    "import pathlib; print(pathlib.Path(DIR, 'secret.txt').read_bytes())",
    "print(open('/proc/self/root' + DIR + '/secret.txt').read())",
    "print(open(f'/proc/{HOST}/root' + DIR + '/secret.txt').read())",
    "os.symlink(DIR, 'there'); print(open('there/secret.txt').read())",
    "os.chdir(DIR); print(open('secret.txt').read())",
    "import mmap; f = os.open(DIR + '/secret.txt', os.O_RDONLY); print(mmap.mmap(f, 0, prot=1)[:])",
    "import ctypes; c = ctypes.CDLL(None); b = ctypes.create_string_buffer(100)\n\
     f = c.open((DIR + '/secret.txt').encode(), 0); c.read(f, b, 99); print(b.value)",
];

async fn hostile_code_reads_no_file(backend: Backend) {
    let target = Target::new();
    for read in READS {
        // Links of one payload are not in the way of the next one.
        let place = "import tempfile; os.chdir(tempfile.mkdtemp())\n";
        let code = format!("{}{place}{read}", target.known());
        assert!(unprotected(&code).contains(SECRET), "it does nothing: {read}");
        let seen = attacked(&backend, &code).await;
        assert!(!seen.contains(SECRET), "{}: {read}: {seen}", backend.name());
    }
    let inherited = format!("{}os.lseek(FD, 0, 0); print(os.read(FD, 100))", target.known());
    assert!(unprotected(&inherited).contains(SECRET), "the descriptor is inherited");
    let all = "\nfor fd in range(3, 1024):\n    try: print(os.pread(fd, 100, 0))\n    except OSError: pass";
    let seen = attacked(&backend, &format!("{}{all}", target.known())).await;
    assert!(!seen.contains(SECRET), "{}: a descriptor of the host: {seen}", backend.name());
}

/// Ways to change a file, or what is known about it.
const CHANGES: [&str; 9] = [
    "open(DIR + '/kept.txt', 'w').write('changed')",
    "os.truncate(DIR + '/kept.txt', 0)",
    "os.chmod(DIR + '/kept.txt', 0o777)",
    "os.utime(DIR + '/kept.txt', (1, 1))",
    "os.rename(DIR + '/kept.txt', DIR + '/moved.txt')",
    "os.unlink(DIR + '/kept.txt')",
    "os.mkdir(DIR + '/made')",
    "os.link(DIR + '/kept.txt', DIR + '/linked.txt')",
    "os.symlink('/nowhere', DIR + '/symlink')",
];

async fn hostile_code_changes_no_file(backend: Backend) {
    for change in CHANGES {
        let control = Target::new();
        let before = control.files();
        let said = unprotected(&format!("{}{change}", control.known()));
        assert_ne!(control.files(), before, "it does nothing: {change}: {said}");
        let target = Target::new();
        let before = target.files();
        let seen = attacked(&backend, &format!("{}{change}", target.known())).await;
        assert_eq!(target.files(), before, "{}: {change}: {seen}", backend.name());
    }
}

/// Ways to see a variable of the host's environment.
const SECRETS: [&str; 4] = [
    "print(dict(os.environ))",
    "print(open('/proc/self/environ').read())",
    "print(open(f'/proc/{HOST}/environ').read())",
    "for entry in os.listdir('/proc'):\n    \
         try: print(open(f'/proc/{entry}/environ', errors='replace').read())\n    \
         except OSError: pass",
];

/// Sees to it that the variable is in the environment of this program: executes it once more where it is not.
/// `/proc/<pid>/environ` shows what a program was started with, and nothing that it set later.
pub(crate) fn set_secret() {
    if std::env::var_os(VARIABLE).is_none() {
        let mut again = Command::new(std::env::current_exe().unwrap());
        let error = again.args(std::env::args_os().skip(1)).env(VARIABLE, SECRET).exec();
        panic!("the tests cannot be executed once more: {error}");
    }
}

async fn hostile_code_sees_no_variable(backend: Backend) {
    assert_eq!(std::env::var(VARIABLE).unwrap(), SECRET, "there is something to see");
    let target = Target::new();
    for (number, look) in SECRETS.into_iter().enumerate() {
        // A backend may keep a clean environment and leave other processes in reach, and then says so.
        if number >= 2 && backend.capabilities().processes == Access::Open {
            continue;
        }
        let code = format!("{}{look}", target.known());
        assert!(unprotected(&code).contains(SECRET), "it does nothing: {look}");
        let seen = attacked(&backend, &code).await;
        assert!(!seen.contains(SECRET), "{}: {look}", backend.name());
    }
}

/// Ways to reach a listener of the host.
const CONNECTIONS: [&str; 6] = [
    "socket.create_connection(('127.0.0.1', TCP), 3).close()",
    "socket.create_connection(('localhost', TCP), 3).close()",
    "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', UDP))",
    "s = socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect(DIR + '/socket')",
    "s = socket.socket(socket.AF_UNIX); s.settimeout(3); s.connect('\\0' + NAME)",
    "import asyncio\nasync def go(): await asyncio.wait_for(asyncio.open_connection('127.0.0.1', TCP), 3)\n\
     try: loop = asyncio.get_running_loop()\nexcept RuntimeError: asyncio.run(go())\nelse: await go()",
];

async fn hostile_code_reaches_no_listener(backend: Backend) {
    let target = Target::new();
    for connect in CONNECTIONS {
        let code = format!("{}{connect}", target.known());
        // A plain program has no `await` outside of a function.
        let plain = code.replace("\nelse: await go()", "");
        let said = unprotected(&plain);
        assert!(target.is_reached(), "it does nothing: {connect}: {said}");
        while target.is_reached() {}
        let seen = attacked(&backend, &code).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(!target.is_reached(), "{}: {connect}: {seen}", backend.name());
    }
}

/// Ways to harm a process.
const BLOWS: [&str; 3] = [
    "os.kill(VICTIM, 9)",
    "import signal; signal.pidfd_send_signal(os.pidfd_open(VICTIM), 9)",
    "import ctypes; ctypes.CDLL(None).kill(VICTIM, 15)",
];

async fn hostile_code_harms_no_process(backend: Backend) {
    for blow in BLOWS {
        let mut control = Victim::new();
        let said = unprotected(&format!("{}{blow}", control.known()));
        let start = Instant::now();
        while control.is_alive() {
            assert!(start.elapsed() < Duration::from_secs(10), "it does nothing: {blow}: {said}");
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut victim = Victim::new();
        let seen = attacked(&backend, &format!("{}{blow}", victim.known())).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(victim.is_alive(), "{}: {blow}: {seen}", backend.name());
    }
}

/// Ways to leave something for later. `MARK` is a name that nothing else has.
const LEGACIES: [&str; 4] = [
    "open('/tmp/' + MARK, 'w').write('x')",
    "open('/dev/shm/' + MARK, 'w').write('x')",
    "open('/var/tmp/' + MARK, 'w').write('x')",
    "import subprocess\nsubprocess.Popen([sys.executable or 'python3', '-c', 'import time; time.sleep(600)', \
     MARK], start_new_session=True, stdin=-3, stdout=-3, stderr=-3, close_fds=True)",
];

/// What bears the mark: files where programs leave them, and processes.
fn marked(mark: &str) -> (Vec<PathBuf>, Vec<i32>) {
    let places = ["/tmp", "/dev/shm", "/var/tmp"].map(|place| Path::new(place).join(mark));
    let files = places.into_iter().filter(|path| path.exists()).collect();
    let processes = fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let is_marked = line.split(|byte| *byte == 0).any(|part| part == mark.as_bytes());
        is_marked.then_some(pid)
    });
    (files, processes.collect())
}

async fn hostile_code_leaves_nothing(backend: Backend) {
    for (number, legacy) in LEGACIES.into_iter().enumerate() {
        let mark = |who: &str| format!("abyme-mark-{}-{}-{number}-{who}", std::process::id(), backend.name());
        let payload = |mark: &str| format!("import sys\nMARK = {mark:?}\n{legacy}");
        let control = mark("control");
        let said = unprotected(&payload(&control));
        let (files, processes) = marked(&control);
        for file in &files {
            fs::remove_file(file).unwrap();
        }
        for pid in &processes {
            let pid = rustix::process::Pid::from_raw(*pid).unwrap();
            rustix::process::kill_process(pid, rustix::process::Signal::KILL).ok();
        }
        assert!(!(files.is_empty() && processes.is_empty()), "it does nothing: {legacy}: {said}");
        let own = mark("attack");
        let seen = attacked(&backend, &payload(&own)).await;
        let start = Instant::now();
        while marked(&own) != (Vec::new(), Vec::new()) {
            let late = start.elapsed() > Duration::from_secs(10);
            assert!(!late, "{}: {legacy}: {:?}: {seen}", backend.name(), marked(&own));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}
