//! A child that dies with the thread that started it.

use rustix::io::Result;

/// Asks the kernel to kill this process when the thread that started it is gone, unless it already is.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(crate) fn die_with(host: u32) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if now == i32::try_from(host).ok() { Ok(()) } else { Err(rustix::io::Errno::PIPE) }
}

/// Elsewhere the driver ends when its connection does.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(crate) fn die_with(_: u32) -> Result<()> {
    Ok(())
}
