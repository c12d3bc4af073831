//! The files of the server's machine that clients may name: those below folders that were allowed.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
};

use abyme_core::{Error, ErrorKind, Inputs, Result};

type Load = dyn Fn(&[PathBuf]) -> Result<Inputs> + Send + Sync;

/// Folders whose files clients may name, and what reads them.
#[derive(Clone)]
pub(crate) struct Files {
    roots: Vec<PathBuf>,
    load: Arc<Load>,
}

impl fmt::Debug for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Files").field("roots", &self.roots).finish_non_exhaustive()
    }
}

impl Files {
    pub(crate) fn new(
        roots: impl IntoIterator<Item = impl AsRef<Path>>,
        load: impl Fn(&[PathBuf]) -> Result<Inputs> + Send + Sync + 'static,
    ) -> Result<Self> {
        let root = |root: &Path| {
            let found = root.canonicalize().and_then(|path| path.read_dir().map(|_| path));
            found.map_err(|error| {
                let message = format!("the folder `{}` cannot be allowed: {error}", root.display());
                Error::new(ErrorKind::Config, message).with_source(error)
            })
        };
        let roots = roots.into_iter().map(|path| root(path.as_ref())).collect::<Result<_>>()?;
        Ok(Self { roots, load: Arc::new(load) })
    }

    /// Reads the files that a client named. Waits for disks.
    fn read(&self, paths: &[String]) -> Result<Inputs> {
        let paths = paths.iter().map(|path| self.found(path)).collect::<Result<Vec<_>>>()?;
        (self.load)(&paths)
    }

    /// The file of this name, links resolved. Whether there is one outside of the allowed folders is not
    /// told.
    fn found(&self, path: &str) -> Result<PathBuf> {
        let candidates = self.roots.iter().map(|root| root.join(path));
        let mut found = candidates.filter_map(|candidate| candidate.canonicalize().ok());
        found.find(|found| self.roots.iter().any(|root| found.starts_with(root))).ok_or_else(|| {
            let message = format!("there is no file `{path}` below the folders that this server allows");
            Error::new(ErrorKind::InvalidInput, message)
        })
    }
}

/// What a call gives to work on: values, then files.
pub(crate) async fn inputs(
    values: Option<serde_json::Map<String, serde_json::Value>>,
    paths: Option<Vec<String>>,
    files: Option<&Files>,
) -> Result<Inputs> {
    let mut inputs: Inputs = values.unwrap_or_default().into_iter().collect();
    let Some(paths) = paths.filter(|paths| !paths.is_empty()) else { return Ok(inputs) };
    let Some(files) = files.cloned() else {
        let message = "this server allows no folder whose files could be named: give texts as `inputs`, or \
                       start the server with a folder that it may read";
        return Err(Error::new(ErrorKind::InvalidInput, message));
    };
    let read = tokio::task::spawn_blocking(move || files.read(&paths)).await;
    let read = read.map_err(|error| {
        Error::new(ErrorKind::Internal, "the files could not be read").with_source(error)
    })??;
    for (name, value) in read.iter() {
        if inputs.get(name).is_some() {
            let message = format!("`{name}` is the name of an input and of a file: rename the input");
            return Err(Error::new(ErrorKind::InvalidInput, message));
        }
        inputs = inputs.with(name, value.clone());
    }
    Ok(inputs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_folders_are_found() {
        let temp = tempfile::tempdir().unwrap();
        let (inside, outside) = (temp.path().join("inside"), temp.path().join("outside"));
        std::fs::create_dir_all(inside.join("deeper")).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        std::fs::write(inside.join("deeper/a.txt"), "a").unwrap();
        std::fs::write(outside.join("b.txt"), "b").unwrap();
        std::os::unix::fs::symlink(outside.join("b.txt"), inside.join("link.txt")).unwrap();
        let files = Files::new([&inside], |_| Ok(Inputs::new())).unwrap();
        let found = files.found("deeper/a.txt").unwrap();
        assert_eq!(files.found(found.to_str().unwrap()).unwrap(), found, "an absolute path");
        let outside_file = outside.join("b.txt");
        for path in ["../outside/b.txt", "link.txt", outside_file.to_str().unwrap(), "missing.txt", "\0"] {
            let error = files.found(path).unwrap_err();
            assert!(error.message().contains("below the folders"), "{path}: {error}");
        }
        let error = Files::new([temp.path().join("missing")], |_| Ok(Inputs::new())).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}
