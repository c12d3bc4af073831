//! What the functions do.

use super::*;

const fn error(error: Errno) -> u32 {
    error as u32
}

fn captured(head: &str, omitted_chars: u64, tail: &str) -> Option<CapturedOutput> {
    Some(CapturedOutput { head: head.into(), omitted_chars, tail: tail.into() })
}

#[tokio::test]
async fn files_are_written_and_read() {
    let mut guest = Guest::new().await;
    let fd = guest.open("work/a", CREATE, READ | WRITE, 0).await.unwrap();
    assert_eq!(fd, 4);
    assert_eq!(guest.write(fd, "hello world").await, Ok(11));
    assert_eq!(guest.read(fd, 5).await.unwrap(), "");
    assert_eq!(guest.seek(fd, -5, 1).await, Ok(6));
    assert_eq!(guest.read(fd, 50).await.unwrap(), "world");
    assert_eq!(guest.seek(fd, -11, 2).await, Ok(0));
    assert_eq!(guest.seek(fd, -1, 0).await, Err(error(Errno::Invalid)));
    assert_eq!(guest.seek(fd, i64::MIN, 1).await, Err(error(Errno::Invalid)));
    assert_eq!(guest.seek(fd, i64::MAX, 2).await, Err(error(Errno::Invalid)));
    assert_eq!(guest.seek(fd, 0, 3).await, Err(error(Errno::Invalid)));
    assert_eq!(guest.read(fd, 5).await.unwrap(), "hello");
    assert_eq!(guest.call("fd_tell", &[fd.into(), 24]).await, 0);
    assert_eq!(guest.u64(24), 5);
    guest.buffer(3);
    assert_eq!(guest.call("fd_pread", &[fd.into(), 0, 1, 6, 20]).await, 0);
    assert_eq!(guest.get(1000, 3), b"wor");
    assert_eq!(guest.call("fd_pwrite", &[fd.into(), 0, 1, 0, 20]).await, 0);
    assert_eq!(guest.call("fd_pread", &[fd.into(), 0, 1, -1, 20]).await, error(Errno::Invalid));
    assert_eq!(guest.seek(fd, 0, 0).await, Ok(0));
    assert_eq!(guest.read(fd, 50).await.unwrap(), "worlo world");
    assert_eq!(guest.read(fd, 0).await.unwrap(), "");
    assert_eq!(guest.write(fd, "").await, Ok(0));
    assert_eq!(guest.call("fd_filestat_set_size", &[fd.into(), 2]).await, 0);
    assert_eq!(guest.call("fd_filestat_get", &[fd.into(), 2000]).await, 0);
    assert_eq!((guest.get(2016, 1)[0], guest.u64(2032)), (4, 2));
    assert_eq!(guest.call("fd_allocate", &[fd.into(), 0, 10]).await, 0);
    assert_eq!(guest.call("fd_close", &[fd.into()]).await, 0);
    assert_eq!(guest.call("fd_close", &[fd.into()]).await, error(Errno::BadFile));
}

#[tokio::test]
async fn a_descriptor_does_what_it_was_opened_for() {
    let mut guest = Guest::new().await;
    let write = guest.open("work/a", CREATE, WRITE, 0).await.unwrap();
    let read = guest.open("work/a", 0, READ, 0).await.unwrap();
    let append = guest.open("work/a", 0, WRITE, 1).await.unwrap();
    let dir = guest.open("work", 0, READ, 0).await.unwrap();
    assert_eq!(guest.write(write, "ab").await, Ok(2));
    assert_eq!(guest.write(append, "cd").await, Ok(2));
    assert_eq!(guest.write(write, "X").await, Ok(1));
    assert_eq!(guest.write(append, "e").await, Ok(1));
    assert_eq!(guest.read(read, 50).await.unwrap(), "abXde");
    assert_eq!(guest.write(read, "x").await, Err(error(Errno::BadFile)));
    assert_eq!(guest.read(write, 1).await, Err(error(Errno::BadFile)));
    assert_eq!(guest.read(dir, 1).await, Err(error(Errno::IsDirectory)));
    assert_eq!(guest.seek(dir, 0, 0).await, Err(error(Errno::BadFile)));
    assert_eq!(guest.call("fd_filestat_set_size", &[read.into(), 0]).await, error(Errno::Invalid));
    assert_eq!(guest.call("fd_allocate", &[read.into(), 0, 9]).await, error(Errno::BadFile));
    assert_eq!(guest.call("fd_fdstat_set_flags", &[write.into(), 1]).await, 0);
    assert_eq!(guest.write(write, "f").await, Ok(1));
    assert_eq!(guest.read(read, 50).await.unwrap(), "f");
    assert_eq!(guest.call("fd_fdstat_set_flags", &[write.into(), 0x100]).await, error(Errno::Invalid));
    assert_eq!(guest.open("work", 0, READ | WRITE, 0).await, Err(error(Errno::IsDirectory)));
    assert_eq!(guest.open("lib/x", CREATE, WRITE, 0).await, Err(error(Errno::ReadOnly)));
    assert_eq!(guest.call("path_unlink_file", &[read.into(), 500, 1]).await, error(Errno::NotDirectory));
}

