//! Mounts: seen where they are, read-only, and nothing beside them.

use std::fs;

use super::{mount::OpenMount, *};

fn mounted(points: &[(&str, &std::path::Path)]) -> Fs {
    let points: Vec<Mount> =
        points.iter().map(|(guest, host)| Mount { guest: (*guest).into(), host: host.into() }).collect();
    Fs::with(Quota::default(), &points)
}

fn host() -> tempfile::TempDir {
    let host = tempfile::tempdir().unwrap();
    fs::write(host.path().join("secret"), "secret").unwrap();
    fs::create_dir_all(host.path().join("data/sub")).unwrap();
    fs::write(host.path().join("data/a.txt"), "text").unwrap();
    fs::write(host.path().join("data/sub/b.txt"), "more").unwrap();
    host
}

#[test]
fn directories_and_files_are_seen_where_they_were_mounted() {
    let host = host();
    let mut fs =
        mounted(&[("/data/", &host.path().join("data")), ("/mnt/x/one", &host.path().join("data/a.txt"))]);
    assert_eq!(fs.names("/").unwrap(), ["data", "dev", "lib", "mnt", "tmp", "work"]);
    assert_eq!(fs.names("/mnt").unwrap(), ["x"]);
    assert_eq!(fs.names("/mnt/x").unwrap(), ["one"]);
    assert_eq!(fs.names("/data").unwrap(), ["a.txt", "sub"]);
    assert_eq!(fs.names("/data/sub/").unwrap(), ["b.txt"]);
    assert_eq!(fs.get("/data/a.txt").unwrap(), "text");
    assert_eq!(fs.get("/data/sub/../sub/./b.txt").unwrap(), "more");
    assert_eq!(fs.get("/mnt/x/one").unwrap(), "text");
    assert_eq!(fs.get("/mnt/x/../../data/sub/../../mnt/x/one").unwrap(), "text");
    assert_eq!(fs.stat("/data/a.txt").unwrap().size, 4);
    assert_eq!(fs.stat("/mnt/x/one/").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/mnt/x/one/a").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/data/a.txt/..").unwrap_err(), Errno::NotDirectory);
    assert_eq!(fs.stat("/data/none").unwrap_err(), Errno::NotFound);
    assert_eq!(fs.stat("/data/none/..").unwrap_err(), Errno::NotFound);
    let node = fs.open("/data/sub", READ).unwrap();
    assert_eq!(fs.0.stat_path(&node, "b.txt", true).unwrap().size, 4);
    assert_eq!(fs.0.stat_path(&node, "../a.txt", true).unwrap().size, 4);
    assert_eq!(fs.read(&node).unwrap_err(), Errno::IsDirectory);
}

#[test]
fn nothing_of_a_mount_can_be_changed() {
    let host = host();
    let mut fs = mounted(&[("/data", &host.path().join("data")), ("/one", &host.path().join("data/a.txt"))]);
    for path in ["/data/a.txt", "/one"] {
        assert_eq!(fs.put(path, "x"), Err(Errno::ReadOnly), "{path}");
        assert_eq!(fs.open(path, OpenOptions { truncate: true, ..READ }).unwrap_err(), Errno::ReadOnly);
        assert_eq!(fs.unlink(path), Err(Errno::ReadOnly), "{path}");
        assert_eq!(fs.mkdir(path), Err(Errno::Exists), "{path}");
        assert_eq!(fs.rename(path, "/work/x"), Err(Errno::CrossDevice), "{path}");
        fs.put("/work/y", "").unwrap();
        assert_eq!(fs.rename("/work/y", path), Err(Errno::CrossDevice), "{path}");
    }
    assert_eq!(fs.put("/data/new", "x"), Err(Errno::ReadOnly));
    assert_eq!(fs.put("/data/none/new", "x"), Err(Errno::NotFound));
    assert_eq!(fs.mkdir("/data/new"), Err(Errno::ReadOnly));
    assert_eq!(fs.mkdir("/data/none/new"), Err(Errno::NotFound));
    assert_eq!(fs.rmdir("/data/sub"), Err(Errno::ReadOnly));
    assert_eq!(fs.rmdir("/data"), Err(Errno::Busy));
    assert_eq!(fs.unlink("/data/none"), Err(Errno::NotFound));
    assert_eq!(fs.rename("/data/a.txt", "/data/b.txt"), Err(Errno::ReadOnly));
    let root = fs.0.root();
    assert_eq!(fs.0.set_times_path(&root, "/one", true, NewTimes::default()), Err(Errno::ReadOnly));
    assert_eq!(fs::read_to_string(host.path().join("data/a.txt")).unwrap(), "text");
}

