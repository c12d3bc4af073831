//! Convenience on top of [`CodeInterpreter`] and [`InterpreterFactory`], kept out of the traits so that backends stay
//! small.

use async_trait::async_trait;

use super::{CodeInterpreter, InterpreterFactory, Session};
use crate::error::Result;

/// What every interpreter can do besides its contract. Implemented for all of them; not to be implemented by hand.
#[async_trait]
pub trait CodeInterpreterExt: CodeInterpreter + Sized + 'static {
    /// Wraps the interpreter in a [`Session`]: the contract's checks and a plain REPL.
    fn into_session(self) -> Session {
        Session::new(Box::new(self))
    }

    /// Starts the interpreter and wraps it in a [`Session`].
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::start`].
    async fn start_session(self) -> Result<Session> {
        let mut session = self.into_session();
        session.start().await?;
        Ok(session)
    }

    /// So many copies of the session as it is now, to try as many continuations; or none: those made before a failure
    /// are dropped. A [`Session`] has a method of the same name that answers [`Session`]s.
    ///
    /// # Errors
    /// Those of [`CodeInterpreter::fork`].
    async fn fork_many(&mut self, count: usize) -> Result<Vec<Box<dyn CodeInterpreter>>> {
        let mut forks = Vec::new();
        for _ in 0..count {
            forks.push(self.fork().await?);
        }
        Ok(forks)
    }
}

impl<T: CodeInterpreter + Sized + 'static> CodeInterpreterExt for T {}

/// What every factory can do besides its contract. Implemented for all of them; not to be implemented by hand.
#[async_trait]
pub trait InterpreterFactoryExt: InterpreterFactory {
    /// Opens one session: creates an interpreter, starts it and wraps it in a [`Session`].
    ///
    /// # Errors
    /// Those of [`InterpreterFactory::create`] and [`CodeInterpreter::start`].
    async fn session(&self) -> Result<Session> {
        self.create().await?.start_session().await
    }
}

impl<T: InterpreterFactory + ?Sized> InterpreterFactoryExt for T {}
