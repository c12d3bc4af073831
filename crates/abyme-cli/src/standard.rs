//! The command's own stdin and stdout.
//!
//! Where cells run in this very process, whatever they start or write by number would find them at descriptors 0 and 1,
//! in the middle of answers and requests. So they move away before Python starts.

#[cfg(feature = "pyo3")]
use std::os::fd::AsFd;
use std::{
    fs::File,
    io::{self, Read, Write},
    sync::OnceLock,
};

/// stdin and stdout, after they moved.
static OWN: OnceLock<(File, File)> = OnceLock::new();

/// Takes stdin and stdout away from descriptors 0 and 1. Readers find an end of input there, and what is written goes
/// to stderr.
#[cfg(feature = "pyo3")]
pub(crate) fn keep_for_ourselves() -> io::Result<()> {
    if OWN.get().is_some() {
        return Ok(());
    }
    let own =
        (io::stdin().as_fd().try_clone_to_owned()?.into(), io::stdout().as_fd().try_clone_to_owned()?.into());
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(io::stderr())?;
    let _ = OWN.set(own);
    Ok(())
}

/// stdin.
pub(crate) fn input() -> impl Read + Send {
    match OWN.get().map(|(input, _)| input.try_clone()) {
        Some(Ok(input)) => Box::new(input) as Box<dyn Read + Send>,
        Some(Err(_)) => Box::new(io::empty()),
        None => Box::new(io::stdin()),
    }
}

/// stdout.
pub(crate) fn output() -> impl Write + Send {
    match OWN.get() {
        Some((_, output)) => Box::new(output) as Box<dyn Write + Send>,
        None => Box::new(io::stdout()),
    }
}
