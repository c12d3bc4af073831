//! Copies, checkpoints, and what comes back from bytes.

use std::time::Instant;

use super::*;

#[test]
fn a_clone_goes_its_own_way() {
    let mut fs = Fs::new();
    fs.put("/work/a", "one").unwrap();
    let mut copy = Fs(fs.0.clone());
    copy.put("/work/a", "two").unwrap();
    copy.put("/work/b", "new").unwrap();
    fs.unlink("/work/a").unwrap();
    assert_eq!(copy.get("/work/a").unwrap(), "two");
    assert!(fs.names("/work").unwrap().is_empty());
    assert_eq!((fs.0.used(), copy.0.used()), (0, 6));
}

#[test]
fn a_large_file_is_not_copied() {
    let mut fs = Fs::with(Quota { max_bytes: 1 << 30, max_inodes: 50 }, &[]);
    let node = fs.open("/work/a", CREATE).unwrap();
    let chunk = vec![7; 1 << 20];
    for index in 0..64 {
        fs.0.write_at(&node, index << 20, &chunk).unwrap();
    }
    // A thousand copies of 64 MB, each written to once: 64 GB, were they real ones.
    let start = Instant::now();
    let copies: Vec<FileSystem> = (0..1000)
        .map(|index| {
            let mut copy = fs.0.clone();
            copy.write_at(&node, index << 10, b"x").unwrap();
            copy
        })
        .collect();
    eprintln!("{} copies in {:?}", copies.len(), start.elapsed());
    assert!(copies.iter().all(|copy| copy.used() == 64 << 20));
}

#[test]
fn what_was_saved_comes_back_with_open_files() {
    let mut fs = Fs::new();
    fs.mkdir("/work/d").unwrap();
    fs.put("/work/d/f", "kept").unwrap();
    let removed = fs.open("/tmp/t", CREATE).unwrap();
    fs.0.write_at(&removed, 0, b"removed").unwrap();
    fs.unlink("/tmp/t").unwrap();
    let archive = fs.open("/lib/python3.13/os.py", READ).unwrap();
    let dir = fs.open("/work/d", READ).unwrap();
    let open: Vec<NodeReference> =
        [&removed, &archive, &dir].iter().map(|node| fs.0.reference(node)).collect();
    let saved = fs.0.checkpoint();
    let bytes = postcard::to_allocvec(&(&saved, &open)).unwrap();

    fs.put("/work/d/f", "changed").unwrap();
    fs.0.close(&removed);
    fs.put("/work/new", "").unwrap();

    let (read, references): (FilesCheckpoint, Vec<NodeReference>) = postcard::from_bytes(&bytes).unwrap();
    assert_eq!(references, open);
    let mut other = Fs::new();
    let from_bytes = other.0.restore(&read, &references);
    let in_memory = fs.0.restore(&saved, &open);
    for (fs, nodes) in [(&mut fs, in_memory), (&mut other, from_bytes)] {
        let nodes: Vec<Node> = nodes.into_iter().map(Option::unwrap).collect();
        assert_eq!(fs.get("/work/d/f").unwrap(), "kept");
        assert_eq!(fs.names("/work").unwrap(), ["d"]);
        assert_eq!(fs.read(&nodes[0]).unwrap(), "removed");
        assert_eq!(fs.read(&nodes[1]).unwrap(), "import abc\n");
        assert_eq!(fs.0.stat_path(&nodes[2], "f", true).unwrap().size, 4);
        assert_eq!(fs.0.used(), 11);
        fs.0.close(&nodes[0]);
        assert_eq!(fs.0.used(), 4);
        fs.put("/work/later", "").unwrap();
    }
}

#[test]
fn what_nobody_has_open_is_not_restored() {
    let mut fs = Fs::new();
    let node = fs.open("/tmp/t", CREATE).unwrap();
    fs.0.write_at(&node, 0, b"removed").unwrap();
    fs.unlink("/tmp/t").unwrap();
    let saved = fs.0.checkpoint();
    fs.0.restore(&saved, &[]);
    assert_eq!(fs.0.used(), 0);
    let nodes =
        fs.0.restore(&saved, &[NodeReference::Path("/none/x".into()), NodeReference::Private(Ino(99))]);
    assert!(nodes.iter().all(Option::is_none));
}

#[test]
fn damaged_bytes_are_refused_or_harmless() {
    let mut fs = Fs::new();
    fs.mkdir("/work/d").unwrap();
    fs.put("/work/d/f", "kept").unwrap();
    fs.put("/work/d/g", "kept").unwrap();
    let bytes = postcard::to_allocvec(&fs.0.checkpoint()).unwrap();
    assert!(postcard::from_bytes::<FilesCheckpoint>(&bytes).is_ok());
    let mut refused = 0;
    for index in 0..bytes.len() {
        for bit in 0..8 {
            let mut damaged = bytes.clone();
            damaged[index] ^= 1 << bit;
            match postcard::from_bytes::<FilesCheckpoint>(&damaged) {
                Err(_) => refused += 1,
                Ok(saved) => {
                    let mut other = Fs::new();
                    other.0.restore(&saved, &[]);
                    for path in ["/work", "/tmp"] {
                        for name in other.names(path).unwrap() {
                            let _ = other.names(&format!("{path}/{name}"));
                        }
                    }
                    let _ = other.get("/work/d/f");
                    let _ = other.rename("/work/d", "/tmp/e");
                    other.put("/work/x", "x").unwrap();
                }
            }
        }
        assert!(postcard::from_bytes::<FilesCheckpoint>(&bytes[..index]).is_err());
    }
    assert!(refused > 100, "{refused}");
}
