//! The host's files, and those of a session.

use std::{
    fs,
    os::{fd::AsRawFd, unix::fs::MetadataExt},
    path::PathBuf,
};

use abyme_core::{ErrorKind, InterpreterFactoryExt};
use tempfile::TempDir;

use crate::attack::{attack, isolated, open, printed, run, secret};

/// A directory of the host's with a file that holds a secret.
struct Canary {
    _dir: TempDir,
    dir: PathBuf,
    secret: String,
}

impl Canary {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        let (dir, secret) = (temp.path().canonicalize().unwrap(), secret());
        fs::write(dir.join("secret.txt"), &secret).unwrap();
        Self { _dir: temp, dir, secret }
    }

    fn file(&self) -> String {
        self.dir.join("secret.txt").display().to_string()
    }
}

#[tokio::test]
async fn files_are_not_read() {
    let canary = Canary::new();
    let file = canary.file();
    let ways = [
        format!("print(open({file:?}).read())"),
        format!("print(open('/proc/self/root{file}').read())"),
        format!("print(open('/../..{file}').read())"),
        format!("import os\nos.symlink({file:?}, 'link')\nprint(open('link').read())"),
        format!(
            "import os\nd = os.open({:?}, 0)\nprint(os.read(os.open('secret.txt', 0, dir_fd=d), 99))",
            canary.dir
        ),
        format!("import mmap\nwith open({file:?}, 'rb') as f: print(mmap.mmap(f.fileno(), 0, prot=1)[:])"),
    ];
    for way in ways {
        attack(&way, |observation| printed(observation).contains(&canary.secret)).await;
    }
    let names = format!("import os\nprint(os.listdir({:?}))", canary.dir);
    attack(&names, |observation| printed(observation).contains("secret.txt")).await;
    let size = format!("import os\nprint(os.stat({file:?}).st_size)");
    attack(&size, |observation| printed(observation) == canary.secret.len().to_string()).await;
}

#[tokio::test]
async fn files_are_not_changed() {
    type Changed = fn(&Canary) -> bool;
    let ways: [(&str, Changed); 7] = [
        ("open(path, 'w').write('gone')", |canary| fs::read(canary.file()).unwrap() == b"gone"),
        ("open(path + '.new', 'w').close()", |canary| canary.dir.join("secret.txt.new").exists()),
        ("os.remove(path)", |canary| !canary.dir.join("secret.txt").exists()),
        ("os.rename(path, path + '.moved')", |canary| canary.dir.join("secret.txt.moved").exists()),
        ("os.chmod(path, 0o123)", |canary| fs::metadata(canary.file()).unwrap().mode() & 0o777 == 0o123),
        ("os.utime(path, (1, 1))", |canary| fs::metadata(canary.file()).unwrap().mtime() == 1),
        ("os.link(path, folder + '/linked')", |canary| canary.dir.join("linked").exists()),
    ];
    for (way, changed) in ways {
        for (subprocess, expected) in [(open(), true), (isolated(), false)] {
            let canary = Canary::new();
            let code = format!("import os\npath, folder = {:?}, {:?}\n{way}", canary.file(), canary.dir);
            let observation = run(&subprocess, &code).await;
            assert_eq!(changed(&canary), expected, "{way} {observation:?}");
        }
    }
}

