//! The files of a guest: the standard library, the mounts, and while the base image is prepared the driver.

use std::{borrow::Cow, fs, io, path::PathBuf, sync::Arc};

use abyme_core::{Error, ErrorKind, Result, built_in_functions};
use abyme_driver::python::DRIVER;
use abyme_wasi::{Archive, FileSystem, Mount, Quota};

use crate::config::WasmConfig;

/// The directory of this backend's modules, while the base image is prepared.
const ABYME: &str = "/abyme";
/// The parts of the driver that speak a protocol over streams, which this backend does not use.
const TRANSPORT: [&str; 3] = ["stdio", "texts", "wire"];
/// The functions of `built_in_functions` as JSON, for `prepare.py`.
const FUNCTIONS: &str = "functions.json";
/// The Python files of this backend.
const OWN: &[(&str, &str)] = &[
    ("_abyme_wasm.py", include_str!("../../python/_abyme_wasm.py")),
    ("event_loop.py", include_str!("../../python/event_loop.py")),
    ("host.py", include_str!("../../python/host.py")),
    ("lacks.py", include_str!("../../python/lacks.py")),
    ("local.py", include_str!("../../python/local.py")),
    ("locks.py", include_str!("../../python/locks.py")),
    ("pool.py", include_str!("../../python/pool.py")),
    ("prepare.py", include_str!("../../python/prepare.py")),
    ("task.py", include_str!("../../python/task.py")),
    ("tasks.py", include_str!("../../python/tasks.py")),
    ("thread_pool.py", include_str!("../../python/thread_pool.py")),
    ("threads.py", include_str!("../../python/threads.py")),
];

/// What the base image is made of besides the standard library: paths below `/abyme`, and contents. All of
/// it is Python but for the functions that every run offers, which sessions then have compiled.
pub(crate) fn sources() -> impl Iterator<Item = (String, Cow<'static, str>)> {
    let driver = DRIVER.iter().filter(|(name, _)| !TRANSPORT.contains(name));
    let driver = driver.map(|(name, source)| (format!("driver/{name}.py"), Cow::from(*source)));
    let own = OWN.iter().map(|(name, source)| ((*name).to_owned(), Cow::from(*source)));
    // Texts and lists of them: writing these down cannot fail.
    let functions = serde_json::to_string(&built_in_functions()).unwrap_or_default();
    own.chain(driver).chain([(FUNCTIONS.to_owned(), Cow::from(functions))])
}

/// The files that a session begins with.
pub(crate) fn of_session(config: &WasmConfig) -> Result<FileSystem> {
    let quota = Quota { max_bytes: config.disk_limit_bytes, ..Quota::default() };
    FileSystem::new(quota, library(), &config.mounts).map_err(|why| Error::new(ErrorKind::Config, why))
}

/// The standard library, unpacked when a guest first looks into it.
fn library() -> Arc<Archive> {
    let load = || abyme_python_wasm::stdlib_tar().map_err(|error| error.to_string());
    Arc::new(Archive::new("/lib/python3.13", load))
}

/// A temporary directory of the host with the sources, for preparing the base image. Removed on drop.
#[derive(Debug)]
pub(crate) struct SourceDir(tempfile::TempDir);

impl SourceDir {
    pub(crate) fn write() -> Result<Self> {
        let write = || -> io::Result<Self> {
            let dir = tempfile::Builder::new().prefix("abyme-").tempdir()?;
            fs::create_dir(dir.path().join("driver"))?;
            for (name, source) in sources() {
                fs::write(dir.path().join(name), source.as_bytes())?;
            }
            Ok(Self(dir))
        };
        write().map_err(|error| {
            let what = "cannot write the driver to a temporary directory";
            Error::new(ErrorKind::Unavailable, format!("{what}: {error}")).with_source(error)
        })
    }

    /// A file system for the guest that has the sources in it.
    pub(crate) fn files(&self) -> Result<FileSystem> {
        let mount = Mount { guest: ABYME.to_owned(), host: PathBuf::from(self.0.path()) };
        FileSystem::new(Quota::default(), library(), &[mount])
            .map_err(|why| Error::new(ErrorKind::Unavailable, why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_python_file_is_embedded() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
        let mut files: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".py"))
            .collect();
        files.sort();
        let own: Vec<_> = OWN.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(own, files);
        assert_eq!(sources().count(), OWN.len() + DRIVER.len() - TRANSPORT.len() + 1);
    }
}
