//! What is declared, seen from inside of the container.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use abyme_core::{Access, CodeInterpreter, ErrorKind, InterpreterFactory, InterpreterFactoryExt, Isolation};
use bollard::{
    models::{ContainerConfig, ContainerCreateBody},
    query_parameters::{CommitContainerOptionsBuilder, RemoveImageOptions},
};
use common::{docker, engine, error, image, session, value};

fn main() -> std::process::ExitCode {
    run![
        the_declaration,
        nobody_runs_it,
        the_root_cannot_be_written,
        own_files_are_sized_and_run_nothing,
        there_is_no_network,
        a_fork_bomb_is_contained,
        memory_is_limited_for_a_process,
        memory_is_limited_for_all,
        the_environment_is_an_allow_list,
        processors_and_descriptors_are_limited,
        programs_of_the_image_do_not_run,
        mounts_are_read_only_unless_said,
        what_is_opened_is_open,
    ]
}

async fn the_declaration() {
    let closed = docker();
    let declared = closed.capabilities();
    assert_eq!((declared.isolation, declared.network), (Isolation::Container, Access::Denied));
    assert_eq!((declared.host_files, declared.environment), (Access::Denied, Access::AllowList));
    assert_eq!(declared.memory_limit_bytes, Some(512 << 20));
    let opened = docker().network("bridge").mount("/a", "/a").memory_limit_bytes(None);
    let opened = opened.capabilities();
    assert_eq!((opened.network, opened.host_files), (Access::Open, Access::AllowList));
    assert_eq!(opened.memory_limit_bytes, None);
}

async fn nobody_runs_it() {
    let mut session = session(docker()).await;
    let who = "import os\n(os.getuid(), os.geteuid(), os.getgid(), os.getegid(), os.getgroups())";
    assert_eq!(value(&mut session, who).await, "(65534, 65534, 65534, 65534, [65534])");
    let status = "lines = open('/proc/self/status').read().splitlines()\n\
                  status = dict(line.split(':\\t', 1) for line in lines)\n\
                  [status[k] for k in 'CapInh CapPrm CapEff CapBnd CapAmb NoNewPrivs Seccomp'.split()]";
    let none = "'0000000000000000'";
    let expected = format!("[{none}, {none}, {none}, {none}, {none}, '1', '2']");
    assert_eq!(value(&mut session, status).await, expected);
    // Python is not the first process, so signals and zombies are as anywhere.
    assert_eq!(value(&mut session, "os.getppid(), os.getpid() != 1").await, "(1, True)");
    assert_eq!(error(&mut session, "os.setuid(0)").await, "PermissionError");
    assert_eq!(error(&mut session, "os.chroot('/work')").await, "PermissionError");
}

async fn the_root_cannot_be_written() {
    let mut session = session(docker()).await;
    let tried = "import errno, os\n\
        def attempt(path):\n    \
            try: open(path, 'w').close()\n    \
            except OSError as error: return errno.errorcode[error.errno]\n    \
            return 'written'\n\
        paths = ['', '/etc', '/usr', '/var', '/root', '/home', '/dev', '/sys']\n\
        {attempt(path + '/abyme') for path in paths} \
          <= {'EROFS', 'EACCES', 'ENOENT', 'EPERM'}";
    assert_eq!(value(&mut session, tried).await, "True");
    let options = "root = [line.split() for line in open('/proc/mounts') if line.split()[1] == '/'][0]\n\
                   root[3].split(',')[0]";
    assert_eq!(value(&mut session, options).await, "ro");
}

