//! The private area: the quota, files that were removed while open, listings under change.

use super::*;

#[test]
fn the_quota_is_for_all_files_together() {
    let mut fs = Fs::with(Quota { max_bytes: 100, max_inodes: 50 }, &[]);
    fs.put("/tmp/a", &"x".repeat(60)).unwrap();
    let node = fs.open("/work/b", CREATE).unwrap();
    assert_eq!(fs.0.write_at(&node, 0, &[1; 60]), Ok(40));
    assert_eq!(fs.0.write_at(&node, 40, &[1; 1]), Err(Errno::NoSpace));
    assert_eq!(fs.0.write_at(&node, 40, &[]), Ok(0));
    assert_eq!(fs.0.write_at(&node, 10, &[1; 30]), Ok(30));
    assert_eq!(fs.0.used(), 100);
    fs.unlink("/tmp/a").unwrap();
    assert_eq!(fs.0.used(), 40);
    assert_eq!(fs.0.write_at(&node, 40, &[1; 60]), Ok(60));
    fs.0.set_len(&node, 10).unwrap();
    assert_eq!(fs.0.used(), 10);
    assert_eq!(fs.0.set_len(&node, 101), Err(Errno::NoSpace));
    assert_eq!(fs.0.allocate(&node, 50, 51), Err(Errno::NoSpace));
    assert_eq!(fs.0.allocate(&node, 50, 50), Ok(()));
    assert_eq!(fs.0.allocate(&node, 0, 5), Ok(()));
    assert_eq!(fs.0.allocate(&node, 0, 0), Err(Errno::Invalid));
    assert_eq!(fs.0.stat(&node).unwrap().size, 100);
}

#[test]
fn a_write_far_away_is_refused_and_not_allocated() {
    let mut fs = Fs::new();
    let node = fs.open("/work/b", CREATE).unwrap();
    assert_eq!(fs.0.write_at(&node, 1 << 40, b"x"), Err(Errno::NoSpace));
    assert_eq!(fs.0.set_len(&node, 1 << 40), Err(Errno::NoSpace));
    for offset in [i64::MAX as u64, u64::MAX - 1, u64::MAX] {
        assert_eq!(fs.0.write_at(&node, offset, b"xy"), Err(Errno::FileTooBig));
    }
    assert_eq!(fs.0.set_len(&node, u64::MAX), Err(Errno::FileTooBig));
    assert_eq!(fs.0.allocate(&node, u64::MAX, 2), Err(Errno::FileTooBig));
    assert_eq!(fs.0.used(), 0);
    // Within the quota, a hole counts like any bytes.
    assert_eq!(fs.0.write_at(&node, 1000, b"x"), Ok(1));
    assert_eq!(fs.0.used(), 1001);
}

#[test]
fn inodes_are_limited() {
    let mut fs = Fs::with(Quota { max_bytes: 100, max_inodes: 5 }, &[]);
    fs.put("/tmp/a", "").unwrap();
    fs.put("/tmp/b", "").unwrap();
    fs.mkdir("/tmp/c").unwrap();
    assert_eq!(fs.put("/tmp/d", ""), Err(Errno::NoSpace));
    assert_eq!(fs.mkdir("/tmp/d"), Err(Errno::NoSpace));
    let node = fs.open("/tmp/a", READ).unwrap();
    fs.unlink("/tmp/a").unwrap();
    assert_eq!(fs.put("/tmp/d", ""), Err(Errno::NoSpace));
    fs.0.close(&node);
    assert_eq!(fs.put("/tmp/d", ""), Ok(()));
}

#[test]
fn depth_is_limited_even_step_by_step() {
    let mut fs = Fs::with(Quota { max_bytes: 0, max_inodes: 1000 }, &[]);
    let mut at = fs.open("/work", READ).unwrap();
    let mut depth = 0;
    let error = loop {
        if let Err(error) = fs.0.create_directory(&at, "d") {
            break error;
        }
        depth += 1;
        let (next, _) = fs.0.open(&at, "d", READ).unwrap();
        fs.0.close(&at);
        at = next;
    };
    assert_eq!((error, depth), (Errno::NameTooLong, 127));
    fs.mkdir("/tmp/x").unwrap();
    fs.mkdir("/tmp/x/y").unwrap();
    let root = fs.0.root();
    let (above, _) = fs.0.open(&at, "..", READ).unwrap();
    assert_eq!(fs.0.rename((&root, "/tmp/x"), (&above, "x")), Err(Errno::NameTooLong));
    assert_eq!(fs.0.rename((&root, "/tmp/x/y"), (&above, "y")), Ok(()));
}

#[test]
fn a_file_removed_while_open_stays_until_it_is_closed() {
    let mut fs = Fs::new();
    let one = fs.open("/tmp/t", CREATE).unwrap();
    let two = fs.open("/tmp/t", READ).unwrap();
    fs.0.write_at(&one, 0, b"hello").unwrap();
    fs.unlink("/tmp/t").unwrap();
    assert_eq!(fs.stat("/tmp/t").unwrap_err(), Errno::NotFound);
    fs.0.write_at(&one, 5, b" you").unwrap();
    assert_eq!(fs.read(&two).unwrap(), "hello you");
    assert_eq!(fs.0.stat(&two).unwrap().links, 0);
    fs.0.close(&one);
    assert_eq!(fs.0.used(), 9);
    fs.0.close(&two);
    assert_eq!(fs.0.used(), 0);
}

