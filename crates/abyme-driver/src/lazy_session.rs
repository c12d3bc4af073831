//! A session that starts when it is first needed.

use abyme_core::{Error, ErrorKind, Result};

/// The error of every call after the session's end (contract clause C1).
pub fn session_ended(reason: &str) -> Error {
    Error::new(ErrorKind::SessionEnded, format!("the session has ended: {reason}"))
}

/// A session that starts when it is first needed. After its end it says why it ended.
#[derive(Debug)]
pub struct LazySession<S> {
    session: Option<Box<S>>,
    ended: Option<String>,
}

impl<S> LazySession<S> {
    /// A session that has started.
    pub fn started(session: S) -> Self {
        Self { session: Some(Box::new(session)), ended: None }
    }

    /// The session. `start` makes it if there is none. A failure is not remembered.
    ///
    /// # Errors
    /// Those of `start`, and [`ErrorKind::SessionEnded`] after [`end`](Self::end).
    pub async fn get_or_start<F>(&mut self, start: impl FnOnce() -> F) -> Result<&mut S>
    where
        F: Future<Output = Result<S>>,
    {
        if let Some(reason) = &self.ended {
            return Err(session_ended(reason));
        }
        match &mut self.session {
            Some(session) => Ok(session),
            none => Ok(none.insert(Box::new(start().await?))),
        }
    }

    /// Whether there is a session.
    pub fn is_started(&self) -> bool {
        self.session.is_some()
    }

    /// Why the session is over, once [`end`](Self::end) was called.
    pub fn end_reason(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Ends the session and returns it, to be shut down. Later calls return `None`. `ended` says whether the
    /// session had ended by itself before, and why.
    pub fn end(&mut self, ended: impl FnOnce(&S) -> Option<&str>) -> Option<Box<S>> {
        let session = self.session.take();
        if self.ended.is_none() {
            let before = session.as_deref().and_then(ended);
            self.ended = Some(before.unwrap_or("it was shut down").to_owned());
        }
        session
    }
}

impl<S> Default for LazySession<S> {
    fn default() -> Self {
        Self { session: None, ended: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn start() -> Result<&'static str> {
        Ok("session")
    }

    #[tokio::test]
    async fn a_session_starts_once_and_ends_once() {
        let mut session = LazySession::default();
        let failing = || async { Err(Error::new(ErrorKind::Unavailable, "not today")) };
        assert_eq!(session.get_or_start(failing).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(session.get_or_start(start).await.unwrap(), &"session");
        assert_eq!(session.get_or_start(failing).await.unwrap(), &"session");
        assert_eq!(session.end_reason(), None);
        assert_eq!(session.end(|_| None).as_deref(), Some(&"session"));
        assert_eq!(session.end(|_| Some("another reason")), None);
        let problem = session.get_or_start(start).await.unwrap_err();
        assert_eq!(
            (problem.kind(), problem.message()),
            (ErrorKind::SessionEnded, "the session has ended: it was shut down")
        );
    }

    #[tokio::test]
    async fn the_first_reason_stays() {
        let mut session = LazySession::started("session");
        assert!(session.end(|_| Some("it crashed")).is_some());
        assert!(session.end(|_| None).is_none());
        assert_eq!(session.end_reason(), Some("it crashed"));
    }

    #[tokio::test]
    async fn a_session_that_never_started_does_not_start_after_its_end() {
        let mut session = LazySession::default();
        assert!(session.end(|_| None).is_none());
        assert!(session.get_or_start(start).await.is_err());
    }
}