async fn own_files_are_sized_and_run_nothing() {
    let mut session =
        session(docker().work_limit_bytes(2 << 20).tmp_limit_bytes(1 << 20).shm_limit_bytes(3 << 20)).await;
    let sizes = "import os\n\
                 def size(path):\n    s = os.statvfs(path)\n    return s.f_blocks * s.f_frsize >> 20\n\
                 size('/work'), size('/tmp'), size('/dev/shm')";
    assert_eq!(value(&mut session, sizes).await, "(2, 1, 3)");
    assert_eq!(value(&mut session, "os.getcwd(), os.environ['HOME']").await, "('/work', '/work')");
    let own = "s = os.stat('/work')\ns.st_uid, s.st_gid, s.st_mode & 0o022";
    assert_eq!(value(&mut session, own).await, "(65534, 65534, 0)");
    let options = "[all(o in line.split()[3].split(',') for o in ('noexec', 'nosuid', 'nodev')) \
                   for line in open('/proc/mounts') if line.split()[1] in ('/work', '/tmp', '/dev/shm')]";
    assert_eq!(value(&mut session, options).await, "[True, True, True]");
    let run =
        "open('/tmp/x', 'w').write('#!/bin/sh\\n')\nos.chmod('/tmp/x', 0o755)\nos.execv('/tmp/x', ['x'])";
    assert_eq!(error(&mut session, run).await, "PermissionError");
    // A full disk is an error of the cell, and nothing else.
    let full = "with open('big', 'wb') as f: f.write(bytes(4 << 20))";
    let observation = session.run_code(full).await.unwrap();
    let problem = observation.error.unwrap();
    assert!(problem.type_name == "OSError" && problem.to_string().contains("No space left"), "{problem}");
    assert_eq!(value(&mut session, "os.remove('big')\n6 * 7").await, "42");
}

async fn there_is_no_network() {
    let mut session = session(docker()).await;
    assert_eq!(value(&mut session, "import os\nos.listdir('/sys/class/net')").await, "['lo']");
    let reach = "import socket\nsocket.create_connection(('1.1.1.1', 53), timeout=2)";
    assert_eq!(error(&mut session, reach).await, "OSError");
    assert_eq!(error(&mut session, "socket.getaddrinfo('example.org', 80)").await, "socket.gaierror");
}

async fn a_fork_bomb_is_contained() {
    let mut session = session(docker().max_processes(32)).await;
    let bomb = "import os, signal, time\nchildren = []\n\
        try:\n    \
            while len(children) < 1000:\n        \
                pid = os.fork()\n        \
                if pid == 0:\n            time.sleep(60)\n            os._exit(0)\n        \
                children.append(pid)\n\
        except BlockingIOError: pass\n\
        len(children)";
    let children: u32 = value(&mut session, bomb).await.parse().unwrap();
    assert!((20..32).contains(&children), "{children}");
    let clean = "for pid in children:\n    os.kill(pid, signal.SIGKILL)\n    n = os.waitpid(pid, 0)\n6 * 7";
    assert_eq!(value(&mut session, clean).await, "42");
}

async fn memory_is_limited_for_a_process() {
    let mut session = session(docker().memory_limit_bytes(128 << 20)).await;
    let hoard = "kept = 1\nhoard = []\nwhile True: hoard.append(b'x' * (1 << 20))";
    assert_eq!(error(&mut session, hoard).await, "MemoryError");
    assert_eq!(value(&mut session, "len(hoard) > 64, kept").await, "(True, 1)");
}

async fn memory_is_limited_for_all() {
    let mut session = session(docker().memory_limit_bytes(128 << 20)).await;
    // Shared memory is not a process's own, so only the container's limit sees it.
    let fill = "import mmap\nprint('so far', flush=True)\n\
                m = mmap.mmap(-1, 512 << 20)\nfor n in range(0, len(m), 4096): m[n] = 1";
    let observation = session.run_code(fill).await.unwrap();
    assert_eq!(observation.stdout.to_string(), "so far\n");
    let reason = observation.session_ended.unwrap();
    assert!(reason.contains("memory ran out (limit 128 MB)"), "{reason}");
}

