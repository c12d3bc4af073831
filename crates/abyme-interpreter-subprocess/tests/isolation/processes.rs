//! Processes of the host, and those that a session starts.

use std::process::{Child, Command};

use abyme_core::{CodeInterpreter, InterpreterFactoryExt};
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    attack::{attack, dedent, isolated, open, printed, processes_with, run, secret},
    common::eventually,
};

/// A process of the host's that is to be left alone. It ends with the test.
struct Victim(Child);

impl Victim {
    fn new() -> Self {
        Self(Command::new("sleep").arg("1000").spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }

    fn lives(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The limit on descriptors is the session's. A child has those of its host too, until it is Python.
#[tokio::test]
async fn a_host_with_more_open_files_than_a_session_may_have_starts_sessions() {
    const LIMIT: u64 = 64;
    let files: Vec<_> = (0..2 * LIMIT).map(|_| std::fs::File::open("/dev/null").unwrap()).collect();
    for subprocess in [open(), isolated()] {
        let mut session = subprocess.max_open_files(LIMIT).session().await.unwrap();
        let code = "(lambda r: r.getrlimit(r.RLIMIT_NOFILE)[0])(__import__('resource'))";
        assert_eq!(session.eval::<u64>(code).await.unwrap(), LIMIT);
    }
    drop(files);
}

#[tokio::test]
async fn other_processes_are_not_killed() {
    for (subprocess, expected) in [(open(), true), (isolated(), false)] {
        let mut victim = Victim::new();
        let code = format!("import os\nos.kill({}, 9)", victim.pid());
        let observation = run(&subprocess, &code).await;
        std::thread::sleep(std::time::Duration::from_millis(50));
        assert_eq!(!victim.lives(), expected, "{observation:?}");
    }
}

#[tokio::test]
async fn other_processes_are_not_traced() {
    let victim = Victim::new();
    let code = format!(
        "import ctypes, time\nprint(ctypes.CDLL(None).ptrace(0x4206, {}, 0, 0))\n\
         print(open('/proc/{}/status').read())",
        victim.pid(),
        victim.pid()
    );
    attack(&code, |observation| {
        let text = printed(observation);
        text.starts_with('0')
            && text.lines().any(|line| line.starts_with("TracerPid:") && !line.ends_with("\t0"))
    })
    .await;
}

#[tokio::test]
async fn the_hosts_memory_and_environment_are_out_of_reach() {
    let secret = secret().into_bytes();
    let (host, address, length) = (std::process::id(), secret.as_ptr().addr(), secret.len());
    let by_file = format!(
        "with open('/proc/{host}/mem', 'rb', 0) as f:\n    f.seek({address})\n    print(f.read({length}))"
    );
    let by_call = format!(
        r"
        import ctypes
        class Piece(ctypes.Structure): _fields_ = [('base', ctypes.c_void_p), ('length', ctypes.c_size_t)]
        here = ctypes.create_string_buffer({length})
        local, remote = Piece(ctypes.addressof(here), {length}), Piece({address}, {length})
        libc = ctypes.CDLL(None)
        libc.process_vm_readv({host}, ctypes.byref(local), 1, ctypes.byref(remote), 1, 0)
        print(here.raw)
        "
    );
    let text = String::from_utf8(secret.clone()).unwrap();
    for way in [by_file, by_call] {
        attack(&way, |observation| printed(observation).contains(&text)).await;
    }
    let name = "CARGO_MANIFEST_DIR=";
    let way = format!("print(open('/proc/{host}/environ', 'rb').read())");
    attack(&way, |observation| printed(observation).contains(name)).await;
    drop(secret);
}

/// A process that leaves its group and its session is one of the pid namespace all the same.
#[tokio::test]
async fn a_daemon_does_not_outlive_its_session() {
    for (subprocess, expected) in [(open(), true), (isolated().allow_processes(), false)] {
        let mark = format!("ABYME_TEST_MARK={}", secret());
        let (name, value) = mark.split_once('=').unwrap();
        let mut session = subprocess.env(name, value).session().await.unwrap();
        let code = dedent(
            r"
            import os, sys
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    sleep = 'import time; time.sleep(300)'
                    os.execv(sys.executable, [sys.executable, '-I', '-S', '-c', sleep])
                os._exit(0)
            os.wait()
            ",
        );
        let observation = session.run_code(code).await.unwrap();
        assert!(observation.is_ok(), "{observation:?}");
        assert!(eventually(|| processes_with(&mark).len() == 2), "{:?}", processes_with(&mark));
        session.shutdown().await.unwrap();
        let gone = || processes_with(&mark).is_empty();
        assert_eq!(!gone(), expected);
        for pid in processes_with(&mark) {
            let _ = kill_process(Pid::from_raw(pid.parse().unwrap()).unwrap(), Signal::KILL);
        }
    }
}

/// Of a session that is dropped, all processes go, those of its namespace's first process too.
#[tokio::test]
async fn a_dropped_session_leaves_no_process() {
    let mark = format!("ABYME_TEST_MARK={}", secret());
    let (name, value) = mark.split_once('=').unwrap();
    let mut session = isolated().env(name, value).session().await.unwrap();
    assert!(session.run_code("1").await.unwrap().is_ok());
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let own = namespace(&processes_with(&mark)[0]);
    let of_session: Vec<_> = children().into_iter().filter(|pid| namespace(pid) == own).collect();
    assert_eq!(of_session.len(), 2, "Python and the first process are children of the host: {of_session:?}");
    drop(session);
    assert!(eventually(|| !children().iter().any(|pid| of_session.contains(pid))));
}

/// The children of this process, dead ones too.
fn children() -> Vec<String> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let lists = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect()
}

#[tokio::test]
async fn no_process_is_started() {
    let forks =
        "import os\nfor n in range(20):\n    if os.fork() == 0: os._exit(0)\n    os.wait()\n    print(n)";
    attack(forks, |observation| printed(observation).ends_with("19")).await;
    let runs = "import subprocess, sys\n\
                print(subprocess.run([sys.executable, '-c', 'print(1)'], capture_output=True).stdout)";
    attack(runs, |observation| printed(observation).contains('1')).await;
    let system = "import os\nprint('status', os.system('exit 7'))";
    attack(system, |observation| printed(observation) == "status 1792").await;
    let spawn = "import os, sys\npid = os.posix_spawn(sys.executable, [sys.executable, '-c', ''], {})\n\
                 print('status', os.waitpid(pid, 0)[1])";
    attack(spawn, |observation| printed(observation) == "status 0").await;
    // Without a fork, the process itself would become another program, and the session would end.
    let exec = "import os, sys\nos.execv(sys.executable, [sys.executable, '-c', 'pass'])";
    attack(exec, |observation| observation.session_ended.is_some()).await;
    let threads = "from concurrent.futures import ThreadPoolExecutor as Pool\n\
                   print(sum(Pool(50).map(int, '1' * 50)))";
    assert_eq!(printed(&run(&isolated(), threads).await), "50");
}

#[tokio::test]
async fn processes_are_allowed_by_their_setting() {
    let code = r"
        import multiprocessing, subprocess, sys
        context = multiprocessing.get_context('fork')
        with context.Pool(2) as pool: print(pool.map(abs, [-1, -2]))
        print(subprocess.run([sys.executable, '-c', 'print(6 * 7)'], capture_output=True, text=True).stdout)
    ";
    let observation = run(&isolated().allow_processes(), code).await;
    assert_eq!(printed(&observation), "[1, 2]\n42", "{observation:?}");
}

/// A child of the host's that nobody waits for would keep the session from ending.
#[tokio::test]
async fn no_child_is_left_to_the_host() {
    let code = r"
        import ctypes, os
        libc = ctypes.CDLL(None, use_errno=True)
        number = {'x86_64': 56, 'aarch64': 220}[os.uname().machine]
        clone_parent, sigchld = 0x8000, 17
        result = libc.syscall(number, clone_parent | sigchld, 0, 0, 0, 0)
        if result == 0: os._exit(0)
        print(result, ctypes.get_errno())
    ";
    assert_eq!(printed(&run(&isolated().allow_processes(), code).await), "-1 1");
}