/// Python's own files are read and cannot be changed, not even where the host's user is root.
#[tokio::test]
async fn pythons_files_are_read_only() {
    let canary = Canary::new();
    let subprocess = isolated().allow_read(&canary.dir);
    let code = format!("print(open({:?}).read())", canary.file());
    assert_eq!(printed(&run(&subprocess, &code).await), canary.secret);
    for way in ["open(path, 'a')", "os.chmod(path, 0o600)", "os.utime(path)", "os.remove(path)"] {
        let code = format!("import os\npath = {:?}\n{way}", canary.file());
        let error = run(&subprocess, &code).await.error.unwrap();
        assert!(
            error.message.contains("Read-only file system") || error.message.contains("denied"),
            "{error:?}"
        );
    }
    let code = r"
        import os, json
        for path in (json.__file__, os.path.dirname(json.__file__)):
            try: os.utime(path)
            except OSError as e: print(e.errno)
    ";
    assert_eq!(printed(&run(&isolated(), code).await), "30\n30");
    for way in ["os.chmod('/dev/null', 0o666)", "os.utime('/dev/null')"] {
        let error = run(&isolated(), &format!("import os\n{way}")).await.error.unwrap();
        let is_refused =
            ["Read-only file system", "not permitted"].iter().any(|why| error.message.contains(why));
        assert!(is_refused, "{way}: {error:?}");
    }
    let write = "print(open('/dev/null', 'w').write('x'))";
    assert_eq!(printed(&run(&isolated(), write).await), "1", "it is written to all the same");
    assert_eq!(fs::read_to_string(canary.file()).unwrap(), canary.secret);
}

#[tokio::test]
async fn no_room_for_files_is_none() {
    let observation = run(&isolated().disk_limit_bytes(0), "open('big', 'wb').write(bytes(1 << 20))").await;
    assert!(observation.error.unwrap().message.contains("No space left"));
}

#[tokio::test]
async fn a_path_that_cannot_be_readable_is_an_error_at_start() {
    for (path, problem) in
        [("/", "one of its own"), ("/tmp", "one of its own"), ("/not/there", "No such file")]
    {
        let error = isolated().allow_read(path).session().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains(path) && error.message().contains(problem), "{error}");
    }
}

#[tokio::test]
async fn open_files_of_the_host_are_closed() {
    let canary = Canary::new();
    let file = fs::File::open(canary.file()).unwrap();
    rustix::io::fcntl_setfd(&file, rustix::io::FdFlags::empty()).unwrap();
    let code = format!("import os\nprint(os.pread({}, 99, 0))", file.as_raw_fd());
    attack(&code, |observation| printed(observation).contains(&canary.secret)).await;
}

/// All writable places together hold no more than was set, and are gone with the session.
#[tokio::test]
async fn disk_is_bounded() {
    let fill = r"
        import os
        written = 0
        for name in ('a', '/tmp/b', '/dev/shm/abyme-test-c'):
            try:
                with open(name, 'wb') as f:
                    for _ in range(30): f.write(bytes(1 << 20)); f.flush(); written += 1
            except OSError as e: print(e.errno)
        for name in ('a', '/tmp/b', '/dev/shm/abyme-test-c'):
            try: os.remove(name)
            except OSError: pass
        print(written)
    ";
    let filled = |observation| printed(&observation).lines().last().unwrap().parse::<u32>().unwrap();
    assert_eq!(filled(run(&open(), fill).await), 90);
    let observation = run(&isolated().disk_limit_bytes(20 << 20), fill).await;
    assert!(printed(&observation).contains("28"), "no space is left: {observation:?}");
    assert!(filled(observation) <= 20);
    let many = r"
        import os
        try:
            for n in range(5000): open(f'f{n}', 'w').close()
        except OSError as e: print(e.errno)
    ";
    assert_eq!(printed(&run(&isolated().disk_limit_bytes(20 << 20), many).await), "28");
}

/// What is written in one session is in no other, nor on the host.
#[tokio::test]
async fn what_a_session_writes_is_its_own() {
    let name = secret();
    let write = format!(
        "import os\nfor place in ('/tmp', '/dev/shm'): open(f'{{place}}/{name}', 'w').close()\n\
         print(os.listdir('/tmp'))"
    );
    let look = format!("import os\nprint(any('{name}' in os.listdir(p) for p in ('/tmp', '/dev/shm')))");
    let mut writing = isolated().session().await.unwrap();
    let observation = writing.run_code(write.as_str()).await.unwrap();
    assert!(printed(&observation).contains(&name), "{observation:?}");
    for place in ["/tmp", "/dev/shm"] {
        assert!(!PathBuf::from(place).join(&name).exists());
    }
    assert_eq!(printed(&run(&isolated(), &look).await), "False");
    assert_eq!(printed(&writing.run_code(look.as_str()).await.unwrap()), "True");
}