#[tokio::test]
async fn the_standard_streams_are_pipes() {
    let mut guest = Guest::new().await;
    assert_eq!(guest.read(0, 10).await.unwrap(), "");
    assert_eq!(guest.write(0, "x").await, Err(error(Errno::BadFile)));
    assert_eq!(guest.read(1, 10).await, Err(error(Errno::BadFile)));
    assert_eq!(guest.write(1, "out").await, Ok(3));
    assert_eq!(guest.write(1, "put").await, Ok(3));
    assert_eq!(guest.write(2, "é").await, Ok(2));
    assert_eq!(guest.seek(1, 0, 1).await, Err(error(Errno::NotSeekable)));
    let wasi = &mut guest.store.data_mut().wasi;
    assert_eq!(wasi.take_output(0), captured("output", 0, ""));
    assert_eq!(wasi.take_output(1), captured("é", 0, ""));
    assert_eq!(wasi.take_output(0), None);
    assert_eq!(wasi.take_output(2), None);
    wasi.set_output_window(1);
    guest.write(1, "abcde").await.unwrap();
    assert_eq!(guest.store.data_mut().wasi.take_output(0), captured("a", 3, "e"));
    for fd in 0..3 {
        assert_eq!(guest.call("fd_fdstat_get", &[fd, 2000]).await, 0);
        assert_eq!(guest.get(2000, 1), [0]);
        assert_eq!(guest.call("fd_filestat_get", &[fd, 2000]).await, 0);
        assert_eq!(guest.call("fd_sync", &[fd]).await, 0);
    }
    guest.call("fd_close", &[1]).await;
    assert_eq!(guest.write(1, "x").await, Err(error(Errno::BadFile)));
    assert_eq!(guest.open("work/a", CREATE, WRITE, 0).await, Ok(1));
}

#[tokio::test]
async fn the_root_is_found_and_stays() {
    let mut guest = Guest::new().await;
    assert_eq!(guest.call("fd_prestat_get", &[3, 2000]).await, 0);
    assert_eq!((guest.u32(2000), guest.u32(2004)), (0, 1));
    assert_eq!(guest.call("fd_prestat_dir_name", &[3, 2000, 1]).await, 0);
    assert_eq!(guest.get(2000, 1), b"/");
    assert_eq!(guest.call("fd_prestat_get", &[4, 2000]).await, error(Errno::BadFile));
    assert_eq!(guest.call("fd_prestat_get", &[2, 2000]).await, error(Errno::BadFile));
    assert_eq!(guest.call("fd_close", &[3]).await, error(Errno::NotSupported));
    assert_eq!(guest.call("fd_renumber", &[3, 1]).await, error(Errno::NotSupported));
    assert_eq!(guest.call("fd_renumber", &[1, 3]).await, error(Errno::NotSupported));
    assert_eq!(guest.call("fd_fdstat_get", &[3, 2000]).await, 0);
    assert_eq!(guest.get(2000, 1), [3]);
    assert_eq!(guest.u64(2016) & (READ | WRITE), READ | WRITE);
}

#[tokio::test]
async fn descriptors_are_limited_and_can_be_moved() {
    let mut guest = Guest::new().await;
    for expected in 4..256 {
        assert_eq!(guest.open("/work/a", CREATE, WRITE, 0).await, Ok(expected));
    }
    assert_eq!(guest.open("/work/b", CREATE, WRITE, 0).await, Err(error(Errno::TooManyFiles)));
    // It was not made either.
    assert_eq!(guest.call("path_unlink_file", &[3, 500, 7]).await, error(Errno::NotFound));
    assert_eq!(guest.call("fd_renumber", &[9, 7]).await, 0);
    assert_eq!(guest.write(9, "x").await, Err(error(Errno::BadFile)));
    assert_eq!(guest.write(7, "x").await, Ok(1));
    assert_eq!(guest.call("fd_renumber", &[7, 9]).await, error(Errno::BadFile));
    assert_eq!(guest.open("/work/b", CREATE, WRITE, 0).await, Ok(9));
}

