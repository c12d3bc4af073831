//! The life of a session: not begun, live, over.

use abyme_core::{Error, ErrorKind, Result};

/// What every call answers after the session's end (contract clause C1).
pub fn session_ended(reason: &str) -> Error {
    Error::new(ErrorKind::SessionEnded, format!("the session has ended: {reason}"))
}

/// A session that begins when it is first needed, and after its end says why it ended.
#[derive(Debug)]
pub struct Life<S> {
    session: Option<Box<S>>,
    ended: Option<String>,
}

impl<S> Life<S> {
    /// The life of a session that has begun.
    pub fn of(session: S) -> Self {
        Self { session: Some(Box::new(session)), ended: None }
    }

    /// The session, which `begin` makes unless it is there. A failure is not remembered.
    ///
    /// # Errors
    /// Those of `begin`, and [`ErrorKind::SessionEnded`] after [`end`](Self::end).
    pub async fn live<F>(&mut self, begin: impl FnOnce() -> F) -> Result<&mut S>
    where
        F: Future<Output = Result<S>>,
    {
        if let Some(reason) = &self.ended {
            return Err(session_ended(reason));
        }
        match &mut self.session {
            Some(session) => Ok(session),
            none => Ok(none.insert(Box::new(begin().await?))),
        }
    }

    /// Why it is over, if it is, by [`end`](Self::end).
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Ends it, and hands over the session that was live, to be shut down: once, for it is fine to call this twice.
    /// `ended` says why the session had come to its end before.
    pub fn end(&mut self, ended: impl FnOnce(&S) -> Option<&str>) -> Option<Box<S>> {
        let session = self.session.take();
        if self.ended.is_none() {
            let before = session.as_deref().and_then(ended);
            self.ended = Some(before.unwrap_or("it was shut down").to_owned());
        }
        session
    }
}

impl<S> Default for Life<S> {
    fn default() -> Self {
        Self { session: None, ended: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn begin() -> Result<&'static str> {
        Ok("session")
    }

    #[tokio::test]
    async fn a_session_begins_once_and_ends_once() {
        let mut life = Life::default();
        let failing = || async { Err(Error::new(ErrorKind::Unavailable, "not today")) };
        assert_eq!(life.live(failing).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(life.live(begin).await.unwrap(), &"session");
        assert_eq!(life.live(failing).await.unwrap(), &"session");
        assert_eq!(life.ended(), None);
        assert_eq!(life.end(|_| None).as_deref(), Some(&"session"));
        assert_eq!(life.end(|_| Some("another reason")), None);
        let problem = life.live(begin).await.unwrap_err();
        assert_eq!(
            (problem.kind(), problem.message()),
            (ErrorKind::SessionEnded, "the session has ended: it was shut down")
        );
    }

    #[tokio::test]
    async fn the_first_reason_stays() {
        let mut life = Life::of("session");
        assert!(life.end(|_| Some("it crashed")).is_some());
        assert!(life.end(|_| None).is_none());
        assert_eq!(life.ended(), Some("it crashed"));
    }

    #[tokio::test]
    async fn what_never_began_does_not_begin_after_its_end() {
        let mut life = Life::default();
        assert!(life.end(|_| None).is_none());
        assert!(life.live(begin).await.is_err());
    }
}