#[cfg(unix)]
#[test]
fn links_lead_nowhere_else() {
    use std::os::unix::fs::symlink;

    let host = host();
    let data = host.path().join("data");
    symlink("../secret", data.join("up")).unwrap();
    symlink(host.path().join("secret"), data.join("absolute")).unwrap();
    symlink("..", data.join("above")).unwrap();
    symlink("a.txt", data.join("inside")).unwrap();
    symlink("sub", data.join("dir")).unwrap();
    symlink("none", data.join("dangling")).unwrap();
    symlink("loop", data.join("loop")).unwrap();
    let mut fs = mounted(&[("/data", &data), ("/linked", &data.join("inside"))]);
    for path in
        ["/data/up", "/data/absolute", "/data/above/secret", "/data/dir/../../secret", "/data/../secret"]
    {
        assert!(matches!(fs.get(path), Err(Errno::Access | Errno::NotFound)), "{path}: {:?}", fs.get(path));
        assert!(fs.stat(path).is_err(), "{path}");
    }
    assert!(fs.names("/data/above").is_err());
    assert!(fs.get("/data/loop").is_err());
    assert_eq!(fs.get("/data/inside").unwrap(), "text");
    assert_eq!(fs.get("/linked").unwrap(), "text");
    assert_eq!(fs.get("/data/dir/b.txt").unwrap(), "more");
    assert_eq!(fs.get("/data/dir/../a.txt").unwrap(), "text");
    assert_eq!(fs.put("/data/dangling", "x"), Err(Errno::ReadOnly));

    let root = fs.0.root();
    assert_eq!(fs.0.stat_path(&root, "/data/inside", false).unwrap().kind, Kind::Symlink);
    assert_eq!(fs.0.stat_path(&root, "/data/inside", true).unwrap().kind, Kind::File);
    assert_eq!(fs.0.read_link(&root, "/data/inside").unwrap(), "a.txt");
    assert_eq!(fs.0.read_link(&root, "/data/a.txt"), Err(Errno::Invalid));
    assert!(fs.0.read_link(&root, "/data/absolute").is_err());
    assert_eq!(fs.open("/data/inside", OpenOptions { follow: false, ..READ }).unwrap_err(), Errno::Loop);
}

#[cfg(unix)]
#[test]
fn what_is_neither_file_nor_directory_is_seen_but_not_opened() {
    let host = host();
    let _socket = std::os::unix::net::UnixListener::bind(host.path().join("data/socket")).unwrap();
    let mut fs = mounted(&[("/data", &host.path().join("data"))]);
    assert_eq!(fs.kind("/data/socket"), Ok(Kind::Unknown));
    assert_eq!(fs.get("/data/socket"), Err(Errno::Access));
    let socket = Mount { guest: "/s".into(), host: host.path().join("data/socket") };
    assert!(OpenMount::open_all(&[socket]).unwrap_err().ends_with("it is neither a file nor a directory"));
}

#[test]
fn large_files_are_read_piece_by_piece_and_by_several() {
    let host = host();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| (index % 251) as u8).collect();
    fs::write(host.path().join("data/big"), &bytes).unwrap();
    let mut fs = mounted(&[("/data", &host.path().join("data"))]);
    let one = fs.open("/data/big", READ).unwrap();
    let two = one.clone();
    let mut read = Vec::new();
    let mut buffer = vec![0; 2 << 20];
    while let count @ 1.. = fs.0.read_at(&one, read.len() as u64, &mut buffer).unwrap() {
        read.extend_from_slice(&buffer[..count]);
        fs.0.read_at(&two, 5, &mut [0; 10]).unwrap();
    }
    assert!(read == bytes);
    // A descriptor reads what it opened, as everywhere.
    fs::remove_file(host.path().join("data/big")).unwrap();
    assert_eq!(fs.0.read_at(&one, 0, &mut [0; 10]), Ok(10));
}

#[test]
fn a_listing_does_not_change_while_it_is_read() {
    let host = host();
    let mut fs = mounted(&[("/data", &host.path().join("data"))]);
    let node = fs.open("/data", READ).unwrap();
    let mut next = 0;
    fs.0.list(&node, 0, &mut |entry| {
        next = entry.next;
        entry.name != "a.txt"
    })
    .unwrap();
    fs::write(host.path().join("data/a.aaa"), "").unwrap();
    let mut rest = Vec::new();
    fs.0.list(&node, next, &mut |entry| {
        rest.push(entry.name.to_owned());
        true
    })
    .unwrap();
    assert_eq!(rest, ["sub"]);
    assert_eq!(fs.names("/data").unwrap(), ["a.aaa", "a.txt", "sub"]);
}

#[test]
fn open_ones_are_found_again() {
    let host = host();
    let mut fs = mounted(&[("/data", &host.path().join("data"))]);
    let node = fs.open("/data/sub/b.txt", READ).unwrap();
    let references = [fs.0.reference(&node)];
    let saved = fs.0.checkpoint();
    let nodes = fs.0.restore(&saved, &references);
    assert_eq!(fs.read(nodes[0].as_ref().unwrap()).unwrap(), "more");
    let mut without = Fs::new();
    assert!(without.0.restore(&saved, &references)[0].is_none());
}
