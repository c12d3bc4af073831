//! The clients over HTTP that have a session of the protocol, as versions before 2026-07-28 do.
//!
//! Such a client may lose its connection and come again, so the end of a connection says nothing. Here it is
//! noted what each has open, and for how long it has nothing open.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use hyper::{HeaderMap, http::request::Parts};
use rmcp::{RoleServer, service::RequestContext};
use tokio_util::sync::CancellationToken;

/// The header that names the session.
const SESSION_HEADER: &str = "mcp-session-id";

/// The session of the protocol that a request over HTTP belongs to.
pub(crate) fn session_of(context: &RequestContext<RoleServer>) -> Option<&str> {
    session_in(&context.extensions.get::<Parts>()?.headers)
}

/// The session that the headers of a request or a response name.
pub(crate) fn session_in(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION_HEADER)?.to_str().ok()
}

#[derive(Debug, Default)]
pub(crate) struct Clients {
    known: Mutex<HashMap<String, Client>>,
}

#[derive(Debug)]
struct Client {
    /// Responses that it reads, or that are on their way.
    open: usize,
    /// Calls of tools that are at work for it.
    calls: usize,
    /// When it last had something open.
    seen: Instant,
    /// Cancelled when it is forgotten.
    gone: CancellationToken,
}

/// What of a client is noted as long as this is there.
#[derive(Debug)]
pub(crate) struct ClientMark {
    clients: Arc<Clients>,
    session: String,
    what: What,
    /// Cancelled when the client is gone.
    pub(crate) gone: CancellationToken,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Response,
    Call,
}

impl Clients {
    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.map().len()
    }

    /// A client begins.
    pub(crate) fn begin(&self, session: &str) {
        let gone = CancellationToken::new();
        self.map().insert(session.to_owned(), Client { open: 0, calls: 0, seen: Instant::now(), gone });
    }

    /// A client reads a response.
    pub(crate) fn response(self: &Arc<Self>, session: &str) -> ClientMark {
        self.note(session, What::Response)
    }

    /// A call is at work for a client.
    pub(crate) fn call(self: &Arc<Self>, session: &str) -> ClientMark {
        self.note(session, What::Call)
    }

    fn note(self: &Arc<Self>, session: &str, what: What) -> ClientMark {
        let gone = self.map().get_mut(session).map(|client| {
            client.seen = Instant::now();
            *client.counted(what) += 1;
            client.gone.clone()
        });
        ClientMark {
            clients: self.clone(),
            session: session.to_owned(),
            what,
            gone: gone.unwrap_or_default(),
        }
    }

    /// Forgets a client that said that it ends.
    pub(crate) fn end(&self, session: &str) {
        if let Some(client) = self.map().remove(session) {
            client.gone.cancel();
        }
    }

    /// Forgets the clients that are gone, and tells which they were: those that have had nothing open for
    /// `in_call` with a call at work, or for `idle` without one.
    pub(crate) fn gone(&self, in_call: Duration, idle: Duration) -> Vec<String> {
        let mut gone = Vec::new();
        self.map().retain(|session, client| {
            let limit = if client.calls > 0 { in_call } else { idle };
            let is_there = client.open > 0 || client.seen.elapsed() < limit;
            if !is_there {
                gone.push(session.clone());
                client.gone.cancel();
            }
            is_there
        });
        gone
    }

    fn map(&self) -> MutexGuard<'_, HashMap<String, Client>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    fn counted(&mut self, what: What) -> &mut usize {
        match what {
            What::Response => &mut self.open,
            What::Call => &mut self.calls,
        }
    }
}

impl Drop for ClientMark {
    fn drop(&mut self) {
        if let Some(client) = self.clients.map().get_mut(&self.session) {
            let counted = client.counted(self.what);
            *counted = counted.saturating_sub(1);
            if let What::Response = self.what {
                client.seen = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_gone_once_it_has_nothing_open() {
        let clients = Arc::new(Clients::default());
        clients.begin("a");
        let (now, never) = (Duration::ZERO, Duration::from_secs(3600));
        assert!(clients.gone(now, never).is_empty(), "it is idle, and may be for long");
        let response = clients.response("a");
        let call = clients.call("a");
        assert!(clients.gone(now, now).is_empty(), "it reads a response");
        drop(response);
        assert!(clients.gone(never, now).is_empty(), "a call is at work");
        assert_eq!(clients.gone(now, never), ["a"]);
        assert!(call.gone.is_cancelled());
        drop(call);
        assert_eq!(clients.count(), 0);
        assert!(clients.gone(now, now).is_empty());
        drop(clients.response("unknown"));
        assert_eq!(clients.count(), 0, "one that is unknown stays so");
    }
}
