//! Everything that can be wrong with a cache, with a module so small that preparing it takes no time.

use std::{
    os::unix::fs::PermissionsExt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::*;

/// `(module)`
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

struct TestCache {
    dir: tempfile::TempDir,
    engine: Engine,
    made: AtomicUsize,
    said: Arc<Mutex<Vec<PrepareProgress>>>,
}

impl TestCache {
    fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("abyme-test-").tempdir().unwrap();
        Self { dir, engine: Engine::default(), made: AtomicUsize::new(0), said: Arc::default() }
    }

    fn entry(&self) -> CacheEntry {
        CacheEntry::new(
            &WasmConfig { cache_dir: Some(self.dir.path().into()), ..WasmConfig::default() },
            &ImageKey("key".to_owned()),
        )
        .unwrap()
    }

    /// Loads or makes; answers whether it was made.
    fn get(&self) -> bool {
        let before = self.made.load(Ordering::SeqCst);
        let said = self.said.clone();
        let reporter = Reporter::new(move |progress| said.lock().unwrap().push(progress));
        let prepare = || {
            self.made.fetch_add(1, Ordering::SeqCst);
            Ok(MODULE.to_vec())
        };
        self.entry().load_or_make(&self.engine, &reporter, prepare).unwrap();
        self.made.load(Ordering::SeqCst) > before
    }

    fn not_kept(&self) -> Option<String> {
        let said = std::mem::take(&mut *self.said.lock().unwrap());
        said.into_iter().find_map(|progress| match progress {
            PrepareProgress::NotKept(why) => Some(why),
            _ => None,
        })
    }

    fn code(&self) -> PathBuf {
        self.entry().dir.join(CODE)
    }
}

#[test]
fn what_was_made_once_is_loaded() {
    let place = TestCache::new();
    assert!(place.get());
    assert!(!place.get());
    assert_eq!(place.not_kept(), None);
    assert!(place.entry().load(&place.engine).is_ok());
}

/// Also where a umask lets the user's group write what the user makes.
#[test]
fn only_the_user_can_write_what_is_kept() {
    let place = TestCache::new();
    place.get();
    for path in [place.code(), place.entry().dir.join(SUM), place.entry().dir, place.entry().parent] {
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o077, 0, "{}", path.display());
    }
}

#[test]
fn damaged_files_are_replaced() {
    let place = TestCache::new();
    place.get();
    let good = fs::read(place.code()).unwrap();
    let mut flipped = good.clone();
    flipped[good.len() / 2] ^= 1;
    for bad in [&flipped[..], &good[..good.len() / 2], b"", b"something else entirely"] {
        fs::write(place.code(), bad).unwrap();
        assert!(place.get());
        assert!(!place.get());
    }
    for bad in ["", "12", "a b", "1 1\n"] {
        fs::write(place.entry().dir.join(SUM), bad).unwrap();
        assert!(place.get(), "{bad:?}");
    }
    fs::remove_file(place.code()).unwrap();
    assert!(place.get());
    assert_eq!(place.not_kept(), None);
}

/// The checksum is right, and the code is of another wasmtime.
#[test]
fn foreign_code_is_replaced() {
    let place = TestCache::new();
    place.get();
    fs::write(place.code(), b"code of another version").unwrap();
    let (length, sum) = load::checksum(&mut fs::File::open(place.code()).unwrap()).unwrap();
    fs::write(place.entry().dir.join(SUM), format!("{length} {sum:016x}\n")).unwrap();
    assert!(matches!(place.entry().load(&place.engine), Err(LoadError::Damaged(_))));
    assert!(place.get());
    assert!(!place.get());
}

#[test]
fn what_others_could_write_is_neither_used_nor_replaced() {
    for open in [CODE, "."] {
        let place = TestCache::new();
        place.get();
        let path = place.entry().dir.join(open);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777)).unwrap();
        let before = fs::metadata(place.code()).unwrap().modified().unwrap();
        assert!(place.get(), "{open}");
        let why = place.not_kept().unwrap();
        assert!(why.contains("can be written by other users"), "{why}");
        assert_eq!(fs::metadata(place.code()).unwrap().modified().unwrap(), before);
    }
}

