//! Random operations, side by side with a real file system: the same results, the same errors, the same
//! files.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Open(String, bool, bool, bool, bool),
    Close(usize),
    Write(usize, u16, Vec<u8>),
    Read(usize, u16),
    SetLen(usize, u16),
    MakeDir(String),
    RemoveDir(String),
    RemoveFile(String),
    Rename(String, String),
    Stat(String),
    List(String),
}

fn path() -> impl Strategy<Value = String> {
    // `..` only ever after a name, so that no path leaves the directory both sides have in common.
    let step = prop::sample::select(vec!["a", "b", "c", "a", "b", ".", "a/..", "b/.."]);
    (prop::collection::vec(step, 1..4), prop::sample::select(vec!["", "", "", "/", "/."]))
        .prop_map(|(steps, end)| steps.join("/") + end)
}

fn op() -> impl Strategy<Value = Op> {
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (path(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>())
            .prop_map(|(path, write, create, new, cut)| Op::Open(path, write, create, new, cut)),
        1 => (0..4_usize).prop_map(Op::Close),
        3 => (0..4_usize, 0..200_u16, bytes).prop_map(|(which, at, bytes)| Op::Write(which, at, bytes)),
        2 => (0..4_usize, 0..200_u16).prop_map(|(which, at)| Op::Read(which, at)),
        1 => (0..4_usize, 0..300_u16).prop_map(|(which, len)| Op::SetLen(which, len)),
        3 => path().prop_map(Op::MakeDir),
        2 => path().prop_map(Op::RemoveDir),
        2 => path().prop_map(Op::RemoveFile),
        4 => (path(), path()).prop_map(|(from, to)| Op::Rename(from, to)),
        1 => path().prop_map(Op::Stat),
        1 => path().prop_map(Op::List),
    ]
}

/// The number of Linux, as ours.
fn errno(error: &io::Error) -> Errno {
    match error.raw_os_error() {
        Some(2) => Errno::NotFound,
        Some(16) => Errno::Busy,
        Some(17) => Errno::Exists,
        Some(20) => Errno::NotDirectory,
        Some(21) => Errno::IsDirectory,
        Some(22) => Errno::Invalid,
        Some(39) => Errno::NotEmpty,
        _ => panic!("not expected: {error}"),
    }
}

struct Both {
    ours: Fs,
    real: PathBuf,
    open: Vec<Option<(Node, File, bool)>>,
}

impl Both {
    fn step(&mut self, op: &Op) -> (Result<String, Errno>, Result<String, Errno>) {
        let (ours, real) = self.apply(op);
        (ours, real.map_err(|error| errno(&error)))
    }

