//! Machines and users with other rights than those of this one: each test runs itself again there.

use std::process::Command;

use abyme_conformance::prerequisite::note_ignored;
use abyme_core::{Access, ErrorKind, Guarantee, InterpreterFactory, InterpreterFactoryExt};
use abyme_interpreter_subprocess::{IsolationMode, Subprocess};

use crate::{
    again::{PLAIN_USER, again, is_root, is_there, refuse, runtime, without_namespaces},
    attack::{dedent, isolated, open, printed, processes_with, run, secret},
    common::eventually,
};

/// A user without rights gets the same isolation as root.
#[test]
fn a_plain_user_is_isolated() {
    if !is_there() && is_root() {
        return again("machines::a_plain_user_is_isolated", &PLAIN_USER);
    }
    runtime().block_on(async {
        assert!(!is_root());
        for code in
            ["open('/etc/passwd.abyme', 'w')", "import os\nos.fork()", "import socket\nsocket.socket()"]
        {
            assert!(run(&isolated(), code).await.error.is_some(), "{code}");
        }
        let look =
            "import os, pwd\nprint(os.getuid(), pwd.getpwuid(os.getuid()).pw_name, os.listdir('/tmp'))";
        let seen = printed(&run(&isolated(), look).await);
        assert!(seen.starts_with("1000 session") && !seen.contains("abyme-"), "{seen}");
        let host = std::process::id();
        let code = format!("print(open('/proc/{host}/environ').read())");
        assert!(printed(&run(&open(), &code).await).contains("PATH="));
        assert!(run(&isolated(), &code).await.error.is_some());
    });
}

/// Where a mechanism is missing, a session does not start, and says why and what to do.
#[test]
fn a_missing_mechanism_is_named() {
    if !is_there() {
        return without_namespaces("machines::a_missing_mechanism_is_named");
    }
    runtime().block_on(async {
        let error = isolated().session().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        for part in
            ["user namespaces", "sysctl", "IsolationMode::BestEffort", "--isolation best-effort", "wasm"]
        {
            assert!(error.message().contains(part), "{error}");
        }
    });
}

