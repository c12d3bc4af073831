//! Why a model does not answer, and what to do about it.

use abyme::{Error, ErrorKind, Result};

use crate::models::Model;

/// A model that does not answer.
#[derive(Debug)]
pub(super) struct Problem {
    /// What went wrong.
    pub(super) message: String,
    /// What to do about it.
    pub(super) advice: String,
    /// The models that the server has, those with the nearest names first, where the name may be wrong.
    pub(super) models: Vec<String>,
}

impl Problem {
    /// A problem that says everything itself.
    pub(super) fn of(message: impl Into<String>) -> Self {
        Self { message: message.into(), advice: String::new(), models: Vec::new() }
    }

    /// The problem behind an error of `model`. Asks the server for its models where that helps.
    pub(super) async fn explained(error: &Error, model: &Model) -> Self {
        let listed = match error.kind() {
            ErrorKind::BadRequest => Some(model.available_models().await),
            _ => None,
        };
        let name = model.name_at_server().unwrap_or_default();
        let (advice, models) = match listed {
            Some(listed) => about_name(name, listed),
            None => (advice(error, model.host().unwrap_or("the host"), model.has_api_key()), Vec::new()),
        };
        Self { message: error.to_string(), advice, models }
    }
}

/// What to do about an error, by its kind; of a connection by the phase that its message names.
fn advice(error: &Error, host: &str, has_key: bool) -> String {
    let says = |part: &str| error.message().contains(part);
    match error.kind() {
        ErrorKind::Connection if says("(DNS)") => {
            format!("is `{host}` spelled right in the base URL, and can this machine resolve other names?")
        }
        ErrorKind::Connection if says("(TLS)") => format!(
            "either {host} speaks plain HTTP (then the base URL begins with http://), or its certificate is \
             of an authority that this machine does not know: name a file with the authority's \
             certificate in `SSL_CERT_FILE`"
        ),
        ErrorKind::Connection if says("proxy") => {
            "look at `HTTPS_PROXY`, `HTTP_PROXY` and `ALL_PROXY`; `NO_PROXY` names hosts to reach without"
                .to_owned()
        }
        ErrorKind::Connection if says("refused") => {
            format!("nothing listens at {host}: is the server running, and the port of the base URL right?")
        }
        ErrorKind::Connection => format!("is {host} reachable from here, and a server of this kind?"),
        ErrorKind::ModelTimeout => {
            format!("{host} is reached too slowly or not at all: a firewall, or a model that still loads?")
        }
        ErrorKind::Auth if !has_key => {
            "no key was sent: set the provider's key, or `ABYME_API_KEY`, in the environment or in `.env`"
                .to_owned()
        }
        ErrorKind::Auth => format!(
            "a key was sent, and {host} does not take it: is it this provider's, complete, not revoked, and \
             allowed to use this model?"
        ),
        ErrorKind::QuotaExceeded => {
            "waiting does not help: add credit at the provider, or raise the limit of the account or key"
                .to_owned()
        }
        ErrorKind::RateLimited { .. } => {
            "the key and the connection work: try again later, or ask for a higher rate".to_owned()
        }
        ErrorKind::Server => format!("the failure is {host}'s own: try again later, or look at its log"),
        ErrorKind::MalformedReply => format!(
            "something answers at {host}, and not as a model's server does: does the base URL end where the \
             API begins, as `.../v1` does?"
        ),
        ErrorKind::ContentRefused => "the key and the connection work".to_owned(),
        _ => String::new(),
    }
}

/// What to do where the server did not take the request, by the models that it says it has.
fn about_name(name: &str, listed: Result<Vec<String>>) -> (String, Vec<String>) {
    match listed {
        Ok(models) if models.iter().any(|model| model == name) => {
            (format!("the server has `{name}`, so it is something else that it does not take"), Vec::new())
        }
        Ok(models) if models.is_empty() => ("the server says that it has no models".to_owned(), models),
        Ok(mut models) => {
            let alike = |model: &String| {
                let shared = model.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
                (!model.contains(name) && !name.contains(model.as_str()), std::cmp::Reverse(shared))
            };
            models.sort_by_cached_key(alike);
            (format!("the server has no model `{name}`"), models)
        }
        Err(error) => (format!("it does not tell its models either: {error}"), Vec::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: ErrorKind, message: &str) -> String {
        advice(&Error::new(kind, message), "api.test", true)
    }

    #[test]
    fn each_failure_has_an_advice_of_its_own() {
        let cases = [
            (of(ErrorKind::Connection, "the name of api.test cannot be resolved (DNS)"), "spelled right"),
            (of(ErrorKind::Connection, "no secure connection to api.test (TLS)"), "SSL_CERT_FILE"),
            (of(ErrorKind::Connection, "no connection through the proxy"), "NO_PROXY"),
            (of(ErrorKind::Connection, "api.test refused the connection"), "nothing listens"),
            (of(ErrorKind::ModelTimeout, "x"), "firewall"),
            (of(ErrorKind::Auth, "x"), "not revoked"),
            (advice(&Error::new(ErrorKind::Auth, "x"), "api.test", false), "ABYME_API_KEY"),
            (of(ErrorKind::QuotaExceeded, "x"), "add credit"),
            (of(ErrorKind::RateLimited { retry_after: None }, "x"), "later"),
            (of(ErrorKind::MalformedReply, "x"), "/v1"),
        ];
        for (advice, part) in cases {
            assert!(advice.contains(part), "{part} is not in: {advice}");
        }
    }

    #[test]
    fn the_nearest_names_come_first() {
        let listed = || Ok(["whisper-1", "gpt-5", "gpt-5-mini-2025", "gpt-4o"].map(str::to_owned).to_vec());
        let (advice, models) = about_name("gpt-5-mini", listed());
        assert_eq!(models, ["gpt-5-mini-2025", "gpt-5", "gpt-4o", "whisper-1"]);
        assert!(advice.contains("no model `gpt-5-mini`"), "{advice}");
        assert!(about_name("gpt-5", listed()).0.contains("something else"));
        let silent = about_name("x", Err(Error::new(ErrorKind::BadRequest, "404"))).0;
        assert!(silent.contains("does not tell"), "{silent}");
    }
}