#[test]
fn a_place_that_cannot_be_written_is_done_without() {
    let mut place = TestCache::new();
    let file = place.dir.path().join("a-file");
    fs::write(&file, "").unwrap();
    let entry = CacheEntry { parent: file.join("wasm"), dir: file.join("wasm/key") };
    let said = place.said.clone();
    let reporter = Reporter::new(move |progress| said.lock().unwrap().push(progress));
    entry.load_or_make(&place.engine, &reporter, || Ok(MODULE.to_vec())).unwrap();
    let why = place.not_kept().unwrap();
    assert!(why.contains("a-file"), "{why}");
    // A full disk shows when writing.
    place.dir = tempfile::tempdir().unwrap();
    let full = CacheEntry { parent: PathBuf::from("/proc/self"), dir: PathBuf::from("/proc/self/key") };
    assert!(full.store(b"code").is_err());
}

#[test]
fn only_one_of_many_prepares() {
    let place = TestCache::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| place.get());
        }
    });
    assert_eq!(place.made.load(Ordering::SeqCst), 1);
}

/// Makes a directory beside the entry, with files in it, as if it was made so long ago.
fn beside(place: &TestCache, name: &str, files: &[&str], age: Duration) -> PathBuf {
    let dir = place.entry().parent.join(name);
    fs::create_dir_all(&dir).unwrap();
    files.iter().for_each(|file| fs::write(dir.join(file), "content").unwrap());
    fs::File::open(&dir).unwrap().set_modified(SystemTime::now() - age).unwrap();
    dir
}

#[test]
fn leftovers_and_old_versions_are_removed_and_nothing_else() {
    let place = TestCache::new();
    let (version, day) = ("0123456789abcdef0123456789abcdef", Duration::from_secs(24 * 3600));
    let gone = [
        beside(&place, "new-abc", &[CODE], day),
        beside(&place, "new-def", &[], day),
        beside(&place, version, &[CODE, SUM], 31 * day),
    ];
    let kept = [
        beside(&place, "another-project", &["main.py"], 31 * day),
        beside(&place, "new-project", &["main.py", SUM], 31 * day),
        beside(&place, "new-letters", &["SUM"], 31 * day),
        beside(&place, &version.replace('0', "1"), &[CODE, SUM], 29 * day),
        beside(&place, &version.replace('0', "2"), &[CODE, SUM, "notes"], 31 * day),
    ];
    let files: Vec<_> = kept.iter().map(|dir| fs::read_dir(dir).unwrap().count()).collect();
    place.get();
    assert_eq!(place.not_kept(), None);
    assert!(gone.iter().all(|dir| !dir.exists()), "{gone:?}");
    let after: Vec<_> = kept.iter().map(|dir| fs::read_dir(dir).unwrap().count()).collect();
    assert_eq!(after, files);
}

#[test]
fn a_directory_of_the_user_s_in_the_place_of_an_entry_is_left_alone() {
    let place = TestCache::new();
    let dir = place.entry().dir;
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("thesis.txt"), "years of work").unwrap();
    assert!(place.get());
    assert!(place.not_kept().unwrap().contains("`thesis.txt`, which is not of the cache"));
    assert!(dir.join("thesis.txt").exists());
}

#[test]
fn a_failure_to_prepare_is_passed_on_and_not_remembered() {
    let place = TestCache::new();
    let fails = || Err(Error::new(ErrorKind::Unavailable, "it does not start"));
    let problem = place.entry().load_or_make(&place.engine, &Reporter::default(), fails).unwrap_err();
    assert_eq!(problem.to_string(), "it does not start");
    assert!(place.get());
}

#[test]
fn the_cache_can_be_switched_off() {
    let problem =
        CacheEntry::new(&WasmConfig { cache: false, ..WasmConfig::default() }, &ImageKey("key".to_owned()))
            .unwrap_err();
    assert!(problem.contains("switched off"), "{problem}");
}
