//! The cache of prepared interpreters on disk: one directory for each version of everything that went into
//! one.
//!
//! ```text
//! <cache>/wasm/lock                 held while one process prepares
//! <cache>/wasm/<key>/guest.cwasm    compiled code with CPython's memory in it
//! <cache>/wasm/<key>/sum            its length and checksum
//! ```
//!
//! An entry is made in a directory beside its own and renamed. No failure here is fatal: a damaged entry is
//! replaced, and an interpreter that cannot be kept is used without being kept.

use std::{
    fmt, fs,
    hash::{Hash, Hasher},
    io::{self, Read},
    path::{Path, PathBuf},
    time::{Duration, Instant, SystemTime},
};

use abyme_core::{Error, ErrorKind, Result};
use etcetera::BaseStrategy;
use sha2::{Digest, Sha256};
use twox_hash::XxHash3_64;
use wasmtime::{Engine, Module};

use crate::{
    config::WasmConfig,
    engine,
    image::{
        files,
        load::{self, LoadError},
        prepare,
    },
    progress::{PrepareProgress, Reporter},
};

#[cfg(test)]
mod tests;

/// The environment variable that sets the directory of the cache.
pub(crate) const CACHE_DIR_VARIABLE: &str = "ABYME_CACHE_DIR";

const CODE: &str = "guest.cwasm";
const SUM: &str = "sum";
/// More than a length and a checksum ever take.
const MAX_SUM_BYTES: u64 = 64;
/// How the names of entries begin that are being made.
const FRESH: &str = "new-";
/// Entries of other versions are removed after this time.
const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);

/// A hash of everything that went into a base image: its name in the cache, and in the snapshots of its
/// sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ImageKey(String);

impl fmt::Display for ImageKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ImageKey {
    /// The key of this build on this machine.
    pub(crate) fn new(engine: &Engine) -> Self {
        let mut hasher = Sha256::new();
        let mut add = |what: &[u8]| {
            hasher.update((what.len() as u64).to_le_bytes());
            hasher.update(what);
        };
        add(env!("CARGO_PKG_VERSION").as_bytes());
        add(abyme_python_wasm::PYTHON_WASM_SHA256.as_bytes());
        add(abyme_python_wasm::STDLIB_SHA256.as_bytes());
        for (name, source) in files::sources() {
            add(name.as_bytes());
            add(source.as_bytes());
        }
        // wasmtime's version, the processor it compiles for, and all settings that the code depends on.
        let mut settings = XxHash3_64::new();
        engine.precompile_compatibility_hash().hash(&mut settings);
        add(&settings.finish().to_le_bytes());
        Self(hasher.finalize().iter().take(16).map(|byte| format!("{byte:02x}")).collect())
    }
}

/// The compiled guest: from the cache, or prepared now and kept there.
pub(crate) async fn module(
    engine: &Engine,
    config: &WasmConfig,
    reporter: Reporter,
) -> Result<(Module, ImageKey)> {
    let key = ImageKey::new(engine);
    let entry = CacheEntry::new(config, &key);
    let (engine, handle) = (engine.clone(), tokio::runtime::Handle::current());
    // Compiling takes seconds of a thread. It goes on if the caller's future is dropped: the next call finds
    // it done.
    let work = move || {
        let prepare = || handle.block_on(prepare::base_image(&reporter));
        match entry {
            Ok(entry) => entry.load_or_make(&engine, &reporter, prepare),
            Err(why) => {
                reporter.report(PrepareProgress::NotKept(why));
                compile(&engine, &prepare()?)
            }
        }
    };
    let module = tokio::task::spawn_blocking(work).await.map_err(|error| {
        Error::new(ErrorKind::Internal, format!("preparing Python was cut off: {error}")).with_source(error)
    })??;
    Ok((module, key))
}

/// The state of the cache, as `abyme doctor` shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheState {
    /// Where the prepared interpreter of this version is kept. `None` if it is not kept, as configured or for
    /// the reason in [`problem`](Self::problem).
    pub path: Option<PathBuf>,
    /// Whether it is there.
    pub ready: bool,
    /// Its size in bytes, if it is there.
    pub bytes: u64,
    /// Why it cannot be used or kept.
    pub problem: Option<String>,
}

