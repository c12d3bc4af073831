//! The file system of a session: private, bounded, and with nothing of the host but what was mounted.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

mod common;

use abyme_core::InterpreterFactory;
use abyme_interpreter_wasm::Wasm;
use common::{error, session, session_of, value};

#[tokio::test]
async fn the_usual_modules_work_in_it() {
    let mut s = session().await;
    let code = r#"
import csv, io, json, os, pathlib, shelve, shutil, tempfile, zipfile, glob, sys
assert os.getcwd() == "/work" and tempfile.gettempdir() == "/tmp"
pathlib.Path("a/b").mkdir(parents=True)
pathlib.Path("a/b/text.txt").write_text("naïve 日本\n" * 3)
with open("rows.csv", "w", newline="") as file:
    csv.writer(file).writerows([[1, "x"], [2, "y"]])
with open("rows.csv", newline="") as file:
    assert list(csv.reader(file)) == [["1", "x"], ["2", "y"]]
with zipfile.ZipFile("/tmp/all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.write("a/b/text.txt"); archive.write("rows.csv")
with zipfile.ZipFile("/tmp/all.zip") as archive:
    assert archive.testzip() is None and sorted(archive.namelist()) == ["a/b/text.txt", "rows.csv"]
with tempfile.TemporaryDirectory() as place:
    (pathlib.Path(place) / "x").write_bytes(bytes(1000))
    assert os.path.getsize(place + "/x") == 1000
assert not os.path.exists(place)
with tempfile.NamedTemporaryFile("w+") as file:
    file.write("kept"); file.seek(0); assert file.read() == "kept"
with tempfile.TemporaryFile() as file:
    file.write(b"unnamed"); file.seek(2); assert file.read() == b"named"
pathlib.Path("helper.py").write_text("def answer(): return 42\n")
import helper
assert helper.answer() == 42
shutil.move("a/b/text.txt", "moved.txt")
shutil.rmtree("a")
sorted(os.listdir()), glob.glob("*.txt"), open("moved.txt").read().count("日")
"#;
    assert_eq!(
        value(&mut s, code).await,
        "(['__pycache__', 'helper.py', 'moved.txt', 'rows.csv'], ['moved.txt'], 3)"
            .replace("'__pycache__', ", "")
    );
    // It is the session's own, from cell to cell.
    assert_eq!(value(&mut s, "open('moved.txt').readline()").await, "'naïve 日本\\n'");
    let mut other = session().await;
    assert_eq!(value(&mut other, "import os; os.listdir('/work'), os.listdir('/tmp')").await, "([], [])");
}

#[tokio::test]
async fn nothing_of_the_host_is_there() {
    let mut s = session().await;
    assert_eq!(value(&mut s, "import os; sorted(os.listdir('/'))").await, "['dev', 'lib', 'tmp', 'work']");
    for path in
        ["/etc/passwd", "/proc/self/environ", "/root", "/home", "../../etc/passwd", "/tmp/../etc/passwd"]
    {
        let seen = error(&mut s, &format!("open({path:?}).read()")).await;
        assert!(seen.starts_with("FileNotFoundError"), "{path}: {seen}");
    }
    for path in ["/new", "/lib/python3.13/json/__init__.py", "/lib/python3.13/new.py", "/dev/new"] {
        let seen = error(&mut s, &format!("open({path:?}, 'w')")).await;
        assert!(seen.starts_with("OSError") && seen.contains("Read-only file system"), "{path}: {seen}");
    }
    assert_eq!(value(&mut s, "dict(os.environ)").await, "{}");
    assert_eq!(
        value(&mut s, "os.path.exists(os.__file__), __import__('inspect').getsource(os)[:4]").await,
        "(True, 'r\"\"\"')"
    );
}

#[tokio::test]
async fn the_quota_holds() {
    let factory = Wasm::new().disk_limit_bytes(1 << 20).max_sessions(2);
    let mut s = session_of(&factory).await;
    for code in [
        "open('big', 'wb').write(bytes(2 << 20))",
        "f = open('hole', 'wb'); f.seek(1 << 40); f.write(b'x'); f.flush()",
        "open('long', 'wb').truncate(1 << 40)",
    ] {
        let seen = error(&mut s, code).await;
        assert!(
            seen.contains("No space left on device") || seen.contains("File too large"),
            "{code}: {seen}"
        );
    }
    // What is removed can be used again.
    let again = "import os\nfor f in os.listdir(): os.remove(f)\nopen('fits', 'wb').write(bytes(1 << 19))";
    assert_eq!(value(&mut s, again).await, "524288");
    let many = "for n in range(200_000): open(f'/tmp/{n}', 'w').close()";
    assert!(error(&mut s, many).await.contains("No space left on device"));
}

#[tokio::test]
async fn mounts_are_read_only_and_closed() {
    let host = tempfile::tempdir().unwrap();
    std::fs::create_dir(host.path().join("inner")).unwrap();
    std::fs::write(host.path().join("inner/a.txt"), "from the host").unwrap();
    std::fs::write(host.path().join("single.txt"), "one file").unwrap();
    let secret = tempfile::tempdir().unwrap();
    std::fs::write(secret.path().join("key"), "secret").unwrap();
    std::os::unix::fs::symlink(secret.path().join("key"), host.path().join("inner/link")).unwrap();
    let factory = Wasm::new()
        .mount(host.path().join("inner"), "/data")
        .mount(host.path().join("single.txt"), "/mnt/one.txt")
        .max_sessions(2);
    let mut s = session_of(&factory).await;
    assert_eq!(
        value(&mut s, "open('/data/a.txt').read(), open('/mnt/one.txt').read()").await,
        "('from the host', 'one file')"
    );
    assert_eq!(
        value(&mut s, "import os; sorted(os.listdir('/data')), os.listdir('/mnt')").await,
        "(['a.txt', 'link'], ['one.txt'])"
    );
    assert!(error(&mut s, "open('/data/a.txt', 'a')").await.contains("Read-only file system"));
    assert!(error(&mut s, "os.remove('/data/a.txt')").await.contains("Read-only file system"));
    let seen = error(&mut s, "open('/data/link').read()").await;
    assert!(seen.contains("Error") && !seen.contains("secret"), "{seen}");
    assert!(error(&mut s, "open('/data/../etc/passwd')").await.starts_with("FileNotFoundError"));
    assert!(factory.capabilities().notes.iter().any(|note| note.contains("/data")));
}

#[tokio::test]
async fn mounts_that_cannot_work_are_refused() {
    for (host, guest, says) in [
        ("/does/not/exist", "/data", "No such file"),
        ("/tmp", "data", "data"),
        ("/tmp", "/lib", "/lib"),
        ("/tmp", "/", "/"),
    ] {
        let factory = Wasm::new().mount(host, guest).max_sessions(1);
        let problem = factory.prepare().await.unwrap_err();
        assert_eq!(problem.kind(), abyme_core::ErrorKind::Config);
        assert!(problem.to_string().contains(says), "{problem}");
    }
}