/// With best effort it starts with what is there, which is much, and declares that and no more.
#[test]
fn best_effort_declares_what_it_applies() {
    if !is_there() {
        return without_namespaces("machines::best_effort_declares_what_it_applies");
    }
    runtime().block_on(async {
        let effort = isolated().isolation(IsolationMode::BestEffort);
        let declared = effort.capabilities().clone();
        assert_eq!((declared.host_files, declared.network), (Access::AllowList, Access::Denied));
        assert_eq!(declared.processes, Access::Denied);
        let has = |guarantee| declared.guarantees.get(&guarantee).map(String::as_str);
        assert_eq!(has(Guarantee::FilesystemAllowlist), Some("Landlock"));
        assert_eq!(has(Guarantee::FilesystemReadonlyMetadata), Some("seccomp"));
        assert_eq!(has(Guarantee::NoNetwork), Some("seccomp"));
        assert_eq!((has(Guarantee::PrivateTmp), has(Guarantee::DiskCapped)), (None, None));
        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("secret"), secret());
        std::fs::write(&file, &secret).unwrap();
        let path = file.display().to_string();
        for (way, is_refused) in [
            (format!("print(open({path:?}).read())"), true),
            (format!("import os\nos.chmod({path:?}, 0o777)"), true),
            (format!("print(open('/proc/{}/environ').read())", std::process::id()), true),
            ("import socket\nsocket.socket()".to_owned(), true),
            ("import os\nos.fork()".to_owned(), true),
            // PR_SET_PDEATHSIG, and the attributes of a file (FS_IOC_SETFLAGS)
            ("import ctypes\nif ctypes.CDLL(None).prctl(1, 0): raise OSError".to_owned(), true),
            ("import fcntl\nfcntl.ioctl(open('own', 'w'), 0x40086602, bytes(8))".to_owned(), true),
            (format!("import os\nos.setpriority(os.PRIO_PROCESS, {}, 19)", std::process::id()), true),
            (format!("import os\nos.sched_setaffinity({}, [0])", std::process::id()), true),
            ("import os\nos.setpriority(os.PRIO_PROCESS, 0, 5)\nos.nice(1)".to_owned(), false),
            ("import os, sys\nos.execv(sys.executable, [sys.executable])".to_owned(), true),
            (
                "open('own', 'w').write('x')\nopen('own').read()\nimport json, sqlite3, decimal".to_owned(),
                false,
            ),
        ] {
            let observation = run(&effort, &way).await;
            assert_eq!(observation.error.is_some(), is_refused, "{way} {observation:?}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), secret);
        let read = format!("print(open({path:?}).read())");
        assert_eq!(printed(&run(&open(), &read).await), secret);
    });
}

/// What is missing: its name, what shows it, whether sessions can do without, and what must hold without.
struct Missing {
    name: &'static str,
    calls: Vec<(i64, Option<u64>)>,
    errno: i32,
    /// What no guarantee may name with best effort.
    mechanism: &'static str,
    holds: &'static [Guarantee],
    does_not_hold: &'static [Guarantee],
}

/// A session does not start where it is required, and names what is missing. With best effort it starts,
/// declares what is left, and that holds.
fn without(test: &str, with: &[&str], missing: &Missing) {
    if !is_there() {
        return again(test, with);
    }
    refuse(&missing.calls, missing.errno);
    runtime().block_on(async {
        let error = isolated().session().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let cause = format!("because {} cannot be used", missing.name);
        assert!(error.message().contains(&cause), "{error}");
        assert!(error.message().contains("IsolationMode::BestEffort"), "{error}");

        let effort = isolated().isolation(IsolationMode::BestEffort);
        let declared = &effort.capabilities().guarantees;
        let named = declared.values().filter(|mechanism| mechanism.contains(missing.mechanism)).count();
        assert_eq!(named, 0, "{declared:?}");
        for guarantee in missing.holds {
            assert!(declared.contains_key(guarantee), "{guarantee}: {declared:?}");
        }
        for guarantee in missing.does_not_hold {
            assert!(!declared.contains_key(guarantee), "{guarantee}: {declared:?}");
        }
        let dir = tempfile::tempdir().unwrap();
        let (file, secret) = (dir.path().join("secret"), secret());
        std::fs::write(&file, &secret).unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let (path, port) = (file.display().to_string(), listener.local_addr().unwrap().port());
        let attack = format!(
            "import os, socket\nfor attack in (\n    lambda: open({path:?}).read(),\n    \
             lambda: open({path:?}, 'w').close(),\n    lambda: os.chmod({path:?}, 0o777),\n    \
             lambda: socket.create_connection(('127.0.0.1', {port}), timeout=1),\n    \
             lambda: open('/proc/{}/environ', 'rb').read(),\n):\n    \
             try: print('did', attack())\n    except OSError: pass",
            std::process::id()
        );
        assert_eq!(printed(&run(&effort, &attack).await), "");
        assert!(listener.accept().is_err() && std::fs::read_to_string(&file).unwrap() == secret);
        let forked = run(&effort, "import os\nif os.fork() == 0: os._exit(0)\nos.wait()").await;
        assert_eq!(forked.error.is_some(), effort.capabilities().processes == Access::Denied);
        // In the open, the attack has what it wants.
        let seen = printed(&run(&open(), &attack).await);
        assert!(seen.matches("did").count() == 5 && seen.contains(&secret), "{seen}");
        assert!(listener.accept().is_ok());
    });
}

/// A kernel before 5.13, or one whose `lsm=` list does not have it.
#[test]
fn a_kernel_without_landlock() {
    let missing = Missing {
        name: "Landlock",
        calls: vec![(libc::SYS_landlock_create_ruleset, None)],
        errno: libc::ENOSYS,
        mechanism: "Landlock",
        holds: &[
            Guarantee::FilesystemAllowlist,
            Guarantee::OwnAddressSpace,
            Guarantee::DiskCapped,
            Guarantee::NoNetwork,
            Guarantee::NoUnixSockets,
            Guarantee::KilledWithHost,
        ],
        does_not_hold: &[],
    };
    without("machines::a_kernel_without_landlock", &[], &missing);
}

#[test]
fn a_kernel_without_seccomp() {
    let missing = Missing {
        name: "seccomp",
        calls: vec![
            (libc::SYS_seccomp, None),
            (libc::SYS_prctl, Some(libc::PR_SET_SECCOMP.unsigned_abs().into())),
        ],
        errno: libc::EINVAL,
        mechanism: "seccomp",
        holds: &[Guarantee::FilesystemAllowlist, Guarantee::OwnAddressSpace, Guarantee::NoNetwork],
        does_not_hold: &[
            Guarantee::NoUnixSockets,
            Guarantee::NoExec,
            Guarantee::ProcessCapped,
            Guarantee::MemoryCapped,
            Guarantee::ReducedKernelSurface,
        ],
    };
    without("machines::a_kernel_without_seccomp", &[], &missing);
}

/// As under the profile of a container: namespaces may be made, and nothing may be mounted in them.
#[test]
fn a_container_that_refuses_mounts() {
    let missing = Missing {
        name: "mounts in a user namespace",
        calls: vec![(libc::SYS_mount, None), (libc::SYS_mount_setattr, None)],
        errno: libc::EPERM,
        mechanism: "namespace",
        holds: &[Guarantee::FilesystemAllowlist, Guarantee::NoNetwork, Guarantee::NoUnixSockets],
        does_not_hold: &[Guarantee::PrivateTmp, Guarantee::DiskCapped],
    };
    without("machines::a_container_that_refuses_mounts", &[], &missing);
}

/// Root of a container whose capabilities were dropped: it may not map itself into a namespace.
#[test]
fn a_root_without_capabilities() {
    const TEST: &str = "machines::a_root_without_capabilities";
    if !is_root() {
        return note_ignored(TEST, "this user is not root");
    }
    let missing = Missing {
        name: "user namespaces",
        calls: Vec::new(),
        errno: 0,
        mechanism: "namespace",
        holds: &[
            Guarantee::FilesystemAllowlist,
            Guarantee::FilesystemReadonlyMetadata,
            Guarantee::NoNetwork,
            Guarantee::ProcessCapped,
        ],
        does_not_hold: &[Guarantee::PrivateTmp, Guarantee::DiskCapped],
    };
    let drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all"];
    without(TEST, &drop, &missing);
}

/// Not a test by itself: the host that `a_killed_host_takes_all_processes_along` starts and kills.
#[tokio::test]
async fn host_to_be_killed() {
    if let Some(mark) = std::env::var_os("ABYME_TEST_HOST") {
        let mark = mark.into_string().unwrap();
        let mut session = isolated().allow_processes().env("ABYME_TEST_MARK", mark).session().await.unwrap();
        let code = dedent(
            r"
            import os, time
            if os.fork() == 0:
                os.setsid()
                while True: time.sleep(1)
            print('forked')
            ",
        );
        assert_eq!(printed(&session.run_code(code).await.unwrap()), "forked");
        println!("ready");
        let _ = session.run_code("while True: pass").await;
    }
}

#[test]
fn a_killed_host_takes_all_processes_along() {
    let (mark, this) = (secret(), std::env::current_exe().unwrap());
    let mut command = Command::new(this);
    command.args(["--exact", "machines::host_to_be_killed", "--nocapture"]).env("ABYME_TEST_HOST", &mark);
    let mut host = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let variable = format!("ABYME_TEST_MARK={mark}");
    assert!(eventually(|| processes_with(&variable).len() == 2), "{:?}", processes_with(&variable));
    host.kill().unwrap();
    host.wait().unwrap();
    assert!(eventually(|| processes_with(&variable).is_empty()), "{:?}", processes_with(&variable));
}

/// What is declared here, where everything is to be had.
#[test]
fn the_declarations() {
    let closed = Subprocess::new();
    let declared = closed.capabilities();
    assert_eq!((declared.network, declared.processes), (Access::Denied, Access::Denied));
    assert_eq!((declared.host_files, declared.environment), (Access::AllowList, Access::AllowList));
    for guarantee in
        [Guarantee::OwnAddressSpace, Guarantee::NoExec, Guarantee::DiskCapped, Guarantee::KilledWithHost]
    {
        assert!(declared.guarantees.contains_key(&guarantee), "{guarantee}");
    }
    assert!(!declared.guarantees.contains_key(&Guarantee::CpuCapped));
    let processes = Subprocess::new().allow_processes();
    let declared = processes.capabilities();
    assert_eq!(declared.processes, Access::Open);
    assert!(!declared.guarantees.contains_key(&Guarantee::NoExec));
    for guarantee in [Guarantee::ProcessCapped, Guarantee::MemoryCapped] {
        let by = declared.guarantees.get(&guarantee).map(String::as_str);
        assert!(matches!(by, None | Some("control group")), "{guarantee}: {by:?}");
    }
    let off = Subprocess::new().isolation(IsolationMode::Off);
    let declared = off.capabilities();
    assert_eq!((declared.network, declared.host_files), (Access::Open, Access::Open));
    assert_eq!(declared.guarantees.keys().collect::<Vec<_>>(), [&Guarantee::WallCapped]);
}
