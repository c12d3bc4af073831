//! Errors of the engine as Abyme's errors, in words for people.

use std::{error::Error as StdError, io};

use abyme_core::{Error, ErrorKind};
use bollard::errors::Error as DockerError;

use super::address::Address;

/// An error of the engine, as one of Abyme's. `what` could not be done.
pub(super) fn failed(what: &str, error: DockerError, address: &Address) -> Error {
    let (kind, why) = match &error {
        DockerError::DockerResponseServerError { status_code, message } => {
            let message = message.trim();
            if message.contains("no space left on device") {
                let why =
                    format!("the engine's disk is full ({message}): make room there (`docker system df`)");
                (ErrorKind::Unavailable, why)
            } else if *status_code == 400 && !message.contains("OCI runtime") {
                (ErrorKind::Config, message.to_owned())
            } else {
                (ErrorKind::Unavailable, message.to_owned())
            }
        }
        _ => (ErrorKind::Unavailable, connection(&error, address)),
    };
    Error::new(kind, format!("{what}: {why}")).with("engine", address).with_source(error)
}

/// Why the engine was not reached.
fn connection(error: &DockerError, address: &Address) -> String {
    if let DockerError::SocketNotFoundError(path) = error {
        return no_engine(address, &format!("there is no {path}"));
    }
    if let DockerError::RequestTimeoutError = error {
        return format!("the Docker engine at {address} did not answer in time");
    }
    if let DockerError::UnsupportedURISchemeError { .. } = error {
        return format!(
            "{address} is no address of a Docker engine: it begins with unix://, tcp://, https:// or ssh://"
        );
    }
    match cause(error).map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => format!(
            "this user may not use the Docker engine at {address}: add the user to the group `docker` and \
             log in again, or run a rootless engine and set DOCKER_HOST to its socket"
        ),
        Some(io::ErrorKind::NotFound) => no_engine(address, "there is no such socket"),
        Some(io::ErrorKind::ConnectionRefused) => no_engine(address, "nobody listens there"),
        _ => format!("the Docker engine at {address} was not reached: {}", chain(error)),
    }
}

fn no_engine(address: &Address, why: &str) -> String {
    format!(
        "no Docker engine answers at {address}: {why}. Start it (`systemctl start docker`, or Docker \
         Desktop), or set DOCKER_HOST to one that runs"
    )
}

/// The innermost error of the operating system behind an error.
fn cause(error: &DockerError) -> Option<&io::Error> {
    let mut source: Option<&(dyn StdError + 'static)> = Some(error);
    let mut innermost = None;
    while let Some(error) = source {
        innermost = error.downcast_ref::<io::Error>().or(innermost);
        source = error.source();
    }
    innermost
}

/// An error with its causes. The outermost text alone says only "error in the client".
pub(crate) fn chain(error: &DockerError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        source = error.source();
    }
    text
}

/// Whether the engine says that what was asked for does not exist.
pub(crate) fn is_missing(error: &DockerError) -> bool {
    matches!(error, DockerError::DockerResponseServerError { status_code: 404, .. })
}

#[cfg(test)]
mod tests {
    use super::{super::address, *};

    #[test]
    fn failures_have_a_kind() {
        let [address] = address::find(&["unix:///x.sock".to_owned()], |_| None).unwrap().try_into().unwrap();
        let answer = |status_code, message: &str| {
            let error = DockerError::DockerResponseServerError { status_code, message: message.to_owned() };
            failed("cannot make a container", error, &address)
        };
        let error = answer(500, "write /x: no space left on device");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("disk is full"), "{error}");
        assert_eq!(answer(400, "Minimum memory limit allowed is 6MB").kind(), ErrorKind::Config);
        assert_eq!(answer(400, "OCI runtime create failed: x").kind(), ErrorKind::Unavailable);
        let error =
            failed("cannot use Docker", DockerError::SocketNotFoundError("/x.sock".to_owned()), &address);
        assert!(error.message().contains("/x.sock") && error.message().contains("DOCKER_HOST"), "{error}");
    }
}