#[tokio::test]
async fn directories_are_made_listed_and_removed() {
    let mut guest = Guest::new().await;
    guest.put(500, b"/work/dir");
    assert_eq!(guest.call("path_create_directory", &[3, 500, 9]).await, 0);
    assert_eq!(guest.call("path_create_directory", &[3, 500, 9]).await, error(Errno::Exists));
    let mut expected = vec![".".to_owned(), "..".into()];
    for index in 0..20 {
        let name = format!("{index}-{}", "n".repeat(index * 5));
        let fd = guest.open(&format!("work/dir/{name}"), CREATE, WRITE, 0).await.unwrap();
        guest.call("fd_close", &[fd.into()]).await;
        expected.push(name);
    }
    let dir = guest.open("work/dir", 2, READ, 0).await.unwrap();
    for size in [150, 1000, 60_000] {
        let (mut names, mut cookie) = (Vec::new(), 0);
        loop {
            assert_eq!(guest.call("fd_readdir", &[dir.into(), 4096, size, cookie, 20]).await, 0);
            let used = guest.u32(20) as usize;
            let mut at = 4096;
            while at + 24 <= 4096 + used {
                let len = guest.u32(at + 16) as usize;
                if at + 24 + len > 4096 + used {
                    break;
                }
                cookie = guest.u64(at) as i64;
                assert_eq!(guest.get(at + 20, 1)[0], if names.len() < 2 { 3 } else { 4 });
                names.push(String::from_utf8(guest.get(at + 24, len).to_vec()).unwrap());
                at += 24 + len;
            }
            if used < size as usize {
                break;
            }
        }
        assert_eq!(names, expected, "{size}");
    }
    assert_eq!(guest.call("fd_readdir", &[1, 4096, 100, 0, 20]).await, error(Errno::NotDirectory));
    guest.put(500, b"/work/dir");
    assert_eq!(guest.call("path_remove_directory", &[3, 500, 9]).await, error(Errno::NotEmpty));
    for name in &expected[2..] {
        guest.put(500, name.as_bytes());
        assert_eq!(guest.call("path_unlink_file", &[dir.into(), 500, name.len() as i64]).await, 0);
    }
    guest.put(500, b"/work/dir");
    assert_eq!(guest.call("path_remove_directory", &[3, 500, 9]).await, 0);
}

#[tokio::test]
async fn paths_are_renamed_looked_at_and_dated() {
    let mut guest = Guest::new().await;
    guest.open("/work/a", CREATE, WRITE, 0).await.unwrap();
    guest.put(500, b"/work/a/tmp/b");
    assert_eq!(guest.call("path_rename", &[3, 500, 7, 3, 507, 6]).await, 0);
    assert_eq!(guest.call("path_filestat_get", &[3, 1, 500, 7, 2000]).await, error(Errno::NotFound));
    assert_eq!(guest.call("path_filestat_set_times", &[3, 1, 507, 6, 5, 7, 1 | 4]).await, 0);
    assert_eq!(guest.call("path_filestat_get", &[3, 1, 507, 6, 2000]).await, 0);
    assert_eq!((guest.u64(2040), guest.u64(2048)), (5, 7));
    assert_eq!(guest.call("path_filestat_set_times", &[3, 1, 507, 6, 5, 7, 2]).await, 0);
    assert_eq!(guest.call("path_filestat_get", &[3, 0, 507, 6, 2000]).await, 0);
    assert!(guest.u64(2040) > 7 && guest.u64(2048) == 7);
    assert_eq!(guest.call("path_filestat_set_times", &[3, 1, 507, 6, 5, 7, 3]).await, error(Errno::Invalid));
    assert_eq!(guest.call("path_readlink", &[3, 507, 6, 2000, 50, 20]).await, error(Errno::Invalid));
    assert_eq!(guest.call("path_symlink", &[507, 6, 3, 500, 7]).await, error(Errno::NotPermitted));
    assert_eq!(guest.call("path_link", &[3, 0, 507, 6, 3, 500, 7]).await, error(Errno::NotPermitted));
}