    fn apply(&mut self, op: &Op) -> (Result<String, Errno>, io::Result<String>) {
        let done = |()| String::new();
        let here = |path: &str| format!("/work/{path}");
        let there = |path: &str| PathBuf::from(format!("{}/{path}", self.real.display()));
        match op {
            Op::Open(path, write, create, new, cut) => {
                // The standard library refuses to create or cut what is not to be written.
                let (create, new, cut) = (create & write, new & write & create, cut & write);
                let options = OpenOptions { write: *write, create, exclusive: new, truncate: cut, ..READ };
                let ours = self.ours.open(&here(path), options);
                let mut real = fs::OpenOptions::new();
                real.read(true).write(*write).create(create).create_new(new).truncate(cut);
                // With `create_new` the standard library leaves the others out.
                let real = real.open(there(path));
                match (ours, real) {
                    (Ok(node), Ok(file)) => {
                        let is_file = file.metadata().unwrap().is_file();
                        if self.open.len() < 4 && is_file {
                            self.open.push(Some((node, file, *write)));
                        } else {
                            self.ours.0.close(&node);
                        }
                        (Ok(String::new()), Ok(String::new()))
                    }
                    (ours, real) => (ours.map(|_| "opened".into()), real.map(|_| "opened".into())),
                }
            }
            Op::Close(which) => {
                if let Some((node, _, _)) = self.open.get_mut(*which).and_then(Option::take) {
                    self.ours.0.close(&node);
                }
                self.open.retain(Option::is_some);
                (Ok(String::new()), Ok(String::new()))
            }
            Op::Write(which, at, bytes) => match self.open.get_mut(*which) {
                Some(Some((node, file, true))) => (
                    self.ours.0.write_at(node, u64::from(*at), bytes).map(|count| count.to_string()),
                    file.seek(SeekFrom::Start(u64::from(*at)))
                        .and_then(|_| file.write(bytes))
                        .map(|count| count.to_string()),
                ),
                _ => (Ok(String::new()), Ok(String::new())),
            },
            Op::Read(which, at) => match self.open.get_mut(*which) {
                Some(Some((node, file, _))) => {
                    let (mut one, mut two) = ([7; 50], [7; 50]);
                    let count = self.ours.0.read_at(node, u64::from(*at), &mut one);
                    let real = file.seek(SeekFrom::Start(u64::from(*at))).and_then(|_| file.read(&mut two));
                    (
                        count.map(|count| format!("{count} {one:?}")),
                        real.map(|count| format!("{count} {two:?}")),
                    )
                }
                _ => (Ok(String::new()), Ok(String::new())),
            },
            Op::SetLen(which, len) => match self.open.get_mut(*which) {
                Some(Some((node, file, true))) => (
                    self.ours.0.set_len(node, u64::from(*len)).map(done),
                    file.set_len(u64::from(*len)).map(done),
                ),
                _ => (Ok(String::new()), Ok(String::new())),
            },
            Op::MakeDir(path) => {
                (self.ours.mkdir(&here(path)).map(done), fs::create_dir(there(path)).map(done))
            }
            Op::RemoveDir(path) => {
                (self.ours.rmdir(&here(path)).map(done), fs::remove_dir(there(path)).map(done))
            }
            Op::RemoveFile(path) => {
                (self.ours.unlink(&here(path)).map(done), fs::remove_file(there(path)).map(done))
            }
            Op::Rename(from, to) => (
                self.ours.rename(&here(from), &here(to)).map(done),
                fs::rename(there(from), there(to)).map(done),
            ),
            Op::Stat(path) => (
                self.ours.stat(&here(path)).map(|stat| format!("{} {}", stat.kind == Kind::File, stat.size)),
                fs::metadata(there(path)).map(|real| {
                    format!("{} {}", real.is_file(), if real.is_file() { real.len() } else { 0 })
                }),
            ),
            Op::List(path) => {
                let dir = OpenOptions { directory: true, ..READ };
                let ours = self.ours.open(&here(path), dir).and_then(|node| {
                    self.ours.0.close(&node);
                    self.ours.names(&here(path))
                });
                (ours.map(|names| names.join(" ")), list(&there(path)))
            }
        }
    }

    /// All that is there, with contents.
    fn compare(&mut self, path: &str) {
        let real = PathBuf::from(format!("{}/{path}", self.real.display()));
        assert_eq!(self.ours.names(&format!("/work/{path}")).unwrap().join(" "), list(&real).unwrap());
        for name in self.ours.names(&format!("/work/{path}")).unwrap() {
            let inner = format!("{path}{name}");
            if self.ours.kind(&format!("/work/{inner}")).unwrap() == Kind::Directory {
                self.compare(&format!("{inner}/"));
            } else {
                let node = self.ours.open(&format!("/work/{inner}"), READ).unwrap();
                let mut bytes = vec![0; 1000];
                let count = self.ours.0.read_at(&node, 0, &mut bytes).unwrap();
                self.ours.0.close(&node);
                assert_eq!(bytes[..count], fs::read(real.join(&name)).unwrap(), "{inner}");
            }
        }
    }
}

fn list(path: &Path) -> io::Result<String> {
    let mut names = fs::read_dir(path)?
        .map(|entry| Ok(entry?.file_name().into_string().unwrap()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names.join(" "))
}

// The errors of other systems differ in places.
#[cfg(target_os = "linux")]
proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn behaves_like_a_real_one(ops in prop::collection::vec(op(), 1..80)) {
        let dir = tempfile::tempdir().unwrap();
        let ours = Fs::with(Quota { max_bytes: 1 << 30, max_inodes: 10_000 }, &[]);
        let mut both = Both { ours, real: dir.path().to_owned(), open: Vec::new() };
        for op in &ops {
            let (ours, real) = both.step(op);
            prop_assert_eq!(ours, real, "{:?}", op);
            let saved = both.ours.0.checkpoint();
            let bytes = postcard::to_allocvec(&saved).unwrap();
            prop_assert!(postcard::from_bytes::<FilesCheckpoint>(&bytes).is_ok(), "after {:?}", op);
        }
        both.compare("");
        for (node, _, _) in both.open.drain(..).flatten() {
            both.ours.0.close(&node);
        }
        let all: u64 = {
            let saved = postcard::to_allocvec(&both.ours.0.checkpoint()).unwrap();
            let mut fresh = Fs::new();
            fresh.0.restore(&postcard::from_bytes(&saved).unwrap(), &[]);
            fresh.0.used()
        };
        prop_assert_eq!(both.ours.0.used(), all);
    }
}
