//! Failures of the engine, and ends of a container, in words for people.

use std::{error::Error as StdError, io};

use abyme_core::{Error, ErrorKind};
use bollard::errors::Error as Docker;

use crate::address::Address;

/// An error of the engine, as one of ours. `what` could not be done.
pub(crate) fn failed(what: &str, error: Docker, address: &Address) -> Error {
    let (kind, why) = match &error {
        Docker::DockerResponseServerError { status_code, message } => {
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
fn connection(error: &Docker, address: &Address) -> String {
    if let Docker::SocketNotFoundError(path) = error {
        return nobody(address, &format!("there is no {path}"));
    }
    if let Docker::RequestTimeoutError = error {
        return format!("the Docker engine at {address} did not answer in time");
    }
    if let Docker::UnsupportedURISchemeError { .. } = error {
        return format!(
            "{address} is no address of a Docker engine: it begins with unix://, tcp://, https:// or ssh://"
        );
    }
    match cause(error).map(io::Error::kind) {
        Some(io::ErrorKind::PermissionDenied) => format!(
            "this user may not use the Docker engine at {address}: add the user to the group `docker` and log in \
             again, or run a rootless engine and set DOCKER_HOST to its socket"
        ),
        Some(io::ErrorKind::NotFound) => nobody(address, "there is no such socket"),
        Some(io::ErrorKind::ConnectionRefused) => nobody(address, "nobody listens there"),
        _ => format!("the Docker engine at {address} was not reached: {}", chain(error)),
    }
}

fn nobody(address: &Address, why: &str) -> String {
    format!(
        "no Docker engine answers at {address}: {why}. Start it (`systemctl start docker`, or Docker Desktop), or set \
         DOCKER_HOST to one that runs"
    )
}

/// The error of the operating system behind an error, if there is one.
pub(crate) fn cause(error: &Docker) -> Option<&io::Error> {
    let mut next: Option<&(dyn StdError + 'static)> = Some(error);
    let mut found = None;
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().or(found);
        next = error.source();
    }
    found
}

/// An error with what caused it: the outermost text alone says "error in the client".
pub(crate) fn chain(error: &Docker) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let more = error.to_string();
        if !text.contains(&more) {
            text.push_str(": ");
            text.push_str(&more);
        }
        next = error.source();
    }
    text
}

/// Whether the engine says that something is not there.
pub(crate) fn is_missing(error: &Docker) -> bool {
    matches!(error, Docker::DockerResponseServerError { status_code: 404, .. })
}

/// A limit that the engine made the container without, as its warnings say: what is declared has to be true. That
/// memory cannot be limited together with swap is not one, where there is no swap to speak of.
pub(crate) fn ignored_limit(warnings: &[String]) -> Option<&str> {
    let ignored = |warning: &&String| {
        let warning = warning.to_lowercase();
        warning.contains("discarded") && !warning.contains("swap")
    };
    warnings.iter().find(ignored).map(String::as_str)
}

/// What a Python that is too old says, before its version.
pub(crate) const TOO_OLD: &str = "abyme: too old:";

/// What an image that cannot run Python lets the engine or its `docker-init` say, in words. `said` may be anything.
pub(crate) fn of_image(said: &str, image: &str, python: &str) -> Option<String> {
    if let Some(old) = said.strip_prefix(TOO_OLD) {
        return Some(format!(
            "the image `{image}` has Python{old}, and Abyme needs 3.9 or later: use another image"
        ));
    }
    let said = said.to_lowercase();
    if said.contains("exec format error") {
        return Some(format!(
            "the image `{image}` is for another kind of processor than the engine's: use one that is made for it"
        ));
    }
    if said.contains("docker-init") && said.contains("not found") {
        return Some("the engine has no `docker-init`: install it there, or set `init` to false".to_owned());
    }
    let about_python = said.contains(&format!("exec {python} failed").to_lowercase())
        || said.contains(&format!("exec: \"{python}\"").to_lowercase())
        || said.contains(&format!("{python}: no such file").to_lowercase());
    let missing = said.contains("no such file") || said.contains("not found");
    if about_python && (missing || said.contains("permission denied")) {
        let what = if missing { "has no" } else { "has a file that is no program called" };
        return Some(format!(
            "the image `{image}` {what} `{python}`: use an image with Python 3.9 or later, or set `python` to where it is"
        ));
    }
    None
}

/// An exit code, completing the sentence "the interpreter …". Codes over 128 are signals.
pub(crate) fn describe(code: i64, memory_limit_bytes: Option<u64>) -> String {
    let Some(signal) = code.checked_sub(128).filter(|signal| (1..=64).contains(signal)) else {
        return format!("exited with code {code}");
    };
    let name = match signal {
        4 => " (illegal instruction)".to_owned(),
        6 => " (abort)".to_owned(),
        7 => " (bus error)".to_owned(),
        8 => " (arithmetic error)".to_owned(),
        9 => match memory_limit_bytes {
            Some(bytes) => format!(" (kill), probably because memory ran out (limit {} MB)", bytes >> 20),
            None => " (kill), perhaps because memory ran out".to_owned(),
        },
        11 => " (segmentation fault)".to_owned(),
        15 => " (termination), perhaps by `docker stop`".to_owned(),
        24 => " (processor time limit)".to_owned(),
        25 => " (file size limit)".to_owned(),
        31 => " (forbidden system call)".to_owned(),
        _ => String::new(),
    };
    format!("was killed by signal {signal}{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_in_words() {
        assert_eq!(describe(0, None), "exited with code 0");
        assert_eq!(describe(3, None), "exited with code 3");
        assert_eq!(
            describe(137, Some(512 << 20)),
            "was killed by signal 9 (kill), probably because memory ran out (limit 512 MB)"
        );
        assert_eq!(describe(139, None), "was killed by signal 11 (segmentation fault)");
        assert_eq!(describe(255, None), "exited with code 255");
    }

    #[test]
    fn images_that_cannot_run_python() {
        let tini = "[FATAL tini (7)] exec python3 failed: No such file or directory";
        let words = of_image(tini, "busybox", "python3").unwrap();
        assert!(words.contains("`busybox` has no `python3`"), "{words}");
        let runc =
            "OCI runtime create failed: exec: \"python3\": executable file not found in $PATH: unknown";
        assert_eq!(of_image(runc, "busybox", "python3").unwrap(), words);
        let other = "[FATAL tini (7)] exec python3 failed: Exec format error";
        assert!(of_image(other, "arm", "python3").unwrap().contains("another kind of processor"));
        let old = of_image("abyme: too old: 3.8.10", "old", "python3").unwrap();
        assert!(old.starts_with("the image `old` has Python 3.8.10, and"), "{old}");
        assert_eq!(of_image("Traceback: something else", "x", "python3"), None);
    }

    #[test]
    fn limits_that_an_engine_ignores() {
        let swap = "Your kernel does not support swap limit capabilities. Limitation discarded.".to_owned();
        let pids = "Your kernel does not support PIDs limit capabilities. PIDs limit discarded.".to_owned();
        assert_eq!(ignored_limit(std::slice::from_ref(&swap)), None);
        assert_eq!(ignored_limit(&[swap, pids.clone()]), Some(pids.as_str()));
    }

    #[test]
    fn failures_have_a_kind() {
        let address = crate::address::find(Some("unix:///x.sock"), |_| None).unwrap();
        let answer = |status_code, message: &str| {
            let error = Docker::DockerResponseServerError { status_code, message: message.to_owned() };
            failed("cannot make a container", error, &address)
        };
        let error = answer(500, "write /x: no space left on device");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("disk is full"), "{error}");
        assert_eq!(answer(400, "Minimum memory limit allowed is 6MB").kind(), ErrorKind::Config);
        assert_eq!(answer(400, "OCI runtime create failed: x").kind(), ErrorKind::Unavailable);
        let error = failed("cannot use Docker", Docker::SocketNotFoundError("/x.sock".to_owned()), &address);
        assert!(error.message().contains("/x.sock") && error.message().contains("DOCKER_HOST"), "{error}");
    }
}