/// Looks at the cache without changing anything.
pub(crate) fn state(engine: &Engine, config: &WasmConfig) -> CacheState {
    let entry = match CacheEntry::new(config, &ImageKey::new(engine)) {
        Ok(entry) => entry,
        Err(why) => {
            let problem = config.cache.then_some(why);
            return CacheState { path: None, ready: false, bytes: 0, problem };
        }
    };
    let loaded = entry.load(engine);
    let bytes = fs::metadata(entry.dir.join(CODE)).map_or(0, |status| status.len());
    let problem = match &loaded {
        Ok(_) | Err(LoadError::Missing) => None,
        Err(LoadError::Damaged(why) | LoadError::Unsafe(why)) => Some(why.clone()),
    };
    CacheState { ready: loaded.is_ok(), path: Some(entry.dir), bytes, problem }
}

/// Looks at the cache, with an engine of its own. The number of slots makes no difference to compiled code.
pub(crate) fn look(config: &WasmConfig) -> Result<CacheState> {
    let engine = Engine::new(&engine::pooling(&WasmConfig { max_sessions: 1, ..config.clone() })).map_err(
        |error| Error::new(ErrorKind::Unavailable, format!("WebAssembly cannot be set up here: {error:#}")),
    )?;
    Ok(state(&engine, config))
}

/// One prepared interpreter in the cache.
#[derive(Debug)]
struct CacheEntry {
    /// The directory of all of them.
    parent: PathBuf,
    dir: PathBuf,
}

impl CacheEntry {
    /// The entry of `key`, which may not exist yet. An error says why nothing can be kept.
    fn new(config: &WasmConfig, key: &ImageKey) -> Result<Self, String> {
        if !config.cache {
            return Err("the cache is switched off".to_owned());
        }
        if !cfg!(unix) {
            return Err("nothing tells on this system who can write a file".to_owned());
        }
        let root =
            match (&config.cache_dir, std::env::var_os(CACHE_DIR_VARIABLE).filter(|value| !value.is_empty()))
            {
                (Some(dir), _) => dir.clone(),
                (None, Some(dir)) => PathBuf::from(dir),
                (None, None) => etcetera::choose_base_strategy()
                    .map(|strategy| strategy.cache_dir().join("abyme"))
                    .map_err(|_| {
                        format!(
                            "there is no home directory; set {CACHE_DIR_VARIABLE} to a directory of yours"
                        )
                    })?,
            };
        let parent = root.join("wasm");
        Ok(Self { dir: parent.join(&key.0), parent })
    }

    fn load(&self, engine: &Engine) -> Result<Module, LoadError> {
        let mut text = String::new();
        let file = fs::File::open(self.dir.join(SUM));
        match file.and_then(|file| file.take(MAX_SUM_BYTES).read_to_string(&mut text)) {
            Ok(_) => {}
            Err(error) if load::is_missing(&error) => return Err(LoadError::Missing),
            Err(error) => return Err(LoadError::Damaged(format!("{}: {error}", self.dir.display()))),
        }
        let numbers = text.split_once(' ').and_then(|(length, sum)| {
            Some((length.parse().ok()?, u64::from_str_radix(sum.trim(), 16).ok()?))
        });
        let Some((length, sum)) = numbers else {
            return Err(LoadError::Damaged(format!("{}: its checksum is unreadable", self.dir.display())));
        };
        load::load(engine, &self.dir.join(CODE), length, sum)
    }

    fn load_or_make(
        &self,
        engine: &Engine,
        reporter: &Reporter,
        prepare: impl FnOnce() -> Result<Vec<u8>>,
    ) -> Result<Module> {
        let mut refused = match self.load(engine) {
            Ok(module) => return Ok(module),
            Err(refused) => refused,
        };
        let lock = self.lock(reporter);
        if lock.is_ok() && !matches!(refused, LoadError::Unsafe(_)) {
            // Another process may have made it while this one waited.
            match self.load(engine) {
                Ok(module) => return Ok(module),
                Err(again) => refused = again,
            }
        }
        if let LoadError::Damaged(why) = &refused {
            tracing::warn!("the prepared Python is made anew, for the one in the cache is damaged: {why}");
        }
        let started = Instant::now();
        let image = prepare()?;
        reporter.report(PrepareProgress::CompilingImage);
        let kept = match (lock, refused) {
            (_, LoadError::Unsafe(why)) => Err(why),
            (Err(error), _) => Err(format!("{}: {error}", self.parent.display())),
            (Ok(_lock), _) => {
                self.keep(engine, &image)?.map_err(|error| format!("{}: {error}", self.dir.display()))
            }
        };
        let module = match kept {
            Ok(()) => self.load(engine).map_err(|refused| format!("{refused:?}")),
            Err(why) => Err(why),
        };
        let module = match module {
            Ok(module) => module,
            Err(why) => {
                reporter.report(PrepareProgress::NotKept(why));
                compile(engine, &image)?
            }
        };
        reporter.report(PrepareProgress::Ready(started.elapsed()));
        Ok(module)
    }

