//! System calls that are refused, and those that are not.

use abyme_core::InterpreterFactoryExt;

use crate::attack::{attack, isolated, open, printed, run};

/// Tries system calls and prints those that the kernel took.
const TRY: &str = r#"
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = {
        'x86_64': dict(io_uring_setup=425, memfd_create=319, keyctl=250, unshare=272, add_key=248, shmget=29,
                       bpf=321, mount=165, ptrace=101, personality=135, userfaultfd=323, clone3=435,
                       vmsplice=278, inotify_init1=294, landlock_create_ruleset=444, io_setup=206, sendmsg=46,
                       setxattr=188, seccomp=317, prctl=157, fcntl=72, mmap=9),
        'aarch64': dict(io_uring_setup=425, memfd_create=279, keyctl=219, unshare=97, add_key=217, shmget=194,
                        bpf=280, mount=40, ptrace=117, personality=92, userfaultfd=282, clone3=435,
                        vmsplice=75, inotify_init1=26, landlock_create_ruleset=444, io_setup=0, sendmsg=211,
                        setxattr=5, seccomp=277, prctl=167, fcntl=25, mmap=222),
    }[os.uname().machine]
    buffer = ctypes.create_string_buffer(256)
    open('own', 'w').close()
    own = os.open('own', os.O_RDONLY)
    arguments = dict(
        io_uring_setup=(1, buffer), memfd_create=(b'm', 0), keyctl=(0, -3, 1), unshare=(0x10000000,),
        add_key=(b'user', b'abyme', b'x', 1, -3), shmget=(0, 4096, 0o600), personality=(0x0040000,),
        ptrace=(0, 0, 0, 0),
        # Calls that would take a right of root's fail otherwise than by EPERM where they are not refused.
        bpf=(99, buffer, 0), userfaultfd=(0xffff,), clone3=(buffer, 1), vmsplice=(-1, buffer, 1, 0),
        inotify_init1=(0,), landlock_create_ruleset=(None, 0, 1), io_setup=(1, buffer),
        sendmsg=(-1, buffer, 0),
        # A list of who may do what, of its owner and all others.
        setxattr=(b'own', b'system.posix_acl_access', bytes.fromhex('02000000' '0100 0700 ffffffff'
                  '0400 0700 ffffffff' '2000 0700 ffffffff'), 28, 0),
        seccomp=(2, 0, ctypes.byref(ctypes.c_uint32(0x7fff0000))), prctl=(22, 2, 0), fcntl=(own, 1024, 0),
        mmap=(None, 2 << 20, 3, 0x40022, -1, 0),
    )
    for name, given in sorted(arguments.items()):
        ctypes.set_errno(0)
        result = libc.syscall(numbers[name], *given)
        print(name, 0 if result >= 0 else ctypes.get_errno())
"#;

#[tokio::test]
async fn calls_without_a_use_are_refused() {
    let seen = printed(&run(&isolated(), TRY).await);
    let refused = [
        ("add_key", 1),
        ("bpf", 1),
        ("clone3", 38),
        ("fcntl", 1),
        ("inotify_init1", 38),
        ("io_setup", 38),
        ("io_uring_setup", 38),
        ("keyctl", 1),
        ("landlock_create_ruleset", 38),
        ("memfd_create", 38),
        ("mmap", 1),
        ("personality", 1),
        ("prctl", 1),
        ("ptrace", 1),
        ("seccomp", 38),
        ("sendmsg", 1),
        ("setxattr", 1),
        ("shmget", 38),
        ("unshare", 1),
        ("userfaultfd", 1),
        ("vmsplice", 38),
    ];
    let expected: Vec<String> = refused.iter().map(|(name, errno)| format!("{name} {errno}")).collect();
    assert_eq!(seen, expected.join("\n"));
    let control = printed(&run(&open(), TRY).await);
    for (line, refused) in control.lines().zip(&expected) {
        assert_ne!(line, refused, "this kernel refuses it by itself, and the test shows nothing");
    }
}

/// As many locks as one likes are in the kernel's memory, and one on a file of the host's keeps out the host.
#[tokio::test]
async fn locks_are_kept_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap().join("shared");
    std::fs::write(&path, "x").unwrap();
    let file = std::fs::File::options().read(true).write(true).open(&path).unwrap();
    for (subprocess, expected) in [(open(), true), (isolated().allow_read(path.parent().unwrap()), false)] {
        let mut session = subprocess.session().await.unwrap();
        let code =
            format!("import fcntl\nf = open({:?})\nfcntl.lockf(f, fcntl.LOCK_SH | fcntl.LOCK_NB)", path);
        let observation = session.run_code(code).await.unwrap();
        assert!(observation.is_ok(), "libraries may lock: {observation:?}");
        let is_kept_out = rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
        assert_eq!(is_kept_out.is_err(), expected);
        let _ = rustix::fs::fcntl_lock(&file, rustix::fs::FlockOperation::Unlock);
    }
}

/// Calls of 32 bits have other numbers, which no filter knows: they end the process.
#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn calls_of_32_bits_end_the_process() {
    // mov eax, 20 (getpid); int 0x80; ret
    let code = r"
        import ctypes, mmap
        page = mmap.mmap(-1, 4096, prot=7)
        page.write(bytes.fromhex('b814000000cd80c3'))
        where = ctypes.addressof(ctypes.c_char.from_buffer(page))
        print('got', ctypes.CFUNCTYPE(ctypes.c_int)(where)() > 0, flush=True)
    ";
    attack(code, |observation| printed(observation) == "got True").await;
    let reason = run(&isolated(), code).await.session_ended.unwrap();
    assert!(reason.contains("signal 31 (forbidden system call)"), "{reason}");
}

/// What libraries use every day.
#[tokio::test]
async fn everyday_calls_work() {
    let code = r"
        import concurrent.futures, getpass, hashlib, os, pathlib, random, shutil, socket, sqlite3, tempfile
        import threading
        import uuid, zoneinfo, mmap, multiprocessing.pool, signal, time, ctypes, subprocess, select
        with concurrent.futures.ThreadPoolExecutor(8) as pool: assert sum(pool.map(abs, range(100))) == 4950
        with multiprocessing.pool.ThreadPool(2) as pool: assert pool.map(abs, [-1]) == [1]
        lock = multiprocessing.Lock()
        with lock: pass
        with tempfile.TemporaryDirectory() as d:
            p = pathlib.Path(d, 'a'); p.write_text('x'); shutil.copy2(p, d + '/b'); os.chmod(p, 0o600)
            os.mkfifo(d + '/fifo')
            with sqlite3.connect(d + '/c.db') as db:
                db.execute('create table t (a)'); db.execute('insert into t values (1)')
            db.close()
            with open(p, 'r+b') as f: mmap.mmap(f.fileno(), 1)[0] = 65
        a, b = socket.socketpair(); a.send(b'x'); assert b.recv(1) == b'x'
        hashlib.sha256(os.urandom(8)); uuid.uuid4()
        open('/dev/null', 'w').write('x'); open('/dev/urandom', 'rb').read(1)
        assert zoneinfo.ZoneInfo('Europe/Zurich').key and getpass.getuser() == 'session'
        assert pathlib.Path.home() == pathlib.Path.cwd() == pathlib.Path(tempfile.gettempdir())
        assert os.listdir('/proc/self/fd') and open('/proc/self/status').read() and os.cpu_count() > 0
        print('all')
    ";
    let observation = run(&isolated(), code).await;
    assert_eq!(printed(&observation), "all", "{observation:?}");
}
