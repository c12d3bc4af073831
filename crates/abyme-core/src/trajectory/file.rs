//! The file of a trajectory: held by the one process that writes it, and never left worse than it was found.

use std::{
    fs::{self, File, TryLockError},
    io::{self, Seek, SeekFrom, Write},
    path::Path,
    thread,
    time::{Duration, Instant},
};

use crate::error::{Error, ErrorKind, Result};

/// How long a file that is in use is tried again: the thread of a run that is over may be about to close it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);
const RELEASE_BACKOFF: Duration = Duration::from_millis(5);

/// Makes a file, which its owner alone may read, or empties one of that name, which keeps its permissions.
pub(super) fn create(path: &Path) -> Result<File> {
    let mut options = fs::OpenOptions::new();
    // Emptied only once it is known that no other process writes it.
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let file = open(&options, path)?;
    let emptied = file.metadata().and_then(|file_is| match file_is.is_file() {
        true => file.set_len(0),
        false => Ok(()),
    });
    emptied.map_err(|error| cannot_write(path, error))?;
    Ok(file)
}

/// Opens a file to read it and to go on writing it.
pub(super) fn reopen(path: &Path) -> Result<File> {
    open(fs::OpenOptions::new().read(true).write(true), path)
}

fn open(options: &fs::OpenOptions, path: &Path) -> Result<File> {
    let file = options.open(path).map_err(|error| cannot_write(path, error))?;
    hold(&file, path)?;
    Ok(file)
}

/// Holds a file until it is closed. A process that ends, however it does, holds nothing any more.
fn hold(file: &File, path: &Path) -> Result<()> {
    let started = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::WouldBlock) if started.elapsed() < RELEASE_TIMEOUT => {
                thread::sleep(RELEASE_BACKOFF);
            }
            Err(TryLockError::WouldBlock) => {
                let path = path.display();
                let message = format!("the trajectory {path} is in use: a run that has not ended writes it");
                return Err(Error::new(ErrorKind::Io, message));
            }
            Err(TryLockError::Error(error)) => {
                let path = path.display();
                tracing::debug!(%path, %error, "nothing keeps another process from writing this trajectory");
                return Ok(());
            }
        }
    }
}

pub(super) fn cannot_write(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot write the trajectory {}: {error}", path.display()))
        .with_source(error)
}

pub(super) fn cannot_read(path: &Path, error: io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("cannot read the trajectory {}: {error}", path.display()))
        .with_source(error)
}

/// What lines are written to.
pub(super) trait Out: Write + Send {
    /// Waits until all that was written would outlive the machine.
    fn sync(&mut self) -> io::Result<()>;

    /// Goes back to the end of the first `bytes`, and drops what is after them.
    fn cut(&mut self, bytes: u64) -> io::Result<()>;
}

impl Out for File {
    fn sync(&mut self) -> io::Result<()> {
        match self.sync_data() {
            // A pipe or a device has nothing to wait for.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            synced => synced,
        }
    }

    fn cut(&mut self, bytes: u64) -> io::Result<()> {
        self.set_len(bytes)?;
        self.seek(SeekFrom::Start(bytes)).map(drop)
    }
}

/// A writer that takes nothing back.
pub(super) struct Stream<W>(pub(super) W);

impl<W: Write> Write for Stream<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

impl<W: Write + Send> Out for Stream<W> {
    fn sync(&mut self) -> io::Result<()> {
        self.0.flush()
    }

    fn cut(&mut self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