    /// Waits until no other process prepares. Dropping the file releases the lock.
    fn lock(&self, reporter: &Reporter) -> io::Result<fs::File> {
        make_private_dir(&self.parent)?;
        let file = fs::OpenOptions::new().create(true).append(true).open(self.parent.join("lock"))?;
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) => reporter.report(PrepareProgress::Waiting),
            // A file system without locks: two processes may both prepare, and the last rename wins.
            Err(fs::TryLockError::Error(_)) => return Ok(file),
        }
        file.lock()?;
        Ok(file)
    }

    /// Compiles and stores the image. The outer error is the compiler's, the inner one the disk's.
    fn keep(&self, engine: &Engine, image: &[u8]) -> Result<io::Result<()>> {
        let code = engine.precompile_module(image).map_err(not_compiled)?;
        Ok(self.store(&code))
    }

    fn store(&self, code: &[u8]) -> io::Result<()> {
        self.remove_leftovers();
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o700));
        let fresh = builder.prefix(FRESH).tempdir_in(&self.parent)?;
        let file = fresh.path().join(CODE);
        write_private(&file, code)?;
        // Reads the file back: data that a full disk left out shows here.
        let (length, sum) = load::checksum(&mut fs::File::open(&file)?)?;
        write_private(&fresh.path().join(SUM), format!("{length} {sum:016x}\n").as_bytes())?;
        fs::File::open(&file)?.sync_all()?;
        remove_entry(&self.dir)?;
        fs::rename(fresh.path(), &self.dir)?;
        let _ = fresh.keep();
        Ok(())
    }

    /// Removes what interrupted processes and other versions left. The lock is held, so no process is
    /// writing.
    fn remove_leftovers(&self) {
        for entry in fs::read_dir(&self.parent).into_iter().flatten().flatten() {
            let age = entry.metadata().and_then(|status| status.modified()).ok();
            let age = age.and_then(|modified| SystemTime::now().duration_since(modified).ok());
            let old = age.is_some_and(|age| age > MAX_AGE);
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
            let remove = is_dir && (name.starts_with(FRESH) || (old && is_key(&name)));
            if remove && entry.path() != self.dir {
                let _ = remove_entry(&entry.path());
            }
        }
    }
}

/// Whether this is how an entry is called.
fn is_key(name: &str) -> bool {
    name.len() == 32 && name.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Removes an entry. The directory of the cache may be any that a user named, so what is not of an entry is
/// left alone, and then this is an error.
fn remove_entry(dir: &Path) -> io::Result<()> {
    let files = match fs::read_dir(dir) {
        Err(error) if load::is_missing(&error) => return Ok(()),
        files => files?,
    };
    for file in files {
        let name = file?.file_name();
        if name != SUM && name != CODE {
            let what = format!("it holds `{}`, which is not of the cache", name.display());
            return Err(io::Error::other(what));
        }
    }
    for file in [SUM, CODE] {
        missing_is_fine(fs::remove_file(dir.join(file)))?;
    }
    missing_is_fine(fs::remove_dir(dir))
}

fn missing_is_fine(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if !load::is_missing(&error) => Err(error),
        _ => Ok(()),
    }
}

fn compile(engine: &Engine, image: &[u8]) -> Result<Module> {
    Module::new(engine, image).map_err(not_compiled)
}

fn not_compiled(error: wasmtime::Error) -> Error {
    Error::new(ErrorKind::Unavailable, format!("cannot compile the prepared Python: {error:#}"))
}

/// A file that only this user can write, whatever the user's umask is.
fn write_private(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    io::Write::write_all(&mut options.open(path)?, content)
}

/// A directory that only this user can write.
fn make_private_dir(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
