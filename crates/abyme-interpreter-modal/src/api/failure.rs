//! Answers of Modal that say that something failed, as Abyme's errors.

use abyme_core::{Error, ErrorKind};
use tonic::{Code, Status};

use super::credentials::Credentials;

/// A failure of a call, as one of Abyme's errors. `what` could not be done.
pub(super) fn error(what: &str, status: &Status, credentials: &Credentials) -> Error {
    let said = credentials.redact(status.message().trim());
    let Credentials { url, origin, .. } = credentials;
    let (kind, why) = match status.code() {
        Code::Unauthenticated => (
            ErrorKind::Unavailable,
            format!(
                "Modal does not take the token from {origin} ({said}): it is wrong, expired or of another \
                 account; make a new one with `modal token new`"
            ),
        ),
        Code::PermissionDenied => {
            (ErrorKind::Unavailable, format!("the account of {origin} is not allowed to ({said})"))
        }
        Code::ResourceExhausted => (
            ErrorKind::Unavailable,
            format!("a limit of the account is reached ({said}): see https://modal.com/settings/usage"),
        ),
        Code::DeadlineExceeded => {
            (ErrorKind::Unavailable, format!("Modal at {url} did not answer in time ({said})"))
        }
        Code::Unavailable | Code::Cancelled => (
            ErrorKind::Unavailable,
            format!("Modal at {url} was not reached ({said}); is it up? https://status.modal.com"),
        ),
        Code::Unimplemented => (
            ErrorKind::Unavailable,
            format!("Modal at {url} does not know this call ({said}): its interface may have changed"),
        ),
        Code::NotFound | Code::InvalidArgument | Code::AlreadyExists | Code::OutOfRange => {
            (ErrorKind::Config, said)
        }
        code => (ErrorKind::Unavailable, format!("Modal at {url} failed ({code:?}: {said})")),
    };
    Error::new(kind, format!("{what}: {why}")).with("server", url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_have_a_kind_and_no_token() {
        let credentials = Credentials {
            id: "ak-mine".to_owned(),
            secret: "as-mine".to_owned(),
            url: "https://api.modal.com".to_owned(),
            environment: String::new(),
            origin: "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET".to_owned(),
        };
        let failed = |status| error("cannot make a sandbox", &status, &credentials);
        let refused = failed(Status::unauthenticated("no token ak-mine/as-mine"));
        assert_eq!(refused.kind(), ErrorKind::Unavailable);
        assert!(refused.message().contains("modal token new"), "{refused}");
        assert!(!format!("{refused:?}").contains("-mine"), "{refused:?}");
        assert_eq!(failed(Status::not_found("App 'x' not found")).kind(), ErrorKind::Config);
        assert!(failed(Status::resource_exhausted("")).message().contains("limit of the account"));
        assert!(failed(Status::unavailable("x")).message().contains("status.modal.com"));
    }
}