#[test]
fn a_file_renamed_over_stays_for_those_who_have_it() {
    let mut fs = Fs::new();
    fs.put("/tmp/old", "old").unwrap();
    fs.put("/tmp/new", "new").unwrap();
    let node = fs.open("/tmp/old", READ).unwrap();
    fs.rename("/tmp/new", "/tmp/old").unwrap();
    assert_eq!(fs.read(&node).unwrap(), "old");
    assert_eq!(fs.get("/tmp/old").unwrap(), "new");
    assert_eq!(fs.0.used(), 6);
    fs.0.close(&node);
    assert_eq!(fs.0.used(), 3);
}

#[test]
fn nothing_can_be_made_in_a_removed_directory() {
    let mut fs = Fs::new();
    fs.mkdir("/tmp/d").unwrap();
    let node = fs.open("/tmp/d", READ).unwrap();
    fs.rmdir("/tmp/d").unwrap();
    assert_eq!(fs.0.open(&node, "x", CREATE).unwrap_err(), Errno::NotFound);
    assert_eq!(fs.0.create_directory(&node, "x"), Err(Errno::NotFound));
    fs.put("/tmp/f", "").unwrap();
    let root = fs.0.root();
    assert_eq!(fs.0.rename((&root, "/tmp/f"), (&node, "x")), Err(Errno::NotFound));
    let mut names = Vec::new();
    fs.0.list(&node, 0, &mut |entry| {
        names.push(entry.name.to_owned());
        true
    })
    .unwrap();
    assert_eq!(names, [".", ".."]);
    fs.0.close(&node);
}

#[test]
fn a_listing_goes_on_while_entries_are_removed() {
    let mut fs = Fs::with(Quota { max_bytes: 0, max_inodes: 1000 }, &[]);
    for index in 0..300 {
        fs.put(&format!("/tmp/{index}"), "").unwrap();
    }
    let node = fs.open("/tmp", READ).unwrap();
    let (mut cookie, mut removed) = (0, Vec::new());
    loop {
        let mut batch = Vec::new();
        fs.0.list(&node, cookie, &mut |entry| {
            batch.push((entry.name.to_owned(), entry.next));
            batch.len() < 7
        })
        .unwrap();
        let Some((_, next)) = batch.last() else { break };
        cookie = *next;
        for (name, _) in batch {
            if !name.starts_with('.') {
                fs.unlink(&format!("/tmp/{name}")).unwrap();
                removed.push(name);
            }
        }
    }
    assert_eq!(removed.len(), 300);
    assert!(fs.names("/tmp").unwrap().is_empty());
}

#[test]
fn listings_of_every_part_can_be_taken_up_anywhere() {
    let mut fs = Fs::new();
    for name in ["a", "b", "c"] {
        fs.mkdir(&format!("/work/{name}")).unwrap();
    }
    for path in ["/", "/work", "/lib/python3.13", "/dev"] {
        let node = fs.open(path, READ).unwrap();
        let mut whole = Vec::new();
        fs.0.list(&node, 0, &mut |entry| {
            whole.push((entry.name.to_owned(), entry.next));
            true
        })
        .unwrap();
        for (index, (_, next)) in whole.iter().enumerate() {
            let mut rest = Vec::new();
            fs.0.list(&node, *next, &mut |entry| {
                rest.push(entry.name.to_owned());
                true
            })
            .unwrap();
            let expected: Vec<_> = whole[index + 1..].iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(rest, expected, "{path}");
        }
        fs.0.list(&node, u64::MAX, &mut |_| panic!("there is nothing at the end")).unwrap();
    }
    let file = fs.open("/lib/python3.13/os.py", READ).unwrap();
    assert_eq!(fs.0.list(&file, 0, &mut |_| true), Err(Errno::NotDirectory));
}

#[test]
fn inode_numbers_agree_with_listings() {
    let mut fs = Fs::new();
    fs.mkdir("/work/d").unwrap();
    for path in ["/work", "/lib", "/lib/python3.13", "/"] {
        let node = fs.open(path, READ).unwrap();
        let mut entries = Vec::new();
        fs.0.list(&node, 0, &mut |entry| {
            entries.push((entry.name.to_owned(), entry.ino, entry.kind));
            true
        })
        .unwrap();
        for (name, ino, kind) in entries {
            let stat = fs.stat(&format!("{path}/{name}")).unwrap();
            assert_eq!((stat.ino, stat.kind), (ino, kind), "{path}/{name}");
        }
    }
}

#[test]
fn times_are_kept() {
    let mut fs = Fs::new();
    fs.put("/work/f", "x").unwrap();
    let root = fs.0.root();
    fs.0.set_times_path(&root, "/work/f", true, NewTimes { accessed: Some(5), modified: None }).unwrap();
    let before = fs.stat("/work/f").unwrap();
    assert_eq!(before.accessed, 5);
    assert!(before.modified > 1_600_000_000_000_000_000);
    fs.0.set_times_path(&root, "/work/f", true, NewTimes { accessed: None, modified: Some(7) }).unwrap();
    assert_eq!((fs.stat("/work/f").unwrap().accessed, fs.stat("/work/f").unwrap().modified), (5, 7));
    fs.0.set_times_path(&root, "/work", true, NewTimes { accessed: None, modified: Some(7) }).unwrap();
    fs.put("/work/g", "").unwrap();
    assert!(fs.stat("/work").unwrap().modified > 7);
    fs.get("/work/f").unwrap();
    assert_eq!(fs.stat("/work/f").unwrap().modified, 7);
    fs.put("/work/f", "y").unwrap();
    assert!(fs.stat("/work/f").unwrap().modified > 7);
}