#[tokio::test]
async fn what_there_is_nothing_of() {
    let mut guest = Guest::new().await;
    for name in ["args_sizes_get", "environ_sizes_get"] {
        guest.put(2000, &[7; 8]);
        assert_eq!(guest.call(name, &[2000, 2004]).await, 0);
        assert_eq!((guest.u32(2000), guest.u32(2004)), (0, 0));
    }
    assert_eq!(guest.call("args_get", &[2000, 2004]).await, 0);
    assert_eq!(guest.call("environ_get", &[2000, 2004]).await, 0);
    assert_eq!(guest.call("proc_raise", &[2]).await, error(Errno::NoSystemCall));
    assert_eq!(guest.call("sock_shutdown", &[3, 0]).await, error(Errno::NotSocket));
    assert_eq!(guest.call("sock_accept", &[9, 0, 20]).await, error(Errno::BadFile));
    assert_eq!(guest.call("sched_yield", &[]).await, 0);
    let exit = guest.try_call("proc_exit", &[3]).await.unwrap_err();
    assert_eq!(exit.downcast_ref::<GuestExit>(), Some(&GuestExit(3)));
}

#[tokio::test]
async fn clocks_go_and_random_bytes_are_random() {
    let mut guest = Guest::new().await;
    for id in 0..4 {
        assert_eq!(guest.call("clock_res_get", &[id, 24]).await, 0);
        assert_eq!(guest.call("clock_time_get", &[id, 1, 24]).await, 0);
        let first = guest.u64(24);
        assert_eq!(guest.call("clock_time_get", &[id, 1, 24]).await, 0);
        assert!(guest.u64(24) >= first && first >= 1_000_000_000);
    }
    assert_eq!(guest.call("clock_time_get", &[4, 1, 24]).await, error(Errno::Invalid));
    assert_eq!(guest.call("random_get", &[2000, 32]).await, 0);
    let first = guest.get(2000, 32).to_vec();
    assert_eq!(guest.call("random_get", &[2000, 32]).await, 0);
    assert_ne!(guest.get(2000, 32), first);
    assert_eq!(guest.call("random_get", &[0, 2 << 16]).await, 0);
    assert_eq!(guest.call("random_get", &[1, 2 << 16]).await, error(Errno::Fault));
    assert_eq!(guest.call("random_get", &[0, -1]).await, error(Errno::Fault));
}

#[tokio::test]
async fn a_checkpoint_brings_back_open_files() {
    let mut guest = Guest::new().await;
    let kept = guest.open("/work/a", CREATE, READ | WRITE, 0).await.unwrap();
    guest.write(kept, "hello").await.unwrap();
    guest.seek(kept, 2, 0).await.unwrap();
    let removed = guest.open("/tmp/t", CREATE, READ | WRITE, 0).await.unwrap();
    guest.write(removed, "temporary").await.unwrap();
    guest.seek(removed, 0, 0).await.unwrap();
    guest.put(500, b"/tmp/t");
    guest.call("path_unlink_file", &[3, 500, 6]).await;
    guest.call("fd_close", &[2]).await;
    let checkpoint = guest.store.data().wasi.checkpoint();
    let bytes = checkpoint.to_bytes().unwrap();

    guest.write(kept, "XXXXXXX").await.unwrap();
    guest.call("fd_close", &[removed.into()]).await;
    guest.open("/work/other", CREATE, WRITE, 0).await.unwrap();
    let mut other = Guest::new().await;
    other.store.data_mut().wasi.restore(&WasiCheckpoint::from_bytes(&bytes).unwrap());
    guest.store.data_mut().wasi.restore(&checkpoint);
    for mut guest in [guest, other] {
        assert_eq!(guest.read(kept, 50).await.unwrap(), "llo");
        assert_eq!(guest.read(removed, 50).await.unwrap(), "temporary");
        assert_eq!(guest.store.data().wasi.files.used(), 14);
        assert_eq!(guest.call("fd_close", &[removed.into()]).await, 0);
        assert_eq!(guest.store.data().wasi.files.used(), 5);
        assert_eq!(guest.write(2, "x").await, Err(error(Errno::BadFile)));
        guest.put(500, b"/work/other");
        assert_eq!(guest.call("path_filestat_get", &[3, 1, 500, 11, 2000]).await, error(Errno::NotFound));
        assert_eq!(guest.call("clock_time_get", &[1, 1, 24]).await, 0);
        assert!(guest.u64(24) >= checkpoint.monotonic);
    }
    assert!(WasiCheckpoint::from_bytes(&bytes[..bytes.len() / 2]).is_err());
    assert!(WasiCheckpoint::from_bytes(&[]).is_err());
}