async fn the_environment_is_an_allow_list() {
    let docker = docker().env("GIVEN", "yes").allow_env("CARGO_PKG_NAME").allow_env("NOT_THERE");
    let mut session = session(docker).await;
    let names = value(&mut session, "import os\n' '.join(sorted(os.environ))").await;
    let names: Vec<_> = names.split(' ').collect();
    for name in ["GIVEN", "CARGO_PKG_NAME", "HOME", "TMPDIR", "PATH"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    for name in ["CARGO_MANIFEST_DIR", "DOCKER_HOST", "USER", "NOT_THERE"] {
        assert!(!names.contains(&name), "{name} in {names:?}");
    }
    assert_eq!(value(&mut session, "os.environ['GIVEN']").await, "yes");
}

async fn processors_and_descriptors_are_limited() {
    let docker = docker().cpus(0.5).max_open_files(64).ulimit("fsize", 1 << 20);
    let mut session = session(docker).await;
    let limits =
        "import resource as r\n[r.getrlimit(x)[0] for x in (r.RLIMIT_CORE, r.RLIMIT_NOFILE, r.RLIMIT_FSIZE)]";
    assert_eq!(value(&mut session, limits).await, "[0, 64, 1048576]");
    let container = &common::containers().await[0];
    let seen = engine().inspect_container(container, None).await.unwrap();
    let host_config = seen.host_config.unwrap();
    assert_eq!((host_config.nano_cpus, host_config.ipc_mode.as_deref()), (Some(500_000_000), Some("none")));
    assert_eq!(host_config.log_config.unwrap().typ.as_deref(), Some("none"));
    let spin = "import time\nstart, used = time.monotonic(), time.process_time()\n\
                while time.monotonic() < start + 1: pass\n(time.process_time() - used) < 0.75";
    assert_eq!(value(&mut session, spin).await, "True");
}

async fn programs_of_the_image_do_not_run() {
    const IMAGE: &str = "abyme-test-programs:latest";
    let engine = engine();
    let base = ContainerCreateBody {
        image: Some(image()),
        cmd: Some(vec!["python3".to_owned()]),
        ..ContainerCreateBody::default()
    };
    let base = engine.create_container(None, base).await.unwrap().id;
    let mut changes = ContainerConfig {
        entrypoint: Some(vec!["/bin/false".to_owned()]),
        volumes: Some(vec!["/data".to_owned()]),
        user: Some("root".to_owned()),
        env: Some(vec!["PYTHONPATH=/tmp".to_owned(), "PATH=/usr/local/bin:/usr/bin:/bin".to_owned()]),
        ..ContainerConfig::default()
    };
    changes.image = Some(image());
    let options = CommitContainerOptionsBuilder::default()
        .container(&base)
        .repo("abyme-test-programs")
        .tag("latest")
        .changes("HEALTHCHECK CMD /bin/false")
        .build();
    engine.commit_container(options, changes).await.unwrap();
    common::remove(&base).await;

    let mut session = session(docker().image(IMAGE)).await;
    assert_eq!(
        value(&mut session, "import os, sys\nos.getuid(), '/tmp' in sys.path").await,
        "(65534, False)"
    );
    // What the image wants to keep on the engine's disk is in memory, and sized.
    let volume = "[line.split()[2] for line in open('/proc/mounts') if line.split()[1] == '/data']";
    assert_eq!(value(&mut session, volume).await, "['tmpfs']");
    let container = &common::containers().await[0];
    let seen = engine.inspect_container(container, None).await.unwrap();
    assert_eq!(seen.config.unwrap().healthcheck.unwrap().test, Some(vec!["NONE".to_owned()]));
    session.shutdown().await.unwrap();
    engine.remove_image(IMAGE, None::<RemoveImageOptions>, None).await.unwrap();
}

async fn mounts_are_read_only_unless_said() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "from the host").unwrap();
    std::fs::set_permissions(dir.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let mut reading = session(docker().mount(dir.path(), "/docs")).await;
    assert_eq!(value(&mut reading, "open('/docs/a.txt').read()").await, "from the host");
    assert_eq!(error(&mut reading, "open('/docs/b.txt', 'w')").await, "OSError");
    let mut writing = session(docker().mount_writable(dir.path(), "/out")).await;
    assert_eq!(value(&mut writing, "with open('/out/b.txt', 'w') as f: n = f.write('back')\n1").await, "1");
    assert_eq!(std::fs::read_to_string(dir.path().join("b.txt")).unwrap(), "back");
    let nowhere = docker().mount("/nonexistent/abyme", "/docs");
    let problem = nowhere.session().await.unwrap_err();
    assert_eq!(problem.kind(), ErrorKind::Config);
    assert!(problem.message().contains("/nonexistent/abyme"), "{problem}");
}

async fn what_is_opened_is_open() {
    let mut session = session(docker().network("host").user("0:0").shm_limit_bytes(0)).await;
    let seen = "import os\nos.getuid(), len(os.listdir('/sys/class/net')) > 1, os.path.exists('/dev/shm/x')";
    assert_eq!(value(&mut session, seen).await, "(0, True, False)");
}
