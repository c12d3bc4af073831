//! Starts the child and connects it: from here on it is a driver session like any other.

use std::{
    fs::Permissions,
    os::unix::{fs::PermissionsExt, net::UnixStream},
    sync::Arc,
};

use abyme_core::{Error, ErrorKind, Result};
use abyme_driver::{DriverSession, python::BOOT};
use tokio::{
    io::AsyncWriteExt,
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
};

use crate::{
    interpreter::Shared,
    process::{self, Process},
};

/// Starts a child and hands it the driver.
pub(crate) async fn spawn(shared: &Shared) -> Result<DriverSession<OwnedReadHalf, OwnedWriteHalf>> {
    let (python, spawner) = shared.python().await?;
    let config = &shared.config;
    let failed = |what: &str, error: std::io::Error| {
        Error::new(ErrorKind::Unavailable, format!("{what}: {error}")).with_source(error)
    };
    let parent = config.temp_dir.clone().unwrap_or_else(std::env::temp_dir);
    let private = Permissions::from_mode(0o700);
    let work_dir = tempfile::Builder::new()
        .prefix("abyme-")
        .permissions(private)
        .tempdir_in(parent)
        .map_err(|error| failed("cannot make a working directory for the session", error))?;
    let connect = || -> std::io::Result<_> {
        let (ours, theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let command = process::command(&python.executable, config, &work_dir, theirs)?;
        Ok((tokio::net::UnixStream::from_std(ours)?, command))
    };
    let (socket, mut command) = connect().map_err(|error| failed("cannot connect a child process", error))?;
    command.args(["-I", "-c", BOOT]);
    let child = spawner
        .spawn(command)
        .await
        .map_err(|error| failed(&format!("cannot start {}", python.executable.display()), error))?;
    let process = Arc::new(Process::new(child, work_dir, spawner.clone()));
    let (input, mut output) = socket.into_split();
    // A child that dies or never reads is noticed by the handshake, which says how.
    let _ = tokio::time::timeout(config.session.start_timeout, output.write_all(&python.bundle)).await;
    Ok(DriverSession::new(input, output, process, config.session.clone()))
}
