//! System calls that are refused, and those that are not.

use crate::attack::{attack, isolated, open, printed, run};

/// Tries system calls and prints those that the kernel took.
const TRY: &str = r#"
    import ctypes, os
    libc = ctypes.CDLL(None, use_errno=True)
    numbers = {
        'x86_64': dict(io_uring_setup=425, memfd_create=319, keyctl=250, unshare=272, add_key=248, shmget=29,
                       bpf=321, mount=165, ptrace=101, personality=135, userfaultfd=323, clone3=435,
                       vmsplice=278),
        'aarch64': dict(io_uring_setup=425, memfd_create=279, keyctl=219, unshare=97, add_key=217, shmget=194,
                        bpf=280, mount=40, ptrace=117, personality=92, userfaultfd=282, clone3=435,
                        vmsplice=75),
    }[os.uname().machine]
    buffer = ctypes.create_string_buffer(256)
    arguments = dict(
        io_uring_setup=(1, buffer), memfd_create=(b'm', 0), keyctl=(0, -3, 1), unshare=(0x10000000,),
        add_key=(b'user', b'abyme', b'x', 1, -3), shmget=(0, 4096, 0o600), personality=(0x0040000,),
        ptrace=(0, 0, 0, 0),
        # Calls that would take a right of root's fail otherwise than by EPERM where they are not refused.
        bpf=(99, buffer, 0), userfaultfd=(0xffff,), clone3=(buffer, 1), vmsplice=(-1, buffer, 1, 0),
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
        ("io_uring_setup", 38),
        ("keyctl", 1),
        ("memfd_create", 38),
        ("personality", 1),
        ("ptrace", 1),
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
